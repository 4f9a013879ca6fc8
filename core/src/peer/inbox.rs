//! What a peer has sent and the application has not yet taken.

use std::{collections::VecDeque, mem, ops::RangeInclusive};

use bytes::Bytes;

use super::on_demand::OnDemand;
use crate::{
    Message, PeerId,
    wire::{
        code::CloseCode,
        entries::{self, Run},
        greeting::{Half, Known},
        hello::HalfId,
        record::{Header, Kind, Messages, memory as record_memory},
    },
};

/// What a message that was read and not taken occupies beside its bytes, here and where it was read
/// to. Until it is read it lies in its record, where an empty one has a single byte.
pub(crate) const HANDED_BYTES: usize = size_of::<Handed>() + size_of::<Message>();

/// What a record costs beside its messages when room is counted, until all of it is taken: a million
/// records of one byte must not fit, either.
const RECORD_BYTES: usize = 128;

/// Messages for which a queue keeps its place when it is empty.
const KEPT: usize = 16;

/// A peer's line as we know it, and the messages that wait.
#[derive(Debug)]
pub(crate) struct Inbox {
    bytes_max: usize,
    /// The half that the peer's last hello named: records of others are none of ours.
    named: Option<HalfId>,
    /// How far we are with it, once a record has come.
    line: Option<Progress>,
    /// Raised with each new line, so that what an older one left behind is not counted for it.
    generation: u32,
    /// Most of many peers have nothing here at any moment.
    held: OnDemand<Held>,
    reported: Option<Progress>,
    unreported_bytes: usize,
}

/// The messages that an inbox holds.
#[derive(Debug)]
struct Held {
    queue: VecDeque<Waiting>,
    /// Read, and not yet taken with all before it. Numbers ascend.
    handed: VecDeque<Handed>,
    /// Read and not yet taken when their line ended: they count for no line any more.
    former: Vec<(HalfId, Handed)>,
    bytes: usize,
    /// Records of which something is not taken.
    records: usize,
    /// Bytes of memory behind them.
    records_memory: usize,
}

/// What an inbox holds that has nothing.
static NOTHING: Held = Held::new();

impl Held {
    const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            handed: VecDeque::new(),
            former: Vec::new(),
            bytes: 0,
            records: 0,
            records_memory: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    received: u64,
    taken: u64,
}

#[derive(Debug)]
struct Waiting {
    half: HalfId,
    generation: u32,
    /// The number of the first message.
    first: u64,
    /// Bytes of memory behind the record.
    memory: u32,
    messages: Messages,
    /// Voids that follow them.
    voids: u32,
}

#[derive(Debug, Clone, Copy)]
struct Handed {
    number: u64,
    bytes: u32,
    /// Bytes of memory behind its record, if it is the last one of it.
    memory: u32,
    /// Voids that follow it.
    voids: u32,
    is_taken: bool,
}

/// Messages that are held no more.
#[derive(Debug, Default)]
struct Released {
    /// Those that were not taken before.
    messages: u64,
    bytes: usize,
}

impl Held {
    /// How many were read and are not taken with all before them.
    fn handed_out(&self) -> usize {
        self.handed.len() + self.former.len()
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.handed_out() == 0
    }

    /// Gives back queues that are empty, and have place for many.
    fn relax(&mut self) {
        if self.queue.capacity() > KEPT && self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        if self.handed.capacity() > KEPT && self.handed.is_empty() {
            self.handed = VecDeque::new();
        }
        if self.former.capacity() > 0 && self.former.is_empty() {
            self.former = Vec::new();
        }
    }

    /// Lets go of the first messages of the present line, as far as they are taken, now or before, but for some
    /// numbers. Returns what they were, and the last one.
    fn release_first(
        &mut self,
        numbers: &RangeInclusive<u64>,
        but_for: &[u64],
    ) -> (Released, Option<Handed>) {
        let (mut released, mut last) = (Released::default(), None);
        let (mut records, mut memory) = (0, 0);
        while let Some(&handed) = self.handed.front()
            && (handed.is_taken
                || numbers.contains(&handed.number) && !but_for.contains(&handed.number))
        {
            released.messages += u64::from(!handed.is_taken);
            released.bytes += handed.bytes as usize;
            records += usize::from(handed.memory > 0);
            memory += handed.memory as usize;
            last = Some(handed);
            self.handed.pop_front();
        }
        self.bytes -= released.bytes;
        self.records -= records;
        self.records_memory -= memory;
        (released, last)
    }

