//! Makes voids of messages: those that are withdrawn, have expired, or are too long for the peer.

use std::time::Instant;

use super::Outbox;
use crate::{
    peer::batch,
    wire::record::{HEADER_LEN, SHARED_BYTES},
};

impl Outbox {
    /// Withdraws a message that was never written, to any process of the peer: its number becomes a void, and its
    /// room is free. Returns whether that was so.
    pub(crate) fn withdraw(&mut self, number: u64) -> bool {
        let written = self.written.max(self.queue().written_before);
        let is_unwritten = number >= written && number < self.next();
        if !is_unwritten || self.queue().voids.contains(number) {
            return false;
        }
        self.void(number);
        true
    }

    /// Gives a message a lifetime, which may come before the message.
    pub(crate) fn expires_at(&mut self, until: Instant, number: u64) {
        self.made().lifetimes.insert((until, number));
    }

    /// Takes the next message whose lifetime has ended.
    pub(crate) fn next_expired(&mut self, now: Instant) -> Option<u64> {
        let lifetimes = &mut self.queue.get_mut()?.lifetimes;
        lifetimes.first().filter(|(until, _)| *until <= now)?;
        lifetimes.pop_first().map(|(_, number)| number)
    }

    /// The end of the next lifetime.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.queue().lifetimes.first().map(|(until, _)| *until)
    }

    /// Makes voids of all messages that are longer than `max` and not known to have arrived. Returns their
    /// numbers and lengths.
    pub(crate) fn void_longer_than(&mut self, max: usize) -> Vec<(u64, usize)> {
        let queue = self.queue();
        let mut long = Vec::new();
        let batches = queue.batches.iter();
        for batch in batches.filter(|batch| batch.longest > max) {
            let lengths = batch::lengths(&batch.record[HEADER_LEN..]);
            let numbered = (batch.header.first..).zip(lengths);
            long.extend(numbered.filter(|(number, _)| *number >= self.received));
        }
        if queue.open.longest_message() > max {
            long.extend((self.numbered..).zip(queue.open.lengths()));
        }
        long.retain(|(_, len)| *len > max);
        for (number, _) in &long {
            self.void(*number);
        }
        long
    }

    /// Lets go of the message with a number that is held.
    fn void(&mut self, number: u64) {
        let numbered = self.numbered;
        let queue = self.made();
        queue.part_end = None;
        queue.voids.add(number);
        if number >= numbered {
            queue.open.blank((number - numbered) as usize);
            return;
        }
        let batches = &mut queue.batches;
        let at = batches.partition_point(|batch| batch.header.next() <= number);
        let batch = &mut batches[at];
        queue.bytes -= batch.header.len as usize;
        queue.records_memory -= batch.memory;
        let mut record = batch.record.to_vec();
        batch::blank(&mut record, (number - batch.header.first) as usize);
        batch.header.len = (record.len() - HEADER_LEN) as u32;
        record[..HEADER_LEN].copy_from_slice(&batch.header.encode()[..HEADER_LEN]);
        batch.longest = batch::lengths(&record[HEADER_LEN..]).max().unwrap_or(0);
        batch.memory = record.capacity() + SHARED_BYTES;
        batch.record = record.into();
        queue.bytes += batch.header.len as usize;
        queue.records_memory += batch.memory;
    }
}
