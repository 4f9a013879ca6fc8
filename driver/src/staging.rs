//! Where threads meet: what all tasks and the event loop share about one peer.

use std::{
    mem,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use event_listener::{Event, EventListener};
use parking_lot::Mutex;
use quicpool_core::{
    ConnectionStatus, MessageNumber, PeerError, PeerId,
    driver::{BatchLimits, DatagramQueue, OpenBatch},
};

use crate::{clock::Clock, mirror::Mirror, order::Order};

/// Orders about one peer that may wait for the event loop before callers wait with them.
const ORDERS_MAX: usize = 1_024;

/// One peer, as the handle and the event loop both see it.
///
/// Its lock is held for the time of a copy, and while it is held no other lock is taken.
#[derive(Debug)]
pub(crate) struct PeerShared {
    pub(crate) id: PeerId,
    pub(crate) mirror: Mirror,
    /// Bytes of the longest message that both ends accept, as far as that is known.
    message_max: AtomicUsize,
    staging: Mutex<Staging>,
    room: Event,
}

/// The tail of the peer's outbox, with orders between the messages so that each is carried out
/// where its caller gave it.
#[derive(Debug)]
struct Staging {
    limits: BatchLimits,
    /// Messages since the last order. Most of many peers have none at any moment.
    open: Option<Box<OpenBatch>>,
    /// What came before `open`, in order.
    earlier: Vec<Entry>,
    /// Bytes of the messages in `earlier`.
    earlier_bytes: usize,
    /// The number of the next message that is accepted for the peer.
    next: u64,
    /// The number of the first one that is staged.
    first: u64,
    /// Bytes that may still be staged, lent by the core.
    credit: usize,
    /// The largest credit that a waiting caller needs; zero if none waits.
    wanted: usize,
    /// Why nothing is accepted.
    verdict: Result<(), Box<PeerError>>,
    /// What was passed to the core about the peer, unless it may have forgotten that since.
    added: Added,
    /// Why the core refused to add the peer: it does not know the peer, and keeps no reason.
    refused: Option<Box<PeerError>>,
    /// Datagrams, which have no place among messages.
    datagrams: Option<Box<DatagramQueue>>,
    /// Bytes of the longest datagram, as last reported by the core.
    datagram_max: Option<usize>,
    /// Whether the event loop is going to look at this peer.
    listed: Listed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Added {
    Nothing,
    /// The peer was added.
    Peer,
    /// And this address of it last.
    Address(Box<SocketAddr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    No,
    Yes,
}

/// A piece of a peer's staging, in the order in which it was put there.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Messages.
    Messages(OpenBatch),
    /// Something to do about the peer.
    Order(Order),
}

/// What was taken out of a peer's staging. Kept by the event loop for its buffers.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The number of the first message.
    pub(crate) first: u64,
    /// What comes first.
    pub(crate) earlier: Vec<Entry>,
    /// The messages after it.
    pub(crate) open: OpenBatch,
    /// Datagrams.
    pub(crate) datagrams: DatagramQueue,
}

/// Whether a message should wait for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// It goes with its batch.
    Batched,
    /// It goes at once, and what was staged before it too.
    Express,
}

/// Why a message was not staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The credit is too small; a waiter is woken when there is enough.
    Full,
    /// The message is longer than either end accepts.
    TooLarge { size: usize, max: usize },
    /// Nothing can be sent to the peer.
    Peer(PeerError),
}

/// Whether the caller must put the peer on the list of those that the event loop looks at.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    /// The caller must, since it is the first.
    Needed,
    /// Another caller has.
    Done,
}

impl Taken {
    /// Empty buffers.
    pub(crate) fn new(limits: BatchLimits) -> Self {
        Self {
            first: 0,
            earlier: Vec::new(),
            open: OpenBatch::new(limits),
            datagrams: DatagramQueue::default(),
        }
    }
}

