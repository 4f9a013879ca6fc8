//! Names messages by their numbers: the one that was accepted, and those that were lost.

use std::{fmt, ops::Range};

use crate::Undeliverable;

/// The number of a message among all that were accepted for its peer, from 0.
///
/// [`Event::Undelivered`](crate::Event::Undelivered) and [`Losses`] name messages by it. A peer that
/// was forgotten and is added again may begin at 0 again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageNumber(u64);

impl MessageNumber {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for MessageNumber {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for MessageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Messages to a peer that are lost: they have left the outbox, and whether the peer's application
/// took them is unknown.
///
/// ```
/// use quicpool_core::{Losses, Undeliverable};
///
/// let losses = Losses::new(1..4, Undeliverable::PeerRestarted);
/// assert_eq!((losses.ranges(), losses.messages()), (&[1..4][..], 3));
/// assert_eq!(losses.to_string(), "messages 1..4 are undelivered: the peer has restarted");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Losses {
    /// In order, and none touches the next.
    ranges: Vec<Range<u64>>,
    messages: u64,
    reason: Undeliverable,
}

impl Losses {
    /// Ranges of numbers that are kept apart. Beyond it they become one that covers them all, with
    /// messages between them that are not lost.
    pub const RANGES_MAX: usize = 16;

    /// Names the messages of a range, which is not empty.
    #[must_use]
    pub fn new(messages: Range<u64>, reason: Undeliverable) -> Self {
        debug_assert!(!messages.is_empty(), "a loss has a message");
        Self {
            messages: messages.end - messages.start,
            ranges: vec![messages],
            reason,
        }
    }

    /// Their numbers, in order: at most [`RANGES_MAX`](Self::RANGES_MAX) ranges. If there were more, one range may cover
    /// several of them, with messages between that are not lost: then the ranges name more numbers than
    /// [`messages`](Self::messages).
    #[must_use]
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// How many they are.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Why the last of them is lost.
    #[must_use]
    pub const fn reason(&self) -> Undeliverable {
        self.reason
    }

    /// Adds messages that are lost, too.
    pub(crate) fn add(&mut self, messages: Range<u64>, reason: Undeliverable) {
        self.messages += messages.end - messages.start;
        self.reason = reason;
        self.insert(messages);
        self.bound();
    }

    /// Adds other losses. Messages that both name count once, as far as their numbers are exact.
    pub(crate) fn merge(&mut self, other: &Self) {
        let are_exact = self.messages == self.covered() && other.messages == other.covered();
        let sum = self.messages + other.messages;
        for range in &other.ranges {
            self.insert(range.clone());
        }
        self.messages = match are_exact {
            true => self.covered(),
            false => sum.min(self.covered()),
        };
        self.reason = other.reason;
        self.bound();
    }

    /// Notes that they are at most so many.
    pub(crate) fn bound_messages(&mut self, max: u64) {
        self.messages = self.messages.min(max);
    }

    /// Messages in all ranges.
    fn covered(&self) -> u64 {
        self.ranges
            .iter()
            .map(|range| range.end - range.start)
            .sum()
    }

    fn bound(&mut self) {
        if self.ranges.len() > Self::RANGES_MAX {
            let covering = self.ranges[0].start..self.ranges[self.ranges.len() - 1].end;
            self.ranges = vec![covering];
        }
    }

    fn insert(&mut self, mut new: Range<u64>) {
        let from = self.ranges.partition_point(|range| range.end < new.start);
        let to = self.ranges.partition_point(|range| range.start <= new.end);
        if let Some(touched) = self.ranges.get(from..to).filter(|some| !some.is_empty()) {
            new.start = new.start.min(touched[0].start);
            new.end = new.end.max(touched[touched.len() - 1].end);
        }
        self.ranges.splice(from..to.max(from), [new]);
    }

    /// Bytes of memory behind it.
    pub(crate) fn memory(&self) -> usize {
        self.ranges.capacity() * size_of::<Range<u64>>()
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("messages ")?;
        for (index, range) in self.ranges.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{}..{}", range.start, range.end)?;
        }
        write!(f, " are undelivered: {}", self.reason)
    }
}

impl std::error::Error for Losses {}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: Undeliverable = Undeliverable::Goodbye;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut losses = Losses::new(4..6, WHY);
        losses.add(10..11, WHY);
        losses.add(0..2, WHY);
        assert_eq!(losses.ranges(), [0..2, 4..6, 10..11]);
        losses.add(6..10, WHY);
        assert_eq!(losses.ranges(), [0..2, 4..11]);
        losses.add(2..4, Undeliverable::Closed);
        assert_eq!(
            (losses.ranges(), losses.messages()),
            (std::slice::from_ref(&(0..11)), 11)
        );
        assert_eq!(losses.reason(), Undeliverable::Closed);
    }

    #[test]
    fn a_message_that_is_named_twice_counts_once() {
        let mut losses = Losses::new(1..4, WHY);
        losses.merge(&Losses::new(1..4, WHY));
        assert_eq!(losses, Losses::new(1..4, WHY));
        let mut other = Losses::new(0..2, WHY);
        other.add(3..6, WHY);
        losses.merge(&other);
        assert_eq!(losses, Losses::new(0..6, WHY));
    }

    #[test]
    fn too_many_ranges_become_one_that_covers_them() {
        let mut losses = Losses::new(0..1, WHY);
        for n in 1..=Losses::RANGES_MAX as u64 {
            losses.add(10 * n..10 * n + 2, WHY);
        }
        assert_eq!(losses.ranges(), std::slice::from_ref(&(0..162)));
        assert_eq!(losses.messages(), 33, "the count stays exact");
        losses.add(200..201, WHY);
        assert_eq!(losses.ranges(), [0..162, 200..201]);
    }
}
