//! CPU time of this thread: others on the same cores do not count.

use std::{fs, time::Duration, time::Instant};

/// A moment.
pub(crate) enum CpuClock {
    /// What the scheduler has given to this thread (Linux).
    Thread(Duration),
    /// Where the scheduler does not report it: the time on the wall.
    Wall(Instant),
}

impl CpuClock {
    pub(crate) fn start() -> Self {
        thread_time().map_or_else(|| Self::Wall(Instant::now()), Self::Thread)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        match self {
            Self::Thread(start) => thread_time().unwrap_or(*start).saturating_sub(*start),
            Self::Wall(start) => start.elapsed(),
        }
    }
}

/// How many per second.
pub(crate) fn rate<R>(count: u64, work: impl FnOnce() -> R) -> f64 {
    let clock = CpuClock::start();
    std::hint::black_box(work());
    count as f64 / clock.elapsed().as_secs_f64().max(f64::MIN_POSITIVE)
}

/// The first number of `schedstat`: nanoseconds on a core, with the grain of the scheduler's tick.
fn thread_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}
