//! What senders are told: that what they have sent is taken, and how their flushes have ended.

use quicpool_core::Losses;

use super::World;
use crate::swarm::Property;

/// A flush that is not answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flush {
    from: usize,
    /// Of the sender.
    life: u32,
    to: usize,
    /// How many messages it had sent before.
    sent: u64,
}

impl World<'_> {
    pub(super) fn flush(&mut self, from: usize, to: usize) -> bool {
        let knows = |world: &Self| {
            let (from, to) = (world.nodes[from], world.nodes[to]);
            world.net.peer_metrics(from, to).is_some()
        };
        if !self.can_act(from) || !knows(self) {
            return false;
        }
        let life = self.lives[from];
        let sent = self.lines.get(&(from, life, to));
        let sent = sent.map_or(0, |line| line.sent);
        let flush = Flush {
            from,
            life,
            to,
            sent,
        };
        let token = self.flushes_begun;
        self.flushes_begun += 1;
        self.flushes.insert(token, flush);
        self.net.flush(self.nodes[from], self.nodes[to], token);
        true
    }

    /// A flush has ended.
    pub(super) fn flushed(&mut self, place: usize, token: u64, result: &Result<(), Losses>) {
        let node = self.nodes[place];
        let Some(flush) = self.flushes.remove(&token) else {
            let what = format!("{node} is told {result:?} of flush {token}, which has ended");
            return self.violated(Property::Acknowledged, what);
        };
        let line = self.lines.get(&(flush.from, flush.life, flush.to));
        let missing = line.map_or_else(Vec::new, |line| line.missing());
        if result.is_ok() && missing.first().is_some_and(|first| *first < flush.sent) {
            let what =
                format!("{node} is told that {flush:?} is done, and {missing:?} are missing");
            self.violated(Property::Acknowledged, what);
        }
    }

    /// Whether living processes of the core know what has become of all that they have sent each
    /// other.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.unacknowledged().next().is_none()
    }

    /// What they do not know.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = String> {
        let held = self.core_pairs().filter_map(|(from, to)| {
            let (from, to) = (self.nodes[from], self.nodes[to]);
            let bytes = self.net.peer_metrics(from, to)?.outbox_bytes;
            (bytes > 0).then(|| format!("{from} holds {bytes} bytes for {to}"))
        });
        let is_open = |flush: &&Flush| {
            flush.life == self.lives[flush.from] && self.is_of_core(flush.from, flush.to)
        };
        let open = self.flushes.values().filter(is_open);
        held.chain(open.map(|flush| format!("{flush:?} is not answered")))
    }

    /// Pairs of the core whose ends do not share one connection, or none.
    pub(super) fn pairs_apart(&self) -> impl Iterator<Item = (usize, usize)> {
        let audit = self.audit.borrow();
        let once = self.core_pairs().filter(|(a, b)| a < b);
        once.filter(move |(a, b)| audit.are_apart(*a, *b))
    }

    pub(super) fn core_pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.pairs().filter(|(a, b)| self.is_of_core(*a, *b))
    }
}
