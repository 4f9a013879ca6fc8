//! What is queued for a peer: its line, from `send` accepted until taken.
//!
//! Messages are numbered from 0 in the order in which they were accepted, and keep their numbers
//! for ever: across batches, connections and restarts of the peer.

use std::{collections::VecDeque, ops::Range, time::Duration, time::Instant};

use bytes::Bytes;

use super::batch::{BatchLimits, OpenBatch};
use crate::{
    OnPeerRestart,
    wire::{
        code::CloseCode,
        frame::{Known, Line, LineId},
        record::{HEADER_LEN, Header},
        varint,
    },
};

/// A line and what it holds.
#[derive(Debug)]
pub(crate) struct Outbox {
    line: LineId,
    bytes_max: usize,
    /// Accepted, and not yet numbered.
    open: OpenBatch,
    /// Numbered, contiguous, up to `numbered`; all of it untaken at least in part.
    batches: VecDeque<Batch>,
    /// Bytes of the bodies of `batches`.
    bytes: usize,
    taken: u64,
    received: u64,
    /// The next number to write on the current connection.
    cursor: u64,
    /// The number after the last one that was ever written on this line.
    written: u64,
    /// The number after the last one in `batches`.
    numbered: u64,
}

#[derive(Debug)]
struct Batch {
    header: Header,
    /// Bytes of its longest message.
    longest: usize,
    /// Header and plain body.
    record: Bytes,
    queued_at: Instant,
}

/// A batch to write.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) header: Header,
    /// Header and plain body, one piece.
    pub(crate) record: Bytes,
    /// How many of its messages were written before.
    pub(crate) again: u64,
    /// When its first message was accepted.
    pub(crate) queued_at: Instant,
}

/// How the peer's hello fits our line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continuity {
    /// It knows the line, or there was nothing that it could know.
    Continues,
    /// Something was written, and the peer knows nothing of it: it has lost its state.
    Lost,
}

/// Whether the peer is the one that we last heard of, with everything that it knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    Kept,
    Unknown,
}

/// What an acknowledgement has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// Messages that the peer's application has newly taken.
    pub(crate) taken: u64,
    /// From accepted until taken, of the first message in the newest batch that is wholly taken.
    pub(crate) latency: Option<Duration>,
}

/// What became of a line whose peer has lost its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restarted {
    /// Written, unacknowledged, and no longer held.
    pub(crate) undelivered: Range<u64>,
    /// Written, unacknowledged, and to be written again.
    pub(crate) resent: u64,
}

impl Outbox {
    pub(crate) const fn new(line: LineId, limits: BatchLimits, bytes_max: usize) -> Self {
        Self {
            line,
            bytes_max,
            open: OpenBatch::new(limits),
            batches: VecDeque::new(),
            bytes: 0,
            taken: 0,
            received: 0,
            cursor: 0,
            written: 0,
            numbered: 0,
        }
    }

    /// The line as hello states it.
    pub(crate) fn line(&self) -> Line {
        Line {
            id: self.line,
            first: self.taken,
            next: self.next(),
        }
    }

    /// The number that the next accepted message will have.
    pub(crate) fn next(&self) -> u64 {
        self.numbered + self.open.messages() as u64
    }

    /// The numbers of messages that were accepted and are not known to be taken.
    pub(crate) fn outstanding(&self) -> Range<u64> {
        self.taken..self.next()
    }

    /// The number after the last one that is known to have arrived.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Whether something is held that has not arrived, and not for want of a reader.
    pub(crate) fn awaits_passage(&self) -> bool {
        self.received < self.next() && self.taken == self.received
    }

