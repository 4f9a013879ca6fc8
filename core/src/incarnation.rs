//! Identifies the run of a process.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::rng;

/// Distinguishes one run of a process from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation {
    /// When the process started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// 64 random bits.
    pub random: u64,
}

impl Incarnation {
    /// The incarnation of a process that starts at `started`, with random bits from its secret `seed`: the one
    /// that [`Manager::new`](crate::Manager::new) is given. They reveal nothing of it.
    ///
    /// A clock before 1970 counts as 1970: the order of two processes counts only while both live.
    ///
    /// ```
    /// use quicpool_core::Incarnation;
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// let started = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    /// let incarnation = Incarnation::new(started, &[7; 32]);
    /// assert_eq!(incarnation.started_ms, 1_700_000_000_000);
    /// assert_ne!(incarnation, Incarnation::new(started, &[8; 32]));
    /// ```
    #[must_use]
    pub fn new(started: SystemTime, seed: &[u8; 32]) -> Self {
        let since = started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let [a, b, c, d, e, f, g, h, ..] = rng::derive(seed, "incarnation", &[]);
        Self {
            started_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            random: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_clock_before_the_epoch_counts_as_the_epoch() {
        let early = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Incarnation::new(early, &[0; 32]).started_ms, 0);
    }
}
