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

/// Asserts that `docs/wire.md` has these bytes in hexadecimal. Its blanks and line breaks do not
/// count.
pub(crate) fn assert_documented(what: &str, bytes: &[u8]) {
    let document: String = include_str!("../../docs/wire.md")
        .split_whitespace()
        .collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(
        document.contains(&hex),
        "docs/wire.md should contain {what}: {hex}"
    );
}