impl PeerShared {
    /// A peer that the core has not judged: `credit` is what it lends to a peer without messages.
    pub(crate) fn new(
        id: PeerId,
        limits: BatchLimits,
        credit: usize,
        verdict: Result<(), PeerError>,
    ) -> Self {
        let staging = Staging {
            limits,
            open: None,
            earlier: Vec::new(),
            earlier_bytes: 0,
            next: 0,
            first: 0,
            credit,
            wanted: 0,
            verdict: verdict.map_err(Box::new),
            added: Added::Nothing,
            refused: None,
            datagrams: None,
            datagram_max: None,
            listed: Listed::No,
        };
        Self {
            id,
            mirror: Mirror::new(),
            message_max: AtomicUsize::new(usize::MAX),
            staging: Mutex::new(staging),
            room: Event::new(),
        }
    }

    /// Notes that the core does not know the peer, unless an address is on its way to it.
    pub(crate) fn set_unknown(&self) {
        if self.staging.lock().added == Added::Nothing {
            self.mirror.clear();
        }
    }

    /// Applies the end of the manager, which reports no more of this peer: it is not connected.
    pub(crate) fn disconnected(&self, to: ConnectionStatus) {
        self.mirror.disconnected(to);
        self.set_datagram_max(None);
    }

    /// Gives back memory that nothing is in: there may be many peers that are at rest.
    pub(crate) fn rest(&self) {
        let mut staging = self.staging.lock();
        staging.open = staging.open.take().filter(|open| !open.is_empty());
        staging.datagrams = staging.datagrams.take().filter(|queue| !queue.is_empty());
    }

    /// Accepts only messages of at most so many bytes from this moment on.
    pub(crate) fn limit_messages(&self, max: usize) {
        self.message_max.store(max, Ordering::Release);
    }

    fn check_len(&self, size: usize) -> Result<(), Refused> {
        let max = self.message_max.load(Ordering::Acquire);
        match size > max {
            true => Err(Refused::TooLarge { size, max }),
            false => Ok(()),
        }
    }

    /// Accepts a message if there is credit for it.
    pub(crate) fn stage(
        &self,
        clock: &Clock,
        message: &[u8],
        urgency: Urgency,
    ) -> (Result<MessageNumber, Refused>, Listing) {
        if let Err(refused) = self.check_len(message.len()) {
            return (Err(refused), Listing::Done);
        }
        let mut staging = self.staging.lock();
        let outcome = staging.stage(clock, message, urgency);
        // Listed even if it was refused: the event loop asks the core for room, or for a verdict
        // that has changed since.
        (outcome, staging.list())
    }

    /// Accepts a message if there is credit for it, with an order right before it.
    pub(crate) fn stage_after(
        &self,
        clock: &Clock,
        order: Order,
        message: &[u8],
    ) -> (Result<MessageNumber, Refused>, Listing) {
        if let Err(refused) = self.check_len(message.len()) {
            return (Err(refused), Listing::Done);
        }
        let mut staging = self.staging.lock();
        let has_room = staging.has_room(clock, OpenBatch::cost(message.len()));
        let outcome = has_room.and_then(|()| {
            staging.close_open();
            staging.earlier.push(Entry::Order(order));
            staging.stage(clock, message, Urgency::Batched)
        });
        (outcome, staging.list())
    }

    /// The longest datagram that can be sent at this moment, in bytes.
    pub(crate) fn datagram_max(&self) -> Option<usize> {
        self.staging.lock().datagram_max
    }

    pub(crate) fn set_datagram_max(&self, max: Option<usize>) {
        self.staging.lock().datagram_max = max;
    }

    /// Accepts a datagram that is not too long; the oldest in the queue make room. If it is too long, or none
    /// can be sent, returns how long one may be.
    pub(crate) fn stage_datagram(
        &self,
        payload: &[u8],
        queue_bytes_max: usize,
    ) -> Result<Listing, Option<usize>> {
        let mut staging = self.staging.lock();
        match staging.datagram_max {
            Some(max) if payload.len() <= max => {
                let payload = Bytes::copy_from_slice(payload);
                let datagrams = staging.datagrams.get_or_insert_default();
                datagrams.push(payload, queue_bytes_max);
                Ok(staging.list())
            }
            max => Err(max),
        }
    }

