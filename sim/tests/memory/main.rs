//! Memory of machines beside their metrics of it: every byte of the heap is counted.

mod heap;
mod loads;
mod queues;
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
