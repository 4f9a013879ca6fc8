//! How long to wait between dials that fail.

use std::time::{Duration, Instant};

use crate::{Backoff, Reason, rng::Rng};

/// The failures of one peer since it was last proved stable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    count: u32,
    /// Dials in a row for which the peer had no room.
    refusals: u32,
}

/// What has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The peer is there, and has no room at this moment.
    NoRoom,
    /// Anything else.
    Error,
}

impl Kind {
    /// What a dial or a connection has failed by.
    pub(crate) const fn of(reason: &Reason) -> Self {
        match reason.is_busy() {
            true => Self::NoRoom,
            false => Self::Error,
        }
    }
}

impl Failures {
    /// Failures in a row. A peer without room has not failed.
    pub(crate) const fn count(self) -> u32 {
        self.count
    }

    /// The peer had room. Whether the connection is any good is still to be seen.
    pub(crate) fn admitted(&mut self) {
        self.refusals = 0;
    }

    /// A connection has proved stable.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// A dial or a young connection has failed: when to dial again.
    ///
    /// Full jitter: a random part of the exponential delay, so that peers which failed together
    /// do not return together. What the peer asked for comes on top, capped at the largest delay.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        backoff: &Backoff,
        kind: Kind,
        asked: Option<Duration>,
        rng: &mut Rng,
    ) -> Instant {
        let count = match kind {
            Kind::NoRoom => &mut self.refusals,
            Kind::Error => &mut self.count,
        };
        let ceiling = ceiling(backoff, *count);
        *count = count.saturating_add(1);
        let delay = asked.unwrap_or_default() + ceiling.mul_f64(rng.fraction());
        now + delay.min(backoff.max)
    }
}

fn ceiling(backoff: &Backoff, failures: u32) -> Duration {
    let exponent = i32::try_from(failures).unwrap_or(i32::MAX);
    let seconds = backoff.initial.as_secs_f64() * backoff.factor.powi(exponent);
    // An infinite product is as good as a large one.
    Duration::try_from_secs_f64(seconds).map_or(backoff.max, |delay| delay.min(backoff.max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rng::Rng, testing::epoch};
    use proptest::prelude::*;

    #[test]
    fn ceilings_grow_to_the_cap() {
        let backoff = Backoff::default();
        assert_eq!(ceiling(&backoff, 0), Duration::from_secs(1));
        assert_eq!(ceiling(&backoff, 1), Duration::from_millis(1_600));
        assert_eq!(ceiling(&backoff, 40), backoff.max);
        assert_eq!(ceiling(&backoff, u32::MAX), backoff.max);
    }

    #[test]
    fn peers_that_failed_together_do_not_return_together() {
        let backoff = Backoff::default();
        let now = epoch();
        let mut delays: Vec<Duration> = (0..100u8)
            .map(|peer| {
                let mut rng = Rng::new([peer; 32]);
                Failures::default().failed(now, &backoff, Kind::Error, None, &mut rng) - now
            })
            .collect();
        delays.sort();
        assert!(delays[10] < backoff.initial / 4, "{:?}", delays[10]);
        assert!(delays[90] > backoff.initial * 3 / 4, "{:?}", delays[90]);
    }

    #[test]
    fn a_peer_without_room_is_asked_less_and_less_often_and_has_not_failed() {
        let backoff = Backoff::default();
        let now = epoch();
        let mut failures = Failures::default();
        let mut rng = Rng::new([1; 32]);
        let mut longest = Duration::ZERO;
        for _ in 0..40 {
            let at = failures.failed(now, &backoff, Kind::NoRoom, None, &mut rng);
            longest = longest.max(at - now);
        }
        assert!(longest > backoff.max / 2, "{longest:?}");
        assert_eq!(failures.count(), 0);
        failures.admitted();
        let at = failures.failed(now, &backoff, Kind::NoRoom, None, &mut rng);
        assert!(at - now <= backoff.initial);
    }

    proptest! {
        #[test]
        fn delays_keep_their_bounds(
            seed in any::<[u8; 32]>(),
            count in prop_oneof![0..12u32, 0..2_000u32],
            initial_ms in 1..10_000u64,
            factor in 1.0..10.0f64,
            asked_ms in prop::option::of(0..1_000_000u64),
        ) {
            let initial = Duration::from_millis(initial_ms);
            let backoff = Backoff { initial, factor, max: initial * 50 };
            let asked = asked_ms.map(Duration::from_millis);
            let now = epoch();
            let mut failures = Failures { count, refusals: 0 };
            let delay = failures.failed(now, &backoff, Kind::Error, asked, &mut Rng::new(seed)) - now;
            prop_assert!(delay <= backoff.max);
            prop_assert!(delay >= asked.unwrap_or_default().min(backoff.max));
            prop_assert!(delay <= ceiling(&backoff, count) + asked.unwrap_or_default());
            prop_assert_eq!(failures.count(), count + 1);
        }
    }
}
