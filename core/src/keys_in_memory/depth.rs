//! How deep the calls with keys reach on the stack: as far as the scrub behind them has to.

use std::{fs::File, hint::black_box, os::unix::fs::FileExt};

/// Bytes of stack that are looked at; no call reaches as deep.
const PAINTED_LEN: usize = 64 * 1024;

const PAINT: u8 = 0x5a;

/// Measures how far `work` writes below this function's frame, in bytes.
#[inline(never)]
pub(crate) fn depth(work: impl FnOnce()) -> usize {
    let memory = File::open("/proc/self/mem").expect("tests run on Linux");
    let mut seen = vec![0; PAINTED_LEN];
    let top = 0u8;
    let top = std::ptr::from_ref(black_box(&top)) as u64;
    paint();
    work();
    memory
        .read_exact_at(&mut seen, top - PAINTED_LEN as u64)
        .expect("the stack is there");
    let untouched = seen.iter().take_while(|byte| **byte == PAINT).count();
    PAINTED_LEN - untouched
}

#[inline(never)]
fn paint() {
    black_box(&mut [PAINT; PAINTED_LEN]);
}
