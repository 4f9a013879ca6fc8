//! The open batch: the tail of an outbox, to which messages are appended.

use std::{collections::VecDeque, time::Instant};

use crate::{
    Config,
    wire::{
        record::{HEADER_LEN, Header},
        varint,
    },
};

/// What a batch may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages.
    pub messages_max: usize,
    /// Bytes, framing included. A longer message is a batch of its own.
    pub bytes_max: usize,
}

impl BatchLimits {
    /// The limits of a configuration.
    #[must_use]
    pub const fn of(config: &Config) -> Self {
        Self {
            messages_max: config.batch_messages_max,
            bytes_max: config.batch_bytes_max,
        }
    }
}

/// Framed messages that gather until their batch leaves.
///
/// A driver keeps one per peer under a small lock, so that other threads append without waiting
/// for the machine. It may hold more than one batch's worth: a full batch is closed, and the next
/// message begins another.
///
/// ```
/// use quicpool_core::{
///     Config,
///     driver::{BatchLimits, OpenBatch},
/// };
/// use std::time::Instant;
///
/// let mut open = OpenBatch::new(BatchLimits::of(&Config::default()));
/// let now = Instant::now();
/// open.append(now, b"hello");
/// assert_eq!(open.messages(), 1);
/// assert_eq!(open.bytes(), OpenBatch::cost(5));
/// assert_eq!(open.first_queued_at(), Some(now));
/// ```
#[derive(Debug)]
pub struct OpenBatch {
    limits: BatchLimits,
    full: VecDeque<Framed>,
    /// Bytes of memory behind the records of `full`.
    full_memory: usize,
    tail: Option<Framed>,
    messages: usize,
    bytes: usize,
    express: Express,
}

/// What part of a batch's length may be reserved beyond it without being given back.
const SLACK: usize = 16;

/// Batches for which a queue keeps its place when it is empty.
const KEPT: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Express {
    No,
    Asked,
}

/// One batch's messages, with room for the record's header before them.
#[derive(Debug)]
pub(crate) struct Framed {
    record: Vec<u8>,
    messages: usize,
    /// Bytes of the longest message.
    longest: usize,
    first_queued_at: Instant,
}

