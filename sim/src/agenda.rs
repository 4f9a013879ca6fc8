//! What is due, in the order of time; within one instant by rank, and then by insertion.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Duration,
};

use slab::Slab;

/// A queue in the order of time.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    heap: BinaryHeap<Reverse<Entry>>,
    /// The values of entries: they stay in place while entries move in the heap.
    slots: Slab<T>,
    inserted: u64,
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    rank: u64,
    seq: u64,
    slot: usize,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            slots: Slab::new(),
            inserted: 0,
        }
    }

    pub(crate) fn insert(&mut self, at: Duration, what: T) {
        self.insert_ranked(at, 0, what);
    }

    /// Of entries that are due at one instant, those of a lower rank come first.
    pub(crate) fn insert_ranked(&mut self, at: Duration, rank: u64, what: T) {
        let seq = self.inserted;
        self.inserted += 1;
        let slot = self.slots.insert(what);
        let entry = Entry {
            at,
            rank,
            seq,
            slot,
        };
        self.heap.push(Reverse(entry));
    }

    /// When the first entry is due, and what it is.
    pub(crate) fn first(&self) -> Option<(Duration, &T)> {
        let Reverse(entry) = self.heap.peek()?;
        Some((entry.at, &self.slots[entry.slot]))
    }

    pub(crate) fn take_first(&mut self) -> Option<T> {
        let Reverse(entry) = self.heap.pop()?;
        Some(self.slots.remove(entry.slot))
    }
}

impl Entry {
    fn key(&self) -> (Duration, u64, u64) {
        (self.at, self.rank, self.seq)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_by_time_and_then_by_insertion() {
        let mut agenda = Agenda::new();
        for (at, what) in [(5, 'd'), (1, 'a'), (3, 'b'), (3, 'c'), (5, 'e')] {
            agenda.insert(Duration::from_nanos(at), what);
        }
        assert_eq!(agenda.first(), Some((Duration::from_nanos(1), &'a')));
        let order: String = std::iter::from_fn(|| agenda.take_first()).collect();
        assert_eq!(order, "abcde");
    }

    #[test]
    fn rank_decides_within_one_instant_only() {
        let mut agenda = Agenda::new();
        for (at, rank, what) in [(2, 0, 'd'), (1, 9, 'c'), (1, 3, 'a'), (1, 3, 'b')] {
            agenda.insert_ranked(Duration::from_nanos(at), rank, what);
        }
        let order: String = std::iter::from_fn(|| agenda.take_first()).collect();
        assert_eq!(order, "abcd");
    }
}
