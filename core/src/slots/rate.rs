//! Limits the dials per second.

use std::time::{Duration, Instant};

use super::Priority;

/// A token bucket over all peers: at most `rate` dials in any second, and a burst.
///
/// Foreground dials are delayed by foreground dials alone; background dials take what these leave. So
/// there may be two bursts in all, once: background dials first, and foreground dials on top of them.
#[derive(Debug)]
pub(crate) struct DialRate {
    spacing: Duration,
    burst: Duration,
    /// When the bucket would be full, in debt to the future while it is not.
    full_at: Instant,
    /// The same, without background dials.
    foreground_full_at: Instant,
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
            foreground_full_at: now,
        }
    }

    /// Whether there is a token, or when there will be one.
    pub(crate) fn check(&self, now: Instant, priority: Priority) -> Result<(), Instant> {
        let full_at = match priority {
            Priority::Foreground => self.foreground_full_at,
            Priority::Background => self.full_at,
        };
        let full_at = full_at.max(now) + self.spacing;
        if full_at > now + self.burst {
            return Err(full_at - self.burst);
        }
        Ok(())
    }

    /// Takes a token, there or not: the next dial waits until it would have been.
    pub(crate) fn owe(&mut self, now: Instant, priority: Priority) {
        self.full_at = self.full_at.max(now) + self.spacing;
        if priority == Priority::Foreground {
            self.foreground_full_at = self.foreground_full_at.max(now) + self.spacing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;
    use proptest::prelude::*;

    impl DialRate {
        /// Takes a token, or returns when there will be one.
        fn take(&mut self, now: Instant, priority: Priority) -> Result<(), Instant> {
            self.check(now, priority)?;
            self.owe(now, priority);
            Ok(())
        }
    }

    /// Dials, each after a pause in milliseconds.
    fn asks() -> impl Strategy<Value = Vec<(u64, Priority)>> {
        let priority = prop_oneof![Just(Priority::Foreground), Just(Priority::Background)];
        prop::collection::vec((0..50u64, priority), 1..300)
    }

    proptest! {
        #[test]
        fn the_rate_is_kept_and_no_dial_waits_in_vain(rate in 1..1_000u32, asks in asks()) {
            let mut now = epoch();
            let start = now;
            let mut bucket = DialRate::new(rate, now);
            let mut taken = 0u32;
            for (pause, priority) in asks {
                now += Duration::from_millis(pause);
                match bucket.take(now, priority) {
                    Ok(()) => taken += 1,
                    Err(at) => {
                        prop_assert!(at > now);
                        now = at;
                        prop_assert_eq!(bucket.take(now, priority), Ok(()));
                        taken += 1;
                    }
                }
            }
            let burst = (f64::from(rate) / 10.0).max(1.0);
            let allowed = (now - start).as_secs_f64() * f64::from(rate) + 2.0 * burst + 1.0;
            prop_assert!(f64::from(taken) <= allowed, "{} dials, {} allowed", taken, allowed);
        }

        #[test]
        fn failure_20_background_dials_never_delay_foreground_dials(rate in 1..1_000u32, asks in asks()) {
            let mut now = epoch();
            let mut bucket = DialRate::new(rate, now);
            let mut without = DialRate::new(rate, now);
            for (pause, priority) in asks {
                now += Duration::from_millis(pause);
                let taken = bucket.take(now, priority);
                if priority == Priority::Foreground {
                    prop_assert_eq!(taken, without.take(now, priority));
                }
            }
        }
    }
}
