//! CPU time of this process, and a clock for the schedule.

use std::{
    mem, thread,
    time::{Duration, Instant},
};

/// User and system time that this process has used.
pub fn used() -> Duration {
    // SAFETY: all zeroes are a valid `rusage`.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: `usage` is ours and as large as the call expects.
    let outcome = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
    assert_eq!(outcome, 0, "getrusage for the own process cannot fail");
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let micros = u64::try_from(time.tv_usec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// Lets this thread wake up when it asks to, and not up to 50 µs later.
pub fn wake_exactly() {
    #[cfg(target_os = "linux")]
    // SAFETY: the call has no pointers; it changes this thread's timer slack alone.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
    }
}

/// Sleeps until a moment.
pub fn sleep_until(moment: Instant) {
    while let Some(left) = moment.checked_duration_since(Instant::now()) {
        if left.is_zero() {
            return;
        }
        thread::sleep(left);
    }
}
