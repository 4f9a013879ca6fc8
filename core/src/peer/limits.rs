//! How many dials a second.

use std::time::{Duration, Instant};

/// A token bucket over all peers: at most `rate` dials in any second.
#[derive(Debug)]
pub(crate) struct DialRate {
    spacing: Duration,
    burst: Duration,
    /// When the bucket would be full, in debt to the future while it is not.
    full_at: Instant,
}

impl DialRate {
    /// A full bucket.
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        let spacing = Duration::from_secs(1) / rate.max(1);
        Self {
            spacing,
            // A tenth of a second's worth, and one dial at least: enough to start a mesh at once,
            // too little to be a herd.
            burst: Duration::from_millis(100).max(spacing),
            full_at: now,
        }
    }

    /// Whether there is a token, or when there will be one.
    pub(crate) fn check(&self, now: Instant) -> Result<(), Instant> {
        let full_at = self.full_after(now);
        if full_at > now + self.burst {
            return Err(full_at - self.burst);
        }
        Ok(())
    }

    /// Takes a token, or says when there will be one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.check(now)?;
        self.full_at = self.full_after(now);
        Ok(())
    }

    fn full_after(&self, now: Instant) -> Instant {
        self.full_at.max(now) + self.spacing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_rate_is_kept_and_nobody_waits_in_vain(rate in 1..1_000u32, pauses in prop::collection::vec(0..50u64, 1..300)) {
            let mut now = epoch();
            let start = now;
            let mut bucket = DialRate::new(rate, now);
            let mut taken = 0u32;
            for pause in pauses {
                now += Duration::from_millis(pause);
                match bucket.take(now) {
                    Ok(()) => taken += 1,
                    Err(at) => {
                        prop_assert!(at > now);
                        now = at;
                        prop_assert_eq!(bucket.take(now), Ok(()));
                        taken += 1;
                    }
                }
            }
            let allowed = (now - start).as_secs_f64() * f64::from(rate) + (f64::from(rate) / 10.0).max(1.0) + 1.0;
            prop_assert!(f64::from(taken) <= allowed, "{} dials, {} allowed", taken, allowed);
        }
    }
}
