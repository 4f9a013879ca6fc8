//! What all clones of the handle share with the event loop.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

use dashmap::DashMap;
use event_listener::Event;
use parking_lot::Mutex;
use quicpool_core::{
    Config, ConnectionStatus, Losses, MessageNumber, PeerAddr, PeerError, PeerId,
    driver::BatchLimits,
};

use crate::{
    clock::Clock,
    datagrams::DatagramInbox,
    doorbell::Doorbell,
    error::{CloseReason, Closed, Rejected, SendDatagramError},
    events::Hub,
    inbox::Inbox,
    metrics::{MetricsRequests, SocketMeter},
    order::Order,
    staging::{Listing, PeerShared, Refused, Taken, Urgency},
};

/// The meeting place of the handle and the event loop.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) local: PeerAddr,
    pub(crate) limits: Limits,
    clock: Clock,
    pub(crate) bell: Doorbell,
    pub(crate) inbox: Inbox,
    pub(crate) datagrams: DatagramInbox,
    pub(crate) hub: Hub,
    pub(crate) metrics: MetricsRequests,
    pub(crate) socket: SocketMeter,
    peers: DashMap<PeerId, Arc<PeerShared>>,
    /// How many are in `peers`; the map itself would lock all its shards to count them.
    peers_count: AtomicUsize,
    /// Peers that the event loop has to look at, each once.
    listed: Mutex<Vec<Arc<PeerShared>>>,
    demand: AtomicU8,
    /// Names the flushes of all peers.
    next_token: AtomicU64,
    sealed: AtomicBool,
    /// The failure that is about to end it, known before it has ended.
    failure: OnceLock<CloseReason>,
    end: OnceLock<End>,
    ended: Event,
}

/// The parts of the configuration that the handle needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) batch: BatchLimits,
    pub(crate) message_bytes_max: usize,
    pub(crate) outbox_bytes_max: usize,
    pub(crate) datagram_queue_bytes_max: usize,
}

/// How the manager should end. What ends it sooner counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Demand {
    /// Not at all.
    Run,
    /// Flush, send goodbyes, and end.
    Close,
    /// Send goodbyes, and end.
    Abort,
    /// End without goodbyes.
    Abandon,
}

/// How the manager has ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) reason: CloseReason,
    pub(crate) undelivered: u64,
    /// What no flush has reported.
    pub(crate) losses: Vec<(PeerId, Losses)>,
}

impl Shared {
    pub(crate) fn new(local: PeerAddr, config: &Config, clock: Clock) -> Self {
        Self {
            local,
            limits: Limits {
                batch: BatchLimits::of(config),
                message_bytes_max: config.message_bytes_max,
                outbox_bytes_max: config.outbox_bytes_max,
                datagram_queue_bytes_max: config.datagram_queue_bytes_max,
            },
            clock,
            bell: Doorbell::default(),
            inbox: Inbox::new(config.inbox_bytes_max),
            datagrams: DatagramInbox::default(),
            hub: Hub::default(),
            metrics: MetricsRequests::default(),
            socket: SocketMeter::default(),
            peers: DashMap::new(),
            peers_count: AtomicUsize::new(0),
            listed: Mutex::default(),
            demand: AtomicU8::new(Demand::Run as u8),
            next_token: AtomicU64::new(0),
            sealed: AtomicBool::new(false),
            failure: OnceLock::new(),
            end: OnceLock::new(),
            ended: Event::new(),
        }
    }

    /// What is shared about a peer, if anything is.
    pub(crate) fn known_peer(&self, id: PeerId) -> Option<Arc<PeerShared>> {
        // The guard of the map ends with this statement, before any other lock is taken.
        self.peers.get(&id).map(|peer| Arc::clone(&peer))
    }

    /// What is shared about a peer, which is begun here if it is not known.
    pub(crate) fn peer(&self, id: PeerId) -> Arc<PeerShared> {
        self.known_peer(id).unwrap_or_else(|| {
            let entry = self.peers.entry(id);
            Arc::clone(&entry.or_insert_with(|| self.new_peer(id)))
        })
    }

    fn new_peer(&self, id: PeerId) -> Arc<PeerShared> {
        self.peers_count.fetch_add(1, Ordering::Relaxed);
        // Read while the map's shard is locked: the event loop sets it before it visits the shard
        // to seal what is there, so a peer is either sealed by it or begins sealed.
        let verdict = if self.sealed.load(Ordering::Acquire) {
            PeerError::Closed
        } else {
            PeerError::UnknownPeer(id)
        };
        let (batch, credit) = (self.limits.batch, self.limits.outbox_bytes_max);
        let peer = PeerShared::new(id, batch, credit, Err(verdict));
        peer.limit_messages(self.limits.message_bytes_max);
        Arc::new(peer)
    }