    /// Lets go of a message.
    fn release(&mut self, handed: &Handed) {
        self.bytes -= handed.bytes as usize;
        self.records -= usize::from(handed.memory > 0);
        self.records_memory -= handed.memory as usize;
    }

    /// Takes messages of the present line, but for some numbers. Returns how many were not taken before.
    fn take(&mut self, numbers: &RangeInclusive<u64>, but_for: &[u64]) -> u64 {
        let next = self
            .handed
            .partition_point(|handed| handed.number < *numbers.start());
        let run = self.handed.range_mut(next..);
        run.take_while(|handed| handed.number <= *numbers.end())
            .filter(|handed| !but_for.contains(&handed.number))
            .map(|handed| u64::from(!mem::replace(&mut handed.is_taken, true)))
            .sum()
    }

    /// Takes messages whose line has ended. Returns their numbers.
    fn take_former(&mut self, half: HalfId, numbers: &RangeInclusive<u64>) -> Vec<u64> {
        let mut taken: Vec<u64> = Vec::new();
        let mut former = mem::take(&mut self.former);
        former.retain(|(of, handed)| {
            // A message may have been read once in each of two sessions: each time it is taken for itself.
            let is_of_them = *of == half && numbers.contains(&handed.number);
            let is_taken = is_of_them && !taken.contains(&handed.number);
            if is_taken {
                self.release(handed);
                taken.push(handed.number);
            }
            !is_taken
        });
        self.former = former;
        taken
    }
}

