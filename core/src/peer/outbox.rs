//! What is queued for a peer: its line, from `send` accepted until taken.
//!
//! Messages are numbered from 0 in the order in which they were accepted, and keep their numbers
//! for ever: across batches, connections and restarts of the peer.

mod withdrawing;

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Range,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    batch::{BatchLimits, OpenBatch},
    on_demand::OnDemand,
    voids::Voids,
};
use crate::{
    OnPeerRestart,
    wire::{
        code::CloseCode,
        entries,
        greeting::Known,
        hello::HalfId,
        record::{HEADER_LEN, Header, Kind, SHARED_BYTES},
        varint,
    },
};

/// A line and what it holds.
#[derive(Debug)]
pub(crate) struct Outbox {
    half: HalfId,
    bytes_max: usize,
    limits: BatchLimits,
    /// Most of many peers have nothing queued at any moment.
    queue: OnDemand<Queue>,
    taken: u64,
    received: u64,
    /// The next number to write on the current connection.
    cursor: u64,
    /// The number after the last one that was ever written on this line.
    written: u64,
    /// The number after the last one in `batches`.
    numbered: u64,
}

/// The messages that a line holds.
#[derive(Debug)]
struct Queue {
    /// Accepted, and not yet numbered.
    open: OpenBatch,
    /// Numbered, contiguous, up to `numbered`; all of it untaken at least in part.
    batches: VecDeque<Batch>,
    /// Bytes of the bodies of `batches`.
    bytes: usize,
    /// Bytes of memory behind the records of `batches`.
    records_memory: usize,
    /// Where the last part of a batch ends that did not go as one record.
    part_end: Option<Place>,
    /// Numbers that have no message: in their batches they are empty ones.
    voids: Voids,
    /// The number after the last one that was written to a process of the peer that is gone.
    written_before: u64,
    /// When messages are not to be written any more, by time.
    lifetimes: BTreeSet<(Instant, u64)>,
}

impl Queue {
    const fn new(limits: BatchLimits) -> Self {
        Self {
            open: OpenBatch::new(limits),
            batches: VecDeque::new(),
            bytes: 0,
            records_memory: 0,
            part_end: None,
            voids: Voids::new(),
            written_before: 0,
            lifetimes: BTreeSet::new(),
        }
    }
}

/// Where a message begins.
#[derive(Debug, Clone, Copy)]
struct Place {
    number: u64,
    /// Bytes before it in the body of its batch.
    at: usize,
}

/// What a queue that is not there looks like.
static NOTHING: Queue = Queue::new(BatchLimits {
    messages_max: 0,
    bytes_max: 0,
});

#[derive(Debug)]
struct Batch {
    header: Header,
    /// Bytes of its longest message.
    longest: usize,
    /// Header and plain body.
    record: Bytes,
    /// Bytes of memory behind `record`.
    memory: usize,
    queued_at: Instant,
}

/// What a batch costs beside its messages when room is counted: a million empty messages, each in a
/// batch of its own, must not fit into a limit of bytes that is meant for a thousand of a kilobyte.
const BATCH_BYTES: usize = 128;

/// Batches for which a queue keeps its place when it is empty.
const KEPT: usize = 8;

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

/// Whether a hello is from the process and session that were last seen.
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
    /// Written, unacknowledged, and no longer held; without voids.
    pub(crate) undelivered: Vec<Range<u64>>,
    /// Written, unacknowledged, and to be written again.
    pub(crate) resent: u64,
}

impl Outbox {
    pub(crate) const fn new(half: HalfId, limits: BatchLimits, bytes_max: usize) -> Self {
        Self {
            half,
            bytes_max,
            limits,
            queue: OnDemand::new(),
            taken: 0,
            received: 0,
            cursor: 0,
            written: 0,
            numbered: 0,
        }
    }

    /// The queue, or one that is empty.
    fn queue(&self) -> &Queue {
        self.queue.get().unwrap_or(&NOTHING)
    }

    /// The queue, which is made if there is none.
    fn made(&mut self) -> &mut Queue {
        let limits = self.limits;
        self.queue.get_or_make(|| Queue::new(limits))
    }

    /// The half as hello names it.
    pub(crate) const fn half(&self) -> HalfId {
        self.half
    }

    /// The number that the next accepted message will have.
    pub(crate) fn next(&self) -> u64 {
        self.numbered + self.queue().open.messages() as u64
    }

