//! Limits rates: a token bucket that is one moment in time.

use std::time::{Duration, Instant};

/// A token bucket: `rate` tokens a second, and `burst` of them at once at most (the generic cell rate algorithm,
/// ITU-T I.371).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// When the bucket is full: in the future by `spacing` for each token that lacks.
    full_at: Instant,
    spacing: Duration,
    burst: Duration,
}

impl Bucket {
    /// A full bucket. Both are at least 1.
    pub(crate) fn new(rate: u32, burst: u32, now: Instant) -> Self {
        let spacing = Duration::from_secs(1) / rate.max(1);
        Self {
            full_at: now,
            spacing,
            burst: spacing * burst.max(1),
        }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.spacing;
        let has_one = full_at <= now + self.burst;
        if has_one {
            self.full_at = full_at;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_more_than_a_burst_and_the_rate_are_taken(
            rate in 1..5_000u32,
            burst in 1..3_000u32,
            waits in prop::collection::vec(0..20_000u64, 1..300),
        ) {
            let mut now = epoch();
            let mut bucket = Bucket::new(rate, burst, now);
            let mut taken = 0u32;
            for wait in &waits {
                now += Duration::from_micros(*wait);
                taken += u32::from(bucket.take(now));
            }
            let time: u64 = waits.iter().sum();
            let most = f64::from(burst) + time as f64 * f64::from(rate) / 1e6;
            prop_assert!(f64::from(taken) <= most + 1.0, "{taken} of {most}");
            // And no less, as far as there were takers.
            prop_assert!(taken as usize == waits.len() || f64::from(taken) + 1.0 >= f64::from(burst));
        }
    }

    #[test]
    fn a_full_bucket_has_a_burst_and_then_the_rate() {
        let start = epoch();
        let mut bucket = Bucket::new(10, 3, start);
        let takes = |bucket: &mut Bucket, at| (0..5).filter(|_| bucket.take(at)).count();
        assert_eq!(takes(&mut bucket, start), 3);
        assert_eq!(takes(&mut bucket, start + Duration::from_millis(99)), 0);
        assert_eq!(takes(&mut bucket, start + Duration::from_millis(100)), 1);
        assert_eq!(takes(&mut bucket, start + Duration::from_secs(9)), 3);
    }
}