impl Inbox {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            named: None,
            line: None,
            generation: 0,
            held: OnDemand::new(),
            reported: None,
            unreported_bytes: 0,
        }
    }

    /// The peer's line as our greeting states it.
    pub(crate) fn known(&self) -> Option<Known> {
        self.named.zip(self.line).map(|(id, line)| Known {
            id,
            received: line.received,
            taken: line.taken,
        })
    }

    /// The number of the next message of the peer's line, once a record has come.
    pub(crate) fn received(&self) -> Option<u64> {
        self.line.map(|line| line.received)
    }

    /// The messages that it holds, or none.
    fn content(&self) -> &Held {
        self.held.get().unwrap_or(&NOTHING)
    }

    /// The acknowledgement was sent.
    pub(crate) fn reported(&mut self) {
        self.reported = self.line;
        self.unreported_bytes = 0;
    }

    /// What was reported may have been lost with its connection.
    pub(crate) fn report_again(&mut self) {
        self.reported = None;
    }

    /// Whether nothing was reported since [`report_again`](Self::report_again), and there is something to report.
    pub(crate) const fn is_to_repeat(&self) -> bool {
        self.reported.is_none() && self.line.is_some()
    }

    /// Whether the peer does not know how far we are.
    pub(crate) fn is_unreported(&self) -> bool {
        self.reported != self.line
    }

    /// Bytes that were received or taken since the last report.
    pub(crate) const fn unreported_bytes(&self) -> usize {
        self.unreported_bytes
    }

    /// Bytes of messages that the application has not taken.
    pub(crate) fn bytes(&self) -> usize {
        self.content().bytes
    }

    /// Bytes held, with what records cost beside their messages.
    pub(crate) fn held(&self) -> usize {
        let held = self.content();
        // A record that voids have cut into pieces.
        let pieces = held.queue.len().saturating_sub(held.records);
        held.bytes + held.records * RECORD_BYTES + pieces * size_of::<Waiting>()
    }

    /// Bytes that may be added.
    pub(crate) fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.held())
    }

    /// Whether anything may be added.
    pub(crate) fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// Bytes of memory behind it, reserved ones included.
    pub(crate) fn memory(&self) -> usize {
        let held = self.content();
        self.held.memory()
            + held.queue.capacity() * size_of::<Waiting>()
            + held.handed.capacity() * size_of::<Handed>()
            + held.former.capacity() * size_of::<(HalfId, Handed)>()
            + held.records_memory
    }

    /// Messages that were read and are not taken.
    pub(crate) fn handed_out(&self) -> usize {
        self.content().handed_out()
    }

    /// Gives back memory that nothing is in.
    pub(crate) fn rest(&mut self) {
        if self.content().is_empty() {
            self.held.clear();
        }
    }

    /// Whether messages wait that may be read.
    pub(crate) fn is_readable(&self) -> bool {
        !self.content().queue.is_empty() && self.may_be_handed_out() > 0
    }

    /// For how many more messages those that were read and not taken leave room: a million empty ones fit
    /// into a limit of bytes that is meant for a thousand of a kilobyte.
    fn may_be_handed_out(&self) -> usize {
        let max = self.bytes_max.div_ceil(HANDED_BYTES);
        max.saturating_sub(self.content().handed_out())
    }

    /// The peer's hello describes its line: the one that we know, or another in its place.
    pub(crate) fn greeted(&mut self, theirs: &Half) {
        if self.named != Some(theirs.id) {
            self.end();
            self.named = Some(theirs.id);
        }
    }

    /// Whether the peer no longer holds what we have not taken of its line: another process with
    /// our identity has had our place.
    pub(crate) fn is_passed_over(&self, theirs: &Half) -> bool {
        let line = self.line.filter(|_| self.named == Some(theirs.id));
        line.is_some_and(|line| theirs.first > line.taken)
    }

    /// The session has ended at this end: the peer's line is forgotten. What waits can be read.
    pub(crate) fn end(&mut self) {
        self.generation += 1;
        let named = self.named.take();
        if let (Some(half), Some(held)) = (named, self.held.get_mut()) {
            let untaken = held.handed.iter().filter(|handed| !handed.is_taken);
            held.former.extend(untaken.map(|&handed| (half, handed)));
            for handed in mem::take(&mut held.handed) {
                if handed.is_taken {
                    held.release(&handed);
                }
            }
        }
        self.line = None;
        self.reported = None;
        self.unreported_bytes = 0;
    }

    /// Takes over a record of a half, whose body was validated. Returns how many of its messages are new.
    ///
    /// The first record of a line may have any number: what came before is none of our business.
    /// From then on a record may repeat what we have, and must not leave a gap. A half that the
    /// peer has given up since is ignored: its messages are reported there.
    pub(crate) fn accept(
        &mut self,
        half: HalfId,
        header: &Header,
        body: Bytes,
    ) -> Result<u64, CloseCode> {
        if self.named != Some(half) {
            return Ok(0);
        }
        let line = self.line.get_or_insert(Progress {
            received: header.first,
            taken: header.first,
        });
        if header.first > line.received {
            return Err(CloseCode::Gap);
        }
        if header.kind == Kind::Plain {
            return Ok(self.accept_messages(header.first, header.count, body));
        }
        let (mut first, mut new) = (header.first, 0);
        for run in entries::runs(&body) {
            let count = match run {
                Run::Messages(count, framed) => {
                    new += self.accept_messages(first, count, framed.into());
                    count
                }
                Run::Voids(count) => {
                    self.accept_voids(first, count)?;
                    count
                }
            };
            first += u64::from(count);
        }
        Ok(new)
    }

    /// Moves `received` beyond entries from `first` on. Returns how many of them were known.
    fn receive(&mut self, first: u64, count: u32) -> u64 {
        let Some(line) = &mut self.line else {
            return u64::from(count);
        };
        let known = (line.received - first).min(u64::from(count));
        line.received += u64::from(count) - known;
        known
    }

    fn accept_messages(&mut self, first: u64, count: u32, body: Bytes) -> u64 {
        let known = self.receive(first, count);
        let new = u64::from(count) - known;
        if new == 0 {
            return 0;
        }
        let memory = record_memory(body.len());
        let mut messages = Messages::new(body);
        for _ in 0..known {
            messages.next();
        }
        let bytes = messages.len();
        self.unreported_bytes += bytes;
        let Some(half) = self.named else {
            return 0;
        };
        let held = self.held.get_or_make(Held::new);
        held.bytes += bytes;
        held.records += 1;
        held.records_memory += memory;
        held.queue.push_back(Waiting {
            half,
            generation: self.generation,
            first: first + known,
            memory: to_u32(memory),
            messages,
            voids: 0,
        });
        new
    }

    /// Counts voids with the message before them, with which they are taken, or as taken if that is.
    fn accept_voids(&mut self, first: u64, count: u32) -> Result<(), CloseCode> {
        let known = self.receive(first, count);
        let new = count - u32::try_from(known).unwrap_or(count);
        let generation = self.generation;
        let held = self.held.get_mut();
        let before = held.and_then(|held| match held.queue.back_mut() {
            Some(waiting) => (waiting.generation == generation).then_some(&mut waiting.voids),
            None => held.handed.back_mut().map(|last| &mut last.voids),
        });
        match before {
            Some(voids) => {
                let all = voids.checked_add(new);
                *voids = all.ok_or(CloseCode::MalformedRecord)?;
            }
            None => {
                if let Some(line) = &mut self.line {
                    line.taken += u64::from(new);
                }
            }
        }
        Ok(())
    }

    /// Hands out up to `max` messages, which stay untaken.
    pub(crate) fn read(&mut self, from: PeerId, max: usize, out: &mut Vec<Message>) -> usize {
        let max = max.min(self.may_be_handed_out());
        let Some(held) = self.held.get_mut() else {
            return 0;
        };
        let mut count = 0;
        while count < max
            && let Some(front) = held.queue.front_mut()
        {
            let (half, is_of_line) = (front.half, front.generation == self.generation);
            let mut left = front.messages.len();
            while count < max
                && let Some(payload) = front.messages.next()
            {
                // Framing included: an empty message is not free.
                let bytes = left - front.messages.len();
                left -= bytes;
                let number = front.first;
                front.first += 1;
                let handed = Handed {
                    number,
                    bytes: to_u32(bytes),
                    memory: if left == 0 { front.memory } else { 0 },
                    voids: if left == 0 { front.voids } else { 0 },
                    is_taken: false,
                };
                match is_of_line {
                    true => held.handed.push_back(handed),
                    false => held.former.push((half, handed)),
                }
                out.push(Message::of_half(from, half, number, payload));
                count += 1;
            }
            if left == 0 {
                held.queue.pop_front();
            }
        }
        count
    }

    /// The application has taken messages of a half that were read. Returns how many of them it had not taken
    /// before. Of one that was read in each of two sessions the earlier copy is taken first.
    ///
    /// One that is taken before its predecessors counts with them: the peer learns a single number up to
    /// which all are taken, and so long it holds its room.
    pub(crate) fn mark_taken(&mut self, half: HalfId, numbers: &RangeInclusive<u64>) -> u64 {
        let Some(held) = self.held.get_mut() else {
            return 0;
        };
        let former = match held.former.is_empty() {
            true => Vec::new(),
            false => held.take_former(half, numbers),
        };
        let mut count = former.len() as u64;
        if self.named == Some(half) {
            // Most of the time they are taken in the order in which they were read.
            let (released, last) = held.release_first(numbers, &former);
            count += released.messages;
            self.unreported_bytes += released.bytes;
            if let (Some(line), Some(last)) = (&mut self.line, last) {
                line.taken = last.number + 1 + u64::from(last.voids);
            }
            // Those behind one that is not taken.
            let front = held.handed.front();
            if front.is_some_and(|front| front.number <= *numbers.end()) {
                count += held.take(numbers, &former);
            }
        }
        held.relax();
        count
    }
}

/// A record has a few MiB at most.
fn to_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("invariant: records are below 17 MiB")
}

#[cfg(test)]
mod tests;
