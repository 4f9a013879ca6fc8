//! A token bucket in the machine's time.

use std::time::{Duration, Instant};

/// Admits so many things a second, and a burst of them. It is full at first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    spacing: Duration,
    burst: Duration,
    /// When it would be full, in debt to the future while it is not.
    full_at: Instant,
}

impl Bucket {
    pub(crate) fn new(now: Instant, per_second: u32, burst: u32) -> Self {
        let spacing = Duration::from_secs(1) / per_second;
        Self {
            spacing,
            burst: spacing * burst,
            full_at: now,
        }
    }

    /// Takes this many tokens, if there are as many.
    pub(crate) fn take(&mut self, now: Instant, count: u32) -> bool {
        let full_at =
            self.full_at.max(now) + self.spacing.saturating_mul(count).min(2 * self.burst);
        let has_them = full_at <= now + self.burst;
        if has_them {
            self.full_at = full_at;
        }
        has_them
    }

    /// Gives this many tokens back, as far as there is room for them.
    pub(crate) fn give_back(&mut self, now: Instant, count: u64) {
        if self.full_at > now {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let back = self.spacing.saturating_mul(count);
            self.full_at -= back.min(self.full_at - now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_rate_is_kept_and_none_is_refused_without_need(
            rate in 1..1_000u32,
            burst in 1..100u32,
            pauses in prop::collection::vec(0..50u64, 1..300),
        ) {
            let start = epoch();
            let mut bucket = Bucket::new(start, rate, burst);
            let (mut now, mut taken) = (start, 0u32);
            for pause in pauses {
                now += Duration::from_millis(pause);
                let earned = (now - start).as_secs_f64() * f64::from(rate) + f64::from(burst);
                match bucket.take(now, 1) {
                    true => taken += 1,
                    // All of the burst and what was earned since is used up, or it was full for a while.
                    false => prop_assert!(taken >= burst),
                }
                prop_assert!(f64::from(taken) <= earned + 0.001, "{} of {}", taken, earned);
            }
            now += Duration::from_secs(101);
            prop_assert!(bucket.take(now, burst) && !bucket.take(now, 1));
            prop_assert!(!bucket.take(now, u32::MAX));
            bucket.give_back(now, u64::MAX);
            prop_assert!(bucket.take(now, burst) && !bucket.take(now, 1));
            bucket.give_back(now, 1);
            prop_assert!(bucket.take(now, 1) && !bucket.take(now, 1));
        }
    }
}
