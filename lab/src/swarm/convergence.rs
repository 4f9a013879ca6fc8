//! How long a world that is well again may take to settle everything.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use super::{
    Limits, LinkFault, Operation, Scenario, Withdrawal,
    limits::{RECONNECT_POLL, SESSION_TIMEOUT},
};
use crate::{Delay, ms, secs};

/// How many standard deviations a delay is from its mean at most, but for one in 30,000.
const DEVIATIONS: u32 = 4;

/// A connection is given up after three probe timeouts at the earliest, whatever the idle timeout
/// is (RFC 9000, section 10.1), and a probe timeout is three round trips if the first one ever
/// measured was the longest (RFC 9002, section 5.3 and 6.2).
const SILENT_ROUND_TRIPS: u32 = 3 * 3;

/// What a connection may send before it hears anything: ten datagrams (RFC 9002, section 7.2). The
/// shortest turn lasts long enough for it.
const WINDOW_BYTES: usize = 12_000;

/// Half of a session, whatever the sum is: what takes longer is lost with the session, and that
/// would be another failure.
const SETTLED_MAX: Duration = secs(SESSION_TIMEOUT.as_secs() / 2);

impl Scenario {
    /// How long the core may take after the storm until every message is taken or reported.
    ///
    /// - As long as an end may take to notice that a connection has died: `liveness_timeout`, or
    ///   nine of the longest round trips that were ever measured. A process that stood still for
    ///   five seconds has measured five.
    /// - As many *turns* as there are pairs of nodes, divided by the slots of a node, for each
    ///   window of data that one has for another; one if there are slots for all. Outsiders are
    ///   counted, as they are dialled, too. In the worst case a turn takes
    ///   - `backoff_max`, as the last dial was refused or not answered,
    ///   - `slot_wait` and `hold_time_min`, until a slot is free at either end,
    ///   - a dial: `handshake_timeout` for each address under which the peer was ever known, and
    ///     its place in the row of those that `dial_rate` allows,
    ///   - as many round trips as it takes to carry a full outbox through an empty inbox,
    ///   - and `reconnect_poll`, if a node is hidden: the others wait for it.
    ///
    /// Where nodes have limits of their own, the worst of them count.
    ///
    /// Dials to outsiders that never answer cost no more than that, as they make way for any other
    /// peer; each that has made way may hold its slot once, which is the turn of its pair.
    ///
    /// It is never more than half of a session.
    #[must_use]
    pub fn convergence_max(&self) -> Duration {
        let bound = self.silence_max() + self.turn_max() * self.turns();
        bound.min(SETTLED_MAX)
    }

    fn silence_max(&self) -> Duration {
        let longest = self.round_trip_max() + self.hold_max();
        let of_all = self.most(|limits| limits.liveness_timeout);
        of_all.max(longest * SILENT_ROUND_TRIPS)
    }

    /// The largest of something that each node has.
    fn most<T: Ord>(&self, of: impl Fn(&Limits) -> T) -> T {
        let all = (0..self.nodes).map(|node| of(&self.limits_of(node)));
        all.max().unwrap_or_else(|| of(&self.limits))
    }

    /// The smallest.
    fn least<T: Ord>(&self, of: impl Fn(&Limits) -> T) -> T {
        self.most(|limits| Reverse(of(limits))).0
    }

    /// How long a datagram or the answer to it was held up at most, in a queue, on the way, or by a
    /// process that stood still.
    fn hold_max(&self) -> Duration {
        let longest = |time: fn(&Operation) -> Option<Duration>| {
            let times = self.steps.iter().filter_map(|step| time(&step.operation));
            times.max().unwrap_or_default()
        };
        longest(freeze) + longest(clog) + longest(block) + longest(queue)
    }

    fn turns(&self) -> u32 {
        let peers = self.nodes - 1;
        let slots = self.least(|limits| limits.connections_max);
        let pairs = self.nodes * peers / 2;
        match slots >= peers {
            true => 1,
            false => count(pairs.div_ceil(slots)) * count(self.windows()),
        }
    }

    /// How many initial windows the most fill that one node can have for another.
    fn windows(&self) -> usize {
        let mut lines: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for step in &self.steps {
            if let Operation::Send { from, to, lengths }
            | Operation::SendUntil {
                from, to, lengths, ..
            }
            | Operation::Withdraw(Withdrawal {
                from, to, lengths, ..
            }) = &step.operation
            {
                *lines.entry((*from, *to)).or_default() += lengths.iter().sum::<usize>();
            }
        }
        let most = lines.into_values().max().unwrap_or(0);
        let held = most.min(self.most(|limits| limits.outbox_bytes_max));
        held.div_ceil(WINDOW_BYTES).max(1)
    }

    fn turn_max(&self) -> Duration {
        let limits = &self.limits;
        let outbox = self.most(|limits| limits.outbox_bytes_max);
        let inbox = self.least(|limits| limits.inbox_bytes_max);
        let round_trips = outbox.div_ceil(inbox.max(1));
        let away = match self.hidden.is_empty() {
            true => Duration::ZERO,
            false => RECONNECT_POLL,
        };
        let carry = self.round_trip_max() * count(round_trips);
        limits.backoff_max
            + limits.slot_wait
            + limits.hold_time_min
            + self.dial_max()
            + carry
            + away
    }

    fn dial_max(&self) -> Duration {
        let row = Duration::from_secs(self.nodes as u64) / self.limits.dial_rate.max(1);
        self.limits.handshake_timeout * self.addresses_max() + row
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

fn freeze(operation: &Operation) -> Option<Duration> {
    let Operation::Freeze { time, .. } = operation else {
        return None;
    };
    Some(*time)
}

fn clog(operation: &Operation) -> Option<Duration> {
    let Operation::Clog { time, .. } = operation else {
        return None;
    };
    Some(*time)
}

fn block(operation: &Operation) -> Option<Duration> {
    let Operation::BlockSocket { time, .. } = operation else {
        return None;
    };
    Some(*time)
}

/// Both ways, a tenth of a second each.
fn queue(operation: &Operation) -> Option<Duration> {
    let Operation::Link { fault, .. } = operation else {
        return None;
    };
    matches!(fault, LinkFault::Rate(_) | LinkFault::Mark(_)).then_some(ms(200))
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
