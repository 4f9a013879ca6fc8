//! What the application asks for.

use std::time::Instant;

use super::{
    Manager, Timer,
    ending::Closing,
    peer::{Announced, Comes, Peer, Redial, Standing},
};
use crate::{
    Event, Message, OpenBatch, PeerAddr, PeerError, PeerId, Reason, SendError, Undeliverable,
    address,
    peer::{PeerKey, links::Dialling},
};

impl Manager {
    /// Adds an address to a peer, which becomes known if it is not; known addresses are kept once.
    /// An IPv4-mapped address (RFC 4291 section 2.5.5.2) is the IPv4 address.
    ///
    /// # Errors
    ///
    /// [`PeerError::OwnId`], [`PeerError::TooManyPeers`], [`PeerError::Blocked`],
    /// [`PeerError::Closed`]. State is unchanged.
    pub fn add_address(&mut self, now: Instant, peer: PeerAddr) -> Result<(), PeerError> {
        self.now = now;
        let key = self.key_or_add(now, peer.id)?;
        let Some(known) = self.peers.get_mut(key) else {
            return Ok(());
        };
        if known.standing == Standing::Blocked {
            return Err(PeerError::Blocked(peer.id));
        }
        known.standing = Standing::Added;
        let addr = address::canonical(peer.addr);
        if !known.addresses.contains(&addr) {
            known.addresses.push(addr);
        }
        self.refresh(now, key);
        Ok(())
    }

    /// Removes an address of a peer. Connections stay as they are.
    pub fn remove_address(&mut self, now: Instant, peer: PeerAddr) {
        self.now = now;
        if let Some(known) = self
            .peers
            .key(peer.id)
            .and_then(|key| self.peers.get_mut(key))
        {
            let addr = address::canonical(peer.addr);
            known.addresses.retain(|kept| *kept != addr);
            let waits = matches!(known.links.dialling(), Dialling::Waiting { .. });
            if known.addresses.is_empty() && waits {
                // Its place in the row is void: there is nowhere to dial.
                known.links.stop_waiting();
            }
        }
    }

    fn key_or_add(&mut self, now: Instant, id: PeerId) -> Result<PeerKey, PeerError> {
        if self.closing != Closing::No {
            return Err(PeerError::Closed);
        }
        if id == self.id {
            return Err(PeerError::OwnId(id));
        }
        match self.peers.key(id) {
            Some(key) => Ok(key),
            None if self.peers.len() >= self.config.peers_max => Err(PeerError::TooManyPeers {
                max: self.config.peers_max,
            }),
            None => Ok(self.add_peer(now, id, Standing::Added)),
        }
    }

    pub(super) fn add_peer(&mut self, now: Instant, id: PeerId, standing: Standing) -> PeerKey {
        let line = self.draws.new_line(id);
        let peer = Peer::new(id, standing, line, &self.config, now);
        self.peers.insert(peer)
    }

    /// Why nothing can be sent to a peer at this moment.
    ///
    /// # Errors
    ///
    /// Every variant of [`PeerError`] but [`PeerError::TooManyPeers`].
    pub fn verdict(&self, peer: PeerId) -> Result<(), PeerError> {
        self.verdict_on(peer, self.peer(peer))
    }

    fn verdict_on(&self, id: PeerId, peer: Option<&Peer>) -> Result<(), PeerError> {
        if self.closing != Closing::No {
            return Err(PeerError::Closed);
        }
        if id == self.id {
            return Err(PeerError::OwnId(id));
        }
        match peer {
            Some(known) => self.verdict_of(known),
            None => Err(PeerError::NoAddress(id)),
        }
    }