    /// Whether there is credit for a message of `len` bytes.
    pub(crate) fn has_room(&self, clock: &Clock, len: usize) -> (Result<(), Refused>, Listing) {
        if let Err(refused) = self.check_len(len) {
            return (Err(refused), Listing::Done);
        }
        let mut staging = self.staging.lock();
        let outcome = staging.has_room(clock, OpenBatch::cost(len));
        let listing = match outcome {
            Ok(()) => Listing::Done,
            Err(_) => staging.list(),
        };
        (outcome, listing)
    }

    /// Puts an order behind what was staged before it, or gives it back if the manager has ended.
    pub(crate) fn post(&self, order: Order) -> Result<Listing, Order> {
        let mut staging = self.staging.lock();
        if matches!(&staging.verdict, Err(error) if **error == PeerError::Closed) {
            return Err(order);
        }
        match order {
            // Callers that look a peer up for each message add the same address each time.
            Order::AddAddress(addr) if staging.has_added(addr) => return Ok(Listing::Done),
            Order::AddAddress(addr) => {
                staging.expect_address(addr);
                self.mirror.set_known();
            }
            Order::Add if staging.added != Added::Nothing => return Ok(Listing::Done),
            Order::Add => {
                staging.added = Added::Peer;
                staging.refused = None;
                self.mirror.set_known();
            }
            Order::RemoveAddress(_) | Order::Forget(_) | Order::Block(_) | Order::Unblock(_) => {
                staging.added = Added::Nothing;
            }
            Order::Connect(_)
            | Order::Flush(..)
            | Order::ConfirmNext(..)
            | Order::ExpireNext(_)
            | Order::Cancel(..)
            | Order::CancelFlush(_)
            | Order::ReturnLosses(_)
            | Order::Disconnect(_)
            | Order::Protect(_)
            | Order::Unprotect(_)
            | Order::Metrics(_)
            | Order::Explain(_) => {}
        }
        staging.close_open();
        staging.earlier.push(Entry::Order(order));
        Ok(staging.list())
    }

    /// Whether so many orders wait that a caller that gives one should wait, too.
    pub(crate) fn is_crowded(&self) -> bool {
        self.staging.lock().earlier.len() >= ORDERS_MAX
    }

    /// What wakes once there is room or the verdict has changed. To be asked for before the last
    /// look at [`stage`](Self::stage).
    pub(crate) fn listen(&self) -> EventListener {
        self.room.listen()
    }

    /// Exchanges what is staged for the empty buffers in `taken`.
    pub(crate) fn take(&self, taken: &mut Taken) {
        debug_assert!(taken.earlier.is_empty() && taken.open.is_empty());
        let mut staging = self.staging.lock();
        if let Some(open) = &mut staging.open {
            mem::swap(&mut **open, &mut taken.open);
        }
        mem::swap(&mut staging.earlier, &mut taken.earlier);
        if let Some(datagrams) = &mut staging.datagrams {
            mem::swap(&mut **datagrams, &mut taken.datagrams);
        }
        taken.first = staging.first;
        staging.first = staging.next;
        staging.earlier_bytes = 0;
        staging.listed = Listed::No;
    }

    /// The core has refused to add the peer.
    pub(crate) fn refuse(&self, error: PeerError) {
        let mut staging = self.staging.lock();
        staging.added = Added::Nothing;
        staging.refused = Some(Box::new(error));
    }

