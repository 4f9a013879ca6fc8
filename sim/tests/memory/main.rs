//! Memory of machines beside their metrics of it: every byte of the heap is counted.

#[path = "../hostile/bytes.rs"]
#[expect(dead_code, reason = "shared with the tests of bad input")]
mod bytes;
mod heap;
mod hoards;
mod loads;
mod queues;
#[path = "../hostile/raw.rs"]
#[expect(dead_code, reason = "shared with the tests of bad input")]
mod raw;
mod sessions;
mod turns;
mod wire;

/// A share of something.
#[derive(Debug, Clone, Copy)]
struct Percent(usize);

impl Percent {
    fn of(self, whole: usize) -> usize {
        whole * self.0 / 100
    }
}