    /// Names the next message, where earlier ones have left no trace here.
    pub(crate) fn number_next(&mut self, number: u64) {
        if number <= self.next() || !self.outstanding().is_empty() {
            debug_assert!(
                number <= self.next(),
                "numbers that were given have a message"
            );
            return;
        }
        self.numbered = number;
        self.taken = number;
        self.received = number;
        self.cursor = number;
        self.written = number;
    }

    /// The numbers of messages that were accepted and are not known to be taken.
    pub(crate) fn outstanding(&self) -> Range<u64> {
        self.taken..self.next()
    }

    /// The number of the first message that is held, or of the next one: voids before it wait for nothing.
    pub(crate) fn first_held(&self) -> u64 {
        let voids = self.queue().voids.next(self.taken);
        let voids = voids.filter(|range| range.start <= self.taken);
        voids.map_or(self.taken, |range| range.end)
    }

    /// How many messages are held: outstanding numbers that are not void.
    pub(crate) fn messages(&self) -> u64 {
        let outstanding = self.outstanding();
        let voids = self.queue().voids.count(&outstanding);
        outstanding.end - outstanding.start - voids
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
    pub(crate) fn bytes(&self) -> usize {
        self.queue().bytes + self.queue().open.bytes()
    }

    /// Bytes held, with what batches cost beside their messages.
    pub(crate) fn held(&self) -> usize {
        self.bytes() + self.queue().batches.len() * BATCH_BYTES
    }

    /// Bytes that may be accepted, in terms of [`OpenBatch::cost`].
    pub(crate) fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.held())
    }

    /// Bytes of memory behind it, reserved ones included.
    pub(crate) fn memory(&self) -> usize {
        let queue = self.queue();
        let batches = queue.batches.capacity() * size_of::<Batch>();
        let lifetimes = queue.lifetimes.len() * size_of::<(Instant, u64)>();
        let voids = queue.voids.memory() + lifetimes;
        self.queue.memory() + batches + queue.records_memory + queue.open.memory() + voids
    }

    /// Gives back memory that nothing is in.
    pub(crate) fn rest(&mut self) {
        let queue = self.queue();
        if queue.batches.is_empty() && queue.open.is_empty() {
            self.queue.clear();
        }
    }

    /// Accepts a message, which must fit into [`room`](Self::room).
    pub(crate) fn accept(&mut self, now: Instant, message: &[u8]) {
        debug_assert!(
            OpenBatch::cost(message.len()) <= self.room(),
            "the caller checks the room"
        );
        self.made().open.append(now, message);
    }

    /// Accepts what other threads have staged within the room they were granted.
    pub(crate) fn absorb(&mut self, staged: &mut OpenBatch) {
        self.made().open.absorb(staged);
    }

    /// Lets the batch that is not full leave too.
    pub(crate) fn close_tail(&mut self) {
        if let Some(queue) = self.queue.get_mut() {
            queue.open.close_tail();
        }
    }

    /// When the first message of the batch that is not full was accepted.
    pub(crate) fn tail_queued_at(&self) -> Option<Instant> {
        self.queue().open.tail_queued_at()
    }

    /// Whether [`next_batch`](Self::next_batch) has one.
    pub(crate) fn has_batch(&self) -> bool {
        self.cursor < self.numbered || self.queue().open.has_closed()
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
        let queue = self.queue();
        let batches = &queue.batches;
        let index = batches.partition_point(|batch| batch.header.next() <= self.cursor);
        let batch = &batches[index];
        let void = queue.voids.next(self.cursor).cloned();
        if let Some(void) = void.clone().filter(|void| void.start <= self.cursor) {
            let count = void.end.min(self.numbered) - self.cursor;
            let queued_at = batch.queued_at;
            let (header, record) = entries::voids(self.cursor, count, body_bytes_max);
            return Some(self.wrote(header, record.into(), queued_at));
        }
        let queued_at = batch.queued_at;
        let count_max = void.map_or(u64::MAX, |void| void.start - self.cursor);
        let is_whole = self.cursor == batch.header.first
            && u64::from(batch.header.count) <= count_max
            && batch.header.len as usize <= body_bytes_max;
        if is_whole {
            return Some(self.wrote(batch.header, batch.record.clone(), queued_at));
        }
        let is_next = |end: &Place| end.number == self.cursor && end.number > batch.header.first;
        let from = queue.part_end.filter(is_next);
        let (header, record, end) = part(batch, self.cursor, from, count_max, body_bytes_max);
        self.made().part_end = Some(end);
        Some(self.wrote(header, record, queued_at))
    }

    fn wrote(&mut self, header: Header, record: Bytes, queued_at: Instant) -> Outgoing {
        let again = match header.kind {
            Kind::Plain => self.written.min(header.next()).saturating_sub(header.first),
            Kind::Headed { .. } => 0,
        };
        self.cursor = header.next();
        self.written = self.written.max(self.cursor);
        Outgoing {
            header,
            record,
            again,
            queued_at,
        }
    }

    fn number_one(&mut self) -> Option<()> {
        let queue = self.queue.get_mut()?;
        let framed = queue.open.pop_closed()?;
        let queued_at = framed.first_queued_at();
        let longest = framed.longest_message();
        let (header, record) = framed.into_record(self.numbered);
        self.numbered = header.next();
        let memory = record.capacity() + SHARED_BYTES;
        queue.bytes += header.len as usize;
        queue.records_memory += memory;
        queue.batches.push_back(Batch {
            header,
            longest,
            record: record.into(),
            memory,
            queued_at,
        });
        Some(())
    }

    /// Checks whether the numbers in the peer's hello can be true of our line.
    pub(crate) fn check(&self, yours: Option<Known>) -> Result<(), CloseCode> {
        let of_our_line = yours.filter(|known| known.id == self.half);
        of_our_line.map_or(Ok(()), |known| {
            self.check_numbers(known.received, known.taken)
        })
    }

    const fn check_numbers(&self, received: u64, taken: u64) -> Result<(), CloseCode> {
        if taken > received || received > self.written {
            return Err(CloseCode::BadAcknowledgement);
        }
        Ok(())
    }

    /// Takes over what the peer's hello knows of our line, `yours`, as a connection is confirmed. Returns also
    /// how many messages the peer's application has newly taken.
    ///
    /// With [`Memory::Kept`] the peer has lost nothing, though the hello may be older than what we know. After
    /// [`Continuity::Lost`] the caller must [`restart`](Self::restart) the line.
    pub(crate) fn greeted(
        &mut self,
        now: Instant,
        yours: Option<Known>,
        memory: Memory,
    ) -> Result<(Continuity, u64), CloseCode> {
        match yours {
            Some(known) if known.id == self.half => {
                let acknowledged = self.acknowledge(now, known.received, known.taken)?;
                Ok((Continuity::Continues, acknowledged.taken))
            }
            Some(_) | None if memory == Memory::Kept || self.written == self.taken => {
                Ok((Continuity::Continues, 0))
            }
            Some(_) | None => Ok((Continuity::Lost, 0)),
        }
    }

    /// Writing goes on, on another connection: from the first number that the peer may lack.
    pub(crate) fn start(&mut self) {
        self.cursor = self.received;
    }

    /// Applies the numbers that the peer has acknowledged. Numbers that were overtaken by later ones change
    /// nothing.
    pub(crate) fn acknowledge(
        &mut self,
        now: Instant,
        received: u64,
        taken: u64,
    ) -> Result<Acknowledged, CloseCode> {
        self.check_numbers(received, taken)?;
        let before = self.taken;
        self.received = self.received.max(received);
        self.taken = self.taken.max(taken);
        self.cursor = self.cursor.max(self.received);
        let (mut latency, mut voids) = (None, 0);
        if let Some(queue) = self.queue.get_mut() {
            voids = queue.voids.count(&(before..self.taken));
            queue.voids.forget_before(self.taken);
            while let Some(batch) = queue.batches.front()
                && batch.header.next() <= self.taken
            {
                queue.bytes -= batch.header.len as usize;
                queue.records_memory -= batch.memory;
                latency = Some(now.saturating_duration_since(batch.queued_at));
                queue.batches.pop_front();
            }
            if queue.batches.is_empty() && queue.batches.capacity() > KEPT {
                queue.batches = VecDeque::new();
            }
        }
        Ok(Acknowledged {
            taken: self.taken - before - voids,
            latency,
        })
    }

    /// What the peer is known to have received and taken.
    pub(crate) const fn acknowledged(&self) -> (u64, u64) {
        (self.received, self.taken)
    }

    /// The peer has lost its state. The line goes on, with what was written or after it.
    pub(crate) fn restart(&mut self, policy: OnPeerRestart) -> Restarted {
        let written = self.taken..self.written;
        let voids = &self.queue().voids;
        let undelivered = voids.others(written.clone());
        let restarted = match policy {
            OnPeerRestart::Resend => Restarted {
                resent: undelivered
                    .iter()
                    .map(|range| range.end - range.start)
                    .sum(),
                undelivered: Vec::new(),
            },
            OnPeerRestart::Report => {
                self.drop_before(written.end);
                self.taken = written.end;
                Restarted {
                    resent: 0,
                    undelivered,
                }
            }
        };
        if let Some(queue) = self.queue.get_mut() {
            queue.written_before = queue.written_before.max(self.written);
        }
        self.received = self.taken;
        self.cursor = self.taken;
        self.written = self.taken;
        restarted
    }

    /// Lets go of everything before this number, of a batch in part if need be.
    fn drop_before(&mut self, number: u64) {
        let Some(queue) = self.queue.get_mut() else {
            return;
        };
        let Queue {
            batches,
            bytes,
            records_memory,
            part_end,
            voids,
            ..
        } = queue;
        *part_end = None;
        voids.forget_before(number);
        while let Some(batch) = batches.front_mut()
            && batch.header.first < number
        {
            *bytes -= batch.header.len as usize;
            *records_memory -= batch.memory;
            if batch.header.next() <= number {
                batches.pop_front();
                continue;
            }
            let skipped = number - batch.header.first;
            (batch.header, batch.record) = cut(&batch.header, &batch.record, skipped);
            batch.memory = batch.record.len() + SHARED_BYTES;
            *bytes += batch.header.len as usize;
            *records_memory += batch.memory;
            return;
        }
    }

    /// The session ends: everything held is given up, and the numbers go on in another half. Returns what had
    /// a message.
    pub(crate) fn give_up(&mut self, half: HalfId) -> Vec<Range<u64>> {
        let outstanding = self.outstanding();
        let given_up = self.queue().voids.others(outstanding.clone());
        self.queue.clear();
        self.half = half;
        self.numbered = outstanding.end;
        self.taken = outstanding.end;
        self.received = outstanding.end;
        self.cursor = outstanding.end;
        self.written = outstanding.end;
        given_up
    }
}

