//! How long a busy connection is safe from eviction.
//!
//! Peers with more to say than slots take turns, and a turn must be long enough that something
//! passes: otherwise they take the slot from each other for ever. A message has to travel and to be
//! acknowledged, so a turn is several round trips at least. And because nobody knows how long the
//! longest record needs on the slowest path, a turn in which nothing has passed makes the next one
//! twice as long, at both ends.

use std::time::Duration;

/// Round trips of a turn, at least: the other end's first data come one after our hello, and a
/// retransmission needs two more.
const ROUND_TRIPS: u32 = 4;

/// What one peer's connections are given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tenure {
    /// Turns in a row in which nothing has passed.
    fruitless: u32,
    shortest: Duration,
}

/// What has passed in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Whichever end had something to say, some of it has arrived.
    Fruitful,
    /// One end had something to say, could have, and nothing of it has arrived.
    Fruitless,
}

impl Tenure {
    /// A turn begins: how long it lasts. `min` is what the user asks for, and `max` what no peer
    /// may make of it.
    pub(crate) fn begin(&mut self, min: Duration, max: Duration, rtt: Duration) -> Duration {
        let max = max.max(min);
        self.shortest = min.max(rtt * ROUND_TRIPS).min(max);
        let factor = 1u32.checked_shl(self.fruitless).unwrap_or(u32::MAX);
        self.shortest.saturating_mul(factor).min(max)
    }

    /// A turn was ended by an eviction, at either end.
    pub(crate) fn ended(&mut self, turn: Turn) {
        self.fruitless = match turn {
            Turn::Fruitful => 0,
            Turn::Fruitless => self.fruitless.saturating_add(1),
        };
    }

    /// How long a turn of others is likely to be.
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
    fn a_turn_is_several_round_trips_long() {
        let mut tenure = Tenure::default();
        assert_eq!(tenure.begin(MIN, MAX, NEAR), MIN);
        let far = Duration::from_millis(240);
        assert_eq!(tenure.begin(MIN, MAX, far), 4 * far);
        assert_eq!(tenure.begin(Duration::ZERO, MAX, far), 4 * far);
        assert_eq!(tenure.begin(MIN, MAX, MAX), MAX, "whatever the path is");
    }

    #[test]
    fn turns_in_which_nothing_passes_grow_to_the_cap_and_start_anew_with_one_that_is_of_use() {
        let mut tenure = Tenure::default();
        for factor in [1, 2, 4, 8] {
            assert_eq!(tenure.begin(MIN, MAX, NEAR), factor * MIN);
            tenure.ended(Turn::Fruitless);
        }
        for _ in 0..100 {
            tenure.ended(Turn::Fruitless);
        }
        assert_eq!(tenure.begin(MIN, MAX, NEAR), MAX);
        assert_eq!(tenure.shortest(), MIN);
        tenure.ended(Turn::Fruitful);
        assert_eq!(tenure.begin(MIN, MAX, NEAR), MIN);
    }
}
