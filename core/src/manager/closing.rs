//! Names the stages of closing the machine.

use std::collections::BTreeMap;

use crate::{Losses, PeerId, peer::PeerKey};

/// How far the machine is with closing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// Applications of these peers have not taken everything.
    Flushing {
        owing: Vec<PeerKey>,
        /// Messages reported as undelivered before `close`: those after are its own.
        undelivered_before: u64,
        losses: BTreeMap<PeerId, Losses>,
    },
    /// Every session is ended, and `Closed` is to be reported.
    Ending {
        undelivered_before: u64,
        losses: BTreeMap<PeerId, Losses>,
    },
    Done,
}

impl Closing {
    /// Whether peers may still connect: those that owe an acknowledgement may have to.
    pub(super) fn accepts(&self) -> bool {
        match self {
            Self::No | Self::Flushing { .. } => true,
            Self::Ending { .. } | Self::Done => false,
        }
    }

    /// Has the end report messages that are lost. Without an end they are for flushes alone.
    pub(super) fn lost(&mut self, peer: PeerId, lost: &Losses) {
        match self {
            Self::No | Self::Done => {}
            Self::Flushing { losses, .. } | Self::Ending { losses, .. } => {
                let known = losses.entry(peer).and_modify(|losses| losses.merge(lost));
                known.or_insert_with(|| lost.clone());
            }
        }
    }

    /// Whether the application may ask for anything new.
    pub(super) fn is_open(&self) -> bool {
        *self == Self::No
    }
}
