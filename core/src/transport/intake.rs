//! Turns of input: what one connection may bring before the others have had their turn.
//!
//! In each drain a connection has one turn: so many datagrams, and so much work on what they carry. What it brings
//! beyond waits: datagrams in a row of their own, which is bounded, and bytes of streams in QUIC, whose windows
//! hold the other end back. It goes on with the next drain, which is due at once. A connection that is alone
//! with its input has some turns more in the same drain, so that a bulk sender has no loops between them.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use quinn_proto::ConnectionEvent;

use super::{Arrival, Link, Queued, Stage, Transport};
use crate::{
    bucket::Bucket,
    peer::{LinkId, chooser::Dialler},
    wire::record::Header,
};

/// Datagrams of one turn: one burst (GSO) of an honest sender, and some. QUIC needs 2 us for one that is full of
/// data, and less than 10 us for one that is full of its cheapest frames.
const DATAGRAMS: u32 = 64;

/// Work of one turn, in units of about 50 ns: 0.2 ms or so.
const WORK: i32 = 4_096;

/// Turns that a connection has in one drain beyond the first, if no other has one: four in all are what a loop
/// reads at a time.
const REPEATS: u8 = 3;

/// Datagrams a second from other addresses than that of the path, and a burst of them. Each may change the path, and
/// has QUIC send 1,200 bytes to an address that is not proved: a node must be no reflector for its peers. A peer that
/// has moved needs one of them, and a few if packets overtake each other.
const PATH_CHANGES_PER_SECOND: u32 = 4;
const PATH_CHANGES: u32 = 8;

/// Work on a control frame, known or not.
pub(super) const FRAME_WORK: u64 = 1;

/// Work on a datagram of the application.
const DATAGRAM_WORK: u64 = 4;

/// Work on a record beside its content: its key is set up, it gets memory, and it is queued.
const RECORD_WORK: u64 = 32;

/// Entries of a record that are a unit of work: each is looked at twice.
const ENTRIES_PER_UNIT: u64 = 8;

/// Bytes that are opened and copied in a unit of work.
const BYTES_PER_UNIT: u64 = 128;

/// Bytes of datagrams that wait, of all connections, at most: as many as the kernel holds for us. One connection
/// has half of them at most, which is more than an honest sender may have in flight.
pub(super) const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The part of `memory_max` that they may take: one to so many.
pub(super) const WAITING_MEMORY_PART: usize = 16;

/// The input of one connection.
pub(super) struct Intake {
    /// The drain that the turn belongs to.
    drain: u64,
    datagrams_left: u32,
    /// Less than nothing if the last piece was larger than what was left: it is paid back.
    work_left: i32,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    path_changes: Bucket,
}

/// A datagram that waits for a turn of its connection.
struct Waiting {
    len: usize,
    event: ConnectionEvent,
}

impl Waiting {
    const fn bytes(&self) -> usize {
        self.len + size_of::<Self>()
    }
}

impl Intake {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            drain: 0,
            datagrams_left: DATAGRAMS,
            work_left: WORK,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            path_changes: Bucket::new(now, PATH_CHANGES_PER_SECOND, PATH_CHANGES),
        }
    }

    /// Begins the turn of a drain, unless it has begun.
    const fn begin(&mut self, drain: u64) {
        if self.drain != drain {
            self.drain = drain;
            self.renew();
        }
    }

    /// Begins another turn.
    const fn renew(&mut self) {
        self.datagrams_left = DATAGRAMS;
        self.work_left = if self.work_left < 0 {
            self.work_left + WORK
        } else {
            WORK
        };
    }

    /// Takes one datagram of the turn, if there is one left.
    const fn take_datagram(&mut self) -> bool {
        let has_one = self.datagrams_left > 0 && self.work_left > 0;
        if has_one {
            self.datagrams_left -= 1;
        }
        has_one
    }

    /// Charges the turn for work that was done.
    pub(super) const fn spend(&mut self, work: u64) {
        // More than any piece of input needs, so that the sum never overflows.
        const PIECE_MAX: u64 = 1 << 24;
        let work = if work < PIECE_MAX { work } else { PIECE_MAX };
        self.work_left = self.work_left.saturating_sub(work as i32);
    }

    /// Whether the turn has no work left.
    pub(super) const fn is_spent(&self) -> bool {
        self.work_left <= 0
    }

    /// Whether the connection may have more than its turn had room for.
    fn has_more(&self) -> bool {
        self.is_spent() || !self.waiting.is_empty()
    }

    /// Bytes of datagrams that wait.
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes of memory for datagrams that may wait, beside those that do.
    pub(super) fn memory(&self) -> usize {
        (self.waiting.capacity() - self.waiting.len()) * size_of::<Waiting>()
    }

    fn push(&mut self, waiting: Waiting) {
        self.waiting_bytes += waiting.bytes();
        self.waiting.push_back(waiting);
    }

    fn pop(&mut self) -> Option<Waiting> {
        if self.waiting.is_empty() || !self.take_datagram() {
            return None;
        }
        let waiting = self.waiting.pop_front()?;
        self.waiting_bytes -= waiting.bytes();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        Some(waiting)
    }
}

/// The turns of one drain.
#[derive(Debug)]
pub(super) struct Turns {
    drain: u64,
    first: Option<LinkId>,
    /// Whether several connections have had one.
    are_shared: bool,
    repeats: u8,
}

