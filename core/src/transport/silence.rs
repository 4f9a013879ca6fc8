//! How long the other end has been silent, without work for each packet.
//!
//! QUIC's own idle timeout is no bound: it is three probe timeouts at least (RFC 9000 section 10.1),
//! and a path that was held up for seconds makes them minutes.

use std::time::{Duration, Instant};

use quinn_proto::FrameStats;

/// What is known of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence {
    /// When a datagram last arrived, whoever has sent it.
    arrival: Instant,
    /// Frames in packets that only the other end can have sent, when this was last judged.
    frames: u64,
    /// When it is to be judged next.
    due: Instant,
}

/// What a silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was no silence, or not yet; to be judged again then.
    Alive(Instant),
    /// It is we who were late, and what the other end has said may wait in the socket. It is asked,
    /// and judged again then.
    Unknown(Instant),
    /// The other end is gone.
    Dead,
}

impl Silence {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            arrival: now,
            frames: 0,
            due: now,
        }
    }

    /// A datagram has arrived that names the connection.
    pub(super) fn arrived(&mut self, now: Instant) {
        self.arrival = now;
    }

    pub(super) const fn arrival(&self) -> Instant {
        self.arrival
    }

    /// Begins with a clean slate: the other end was heard at this moment.
    pub(super) fn begin(&mut self, now: Instant, limit: Duration, frames: u64) -> Instant {
        self.arrival = now;
        self.frames = frames;
        self.due = now + limit;
        self.due
    }

    /// `frames` is what [`frames`] counts at this moment.
    pub(super) fn judge(&mut self, now: Instant, limit: Duration, frames: u64) -> Verdict {
        let heard = std::mem::replace(&mut self.frames, frames) != frames;
        // The last datagram may be somebody else's, but then the next look will find nothing.
        if heard && self.arrival + limit > now {
            self.due = self.arrival + limit;
            return Verdict::Alive(self.due);
        }
        // A third of the limit is the time between two keep-alives.
        let a_while = limit / 3;
        if self.due + a_while < now {
            self.due = now + a_while;
            return Verdict::Unknown(self.due);
        }
        Verdict::Dead
    }
}

/// Frames that a living peer cannot but send: it answers keep-alives, and sends its own.
pub(super) const fn frames(stats: &FrameStats) -> u64 {
    stats.acks + stats.ping + stats.stream + stats.path_challenge + stats.path_response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;

    const LIMIT: Duration = secs(15);

    #[test]
    fn who_says_nothing_is_dead_at_the_limit() {
        let (mut silence, start) = begun();
        let verdict = silence.judge(start + LIMIT, LIMIT, 7);
        assert_eq!(verdict, Verdict::Dead);
    }

    #[test]
    fn the_limit_counts_from_what_was_heard_last() {
        let (mut silence, start) = begun();
        silence.arrived(start + secs(4));
        let next = start + secs(4) + LIMIT;
        let verdict = silence.judge(start + LIMIT, LIMIT, 8);
        assert_eq!(verdict, Verdict::Alive(next));
        assert_eq!(silence.judge(next, LIMIT, 8), Verdict::Dead);
    }

    #[test]
    fn datagrams_of_somebody_else_are_not_heard() {
        let (mut silence, start) = begun();
        silence.arrived(start + secs(14));
        let verdict = silence.judge(start + LIMIT, LIMIT, 7);
        assert_eq!(verdict, Verdict::Dead);
    }

    #[test]
    fn a_process_that_stood_still_asks_first() {
        let (mut silence, start) = begun();
        let verdict = silence.judge(start + secs(100), LIMIT, 7);
        let next = start + secs(105);
        assert_eq!(verdict, Verdict::Unknown(next));
        let mut answered = silence;
        answered.arrived(start + secs(101));
        let verdict = answered.judge(next, LIMIT, 9);
        assert_eq!(verdict, Verdict::Alive(start + secs(116)));
        assert_eq!(silence.judge(next, LIMIT, 7), Verdict::Dead);
    }

    fn begun() -> (Silence, Instant) {
        let start = epoch();
        let mut silence = Silence::new(start);
        assert_eq!(silence.begin(start, LIMIT, 7), start + LIMIT);
        (silence, start)
    }

    const fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }
}