    /// Bytes held, framing included.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes + self.open.bytes()
    }

    /// Bytes that may be accepted, in terms of [`OpenBatch::cost`].
    pub(crate) const fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.bytes())
    }

    /// Accepts a message, which must fit into [`room`](Self::room).
    pub(crate) fn accept(&mut self, now: Instant, message: &[u8]) {
        debug_assert!(
            OpenBatch::cost(message.len()) <= self.room(),
            "the caller checks the room"
        );
        self.open.append(now, message);
    }

    /// Accepts what other threads have staged within the room they were granted.
    pub(crate) fn absorb(&mut self, staged: &mut OpenBatch) {
        self.open.absorb(staged);
    }

    /// Lets the batch that is not full leave too.
    pub(crate) fn close_tail(&mut self) {
        self.open.close_tail();
    }

    /// When the first message of the batch that is not full was accepted.
    pub(crate) fn tail_queued_at(&self) -> Option<Instant> {
        self.open.tail_queued_at()
    }

    /// Whether [`next_batch`](Self::next_batch) has one.
    pub(crate) fn has_batch(&self) -> bool {
        self.cursor < self.numbered || self.open.has_closed()
    }

    /// Whether anything is held that the current connection has not been given.
    pub(crate) fn has_unsent(&self) -> bool {
        self.cursor < self.next()
    }

    /// The next batch to write on the current connection: closed ones only, so that what is open
    /// goes on gathering. Of one whose body is longer than the peer accepts, as much as it accepts.
    pub(crate) fn next_batch(&mut self, body_bytes_max: usize) -> Option<Outgoing> {
        if self.cursor == self.numbered {
            self.number_one()?;
        }
        let index = self
            .batches
            .partition_point(|batch| batch.header.next() <= self.cursor);
        let batch = &self.batches[index];
        let (header, record) = match self.cursor - batch.header.first {
            0 => (batch.header, batch.record.clone()),
            skipped => cut(&batch.header, &batch.record, skipped),
        };
        let queued_at = batch.queued_at;
        let (header, record) = shorten(header, record, body_bytes_max);
        let again = self.written.min(header.next()).saturating_sub(header.first);
        self.cursor = header.next();
        self.written = self.written.max(self.cursor);
        Some(Outgoing {
            header,
            record,
            again,
            queued_at,
        })
    }

    fn number_one(&mut self) -> Option<()> {
        let framed = self.open.pop_closed()?;
        let queued_at = framed.first_queued_at();
        let longest = framed.longest_message();
        let (header, record) = framed.into_record(self.numbered);
        self.numbered = header.next();
        self.bytes += header.len as usize;
        self.batches.push_back(Batch {
            header,
            longest,
            record: record.into(),
            queued_at,
        });
        Some(())
    }

    /// A connection is confirmed on which the peer's hello says that it knows `yours`.
    ///
    /// `memory` tells whether the hello comes from the peer as it was when it last acknowledged
    /// something: then what it says may be older than what we know, but it has lost nothing.
    /// After [`Continuity::Lost`] the caller must [`restart`](Self::restart) the line.
    pub(crate) fn greeted(
        &mut self,
        now: Instant,
        yours: Option<Known>,
        memory: Memory,
    ) -> Result<Continuity, CloseCode> {
        match yours {
            Some(known) if known.id == self.line => {
                self.acknowledge(now, known.received, known.taken)?;
                Ok(Continuity::Continues)
            }
            Some(_) | None if memory == Memory::Kept || self.written == self.taken => {
                Ok(Continuity::Continues)
            }
            Some(_) | None => Ok(Continuity::Lost),
        }
    }

    /// Writing goes on, on another connection: from the first number that the peer may lack.
    pub(crate) fn start(&mut self) {
        self.cursor = self.received;
    }

    /// The peer says how far it has come. Numbers that were overtaken by later ones change
    /// nothing.
    pub(crate) fn acknowledge(
        &mut self,
        now: Instant,
        received: u64,
        taken: u64,
    ) -> Result<Acknowledged, CloseCode> {
        if taken > received || received > self.written {
            return Err(CloseCode::BadAcknowledgement);
        }
        let before = self.taken;
        self.received = self.received.max(received);
        self.taken = self.taken.max(taken);
        self.cursor = self.cursor.max(self.received);
        let mut latency = None;
        while self
            .batches
            .front()
            .is_some_and(|batch| batch.header.next() <= self.taken)
        {
            let batch = self
                .batches
                .pop_front()
                .expect("invariant: it was at the front");
            self.bytes -= batch.header.len as usize;
            latency = Some(now.saturating_duration_since(batch.queued_at));
        }
        Ok(Acknowledged {
            taken: self.taken - before,
            latency,
        })
    }

    /// The peer has lost its state. The line goes on, with what was written or after it.
    pub(crate) fn restart(&mut self, policy: OnPeerRestart) -> Restarted {
        let written = self.taken..self.written;
        let restarted = match policy {
            OnPeerRestart::Resend => Restarted {
                resent: written.end - written.start,
                undelivered: 0..0,
            },
            OnPeerRestart::Report => {
                self.drop_before(written.end);
                self.taken = written.end;
                Restarted {
                    resent: 0,
                    undelivered: written,
                }
            }
        };
        self.received = self.taken;
        self.cursor = self.taken;
        self.written = self.taken;
        restarted
    }

    /// Lets go of everything before this number, of a batch in part if need be.
    fn drop_before(&mut self, number: u64) {
        while let Some(batch) = self.batches.front_mut()
            && batch.header.first < number
        {
            let bytes = batch.header.len as usize;
            if batch.header.next() > number {
                let skipped = number - batch.header.first;
                (batch.header, batch.record) = cut(&batch.header, &batch.record, skipped);
                self.bytes -= bytes - batch.header.len as usize;
                return;
            }
            self.bytes -= bytes;
            self.batches.pop_front();
        }
    }

    /// The longest message that is held and not known to have arrived, in bytes.
    pub(crate) fn longest_message(&self) -> usize {
        let framed = self
            .batches
            .iter()
            .filter(|batch| batch.header.next() > self.received);
        let longest = framed.map(|batch| batch.longest).max().unwrap_or(0);
        longest.max(self.open.longest_message())
    }

    /// The session ends: everything held is given up, and the line goes on under another name.
    pub(crate) fn give_up(&mut self, line: LineId) -> Range<u64> {
        let outstanding = self.outstanding();
        self.open.close_tail();
        while self.open.pop_closed().is_some() {}
        self.batches.clear();
        self.bytes = 0;
        self.line = line;
        self.numbered = outstanding.end;
        self.taken = outstanding.end;
        self.received = outstanding.end;
        self.cursor = outstanding.end;
        self.written = outstanding.end;
        outstanding
    }
}

/// The record without its first messages.
fn cut(header: &Header, record: &Bytes, skipped: u64) -> (Header, Bytes) {
    let mut rest = &record[HEADER_LEN..];
    for _ in 0..skipped {
        let (length, at) = varint::get(rest).expect("invariant: we framed it");
        rest = &rest[at + length as usize..];
    }
    let header = Header {
        len: rest.len() as u32,
        count: header.count - skipped as u32,
        first: header.first + skipped,
    };
    (header, [&header.encode()[..], rest].concat().into())
}

/// The record with as many of its messages as fit into a body of this length, and one at least.
fn shorten(header: Header, record: Bytes, body_bytes_max: usize) -> (Header, Bytes) {
    if header.len as usize <= body_bytes_max {
        return (header, record);
    }
    let body = &record[HEADER_LEN..];
    let (mut count, mut end) = (0, 0);
    while count < header.count {
        let (length, at) = varint::get(&body[end..]).expect("invariant: we framed it");
        let next = end + at + length as usize;
        if count > 0 && next > body_bytes_max {
            break;
        }
        (count, end) = (count + 1, next);
    }
    let header = Header {
        len: end as u32,
        count,
        first: header.first,
    };
    (header, [&header.encode()[..], &body[..end]].concat().into())
}