impl Turns {
    /// A drain in which no connection has had a turn. Connections start with that of drain 0.
    pub(super) const fn of(drain: u64) -> Self {
        Self {
            drain,
            first: None,
            are_shared: false,
            repeats: 0,
        }
    }

    fn count(&mut self, id: LinkId) {
        self.are_shared |= *self.first.get_or_insert(id) != id;
    }

    fn repeat(&mut self) -> bool {
        let may = !self.are_shared && self.repeats < REPEATS;
        self.repeats += u8::from(may);
        may
    }
}

impl Link {
    /// Whether the turn has no work left. What was not read stays for the next one.
    pub(crate) const fn is_spent(&self) -> bool {
        self.intake.is_spent()
    }

    /// Charges the turn for a record.
    pub(super) fn spend_on_record(&mut self, header: &Header) {
        let content =
            u64::from(header.count) / ENTRIES_PER_UNIT + u64::from(header.len) / BYTES_PER_UNIT;
        self.intake.spend(RECORD_WORK + content);
    }

    /// Charges the turn for a datagram of the application.
    pub(super) const fn spend_on_datagram(&mut self) {
        self.intake.spend(DATAGRAM_WORK);
    }

    /// Whether QUIC may see a datagram from another address than that of the path, which it may change to that.
    ///
    /// Only the end that was dialled follows the other end, and only once that is confirmed.
    fn may_move(&mut self, now: Instant) -> bool {
        match (self.dialler, &self.stage) {
            // QUIC itself drops it.
            (Dialler::Us, _) => true,
            (Dialler::Them, Stage::Confirmed(_)) => self.intake.path_changes.take(now, 1),
            (Dialler::Them, _) => false,
        }
    }

    fn handle_datagram(&mut self, len: usize, event: ConnectionEvent) {
        self.arrived(len);
        self.connection.handle_event(event);
    }
}

impl Transport {
    /// Passes a datagram to its connection, at once or in one of its next turns. Beyond what may wait it is dropped,
    /// as if the network had lost it.
    pub(super) fn take_in(
        &mut self,
        now: Instant,
        id: LinkId,
        remote: SocketAddr,
        len: usize,
        event: ConnectionEvent,
    ) -> Arrival {
        let drain = self.turns.drain;
        let free = self.waiting_max.saturating_sub(self.waiting);
        let Some(link) = self.link_mut(id) else {
            return Arrival::Routed;
        };
        if link.connection.remote_address() != remote && !link.may_move(now) {
            return Arrival::PathRefused;
        }
        link.arrival = now;
        link.intake.begin(drain);
        if link.intake.waiting.is_empty() && link.intake.take_datagram() {
            link.handle_datagram(len, event);
        } else {
            let waiting = Waiting { len, event };
            let bytes = waiting.bytes();
            // Dynamic thresholds (Choudhury and Hahne 1998): each may have as much as is left.
            if link.intake.waiting_bytes + bytes > free {
                return Arrival::Overrun;
            }
            link.intake.push(waiting);
            self.waiting += bytes;
        }
        self.mark_dirty(id);
        Arrival::Routed
    }

    /// Passes datagrams that wait to their connection, as many as its turn has left.
    pub(crate) fn feed(&mut self, id: LinkId) {
        let drain = self.turns.drain;
        let Some(link) = self.link_mut(id) else {
            return;
        };
        link.intake.begin(drain);
        let before = link.intake.waiting_bytes;
        while let Some(Waiting { len, event }) = link.intake.pop() {
            link.handle_datagram(len, event);
        }
        let fed = before - link.intake.waiting_bytes;
        self.waiting -= fed;
    }

    /// A connection to settle: the caller polls its events and reads its streams.
    pub(crate) fn next_dirty(&mut self) -> Option<LinkId> {
        while let Some(id) = self.dirty.pop_front() {
            if let Some(slot) = self.slot_mut(id) {
                slot.dirty = Queued::No;
                self.turns.count(id);
                return Some(id);
            }
        }
        self.next_alone()
    }

    /// The connection that is alone with its input, and has more of it.
    fn next_alone(&mut self) -> Option<LinkId> {
        if self.later.is_empty() || !self.turns.repeat() {
            return None;
        }
        let id = self.later.pop_front()?;
        let slot = self.slot_mut(id)?;
        slot.later = Queued::No;
        slot.link.as_mut()?.intake.renew();
        Some(id)
    }

    /// Ends the turn of a connection: has its packets polled, and what it has left looked at in the next drain.
    pub(crate) fn end_turn(&mut self, id: LinkId) {
        let Some(slot) = self.slot_mut(id) else {
            return;
        };
        let has_more = slot.link.as_ref().is_some_and(|l| l.intake.has_more());
        if has_more && std::mem::replace(&mut slot.later, Queued::Yes) == Queued::No {
            self.later.push_back(id);
        }
        self.mark_ready(id);
    }

    /// Whether connections have more input than their turns had room for.
    pub(crate) fn has_more_input(&self) -> bool {
        !self.later.is_empty()
    }

    /// The next drain begins: each connection has a turn.
    pub(crate) fn begin_drain(&mut self) {
        self.turns = Turns::of(self.turns.drain + 1);
    }

    /// Has the connections settled that have more input than their last turns had room for.
    pub(crate) fn resume_input(&mut self) {
        self.begin_drain();
        while let Some(id) = self.later.pop_front() {
            if let Some(slot) = self.slot_mut(id) {
                slot.later = Queued::No;
                self.mark_dirty(id);
            }
        }
    }
}