    /// Peers shared at this moment.
    pub(crate) fn peers_count(&self) -> usize {
        self.peers_count.load(Ordering::Relaxed)
    }

    /// Bytes of memory for what is shared about peers: each has a place in the map, which is half empty at worst, and
    /// two counts of its holders.
    pub(crate) fn peers_memory(&self) -> usize {
        let place = 2 * (size_of::<PeerId>() + size_of::<Arc<PeerShared>>() + 1);
        let shared = size_of::<PeerShared>() + 2 * size_of::<usize>();
        self.peers_count() * (shared + place)
    }

    /// Every peer in the order of ids, for the rare work that concerns all: what follows from it
    /// must not depend on the order of a hash map.
    pub(crate) fn all_peers(&self) -> Vec<Arc<PeerShared>> {
        let mut peers: Vec<_> = self.peers.iter().map(|peer| Arc::clone(&peer)).collect();
        peers.sort_unstable_by_key(|peer| peer.id);
        peers
    }

    /// Forgets peers that no handle holds and that `known` does not know.
    pub(crate) fn forget_unused(&self, known: impl Fn(PeerId) -> bool) {
        self.peers
            .retain(|id, peer| Arc::strong_count(peer) > 1 || known(*id));
        self.peers_count.store(self.peers.len(), Ordering::Relaxed);
    }

    /// Accepts a message, and lets the event loop know.
    pub(crate) fn stage(
        &self,
        peer: &Arc<PeerShared>,
        message: &[u8],
        urgency: Urgency,
    ) -> Result<MessageNumber, Refused> {
        let (outcome, listing) = peer.stage(&self.clock, message, urgency);
        self.list(peer, listing);
        outcome
    }

    /// Accepts a message with an order right before it, and lets the event loop know.
    pub(crate) fn stage_after(
        &self,
        peer: &Arc<PeerShared>,
        order: Order,
        message: &[u8],
    ) -> Result<MessageNumber, Refused> {
        let (outcome, listing) = peer.stage_after(&self.clock, order, message);
        self.list(peer, listing);
        outcome
    }

    /// Whether a message of `len` bytes would be accepted; if not, the event loop is to find room.
    pub(crate) fn has_room(&self, peer: &Arc<PeerShared>, len: usize) -> Result<(), Refused> {
        let (outcome, listing) = peer.has_room(&self.clock, len);
        self.list(peer, listing);
        outcome
    }

    /// Accepts a datagram, and lets the event loop know.
    pub(crate) fn stage_datagram(
        &self,
        peer: &Arc<PeerShared>,
        payload: &[u8],
    ) -> Result<(), SendDatagramError> {
        if self.demanded() > Demand::Run || self.has_ended() {
            return Err(self.closed().into());
        }
        match peer.mirror.status() {
            Some(ConnectionStatus::Connected) => {}
            Some(_) => return Err(SendDatagramError::NotConnected(peer.id)),
            None => return Err(SendDatagramError::Peer(PeerError::UnknownPeer(peer.id))),
        }
        let size = payload.len();
        match peer.stage_datagram(payload, self.limits.datagram_queue_bytes_max) {
            Ok(listing) => {
                self.list(peer, listing);
                Ok(())
            }
            Err(Some(max)) => Err(SendDatagramError::TooLarge { size, max }),
            Err(None) => Err(SendDatagramError::Unsupported(peer.id)),
        }
    }

    /// Names a flush.
    pub(crate) fn new_token(&self) -> u64 {
        self.next_token.fetch_add(1, Ordering::Relaxed)
    }

    /// Passes an order on to the event loop.
    pub(crate) fn post(&self, peer: &Arc<PeerShared>, order: Order) -> Result<(), Closed> {
        let listing = peer.post(order).map_err(|_| self.closed())?;
        self.list(peer, listing);
        Ok(())
    }

    fn list(&self, peer: &Arc<PeerShared>, listing: Listing) {
        match listing {
            Listing::Done => {}
            Listing::Needed => {
                self.listed.lock().push(Arc::clone(peer));
                self.bell.ring();
            }
        }
    }

    /// Exchanges the list of peers to look at for the empty buffer `listed`.
    pub(crate) fn take_listed(&self, listed: &mut Vec<Arc<PeerShared>>) {
        debug_assert!(listed.is_empty());
        std::mem::swap(&mut *self.listed.lock(), listed);
    }

    /// Asks the event loop to end.
    pub(crate) fn demand(&self, demand: Demand) {
        self.demand.fetch_max(demand as u8, Ordering::AcqRel);
        self.bell.ring();
    }

    /// How the event loop was asked to end.
    pub(crate) fn demanded(&self) -> Demand {
        let stored = self.demand.load(Ordering::Acquire);
        [Demand::Run, Demand::Close, Demand::Abort, Demand::Abandon]
            .into_iter()
            .find(|demand| *demand as u8 == stored)
            .expect("invariant: only a demand is ever stored")
    }

