//! Counts what connections hold, and forgets those that are closed.

use std::time::Instant;

use super::{Slot, Transport, quirks};
use crate::{Sealing, Transmit, peer::LinkId};

/// Bytes that an idle connection holds, with TLS: between those of the dialling and of the answering end.
/// `sim/tests/memory` measures it.
pub(super) const LINK_BYTES: usize = 22 * 1024;

/// What a connection holds, in bytes of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// In buffers of ours.
    pub(super) buffers: usize,
    /// In QUIC, roughly, beyond what an idle connection holds.
    pub(super) quic: usize,
    /// Of that and of what an idle connection holds, if the connection is closed.
    pub(super) closing: usize,
}

impl Held {
    /// Counts `after` in place of `before`.
    pub(super) const fn replace(&mut self, before: Self, after: Self) {
        self.buffers = self.buffers + after.buffers - before.buffers;
        self.quic = self.quic + after.quic - before.quic;
        self.closing = self.closing + after.closing - before.closing;
    }
}

impl Transport {
    /// Bytes of memory in buffers of ours.
    pub(crate) fn buffers(&self) -> usize {
        let rows = [&self.dirty, &self.silent, &self.later];
        let rows: usize = rows.map(std::collections::VecDeque::capacity).iter().sum();
        self.held.buffers
            + self.settings.memory()
            + self.waiting
            + rows * size_of::<LinkId>()
            + self.ready.memory()
            + self.links.capacity() * size_of::<Slot>()
            + self.replies.capacity() * size_of::<(Transmit, Vec<u8>)>()
    }

    /// An estimate of the bytes of memory in QUIC and TLS, tickets included.
    pub(crate) fn quic_memory(&self) -> usize {
        let unacknowledged = match self.parameters.sealing {
            // What is not sealed is shared with the outbox.
            Sealing::Off => 0,
            Sealing::On => self.settings.in_flight.bytes(),
        };
        self.count * LINK_BYTES + self.held.quic + unacknowledged + self.credentials.memory()
    }

    /// Counts what a link holds anew.
    pub(super) fn count_held(&mut self, id: LinkId) {
        let Some(link) = self
            .links
            .get_mut(id.index())
            .and_then(|slot| slot.link_mut(id))
        else {
            return;
        };
        let after = link.held();
        let before = std::mem::replace(&mut link.counted, after);
        self.held.replace(before, after);
    }

    /// Everything that has arrived on a connection was read, as far as it may be.
    pub(crate) fn settle(&mut self, id: LinkId) {
        if let Some(link) = self.link_mut(id) {
            link.settle();
            self.count_held(id);
        }
    }

    /// An estimate of the bytes of memory in closed connections. They are forgotten soon.
    pub(crate) const fn closing_memory(&self) -> usize {
        self.held.closing
    }

    /// Forgets the closed connection that has been silent for the longest time, if there is one.
    pub(crate) fn forget_silent(&mut self, now: Instant) -> bool {
        while let Some(id) = self.silent.pop_front() {
            if let Some(link) = self.link_mut(id) {
                quirks::abandon(now, &mut link.connection);
                self.mark_dirty(id);
                return true;
            }
        }
        false
    }

    /// Notes that a connection has no more packets. Those that are closed can be forgotten.
    pub(super) fn is_silent(&mut self, id: LinkId) {
        let is_news = self.link_mut(id).is_some_and(|link| {
            link.forgotten_at().is_some() && !std::mem::replace(&mut link.is_silent, true)
        });
        if is_news {
            while self
                .silent
                .front()
                .is_some_and(|id| self.link(*id).is_none())
            {
                self.silent.pop_front();
            }
            self.silent.push_back(id);
        }
    }
}
