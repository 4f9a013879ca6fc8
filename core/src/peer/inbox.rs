//! What a peer has sent and the application has not yet taken.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    Message, PeerId,
    wire::{
        code::CloseCode,
        frame::{Ack, Known, Line, LineId},
        record::{Header, Messages},
    },
};

/// What a message that was read and not taken occupies beside its bytes, here and with whoever
/// read it. Until it is read it lies in its record, where an empty one has a single byte.
const HANDED_BYTES: usize = 64;

/// A peer's line as we know it, and the messages that wait.
#[derive(Debug)]
pub(crate) struct Inbox {
    bytes_max: usize,
    /// The line that the peer's last hello named: records of others are none of ours.
    named: Option<LineId>,
    /// How far we are with it, once a record has come.
    line: Option<Progress>,
    /// Raised with each new line, so that what an older one left behind is not counted for it.
    generation: u32,
    queue: VecDeque<Waiting>,
    /// Read, and not yet taken.
    handed: VecDeque<Handed>,
    bytes: usize,
    reported: Option<Progress>,
    unreported_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    id: LineId,
    received: u64,
    taken: u64,
}

#[derive(Debug)]
struct Waiting {
    generation: u32,
    messages: Messages,
}

#[derive(Debug, Clone, Copy)]
struct Handed {
    generation: u32,
    bytes: usize,
}

impl Inbox {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            named: None,
            line: None,
            generation: 0,
            queue: VecDeque::new(),
            handed: VecDeque::new(),
            bytes: 0,
            reported: None,
            unreported_bytes: 0,
        }
    }

    /// The peer's line as our hello states it.
    pub(crate) fn known(&self) -> Option<Known> {
        self.line.map(|line| Known {
            id: line.id,
            received: line.received,
            taken: line.taken,
        })
    }

    /// The acknowledgement that is true at this moment; `held` is what our outbox holds.
    pub(crate) fn acknowledgement(&self, held: u64) -> Option<Ack> {
        self.line.map(|line| Ack {
            received: line.received,
            taken: line.taken,
            held,
        })
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

    /// Whether the peer does not know how far we are.
    pub(crate) fn is_unreported(&self) -> bool {
        self.reported != self.line
    }

    /// Bytes that were received or taken since the last report.
    pub(crate) const fn unreported_bytes(&self) -> usize {
        self.unreported_bytes
    }

    /// Bytes of messages that the application has not taken.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether another record may be read.
    pub(crate) const fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }

    /// Whether messages wait that may be read.
    pub(crate) fn is_readable(&self) -> bool {
        !self.queue.is_empty() && self.may_hand_out()
    }

    /// Whether the messages that were read and not taken leave room for another: a million empty
    /// ones fit into a limit of bytes that is meant for a thousand of a kilobyte.
    fn may_hand_out(&self) -> bool {
        self.handed.len() * HANDED_BYTES < self.bytes_max
    }

    /// The peer's hello describes its line: the one that we know, or another in its place.
    pub(crate) fn greeted(&mut self, theirs: &Line) {
        if self.named != Some(theirs.id) {
            self.end();
            self.named = Some(theirs.id);
        }
    }

    /// Whether the peer no longer holds what we have not taken of its line: another process with
    /// our identity has had our place.
    pub(crate) fn is_passed_over(&self, theirs: &Line) -> bool {
        let line = self.line.filter(|line| line.id == theirs.id);
        line.is_some_and(|line| theirs.first > line.taken)
    }

    /// The session has ended at this end: the peer's line is forgotten. What waits can be read.
    pub(crate) fn end(&mut self) {
        self.generation += 1;
        self.named = None;
        self.line = None;
        self.reported = None;
        self.unreported_bytes = 0;
    }

    /// Takes over a record of a line, whose body was validated; says how many of its messages are
    /// new.
    ///
    /// The first record of a line may have any number: what came before is none of our business.
    /// From then on a record may repeat what we have, and must not leave a gap. A line that the
    /// peer has given up since is ignored: its messages are reported there.
    pub(crate) fn accept(
        &mut self,
        id: LineId,
        header: &Header,
        body: Bytes,
    ) -> Result<u64, CloseCode> {
        if self.named != Some(id) {
            return Ok(0);
        }
        let line = self.line.get_or_insert(Progress {
            id,
            received: header.first,
            taken: header.first,
        });
        if header.first > line.received {
            return Err(CloseCode::Gap);
        }
        let known = line.received - header.first;
        let new = u64::from(header.count).saturating_sub(known);
        if new == 0 {
            return Ok(0);
        }
        line.received += new;
        let mut messages = Messages::new(body);
        for _ in 0..known {
            messages.next();
        }
        let bytes = messages.len();
        self.bytes += bytes;
        self.unreported_bytes += bytes;
        self.queue.push_back(Waiting {
            generation: self.generation,
            messages,
        });
        Ok(new)
    }

    /// Hands out up to `max` messages, which stay untaken.
    pub(crate) fn read(&mut self, from: PeerId, max: usize, out: &mut Vec<Message>) -> usize {
        let mut count = 0;
        while count < max && self.may_hand_out() {
            let Some(front) = self.queue.front_mut() else {
                break;
            };
            let before = front.messages.len();
            let Some(payload) = front.messages.next() else {
                self.queue.pop_front();
                continue;
            };
            // Framing included: an empty message is not free.
            self.handed.push_back(Handed {
                generation: front.generation,
                bytes: before - front.messages.len(),
            });
            out.push(Message { from, payload });
            count += 1;
        }
        if self
            .queue
            .front()
            .is_some_and(|front| front.messages.is_empty())
        {
            self.queue.pop_front();
        }
        count
    }

    /// The application has taken the next `count` of the messages handed out.
    pub(crate) fn mark_taken(&mut self, count: usize) {
        for handed in self.handed.drain(..count.min(self.handed.len())) {
            self.bytes -= handed.bytes;
            self.unreported_bytes += handed.bytes;
            if let Some(line) = &mut self.line
                && handed.generation == self.generation
            {
                line.taken += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