    /// Accepts nothing from this moment on; `absorb` gets what was accepted before.
    pub(crate) fn seal(&self, mut absorb: impl FnMut(&Arc<PeerShared>, &mut Taken)) {
        self.sealed.store(true, Ordering::Release);
        let mut taken = Taken::new(self.limits.batch);
        for peer in self.all_peers() {
            peer.seal(&mut taken);
            absorb(&peer, &mut taken);
        }
    }

    /// Names the failure that is about to end it: callers that are refused from this moment on get
    /// it as their reason.
    pub(crate) fn fail(&self, reason: CloseReason) {
        // The first failure counts.
        let _ = self.failure.set(reason);
    }

    /// Ends it, with a cause for callers that wait and for later ones. The first end counts.
    pub(crate) fn end(&self, end: End) {
        let first = self.end.set(end).is_ok();
        if !first {
            return;
        }
        self.seal(|_, taken| *taken = Taken::new(self.limits.batch));
        self.inbox.end();
        self.datagrams.end();
        self.metrics.end();
        let closed = self.closed();
        let status = closed.reason.status();
        self.hub.end(&closed, || {
            for peer in self.all_peers() {
                peer.disconnected(status);
            }
        });
        self.ended.notify(usize::MAX);
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> &End {
        loop {
            if let Some(end) = self.end.get() {
                return end;
            }
            let ended = self.ended.listen();
            if let Some(end) = self.end.get() {
                return end;
            }
            ended.await;
        }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.get().is_some()
    }

    /// Why nothing can be done: it has ended, or is about to.
    pub(crate) fn closed(&self) -> Closed {
        let known = self.end.get().map(|end| &end.reason);
        let reason = match (known.or_else(|| self.failure.get()), self.demanded()) {
            (Some(reason), _) => reason.clone(),
            (None, Demand::Run | Demand::Close) => CloseReason::Closed,
            (None, Demand::Abort) => CloseReason::Dropped,
            (None, Demand::Abandon) => CloseReason::Abandoned,
        };
        Closed { reason }
    }

    /// What an error of the core means to a user of the handle.
    pub(crate) fn rejected(&self, error: PeerError) -> Rejected {
        match error {
            PeerError::Closed => Rejected::Closed(self.closed()),
            PeerError::OwnId(_)
            | PeerError::UnknownPeer(_)
            | PeerError::NoAddress(_)
            | PeerError::TooManyPeers { .. }
            | PeerError::CircuitOpen { .. }
            | PeerError::Blocked(_)
            | _ => Rejected::Peer(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_peers_that_nobody_needs_are_forgotten() {
        let [own, held, known, unused] = [1, 2, 3, 4].map(|n| PeerId::from_bytes([n; 32]));
        let local = PeerAddr::new(own, ([127, 0, 0, 1], 1).into());
        let shared = Shared::new(local, &Config::default(), Clock::stopped());
        let _handle = shared.peer(held);
        shared.peer(known);
        shared.peer(unused);
        assert_eq!(shared.peers_count(), 3);
        assert!((800..1_200).contains(&shared.peers_memory()));
        shared.forget_unused(|id| id == known);
        assert_eq!(shared.peers_count(), 2);
        assert!(shared.known_peer(held).is_some());
        assert!(shared.known_peer(known).is_some());
        assert!(shared.known_peer(unused).is_none());
    }

    #[test]
    fn a_call_refused_during_a_failure_names_it() {
        let own = PeerId::from_bytes([1; 32]);
        let local = PeerAddr::new(own, ([127, 0, 0, 1], 1).into());
        let shared = Shared::new(local, &Config::default(), Clock::stopped());
        let peer = shared.peer(PeerId::from_bytes([2; 32]));
        shared.fail(CloseReason::Panicked);
        shared.seal(|_, _| {});
        let refused = shared.stage(&peer, b"", Urgency::Batched);
        assert_eq!(refused, Err(Refused::Peer(PeerError::Closed)));
        let Rejected::Closed(closed) = shared.rejected(PeerError::Closed) else {
            panic!("it is closed");
        };
        assert!(matches!(closed.reason, CloseReason::Panicked));
    }

    #[test]
    fn a_peer_that_becomes_known_after_the_end_is_sealed() {
        let own = PeerId::from_bytes([1; 32]);
        let local = PeerAddr::new(own, ([127, 0, 0, 1], 1).into());
        let shared = Shared::new(local, &Config::default(), Clock::stopped());
        shared.seal(|_, _| {});
        let late = shared.peer(PeerId::from_bytes([2; 32]));
        assert_eq!(
            shared.stage(&late, b"", Urgency::Batched),
            Err(Refused::Peer(PeerError::Closed))
        );
    }
}
