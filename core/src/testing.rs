//! What tests share.

use std::time::Instant;

/// Some moment: tests count from here.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can be had from nowhere else"
)]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}
