//! How long the other end has been silent, without work for each packet.
//!
//! QUIC's own idle timeout is no bound: it is three probe timeouts at least (RFC 9000 section 10.1),
//! and a path that was held up for seconds makes them minutes.

use std::time::{Duration, Instant};

use quinn_proto::FrameStats;

/// A connection asks so often, if it has to: this many times in `liveness_timeout`. Each time costs a
/// packet, and data flow again so soon after a cut of the path.
const ASKS: u32 = 15;

/// What is known of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence {
    /// When a datagram last arrived, whoever has sent it.
    arrival: Instant,
    /// Frames in packets that only the other end can have sent, when this was last judged.
    frames: u64,
    /// When it is to be judged next.
    due: Instant,
    /// When the other end is gone, if it says nothing until then.
    end: Instant,
}

/// What a silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was no silence, or not yet; to be judged again then.
    Alive(Instant),
    /// Something should have been heard: the other end is asked, and it is judged again then.
    Silent(Instant),
    /// The other end is gone.
    Dead,
}

impl Silence {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            arrival: now,
            frames: 0,
            due: now,
            end: now,
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
        self.end = now + limit;
        self.due = now + patience(limit);
        self.due
    }

    /// `frames` is what [`frames`] counts at this moment.
    pub(super) fn judge(&mut self, now: Instant, limit: Duration, frames: u64) -> Verdict {
        let heard = std::mem::replace(&mut self.frames, frames) != frames;
        if heard {
            // The last datagram may be somebody else's, but then the next look will find nothing.
            self.end = self.arrival + limit;
        }
        if self.end <= now {
            // A third of the limit is the time between two keep-alives.
            let a_while = limit / 3;
            if self.due + a_while >= now {
                return Verdict::Dead;
            }
            // It is we who were late, and what the other end has said may wait in the socket.
            self.end = now + a_while;
        }
        let patient_until = self.arrival + patience(limit);
        if heard && patient_until > now {
            self.due = patient_until;
            return Verdict::Alive(self.due);
        }
        self.due = (now + limit / ASKS).min(self.end);
        Verdict::Silent(self.due)
    }
}

/// How long nothing is heard on a path that is well: the time between two keep-alives, and a little
/// for the way.
fn patience(limit: Duration) -> Duration {
    limit * 2 / 5
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
    fn who_says_nothing_is_asked_every_second_and_dead_at_the_limit() {
        let (mut silence, start) = begun();
        for asked in 6..15 {
            let verdict = silence.judge(start + secs(asked), LIMIT, 7);
            assert_eq!(verdict, Verdict::Silent(start + secs(asked + 1)));
        }
        assert_eq!(silence.judge(start + LIMIT, LIMIT, 7), Verdict::Dead);
    }

    #[test]
    fn the_limit_counts_from_what_was_heard_last() {
        let (mut silence, start) = begun();
        silence.arrived(start + secs(4));
        let verdict = silence.judge(start + secs(6), LIMIT, 8);
        assert_eq!(verdict, Verdict::Alive(start + secs(10)));
        for asked in 10..19 {
            let verdict = silence.judge(start + secs(asked), LIMIT, 8);
            assert_eq!(verdict, Verdict::Silent(start + secs(asked + 1)));
        }
        assert_eq!(silence.judge(start + secs(19), LIMIT, 8), Verdict::Dead);
    }

    #[test]
    fn an_answer_ends_the_questions() {
        let (mut silence, start) = begun();
        let verdict = silence.judge(start + secs(6), LIMIT, 7);
        assert_eq!(verdict, Verdict::Silent(start + secs(7)));
        silence.arrived(start + secs(6));
        let verdict = silence.judge(start + secs(7), LIMIT, 8);
        assert_eq!(verdict, Verdict::Alive(start + secs(12)));
    }

    #[test]
    fn datagrams_of_somebody_else_are_not_heard() {
        let (mut silence, start) = begun();
        for asked in 6..15 {
            silence.arrived(start + secs(asked));
            let verdict = silence.judge(start + secs(asked), LIMIT, 7);
            assert_eq!(verdict, Verdict::Silent(start + secs(asked + 1)));
        }
        assert_eq!(silence.judge(start + LIMIT, LIMIT, 7), Verdict::Dead);
    }

    #[test]
    fn a_process_that_stood_still_asks_first() {
        let (mut silence, start) = begun();
        let verdict = silence.judge(start + secs(100), LIMIT, 7);
        assert_eq!(verdict, Verdict::Silent(start + secs(101)));
        let mut answered = silence;
        answered.arrived(start + secs(100));
        let verdict = answered.judge(start + secs(101), LIMIT, 9);
        assert_eq!(verdict, Verdict::Alive(start + secs(106)));
        for asked in 101..105 {
            let verdict = silence.judge(start + secs(asked), LIMIT, 7);
            assert_eq!(verdict, Verdict::Silent(start + secs(asked + 1)));
        }
        assert_eq!(silence.judge(start + secs(105), LIMIT, 7), Verdict::Dead);
    }

    fn begun() -> (Silence, Instant) {
        let start = epoch();
        let mut silence = Silence::new(start);
        assert_eq!(silence.begin(start, LIMIT, 7), start + secs(6));
        (silence, start)
    }

    const fn secs(count: u64) -> Duration {
        Duration::from_secs(count)
    }
}
