//! The heap of this process, counted to the byte, and one test at a time on it.

use std::{
    alloc::System,
    sync::{Mutex, MutexGuard, PoisonError},
};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

static ALONE: Mutex<()> = Mutex::new(());

/// No other test of this process allocates until this is dropped.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes by which the heap grows, or shrinks, while this is done.
pub(crate) fn growth<T>(work: impl FnOnce() -> T) -> (T, isize) {
    let before = held();
    let outcome = work();
    (outcome, held().wrapping_sub(before))
}

/// How often anything was allocated, or moved to a place of another size.
pub(crate) fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

fn held() -> isize {
    let stats = ALLOCATOR.stats();
    stats
        .bytes_allocated
        .wrapping_sub(stats.bytes_deallocated)
        .cast_signed()
}
