//! What was sent, taken and reported, and whether it adds up.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// What one process has sent to a node: its messages are numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) sent: u64,
    reported: BTreeSet<u64>,
    /// How often what the receiver may have taken was sent again, as it had lost its state.
    repeats: usize,
    /// What each process of the receiver has taken, in the order in which it did.
    taken: BTreeMap<u32, Vec<u64>>,
}

impl Line {
    pub(super) fn report(&mut self, messages: Range<u64>) {
        self.reported.extend(messages);
    }

    pub(super) fn take(&mut self, life: u32, number: u64) {
        self.taken.entry(life).or_default().push(number);
    }

    /// The sender is told that messages are sent again which may have been taken before.
    pub(super) fn repeat(&mut self) {
        self.repeats += 1;
    }

    /// The first pair of messages that one process has taken in the wrong order, or twice, beyond
    /// what the sender was told of.
    pub(super) fn disorder(&self) -> Option<(u64, u64)> {
        self.taken.values().find_map(|taken| {
            let pairs = taken.windows(2).map(|pair| (pair[0], pair[1]));
            pairs.filter(|(a, b)| a >= b).nth(self.repeats)
        })
    }

    /// A message that was taken and never sent.
    pub(super) fn invented(&self) -> Option<u64> {
        let mut taken = self.taken.values().flatten();
        taken.find(|number| **number >= self.sent).copied()
    }

    /// Messages neither taken nor reported.
    pub(super) fn missing(&self) -> Vec<u64> {
        let taken: BTreeSet<u64> = self.taken.values().flatten().copied().collect();
        (0..self.sent)
            .filter(|number| !taken.contains(number) && !self.reported.contains(number))
            .collect()
    }

    /// Messages that were given up.
    pub(super) const fn given_up(&self) -> &BTreeSet<u64> {
        &self.reported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_wrong_is_noticed() {
        let mut line = Line {
            sent: 5,
            ..Line::default()
        };
        for number in [0, 1, 3] {
            line.take(0, number);
        }
        assert_eq!((line.disorder(), line.invented()), (None, None));
        assert_eq!(line.missing(), [2, 4]);
        line.report(4..5);
        assert_eq!(line.missing(), [2]);
        assert_eq!(line.given_up().len(), 1);
        line.take(1, 0);
        assert_eq!(line.disorder(), None, "another process knows nothing of it");
        line.take(0, 3);
        assert_eq!(line.disorder(), Some((3, 3)));
        line.repeat();
        assert_eq!(line.disorder(), None, "the sender knows of it");
        line.take(0, 1);
        assert_eq!(line.disorder(), Some((3, 1)), "it was told of one only");
        line.take(1, 5);
        assert_eq!(line.invented(), Some(5));
    }
}
