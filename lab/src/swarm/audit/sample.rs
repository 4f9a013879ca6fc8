//! A machine in numbers.

use std::time::Duration;

use quicpool_core::{ConnectionStatus, Counters, Health, PeerId, PeerMetrics};

use crate::watch::Scene;

/// The metrics of a machine at an instant at which it has nothing more to do.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) slots: usize,
    pub(super) handshakes: usize,
    pub(super) waiting_dials: usize,
    pub(super) queued_bytes: usize,
    pub(super) memory_usage: usize,
    pub(super) connections: usize,
    pub(super) counters: Counters,
    /// Dials since the last sample that went on with an attempt, at a further address of its peer.
    pub(super) continued_dials: u64,
    /// By the place of the peer in its world. A peer that is not known counts as new.
    pub(super) peers: Vec<PeerSample>,
    pub(super) strangers: Vec<Visitor>,
}

/// A peer that is no node. It is forgotten once nothing of it is left, and comes again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Visitor {
    pub(super) now: PeerSample,
    /// What was counted of it before it was last forgotten.
    before: PeerSample,
}

impl Visitor {
    fn see(&mut self, now: PeerSample) {
        let last = self.now;
        // Counts that fall are those of another entry.
        if now.connections < last.connections || now.received < last.received {
            self.before.add(&last);
        }
        self.now = now;
    }
}

/// Its metrics of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerSample {
    pub(super) status: ConnectionStatus,
    pub(super) health: Option<Health>,
    pub(super) outbox_bytes: usize,
    pub(super) outbox_messages: u64,
    pub(super) inbox_bytes: usize,
    pub(super) datagram_bytes: usize,
    pub(super) accepted: u64,
    pub(super) delivered: u64,
    pub(super) received: u64,
    pub(super) taken: u64,
    pub(super) dials: u64,
    pub(super) connections: u64,
    pub(super) failures: u64,
    pub(super) uses: u64,
}

impl Default for PeerSample {
    fn default() -> Self {
        Self {
            status: ConnectionStatus::New,
            health: None,
            outbox_bytes: 0,
            outbox_messages: 0,
            inbox_bytes: 0,
            datagram_bytes: 0,
            accepted: 0,
            delivered: 0,
            received: 0,
            taken: 0,
            dials: 0,
            connections: 0,
            failures: 0,
            uses: 0,
        }
    }
}

impl Sample {
    /// Asks the machine of a scene; false if there is none.
    pub(super) fn take(
        &mut self,
        scene: &Scene<'_>,
        peers: &[PeerId],
        strangers: &[PeerId],
    ) -> bool {
        let Some(machine) = scene.machine else {
            return false;
        };
        let held = machine.occupancy();
        let continued_before = self.continued_dials_so_far();
        let metrics = machine.metrics(scene.now);
        self.at = scene.at;
        self.slots = held.slots;
        self.handshakes = held.handshakes;
        self.waiting_dials = held.waiting_dials;
        self.queued_bytes = held.queued_bytes;
        self.memory_usage = metrics.memory_usage;
        self.connections = metrics.connections;
        self.counters = metrics.counters;
        self.peers.clear();
        let peers = peers.iter().map(|peer| machine.peer_metrics(*peer));
        self.peers.extend(peers.map(|metrics| {
            metrics.map_or_else(PeerSample::default, |metrics| PeerSample::of(&metrics))
        }));
        self.strangers.resize(strangers.len(), Visitor::default());
        for (visitor, peer) in self.strangers.iter_mut().zip(strangers) {
            let metrics = machine.peer_metrics(*peer);
            visitor.see(metrics.map_or_else(PeerSample::default, |m| PeerSample::of(&m)));
        }
        self.continued_dials = self
            .continued_dials_so_far()
            .saturating_sub(continued_before);
        true
    }

    /// A dial that fails is a failure of its peer only if that was the last address.
    fn continued_dials_so_far(&self) -> u64 {
        let counters = &self.counters;
        (counters.dials_failed + counters.connections_lost)
            .saturating_sub(self.sum(|peer| peer.failures))
    }

    /// A number of all peers together.
    pub(super) fn sum(&self, of: impl Fn(&PeerSample) -> u64) -> u64 {
        let visitors = self.strangers.iter();
        let visitors = visitors.flat_map(|visitor| [&visitor.now, &visitor.before]);
        self.peers.iter().chain(visitors).map(of).sum()
    }
}

impl PeerSample {
    /// Adds what was counted. What was held is gone.
    const fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.received += other.received;
        self.taken += other.taken;
        self.dials += other.dials;
        self.connections += other.connections;
        self.failures += other.failures;
        self.uses += other.uses;
    }

    const fn of(metrics: &PeerMetrics) -> Self {
        Self {
            status: metrics.status,
            health: metrics.health,
            outbox_bytes: metrics.outbox_bytes,
            outbox_messages: metrics.outbox_messages,
            inbox_bytes: metrics.inbox_bytes,
            datagram_bytes: metrics.datagram_bytes,
            accepted: metrics.messages_accepted,
            delivered: metrics.messages_delivered,
            received: metrics.messages_received,
            taken: metrics.messages_taken,
            dials: metrics.dials,
            connections: metrics.connections,
            failures: metrics.failures,
            uses: metrics.pool_hits + metrics.pool_misses,
        }
    }
}
