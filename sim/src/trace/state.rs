//! What a record holds while it is written.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use quicpool_core::EcnCodepoint;

use super::{
    DatagramRecord, End, Fate, Flags, Place, Recording, faults::FaultLog, packets::Reader,
};
use crate::{
    NodeId,
    link::{Deed, Note, Parcel},
};

#[derive(Default)]
pub(super) struct State {
    /// Whether a network writes.
    pub(super) is_on: bool,
    pub(super) recording: Recording,
    /// What happens later is left out.
    pub(super) until: Option<Duration>,
    pub(super) reader: Reader,
    pub(super) faults: FaultLog,
    /// Datagrams on links, by link and by their number there.
    pub(super) under_way: BTreeMap<(NodeId, NodeId, u64), usize>,
    /// Those that wait in the sockets of paused processes.
    pub(super) waiting: BTreeMap<NodeId, Vec<usize>>,
}

/// Under which name a datagram is known while a link has it.
pub(crate) struct Parcelled {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) number: u64,
}

/// A datagram that leaves.
pub(crate) struct Leaving<'a> {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) ecn: Option<EcnCodepoint>,
    pub(crate) payload: &'a [u8],
}

/// How a datagram was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reception {
    Taken,
    /// It waits in the socket.
    Waits,
    /// The socket is full.
    NoRoom,
    /// There is no process.
    NobodyHome,
}

impl State {
    pub(super) fn note(&mut self, now: Duration, parcel: &Parcelled, note: &Note) {
        let Some(&datagram) = self.under_way.get(&parcel.key()) else {
            return;
        };
        match note.deed {
            Deed::Dropped => self.end(now, parcel, Fate::of_stage(note.stage)),
            Deed::Copied(copies) => self.copy(now, parcel, datagram, copies),
            Deed::Touched => {
                let flags = &mut self.recording.datagrams[datagram].flags;
                match note.stage {
                    "corrupt" => flags.damaged = true,
                    "rate" => flags.marked = true,
                    "reorder" => flags.reordered = true,
                    "clog" => flags.clogged = true,
                    _ => {}
                }
            }
        }
    }

    /// Copies are known under the numbers that follow that of the original.
    fn copy(&mut self, now: Duration, parcel: &Parcelled, original: usize, copies: u64) {
        self.recording.datagrams[original].flags.duplicated = true;
        for n in 1..=copies {
            let copy = DatagramRecord {
                at: now,
                copy_of: Some(original),
                flags: Flags::default(),
                ..self.recording.datagrams[original].clone()
            };
            let number = parcel.number + n;
            let key = Parcelled { number, ..*parcel }.key();
            self.under_way.insert(key, self.recording.datagrams.len());
            self.recording.datagrams.push(copy);
        }
    }

    pub(super) fn receive(
        &mut self,
        now: Duration,
        node: NodeId,
        datagram: Option<usize>,
        reception: Reception,
    ) {
        let Some(datagram) = datagram else {
            return;
        };
        let record = &mut self.recording.datagrams[datagram];
        let end = |fate| Some(End { at: now, fate });
        match reception {
            Reception::Taken => record.end = end(Fate::Delivered),
            Reception::NoRoom => record.end = end(Fate::NoRoom),
            Reception::NobodyHome => record.end = end(Fate::NobodyHome),
            Reception::Waits => {
                record.flags.waited = true;
                self.waiting.entry(node).or_default().push(datagram);
            }
        }
    }

    pub(super) fn end(&mut self, now: Duration, parcel: &Parcelled, fate: Fate) {
        if let Some(datagram) = self.under_way.remove(&parcel.key()) {
            self.recording.datagrams[datagram].end = Some(End { at: now, fate });
        }
    }
}

impl Parcelled {
    pub(crate) fn of(from: NodeId, to: NodeId, parcel: &Parcel) -> Self {
        let number = parcel.number;
        Self { from, to, number }
    }

    pub(super) fn key(&self) -> (NodeId, NodeId, u64) {
        (self.from, self.to, self.number)
    }
}
