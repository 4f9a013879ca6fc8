//! Names the stages of closing the machine.

use crate::peer::PeerKey;

/// How far the machine is with closing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// Applications of these peers have not taken everything.
    Flushing {
        owing: Vec<PeerKey>,
        /// Messages reported as undelivered before `close`: those after are its own.
        undelivered_before: u64,
    },
    /// Every session is ended, and `Closed` is to be reported.
    Ending {
        undelivered_before: u64,
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

    /// Whether the application may ask for anything new.
    pub(super) fn is_open(&self) -> bool {
        *self == Self::No
    }
}