impl OpenBatch {
    /// An empty batch.
    pub const fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            full: VecDeque::new(),
            full_memory: 0,
            tail: None,
            messages: 0,
            bytes: 0,
            express: Express::No,
        }
    }

    /// Bytes that a message of this length takes from the outbox's room, framing included.
    #[must_use]
    pub const fn cost(message_len: usize) -> usize {
        varint::len(message_len as u64) + message_len
    }

    /// Appends a message. The caller has checked its length and the outbox's room.
    pub fn append(&mut self, now: Instant, message: &[u8]) {
        let cost = Self::cost(message.len());
        if self
            .tail
            .as_ref()
            .is_some_and(|tail| !tail.has_room(self.limits, 1, cost))
        {
            self.close_tail();
        }
        // Behind a full batch another full one is likely: it gets its room at once.
        let like = self.full.back().map_or(0, |full| full.body().len());
        let like = like.min(self.limits.bytes_max);
        let tail = self
            .tail
            .get_or_insert_with(|| Framed::new(now, cost, like));
        tail.append(message);
        self.messages += 1;
        self.bytes += cost;
        if tail.messages == self.limits.messages_max {
            self.close_tail();
        }
    }

    /// Whether nothing was appended since the batch was last taken.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Messages in the batch.
    #[must_use]
    pub const fn messages(&self) -> usize {
        self.messages
    }

    /// Bytes of all messages, framing included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of memory behind it, reserved ones included.
    #[must_use]
    pub fn memory(&self) -> usize {
        let tail = self.tail.as_ref().map_or(0, Framed::memory);
        self.full.capacity() * size_of::<Framed>() + self.full_memory + tail
    }

    /// When the first message was appended.
    #[must_use]
    pub fn first_queued_at(&self) -> Option<Instant> {
        self.full
            .front()
            .or(self.tail.as_ref())
            .map(|framed| framed.first_queued_at)
    }

    /// Bytes of the longest message.
    pub(crate) fn longest_message(&self) -> usize {
        let framed = self.full.iter().chain(&self.tail);
        framed.map(|framed| framed.longest).max().unwrap_or(0)
    }

    /// Bytes of each message.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        let framed = self.full.iter().chain(&self.tail);
        framed.flat_map(|framed| lengths(framed.body()))
    }

    /// Replaces a message by an empty one.
    pub(crate) fn blank(&mut self, mut index: usize) {
        let full = self.full.len();
        for (place, framed) in self.full.iter_mut().chain(&mut self.tail).enumerate() {
            if index >= framed.messages {
                index -= framed.messages;
                continue;
            }
            let (len, memory) = (framed.record.len(), framed.memory());
            blank(&mut framed.record, index);
            framed.longest = lengths(framed.body()).max().unwrap_or(0);
            self.bytes -= len - framed.record.len();
            if place < full {
                framed.record.shrink_to_fit();
                self.full_memory -= memory - framed.memory();
            }
            return;
        }
    }

    /// Asks that what was appended so far leave at once.
    pub fn express(&mut self) {
        self.express = Express::Asked;
    }

    /// Moves everything out of `other` to the end of `self`, without copying full batches.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        while let Some(framed) = other.full.pop_front() {
            self.absorb_framed(framed);
            self.close_tail();
        }
        other.full_memory = 0;
        if let Some(framed) = other.tail.take() {
            self.absorb_framed(framed);
        }
        if std::mem::replace(&mut other.express, Express::No) == Express::Asked {
            self.express = Express::Asked;
        }
        other.messages = 0;
        other.bytes = 0;
    }

    fn absorb_framed(&mut self, framed: Framed) {
        self.messages += framed.messages;
        self.bytes += framed.body().len();
        match &mut self.tail {
            Some(tail) if tail.has_room(self.limits, framed.messages, framed.body().len()) => {
                tail.record.extend_from_slice(framed.body());
                tail.messages += framed.messages;
                tail.longest = tail.longest.max(framed.longest);
                if tail.messages == self.limits.messages_max {
                    self.close_tail();
                }
            }
            Some(_) => {
                self.close_tail();
                self.tail = Some(framed);
            }
            None => self.tail = Some(framed),
        }
    }

    /// When the first message of the batch that is not full was appended: its delay counts from
    /// there.
    pub(crate) fn tail_queued_at(&self) -> Option<Instant> {
        self.tail.as_ref().map(|tail| tail.first_queued_at)
    }

    /// Closes the batch that is not full, so that it leaves.
    pub(crate) fn close_tail(&mut self) {
        if let Some(framed) = self.tail.take() {
            self.full_memory += framed.memory();
            self.full.push_back(framed);
        }
    }

    /// Whether a batch waits that nothing can be added to, or that was asked to leave.
    pub(crate) fn has_closed(&self) -> bool {
        !self.full.is_empty() || (self.express == Express::Asked && self.tail.is_some())
    }

    /// Takes the oldest closed batch.
    pub(crate) fn pop_closed(&mut self) -> Option<Framed> {
        if std::mem::replace(&mut self.express, Express::No) == Express::Asked {
            self.close_tail();
        }
        let framed = self.full.pop_front()?;
        self.messages -= framed.messages;
        self.bytes -= framed.body().len();
        self.full_memory -= framed.memory();
        if self.full.is_empty() && self.full.capacity() > KEPT {
            self.full = VecDeque::new();
        }
        Some(framed)
    }
}

/// Bytes of each message of a plain body.
pub(super) fn lengths(body: &[u8]) -> impl Iterator<Item = usize> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let (length, at) = varint::get(rest)?;
        rest = &rest[at + length as usize..];
        Some(length as usize)
    })
}

/// Replaces a message of a plain record by an empty one.
pub(super) fn blank(record: &mut Vec<u8>, index: usize) {
    let before = lengths(&record[HEADER_LEN..]).take(index);
    let start = HEADER_LEN + before.map(OpenBatch::cost).sum::<usize>();
    let length = lengths(&record[start..]).next().unwrap_or(0);
    record.splice(start..start + OpenBatch::cost(length), [0]);
}

impl Framed {
    /// Room for the first message and a few like it, or for `body_bytes` if that is more: a lone
    /// message costs little, a flood doubles.
    fn new(now: Instant, cost: usize, body_bytes: usize) -> Self {
        let room = (4 * cost.min(1_024) + cost).max(body_bytes);
        let mut record = Vec::with_capacity(HEADER_LEN + room);
        record.resize(HEADER_LEN, 0);
        Self {
            record,
            messages: 0,
            longest: 0,
            first_queued_at: now,
        }
    }

