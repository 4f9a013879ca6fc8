//! Datagrams that wait at this end: to be sent once, or to be read.
//!
//! Each queue is bounded in bytes. The oldest make room for the newest, since what is sent without
//! being kept is worth most when it is new.

use std::collections::VecDeque;

use bytes::Bytes;

/// What a datagram takes beside its payload, in bytes, generously: so that the bound holds for
/// empty ones too.
pub(crate) const COST: usize = 64;

/// Datagrams of one peer, in both directions.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    /// Accepted, and not in a packet.
    pub(crate) unsent: DatagramQueue,
    /// Arrived, and not taken by the application.
    pub(crate) unread: DatagramQueue,
    /// Whether the unread ones were reported to the application.
    pub(crate) is_announced: bool,
    /// The longest that can be sent, as last reported to the application.
    pub(crate) told_max: Option<usize>,
    /// Their part in the machine's count of bytes.
    pub(crate) counted_bytes: usize,
}

impl Datagrams {
    /// What both queues count for, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.unsent.bytes + self.unread.bytes
    }

    /// Whether nothing is to be kept of them.
    pub(crate) fn are_unused(&self) -> bool {
        self.unsent.is_empty() && self.unread.is_empty() && self.told_max.is_none()
    }
}

/// Datagrams that wait, in a bounded number of bytes: the oldest make room for the newest.
///
/// A driver gathers in one what other threads send:
/// [`Driver::handle_staged_datagrams`](crate::driver::Driver::handle_staged_datagrams) takes it over.
#[derive(Debug, Default)]
pub struct DatagramQueue {
    row: VecDeque<Bytes>,
    bytes: usize,
    crowded_out: u64,
}

impl DatagramQueue {
    /// Puts one at the end. For want of room the oldest are dropped, and the new one itself if it
    /// does not fit even alone. Each counts for 64 bytes more than it has.
    pub fn push(&mut self, datagram: Bytes, bytes_max: usize) {
        while self.bytes + cost(&datagram) > bytes_max {
            self.crowded_out += 1;
            if self.pop().is_none() {
                return;
            }
        }
        self.bytes += cost(&datagram);
        self.row.push_back(datagram);
    }

    /// Whether nothing waits, and all that was dropped was counted.
    pub fn is_empty(&self) -> bool {
        self.row.is_empty() && self.crowded_out == 0
    }

    /// What those that wait count for, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The oldest.
    pub(crate) fn front(&self) -> Option<&Bytes> {
        self.row.front()
    }

    /// Takes the oldest.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let datagram = self.row.pop_front()?;
        self.bytes -= cost(&datagram);
        Some(datagram)
    }

    /// How many were dropped for want of room since this was last asked.
    pub(crate) fn take_crowded_out(&mut self) -> u64 {
        std::mem::take(&mut self.crowded_out)
    }

    /// Drops all, and returns how many they were. Their memory is given back.
    #[must_use]
    pub(crate) fn clear(&mut self) -> u64 {
        let dropped = self.row.len() as u64;
        *self = Self::default();
        dropped
    }
}

/// What a datagram counts for, in bytes.
pub(crate) const fn cost(datagram: &Bytes) -> usize {
    datagram.len() + COST
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn datagram(number: u8, len: usize) -> Bytes {
        vec![number; len].into()
    }

    #[test]
    fn the_oldest_make_room() {
        let mut queue = DatagramQueue::default();
        let max = 3 * (100 + COST);
        for number in 0..3 {
            queue.push(datagram(number, 100), max);
        }
        assert_eq!(queue.take_crowded_out(), 0);
        queue.push(datagram(3, 101), max);
        assert_eq!(queue.take_crowded_out(), 2, "one byte too many");
        assert_eq!(queue.pop(), Some(datagram(2, 100)));
        assert_eq!(queue.pop(), Some(datagram(3, 101)));
        assert_eq!((queue.pop(), queue.bytes()), (None, 0));
    }

    #[test]
    fn one_that_never_fits_is_dropped_itself() {
        let mut queue = DatagramQueue::default();
        queue.push(datagram(0, 10), 100);
        queue.push(datagram(1, 100), 100);
        assert!(!queue.is_empty(), "two are to be counted");
        assert_eq!(queue.take_crowded_out(), 2);
        assert!(queue.is_empty());
    }

    proptest! {
        #[test]
        fn each_one_is_in_the_queue_taken_or_counted(lens in prop::collection::vec(0usize..300, 1..100), max in 0usize..2_000) {
            let mut queue = DatagramQueue::default();
            let mut taken = 0;
            for (number, len) in lens.iter().enumerate() {
                queue.push(datagram(number as u8, *len), max);
                prop_assert!(queue.bytes() <= max);
                if number % 3 == 0 {
                    taken += u64::from(queue.pop().is_some());
                }
            }
            let dropped = queue.take_crowded_out();
            prop_assert_eq!(dropped + taken + queue.clear(), lens.len() as u64);
            prop_assert_eq!(queue.bytes(), 0);
        }
    }
}