    fn verdict_of(&self, peer: &Peer) -> Result<(), PeerError> {
        if peer.standing == Standing::Blocked {
            return Err(PeerError::Blocked(peer.id));
        }
        if peer.is_live() || peer.links.has_arrivals() {
            return Ok(());
        }
        if peer.addresses.is_empty() {
            // It looks in again by itself: see `visits`.
            return match peer.session.comes {
                Comes::ByItself => Ok(()),
                Comes::Unknown | Comes::Never => Err(PeerError::NoAddress(peer.id)),
            };
        }
        // Derived from the backoff, so that there is no state that could stick: once the backoff
        // has ended the next call is the probe, and while a probe runs the others are refused.
        let open = peer.failures.count() >= self.config.breaker_failures;
        let retry_at = match peer.links.dialling() {
            Dialling::Idle | Dialling::Backoff | Dialling::Waiting { .. } => peer.not_before,
            Dialling::Running { link, .. } => self.deadlines.get(Timer::Handshake(link)),
        };
        match (retry_at, &peer.last_failure) {
            (Some(retry_at), Some(reason)) if open && retry_at > self.now => {
                Err(PeerError::CircuitOpen {
                    retry_at,
                    reason: Reason::clone(reason),
                })
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    /// Asks for a connection. Its success or failure is a `StatusChanged` event; a peer that is
    /// connected already, which is a pool hit, makes none. Callers for one peer join one dial.
    ///
    /// # Errors
    ///
    /// As [`verdict`](Self::verdict), and [`PeerError::NoAddress`] also for a peer that accepts
    /// messages since it looks in by itself. State is unchanged.
    pub fn connect(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        self.now = now;
        self.verdict(peer)?;
        let Some(key) = self.peers.key(peer) else {
            return Ok(());
        };
        let has_way = |known: &Peer| known.has_links() || !known.addresses.is_empty();
        if !self.peers.get(key).is_some_and(has_way) {
            // Messages may wait for it to look in; a connection is asked for now.
            return Err(PeerError::NoAddress(peer));
        }
        self.count_use(key, 1);
        if let Some(known) = self.peers.get_mut(key) {
            known.redial = Redial::Wanted;
            known.last_used = now;
        }
        self.dial_for_user(now, key);
        self.refresh(now, key);
        Ok(())
    }

    /// Keeps a peer's slot from being taken away for another peer.
    pub fn protect(&mut self, peer: PeerId) {
        self.set_protected(peer, true);
    }

    /// Lets a peer's slot be taken away for another peer, as it is from the start.
    pub fn unprotect(&mut self, peer: PeerId) {
        self.set_protected(peer, false);
    }

    fn set_protected(&mut self, peer: PeerId, is_protected: bool) {
        let Some(key) = self.peers.key(peer) else {
            return;
        };
        if let Some(known) = self.peers.get_mut(key) {
            known.is_protected = is_protected;
        }
        self.slots.set_protected(key, is_protected);
    }

    /// Queues a message, and dials if there is no connection.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. State is unchanged.
    pub fn send(&mut self, now: Instant, peer: PeerId, message: &[u8]) -> Result<(), SendError> {
        let key = self.accept(now, peer, message)?;
        self.refresh(now, key);
        Ok(())
    }

    /// Queues messages as [`send`](Self::send) does one after the other, up to the first that is not
    /// accepted, and returns their number. What `send` looks up and derives for each message is done
    /// once for all of them.
    ///
    /// ```
    /// # use quicpool_core::{Config, Identity, Incarnation, Manager, PeerAddr, SendError};
    /// # let now = std::time::Instant::now();
    /// # let credentials = Identity::generate().credentials();
    /// # let incarnation = Incarnation { started_ms: 0, random: 1 };
    /// # let mut manager = Manager::new(Config::default(), credentials, incarnation, [1; 32], now)?;
    /// # let bob = Identity::generate().peer_id();
    /// # manager.add_address(now, PeerAddr::new(bob, "192.0.2.1:4433".parse()?))?;
    /// let messages = vec![[7; 1_024]; 10_000];
    /// let sent = manager.send_many(now, bob, &messages)?; // as many as the outbox has room for
    /// assert_eq!(manager.send_many(now, bob, &messages[sent..]), Err(SendError::Full));
    /// # assert_eq!(sent, Config::default().outbox_bytes_max / 1_026);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The one of the first message, if that is not accepted: see [`SendError`]. State is unchanged.
    pub fn send_many(
        &mut self,
        now: Instant,
        peer: PeerId,
        messages: &[impl AsRef<[u8]>],
    ) -> Result<usize, SendError> {
        let Some((first, others)) = messages.split_first() else {
            return Ok(0);
        };
        let key = self.accept(now, peer, first.as_ref())?;
        self.refresh(now, key);
        let others = self.accept_alike(now, key, others);
        if others > 0 {
            self.accepted(now, key, others as u64);
            self.refresh(now, key);
        }
        Ok(1 + others)
    }

    /// Accepts messages to a peer that has just accepted one, within the room that is there now.
    fn accept_alike(&mut self, now: Instant, key: PeerKey, messages: &[impl AsRef<[u8]>]) -> usize {
        let known = self
            .peers
            .get(key)
            .filter(|known| self.verdict_of(known).is_ok());
        let Some((max, mut room)) = known.map(|known| {
            let max = known.message_bytes_max(&self.config);
            (max, self.room_of(known))
        }) else {
            return 0;
        };
        let Some(known) = self.peers.get_mut(key) else {
            return 0;
        };
        for (count, message) in messages.iter().map(AsRef::as_ref).enumerate() {
            let cost = OpenBatch::cost(message.len());
            if message.len() > max || cost > room {
                return count;
            }
            known.session.outbox.accept(now, message);
            room -= cost;
        }
        messages.len()
    }

    /// Like [`send`](Self::send), and lets the message's batch leave at once.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. State is unchanged.
    pub fn send_express(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
    ) -> Result<(), SendError> {
        let key = self.accept(now, peer, message)?;
        if let Some(known) = self.peers.get_mut(key) {
            known.session.outbox.close_tail();
        }
        self.refresh(now, key);
        Ok(())
    }

    pub(super) fn accept(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
    ) -> Result<PeerKey, SendError> {
        self.now = now;
        // Looked up once: this is the way of every message.
        let key = self.peers.key(peer);
        let known = key.and_then(|key| self.peers.get(key));
        let max = known.map_or(self.config.message_bytes_max, |known| {
            known.message_bytes_max(&self.config)
        });
        if message.len() > max {
            let size = message.len();
            return Err(SendError::TooLarge { size, max });
        }
        self.verdict_on(peer, known)?;
        let key = key.ok_or(PeerError::NoAddress(peer))?;
        let room = known.map_or(0, |known| self.room_of(known));
        if OpenBatch::cost(message.len()) > room {
            return Err(SendError::Full);
        }
        let Some(known) = self.peers.get_mut(key) else {
            return Err(PeerError::NoAddress(peer).into());
        };
        known.session.outbox.accept(now, message);
        self.accepted(now, key, 1);
        Ok(key)
    }

    fn accepted(&mut self, now: Instant, key: PeerKey, messages: u64) {
        self.counters.messages_accepted += messages;
        self.count_use(key, messages);
        if let Some(peer) = self.peers.get_mut(key) {
            peer.counts.messages_accepted += messages;
            peer.last_used = now;
            if peer.redial == Redial::Barred {
                peer.redial = Redial::OnDemand;
            }
        }
        self.dial_for_user(now, key);
    }

    fn count_use(&mut self, key: PeerKey, uses: u64) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if peer.is_live() {
            peer.counts.pool_hits += uses;
            self.counters.pool_hits += uses;
        } else {
            peer.counts.pool_misses += uses;
            self.counters.pool_misses += uses;
        }
    }

    /// Takes over what other threads have staged within the room they were lent.
    ///
    /// The messages count as accepted when they were staged: those for which nothing can be done
    /// any more are reported by [`Event::Undelivered`].
    pub fn handle_staged(&mut self, now: Instant, peer: PeerId, staged: &mut OpenBatch) {
        self.now = now;
        if staged.is_empty() || peer == self.id {
            return;
        }
        let messages = staged.messages() as u64;
        // Beyond peers_max if need be: what was staged was accepted.
        let key = match self.peers.key(peer) {
            Some(key) => key,
            None => self.add_peer(now, peer, Standing::Added),
        };
        if let Some(known) = self.peers.get_mut(key) {
            known.session.outbox.absorb(staged);
        }
        self.accepted(now, key, messages);
        let blocked = self
            .peers
            .get(key)
            .is_some_and(|known| known.standing == Standing::Blocked);
        match self.closing {
            Closing::Done => self.end_session(now, key, Undeliverable::Closed),
            Closing::No | Closing::Flushing { .. } if blocked => {
                self.end_session(now, key, Undeliverable::Disconnected);
            }
            Closing::No => {}
            Closing::Flushing { .. } => self.wait_for(key),
        }
        self.give_up_too_large(now, key);
        self.refresh(now, key);
    }

    /// Takes up to `max` messages of a peer, and says how many it appended to `out`.
    pub fn receive(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> usize {
        let count = self.read(now, peer, max, out);
        self.mark_taken(now, peer, count);
        count
    }

    /// Reads up to `max` messages without taking them: they hold inbox room, and the other end
    /// keeps them, until [`mark_taken`](Self::mark_taken).
    pub fn read(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> usize {
        self.now = now;
        let Some(key) = self.peers.key(peer) else {
            return 0;
        };
        let Some(known) = self.peers.get_mut(key) else {
            return 0;
        };
        let count = known.session.inbox.read(peer, max, out);
        if !known.session.inbox.is_readable() {
            known.readable = Announced::No;
        }
        self.count_queued(key);
        count
    }

    /// The application has taken the next `count` messages that were read.
    pub fn mark_taken(&mut self, now: Instant, peer: PeerId, count: usize) {
        self.now = now;
        let Some(key) = self.peers.key(peer).filter(|_| count > 0) else {
            return;
        };
        let could_read = self.peers.get(key).is_some_and(|peer| self.may_read(peer));
        let Some(known) = self.peers.get_mut(key) else {
            return;
        };
        known.session.inbox.mark_taken(count);
        // What was not handed out before for want of room.
        if known.readable == Announced::No && known.session.inbox.is_readable() {
            known.readable = Announced::Yes;
            self.events.push_back(Event::Readable { peer });
        }
        known.counts.messages_taken += count as u64;
        self.counters.messages_taken += count as u64;
        self.rate.add(now, count as u64);
        self.count_queued(key);
        if !self.peers.get(key).is_some_and(|peer| self.may_read(peer)) {
            // It may be for the sake of others.
            self.hold_back(key);
        } else if !could_read {
            self.read_on(key);
        }
        self.schedule_acknowledgement(now, key);
        self.refresh(now, key);
    }
}