/// The record without its first messages.
fn cut(header: &Header, record: &Bytes, skipped: u64) -> (Header, Bytes) {
    let body = &record[HEADER_LEN..];
    let rest = &body[end_of(body, 0, skipped)..];
    let count = header.count - skipped as u32;
    let header = Header::plain(rest.len() as u32, count, header.first + skipped);
    (header, framed(&header, rest))
}

/// A record of a batch's messages from a number on: at most `count_max`, as many as fit into a body of this length,
/// and one at least. Returns where they end. A batch that goes in many parts is walked and copied once if
/// each begins `from` the end of the one before.
fn part(
    batch: &Batch,
    first: u64,
    from: Option<Place>,
    count_max: u64,
    body_bytes_max: usize,
) -> (Header, Bytes, Place) {
    let body = &batch.record[HEADER_LEN..];
    let skipped = first - batch.header.first;
    let start = from.map_or_else(|| end_of(body, 0, skipped), |place| place.at);
    let left = (u64::from(batch.header.count) - skipped).min(count_max);
    let (mut count, mut end) = (0, start);
    while u64::from(count) < left {
        let next = end_of(body, end, 1);
        if count > 0 && next - start > body_bytes_max {
            break;
        }
        (count, end) = (count + 1, next);
    }
    let header = Header::plain((end - start) as u32, count, first);
    let place = Place {
        number: header.next(),
        at: end,
    };
    (header, framed(&header, &body[start..end]), place)
}

/// Where so many messages of a body end, of which the first one begins at `start`.
fn end_of(body: &[u8], start: usize, count: u64) -> usize {
    (0..count).fold(start, |at, _| {
        let (length, prefix) = varint::get(&body[at..]).expect("invariant: we framed it");
        at + prefix + length as usize
    })
}

/// The record with this header and body.
fn framed(header: &Header, body: &[u8]) -> Bytes {
    [&header.encode()[..header.length()], body].concat().into()
}

#[cfg(test)]
mod tests;
