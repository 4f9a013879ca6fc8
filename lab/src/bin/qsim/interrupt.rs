//! Ctrl-C: what has begun comes to an end, and the results by then are printed.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The exit code of what was interrupted, as shells have it.
pub(crate) const EXIT_CODE: u8 = 130;

/// From here on Ctrl-C is only noted.
pub(crate) fn watch() {
    // Without a handler Ctrl-C ends the program without a summary, which is no reason not to run.
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed));
}

pub(crate) fn has_come() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
