//! Virtual time: nanoseconds since the run began.

use std::time::{Duration, Instant};

/// The clock of a run. It stands still until it is moved.
#[derive(Debug)]
pub(crate) struct Clock {
    epoch: Instant,
    now: Duration,
}

impl Clock {
    pub(crate) fn new() -> Self {
        // An `Instant` cannot be made from a number. This is the one look at the real clock, and
        // nothing depends on what it says: machines see differences only.
        let epoch = Instant::now();
        Self {
            epoch,
            now: Duration::ZERO,
        }
    }

    /// How long the run has lasted.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// The present as machines see it.
    pub(crate) fn instant(&self) -> Instant {
        self.epoch + self.now
    }

    /// When a machine's deadline is, counted from the beginning.
    pub(crate) fn since_start(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.epoch)
    }

    pub(crate) fn advance_to(&mut self, time: Duration) {
        assert!(time >= self.now, "the clock never goes backwards");
        self.now = time;
    }
}
