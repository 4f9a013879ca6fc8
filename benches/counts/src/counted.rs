//! The one function whose instructions are counted.

use std::hint::black_box;

/// Calls `work`. `callgrind --toggle-collect` counts what runs in here and nothing else.
///
/// Neither generic nor inlined, so that there is one symbol of this name. The result is used after the
/// call, or the call would become a jump, and the end of this function would not be seen.
#[inline(never)]
pub(crate) fn counted(work: &mut dyn FnMut()) {
    work();
    black_box(work);
}