    fn append(&mut self, message: &[u8]) {
        varint::put(&mut self.record, message.len() as u64);
        self.record.extend_from_slice(message);
        self.messages += 1;
        self.longest = self.longest.max(message.len());
    }

    fn has_room(&self, limits: BatchLimits, messages: usize, bytes: usize) -> bool {
        self.messages + messages <= limits.messages_max
            && self.body().len() + bytes <= limits.bytes_max
    }

    fn body(&self) -> &[u8] {
        &self.record[HEADER_LEN..]
    }

    /// Bytes of memory behind its record.
    const fn memory(&self) -> usize {
        self.record.capacity()
    }

    /// Bytes of the longest message.
    pub(crate) const fn longest_message(&self) -> usize {
        self.longest
    }

    /// When its first message was appended.
    pub(crate) const fn first_queued_at(&self) -> Instant {
        self.first_queued_at
    }

    /// The record's header and its bytes, once its first message has a number.
    pub(crate) fn into_record(mut self, first: u64) -> (Header, Vec<u8>) {
        let header = Header::plain(
            u32::try_from(self.body().len()).expect("invariant: a body is at most 16 MiB"),
            u32::try_from(self.messages).expect("invariant: a batch has 65,536 messages at most"),
            first,
        );
        self.record[..HEADER_LEN].copy_from_slice(&header.encode()[..HEADER_LEN]);
        // It is kept until the other end has taken it, which may be long.
        if self.record.capacity() > self.record.len() + self.record.len() / SLACK {
            self.record.shrink_to_fit();
        }
        (header, self.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;
    use crate::wire::record::{Messages, validate};
    use proptest::prelude::*;

    const LIMITS: BatchLimits = BatchLimits {
        messages_max: 128,
        bytes_max: 64 * 1024,
    };

    fn drain(open: &mut OpenBatch, limits: BatchLimits) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        open.close_tail();
        while let Some(framed) = open.pop_closed() {
            let (header, record) = framed.into_record(out.len() as u64);
            let body = bytes::Bytes::from(record).slice(HEADER_LEN..);
            assert_eq!(validate(&body, &header, 1 << 20), Ok(()));
            assert!(header.count as usize <= limits.messages_max);
            assert!(body.len() <= limits.bytes_max || header.count == 1);
            out.extend(Messages::new(body).map(|message| message.to_vec()));
        }
        assert!(open.is_empty());
        assert_eq!(open.bytes(), 0);
        out
    }

    #[test]
    fn failure_04_a_batch_counts_messages_and_not_bytes() {
        let now = epoch();
        let mut open = OpenBatch::new(LIMITS);
        for _ in 0..127 {
            open.append(now, b"x");
        }
        assert!(!open.has_closed());
        open.append(now, b"x");
        assert!(open.has_closed());
        assert_eq!(open.tail_queued_at(), None);
    }

    #[test]
    fn express_closes_what_is_there() {
        let now = epoch();
        let mut open = OpenBatch::new(LIMITS);
        open.append(now, b"now");
        assert!(!open.has_closed());
        open.express();
        assert!(open.has_closed());
        assert_eq!(open.pop_closed().map(|framed| framed.messages), Some(1));
        open.append(now, b"later");
        assert!(!open.has_closed());
    }

    proptest! {
        #[test]
        fn absorbing_keeps_order_and_limits(
            parts in prop::collection::vec(prop::collection::vec(0usize..90, 0..40), 0..20),
            messages_max in 1usize..12,
            bytes_max in 1usize..200,
        ) {
            let now = epoch();
            let limits = BatchLimits { messages_max, bytes_max };
            let mut all = OpenBatch::new(limits);
            let mut staged = OpenBatch::new(limits);
            let mut sent = Vec::new();
            for part in parts {
                for len in part {
                    let message = vec![sent.len() as u8; len];
                    staged.append(now, &message);
                    sent.push(message);
                }
                all.absorb(&mut staged);
                prop_assert!(staged.is_empty() && staged.bytes() == 0);
                prop_assert_eq!(all.messages(), sent.len());
                prop_assert_eq!(all.bytes(), sent.iter().map(|m| OpenBatch::cost(m.len())).sum::<usize>());
            }
            prop_assert_eq!(drain(&mut all, limits), sent);
        }
    }
}
