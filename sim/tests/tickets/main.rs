//! Coming back by a ticket: which peer it is for, what is checked all the same, and what it costs.

mod comebacks;
mod cost;
#[expect(dead_code, reason = "the test of memory counts more")]
#[path = "../memory/heap.rs"]
mod heap;
