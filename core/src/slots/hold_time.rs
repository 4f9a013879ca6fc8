//! Decides how long a busy connection is safe from eviction: the minimum hold time.
//!
//! Peers with more to send than slots take turns, and a turn must be long enough that a message passes:
//! otherwise they take the slot from each other for ever. A message has to travel and to be acknowledged,
//! so the time is several round trips at least. How long the longest record needs on the slowest path is
//! not known, so a hold in which nothing has passed doubles the next one, at both ends.

use std::time::Duration;

/// Round trips of a hold, at least: the other end's first data come one after our hello, and a
/// retransmission needs two more.
const ROUND_TRIPS: u32 = 4;

/// The minimum hold time of one peer's connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HoldTime {
    /// Holds in a row in which nothing has passed.
    unproductive: u32,
    shortest: Duration,
}

/// What has passed in a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Messages of an end that had some have arrived.
    Productive,
    /// An end had messages and could have sent them, and none has arrived.
    Unproductive,
}

impl HoldTime {
    /// Begins a hold, and returns its minimum time. `min` is what the user asks for, `max` a bound
    /// that no peer can exceed.
    pub(crate) fn begin(&mut self, min: Duration, max: Duration, rtt: Duration) -> Duration {
        let max = max.max(min);
        self.shortest = min.max(rtt * ROUND_TRIPS).min(max);
        let factor = 1u32.checked_shl(self.unproductive).unwrap_or(u32::MAX);
        self.shortest.saturating_mul(factor).min(max)
    }

    /// Ends a hold by an eviction, at either end.
    pub(crate) fn ended(&mut self, hold: Hold) {
        self.unproductive = match hold {
            Hold::Productive => 0,
            Hold::Unproductive => self.unproductive.saturating_add(1),
        };
    }

    /// How long a hold of another peer is likely to be.
    pub(crate) const fn shortest(&self) -> Duration {
        self.shortest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(200);
    const MAX: Duration = Duration::from_secs(60);
    const NEAR: Duration = Duration::from_millis(1);

    #[test]
    fn a_hold_is_several_round_trips_long() {
        let mut time = HoldTime::default();
        assert_eq!(time.begin(MIN, MAX, NEAR), MIN);
        let far = Duration::from_millis(240);
        assert_eq!(time.begin(MIN, MAX, far), 4 * far);
        assert_eq!(time.begin(Duration::ZERO, MAX, far), 4 * far);
        assert_eq!(time.begin(MIN, MAX, MAX), MAX, "whatever the path is");
    }

    #[test]
    fn unproductive_holds_grow_to_the_cap_until_one_is_productive() {
        let mut time = HoldTime::default();
        for factor in [1, 2, 4, 8] {
            assert_eq!(time.begin(MIN, MAX, NEAR), factor * MIN);
            time.ended(Hold::Unproductive);
        }
        for _ in 0..100 {
            time.ended(Hold::Unproductive);
        }
        assert_eq!(time.begin(MIN, MAX, NEAR), MAX);
        assert_eq!(time.shortest(), MIN);
        time.ended(Hold::Productive);
        assert_eq!(time.begin(MIN, MAX, NEAR), MIN);
    }
}
