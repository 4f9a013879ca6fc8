//! How many dials a second.

use std::time::{Duration, Instant};

use super::urgency::Urgency;

/// A token bucket over all peers: at most `rate` dials in any second, and a burst.
///
/// The user's dials wait for each other and for nobody else: background dials take what they leave.
/// So in all there may be another burst, once: those of the background come first, and the user's
/// on top of them.
#[derive(Debug)]
pub(crate) struct DialRate {
    spacing: Duration,
    burst: Duration,
    /// When the bucket would be full, in debt to the future while it is not.
    full_at: Instant,
    /// The same, had nobody dialled but for the user.
    users_full_at: Instant,
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
            users_full_at: now,
        }
    }

    /// Whether there is a token, or when there will be one.
    pub(crate) fn check(&self, now: Instant, urgency: Urgency) -> Result<(), Instant> {
        let full_at = match urgency {
            Urgency::User => self.users_full_at,
            Urgency::Background => self.full_at,
        };
        let full_at = full_at.max(now) + self.spacing;
        if full_at > now + self.burst {
            return Err(full_at - self.burst);
        }
        Ok(())
    }

    /// Takes a token, or says when there will be one.
    pub(crate) fn take(&mut self, now: Instant, urgency: Urgency) -> Result<(), Instant> {
        self.check(now, urgency)?;
        self.owe(now, urgency);
        Ok(())
    }

    /// Takes a token, there or not: whoever comes next waits until it would have been.
    pub(crate) fn owe(&mut self, now: Instant, urgency: Urgency) {
        self.full_at = self.full_at.max(now) + self.spacing;
        if urgency == Urgency::User {
            self.users_full_at = self.users_full_at.max(now) + self.spacing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;
    use proptest::prelude::*;

    /// Whoever asks, after a pause of so many milliseconds.
    fn asks() -> impl Strategy<Value = Vec<(u64, Urgency)>> {
        let urgency = prop_oneof![Just(Urgency::User), Just(Urgency::Background)];
        prop::collection::vec((0..50u64, urgency), 1..300)
    }

    proptest! {
        #[test]
        fn the_rate_is_kept_and_nobody_waits_in_vain(rate in 1..1_000u32, asks in asks()) {
            let mut now = epoch();
            let start = now;
            let mut bucket = DialRate::new(rate, now);
            let mut taken = 0u32;
            for (pause, urgency) in asks {
                now += Duration::from_millis(pause);
                match bucket.take(now, urgency) {
                    Ok(()) => taken += 1,
                    Err(at) => {
                        prop_assert!(at > now);
                        now = at;
                        prop_assert_eq!(bucket.take(now, urgency), Ok(()));
                        taken += 1;
                    }
                }
            }
            let burst = (f64::from(rate) / 10.0).max(1.0);
            let allowed = (now - start).as_secs_f64() * f64::from(rate) + 2.0 * burst + 1.0;
            prop_assert!(f64::from(taken) <= allowed, "{} dials, {} allowed", taken, allowed);
        }

        #[test]
        fn failure_20_background_dials_never_delay_the_users(rate in 1..1_000u32, asks in asks()) {
            let mut now = epoch();
            let mut bucket = DialRate::new(rate, now);
            let mut without = DialRate::new(rate, now);
            for (pause, urgency) in asks {
                now += Duration::from_millis(pause);
                let taken = bucket.take(now, urgency);
                if urgency == Urgency::User {
                    prop_assert_eq!(taken, without.take(now, urgency));
                }
            }
        }
    }
}
