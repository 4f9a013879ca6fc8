//! How long a world that is well again may take to settle everything.

use std::time::Duration;

use super::{Operation, Scenario};
use crate::Delay;

/// How many standard deviations a delay is from its mean at most, but for one in 30,000.
const DEVIATIONS: u32 = 4;

impl Scenario {
    /// How long the core may take after the storm until every message is taken or reported.
    ///
    /// - `liveness_timeout`, until each end has noticed which connections have died.
    /// - As many *turns* as there are pairs of nodes, divided by the slots of a node; one if there
    ///   are slots for all. Outsiders are counted, as they are dialled, too. In the worst case a
    ///   turn takes
    ///   - `backoff_max`, as the last dial was refused or not answered,
    ///   - `slot_wait` and `tenure_min`, until a slot is free at either end,
    ///   - a dial: `handshake_timeout` for each address under which the peer was ever known, and
    ///     its place in the row of those that `dial_rate` allows,
    ///   - as many round trips as it takes to carry a full outbox through an empty inbox.
    #[must_use]
    pub fn convergence_max(&self) -> Duration {
        self.limits.liveness_timeout + self.turn_max() * self.turns()
    }

    fn turns(&self) -> u32 {
        let peers = self.nodes - 1;
        let slots = self.limits.connections_max;
        let pairs = self.nodes * peers / 2;
        match slots >= peers {
            true => 1,
            false => count(pairs.div_ceil(slots)),
        }
    }

    fn turn_max(&self) -> Duration {
        let limits = &self.limits;
        let row = Duration::from_secs(self.nodes as u64) / limits.dial_rate.max(1);
        let dial = limits.handshake_timeout * self.addresses_max() + row;
        let round_trips = limits
            .outbox_bytes_max
            .div_ceil(limits.inbox_bytes_max.max(1));
        let carry = self.round_trip_max() * count(round_trips);
        limits.backoff_max + limits.slot_wait + limits.tenure_min + dial + carry
    }

    /// Under how many addresses a node is known at most: one, and one for each time it has moved.
    fn addresses_max(&self) -> u32 {
        let moves = |node: usize| {
            let operations = self.steps.iter().map(|step| &step.operation);
            let moves = [Operation::Rebind(node), Operation::Move(node)];
            operations.filter(|done| moves.contains(done)).count()
        };
        count(1 + (0..self.nodes).map(moves).max().unwrap_or(0))
    }

    fn round_trip_max(&self) -> Duration {
        let path = self.links.path();
        delay_max(path.up.delay) + delay_max(path.down.delay)
    }
}

fn delay_max(delay: Delay) -> Duration {
    match delay {
        Delay::Constant(delay) => delay,
        Delay::Uniform { to, .. } => to,
        Delay::Normal { mean, deviation } => mean + deviation * DEVIATIONS,
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
