//! Holds what every room may touch beside the peer that it handles.

use std::time::Instant;

use super::{
    budget::Budget, closing::Closing, draws::Draws, peer::Peer, report::Report, timers::Timer,
    work::Work,
};
use crate::{
    Config, Incarnation, PeerId,
    admission::{Gate, HalfOpen},
    index::Deadlines,
    rng::Rng,
    wire::hello::HalfId,
};

/// Turns of the loop of which one adds up the memory in use.
const WEIGH_EVERY: u8 = 8;

/// Configuration, deadlines, events and counters, memory shared by all peers, and the work list.
pub(super) struct Shared {
    pub(super) config: Config,
    /// Our own identity.
    pub(super) id: PeerId,
    pub(super) incarnation: Incarnation,
    pub(super) timers: Deadlines<Timer>,
    pub(super) report: Report,
    pub(super) budget: Budget,
    pub(super) work: Work,
    pub(super) closing: Closing,
    /// For first packets of handshakes.
    pub(super) gate: Gate,
    /// Handshakes of others in progress, until their hello is there.
    pub(super) half_open: HalfOpen,
    /// Bytes of memory that the event loop and its handle hold for peers.
    pub(super) handle_memory: usize,
    /// Turns of the loop, of which each eighth adds up the memory in use.
    turns: u8,
    draws: Draws,
}

impl Shared {
    pub(super) fn new(
        config: Config,
        id: PeerId,
        incarnation: Incarnation,
        draws: [u8; 32],
        look_up_seed: u64,
        now: Instant,
    ) -> Self {
        Self {
            id,
            incarnation,
            timers: Deadlines::new(look_up_seed),
            report: Report::new(now),
            budget: Budget::new(&config),
            work: Work::default(),
            closing: Closing::No,
            gate: Gate::new(look_up_seed, now),
            half_open: HalfOpen::new(config.handshakes_max, look_up_seed, now),
            handle_memory: 0,
            turns: 0,
            draws: Draws::new(draws),
            config,
        }
    }

    /// Notes that a peer's state has changed: its queues are counted at once, and the rest of what depends
    /// on the state is derived before the drain is complete.
    pub(super) fn changed(&mut self, peer: &mut Peer) {
        self.budget.count(peer);
        self.work.mark_stale(peer);
    }

    /// Whether the memory in use is to be added up in this turn of the loop: in each one it would be a part of what
    /// an acknowledgement costs.
    pub(super) const fn is_turn_to_weigh(&mut self) -> bool {
        self.turns = self.turns.wrapping_add(1);
        self.turns.is_multiple_of(WEIGH_EVERY)
    }

    // Randomness

    /// A stream for one purpose of a peer; each one is another.
    pub(super) fn stream(&mut self, peer: &mut Peer, purpose: &str) -> Rng {
        peer.draws += 1;
        self.draws.stream(purpose, peer.id, peer.draws.into())
    }

    /// A number below 1 and not below 0, for one purpose of a peer.
    pub(super) fn fraction(&mut self, peer: &mut Peer, purpose: &str) -> f64 {
        self.stream(peer, purpose).fraction()
    }

    /// A number below 1 and not below 0, for a peer that need not be known.
    pub(super) fn fraction_for(&self, id: PeerId, purpose: &str) -> f64 {
        self.draws.stream(purpose, id, 0).fraction()
    }

    /// A stream for the machine's dial with this number.
    pub(super) fn stream_of_dial(&self, id: PeerId, dial: u64) -> Rng {
        self.draws.stream("dial", id, dial)
    }

    /// A line that no peer has had.
    pub(super) fn new_line(&mut self, id: PeerId) -> HalfId {
        self.draws.new_line(id)
    }
}
