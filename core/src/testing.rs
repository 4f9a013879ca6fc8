//! What tests of several rooms share.

use std::time::Instant;

/// When a test begins. Tests add to it, and never look at a clock again.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can be had from the clock only, and no test depends on its value"
)]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}