    /// Lends the room that the core has beyond what is staged, and passes on its verdict. Returns
    /// how much room a waiting sender needs, if this is not enough.
    pub(crate) fn lend(&self, room: usize, verdict: Result<(), PeerError>) -> Option<usize> {
        let mut staging = self.staging.lock();
        let open = staging.open.as_ref().map_or(0, |open| open.bytes());
        let staged = open + staging.earlier_bytes;
        staging.credit = room.saturating_sub(staged);
        let verdict = match (staging.refused.as_deref(), verdict) {
            (Some(PeerError::Closed), _) => Err(PeerError::Closed),
            // The core keeps no reason for a peer that it refused and does not know.
            (Some(refused), Err(PeerError::NoAddress(_) | PeerError::UnknownPeer(_))) => {
                Err(refused.clone())
            }
            (Some(_) | None, verdict) => verdict,
        };
        staging.verdict = verdict.map_err(Box::new);
        if staging.wanted == 0 {
            return None;
        }
        if staging.verdict.is_ok() && staging.credit < staging.wanted {
            return Some(staged + staging.wanted);
        }
        staging.wanted = 0;
        drop(staging);
        self.room.notify(usize::MAX);
        None
    }

    /// Accepts nothing from this moment on, and takes what was staged before.
    pub(crate) fn seal(&self, taken: &mut Taken) {
        let mut staging = self.staging.lock();
        staging.verdict = Err(Box::new(PeerError::Closed));
        staging.refused = Some(Box::new(PeerError::Closed));
        staging.wanted = 0;
        drop(staging);
        self.room.notify(usize::MAX);
        self.take(taken);
    }
}

impl Staging {
    fn stage(
        &mut self,
        clock: &Clock,
        message: &[u8],
        urgency: Urgency,
    ) -> Result<MessageNumber, Refused> {
        let cost = OpenBatch::cost(message.len());
        self.has_room(clock, cost)?;
        self.credit -= cost;
        // The clock costs more than all the rest. Messages that wait for the loop together share
        // the time of the first: none of them waits longer than it may.
        let limits = self.limits;
        let open = self
            .open
            .get_or_insert_with(|| Box::new(OpenBatch::new(limits)));
        let staged_at = open.first_queued_at();
        let staged_at = staged_at.unwrap_or_else(|| clock.now());
        open.append(staged_at, message);
        match urgency {
            Urgency::Batched => {}
            Urgency::Express => open.express(),
        }
        let number = self.next;
        self.next += 1;
        Ok(number.into())
    }

    fn has_room(&mut self, clock: &Clock, cost: usize) -> Result<(), Refused> {
        if let Err(error) = &self.verdict {
            // A breaker's verdict ends by itself: the core takes the next message as its probe.
            if !matches!(**error, PeerError::CircuitOpen { retry_at, .. } if retry_at <= clock.now())
            {
                return Err(Refused::Peer((**error).clone()));
            }
            self.verdict = Ok(());
        }
        if cost > self.credit {
            self.wanted = self.wanted.max(cost);
            return Err(Refused::Full);
        }
        Ok(())
    }

    /// The core is about to learn an address: messages need not wait until it has.
    fn expect_address(&mut self, addr: SocketAddr) {
        self.added = Added::Address(Box::new(addr));
        self.refused = None;
        let is_unknown = |error: &PeerError| {
            matches!(error, PeerError::NoAddress(_) | PeerError::UnknownPeer(_))
        };
        if matches!(&self.verdict, Err(error) if is_unknown(error)) {
            self.verdict = Ok(());
        }
    }

    fn has_added(&self, addr: SocketAddr) -> bool {
        matches!(&self.added, Added::Address(added) if **added == addr)
    }

    fn close_open(&mut self) {
        let Some(open) = self.open.take_if(|open| !open.is_empty()) else {
            return;
        };
        self.earlier_bytes += open.bytes();
        self.earlier.push(Entry::Messages(*open));
    }

    fn list(&mut self) -> Listing {
        match mem::replace(&mut self.listed, Listed::Yes) {
            Listed::No => Listing::Needed,
            Listed::Yes => Listing::Done,
        }
    }
}

#[cfg(test)]
mod tests;
