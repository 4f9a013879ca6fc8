//! The state of a record while it is written.

use std::{collections::BTreeMap, time::Duration};

use super::{
    DatagramRecord, End, Fate, Flags, Recording, Scope,
    faults::{self, FaultLog},
    packets::Reader,
};
use crate::{
    NodeId,
    link::{Deed, Note, Parcel},
    net::watch::Sight,
};

#[derive(Default)]
pub(super) struct State {
    /// Whether a network writes.
    pub(super) is_on: bool,
    pub(super) recording: Recording,
    /// Later events are left out.
    pub(super) until: Option<Duration>,
    pub(super) reader: Reader,
    pub(super) faults: FaultLog,
    /// Datagrams on links, by link and by their number there.
    pub(super) under_way: BTreeMap<(NodeId, NodeId, u64), usize>,
    /// The datagram that is leaving, if it is recorded.
    pub(super) leaving: Option<usize>,
    /// Those that wait in the sockets of paused processes.
    pub(super) waiting: BTreeMap<NodeId, Vec<usize>>,
}

/// The name of a datagram while a link has it.
#[derive(Debug, Clone, Copy)]
pub struct Parcelled {
    /// Where the link begins.
    pub from: NodeId,
    /// Where it ends.
    pub to: NodeId,
    /// Its number there.
    pub number: u64,
}

/// How a datagram was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// A process has it.
    Taken,
    /// It waits in the socket.
    Waits,
    /// The socket is full.
    NoRoom,
    /// There is no process.
    NobodyHome,
}

impl State {
    /// Records what takes no more than this state.
    pub(super) fn see(&mut self, now: Duration, sight: &Sight<'_>) {
        match sight {
            Sight::Astray => {
                if let Some(datagram) = self.leaving {
                    let fate = Fate::Astray;
                    self.recording.datagrams[datagram].end = Some(End { at: now, fate });
                }
            }
            Sight::Injected(node, reception) => {
                self.receive(now, *node, self.leaving, *reception);
            }
            Sight::Noted(parcel, note) => self.note(now, parcel, note),
            Sight::Outdated(parcel) => self.end(now, parcel, Fate::Outdated),
            Sight::Strikes {
                family,
                node,
                detail,
            } => self
                .faults
                .strike(now, family, Scope::Node(*node), detail.clone()),
            Sight::AllOver(family) => self.faults.end_all(now, family),
            Sight::Path(path) => {
                let settings = faults::of_path(path);
                self.faults.set(now, Scope::Everywhere, &settings);
            }
            Sight::Link {
                from,
                to,
                faults,
                path,
            } => {
                if let Some(scope) = faults::way(*from, *to) {
                    let settings = faults::of_link_beside(faults, path);
                    self.faults.set(now, scope, &settings);
                }
            }
            // The recorder itself sees these.
            Sight::Time
            | Sight::Node(_)
            | Sight::Leaves { .. }
            | Sight::Enters(_)
            | Sight::Arrives(..)
            | Sight::Resumed(_)
            | Sight::Started(_)
            | Sight::Crashed(_)
            | Sight::Begins { .. }
            | Sight::Over { .. } => {}
        }
    }

    fn note(&mut self, now: Duration, parcel: &Parcelled, note: &Note) {
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

    fn end(&mut self, now: Duration, parcel: &Parcelled, fate: Fate) {
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
