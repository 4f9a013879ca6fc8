//! Virtual time: nanoseconds since the run began.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The time of a wall clock when a run begins, in milliseconds since the Unix epoch: some day in
/// 2026, and any other would do.
const WALL_CLOCK_MS: u64 = 1_780_000_000_000;

/// The clock of a run. It stands still until it is moved.
#[derive(Debug)]
pub(crate) struct Clock {
    epoch: Instant,
    now: Duration,
    /// `now` in nanoseconds, for wall clocks.
    shown: Arc<AtomicU64>,
}

/// The wall clock of a simulated process.
#[derive(Debug, Clone)]
pub struct WallClock {
    run_ns: Arc<AtomicU64>,
    ahead: Duration,
}

impl WallClock {
    /// The time since the Unix epoch.
    pub fn now(&self) -> Duration {
        let run = Duration::from_nanos(self.run_ns.load(Ordering::Relaxed));
        Duration::from_millis(WALL_CLOCK_MS) + run + self.ahead
    }
}

#[cfg(feature = "tls")]
impl rustls::time_provider::TimeProvider for WallClock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(self.now()))
    }
}

impl Clock {
    pub(crate) fn new() -> Self {
        // An `Instant` cannot be made from a number. This is the one look at the real clock, and
        // nothing depends on its value: machines see differences only.
        let epoch = Instant::now();
        Self {
            epoch,
            now: Duration::ZERO,
            shown: Arc::default(),
        }
    }

    /// A wall clock that runs with this one, and is ahead of those of others.
    pub(crate) fn wall_clock(&self, ahead: Duration) -> WallClock {
        WallClock {
            run_ns: self.shown.clone(),
            ahead,
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
        self.shown.store(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_runs_with_the_run() {
        let mut clock = Clock::new();
        let [right, ahead] = [0, 60].map(|secs| clock.wall_clock(Duration::from_secs(secs)));
        let began = right.now();
        clock.advance_to(Duration::from_millis(1_500));
        assert_eq!(right.now() - began, Duration::from_millis(1_500));
        assert_eq!(ahead.now() - right.now(), Duration::from_secs(60));
    }
}
