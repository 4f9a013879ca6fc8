//! Numbers of a line that have no message: they keep their place on the wire, so that numbers have no gaps.

use std::ops::Range;

/// A set of numbers, as ranges: in order, and none touches the next.
#[derive(Debug, Default)]
pub(crate) struct Voids(Vec<Range<u64>>);

impl Voids {
    /// A set of none.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The place of the first range that ends behind a number.
    fn place(&self, number: u64) -> usize {
        self.0.partition_point(|range| range.end <= number)
    }

    /// Adds a number.
    pub(crate) fn add(&mut self, number: u64) {
        let at = self.0.partition_point(|range| range.end < number);
        let joins_next = |range: &Range<u64>| range.start <= number + 1;
        match self.0.get_mut(at).filter(|range| joins_next(range)) {
            Some(range) => {
                range.start = range.start.min(number);
                range.end = range.end.max(number + 1);
            }
            None => self.0.insert(at, number..number + 1),
        }
        let ends_at = self.0[at].end;
        if let Some(next) = self.0.get(at + 1)
            && next.start <= ends_at
        {
            self.0[at].end = next.end;
            self.0.remove(at + 1);
        }
    }

    /// Whether a number is in the set.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.next(number).is_some_and(|range| range.start <= number)
    }

    /// The first range that ends behind a number.
    pub(crate) fn next(&self, number: u64) -> Option<&Range<u64>> {
        self.0.get(self.place(number))
    }

    /// How many numbers of a range are in the set.
    pub(crate) fn count(&self, within: &Range<u64>) -> u64 {
        let ranges = self.0[self.place(within.start)..].iter();
        let parts = ranges.map(|range| {
            let (start, end) = (range.start.max(within.start), range.end.min(within.end));
            end.saturating_sub(start)
        });
        parts.sum()
    }

    /// The parts of a range that are not in the set.
    pub(crate) fn others(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let mut others = Vec::new();
        let mut next = within.start;
        for range in &self.0[self.place(within.start)..] {
            if range.start >= within.end {
                break;
            }
            if range.start > next {
                others.push(next..range.start);
            }
            next = range.end;
        }
        if next < within.end {
            others.push(next..within.end);
        }
        others
    }

    /// Forgets all numbers before one.
    pub(crate) fn forget_before(&mut self, number: u64) {
        if self.0.is_empty() {
            return;
        }
        let place = self.place(number);
        self.0.drain(..place);
        if let Some(first) = self.0.first_mut() {
            first.start = first.start.max(number);
        } else {
            self.0 = Vec::new();
        }
    }

    /// Bytes of memory beside its own.
    pub(crate) const fn memory(&self) -> usize {
        self.0.capacity() * size_of::<Range<u64>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(
            numbers in prop::collection::vec(0u64..60, 0..60),
            start in 0u64..60, length in 0u64..60, before in 0u64..60,
        ) {
            let (mut voids, mut model) = (Voids::new(), BTreeSet::new());
            for number in numbers {
                voids.add(number);
                model.insert(number);
            }
            for forget in [None, Some(before)] {
                if let Some(before) = forget {
                    voids.forget_before(before);
                    model.retain(|number| *number >= before);
                }
                let within = start..start + length;
                prop_assert_eq!(voids.count(&within), model.range(within.clone()).count() as u64);
                let others: Vec<u64> = voids.others(within.clone()).into_iter().flatten().collect();
                let expected: Vec<u64> = within.filter(|n| !model.contains(n)).collect();
                prop_assert_eq!(others, expected);
                for number in 0..62 {
                    prop_assert_eq!(voids.contains(number), model.contains(&number));
                }
                prop_assert!(voids.0.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
