//! The application's verbs: each looks its peer up, has a room do the work, and marks the peer.

use std::time::Instant;

use bytes::Bytes;

use super::{
    Manager, datagrams, dialling, ending,
    pairing::rules,
    peer::{Peer, Peers, Redial, Standing},
    session::{self, accepting, lifetimes},
    shared::Shared,
};
use crate::{
    Cancelled, MessageNumber, PeerAddr, PeerError, PeerId, SendDatagramError, SendError,
    Undeliverable, address,
    peer::{PeerKey, flushes::Failed},
};

impl Manager {
    // Peers and their addresses

    /// Adds a peer, which becomes known if it is not, without an address of it: it dials us, and
    /// [`Accept::Known`](crate::Accept::Known) lets it in.
    ///
    /// # Errors
    ///
    /// [`PeerError::OwnId`], [`PeerError::TooManyPeers`], [`PeerError::Blocked`],
    /// [`PeerError::Closed`]. State is unchanged.
    pub fn add_peer(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        self.now = now;
        let key = self.added(now, peer)?;
        self.shared.changed(self.peers.owner(key));
        Ok(())
    }

    /// Adds an address to a peer, which becomes known if it is not; known addresses are kept once.
    /// An IPv4-mapped address (RFC 4291 section 2.5.5.2) is the IPv4 address. A peer has at most
    /// `addresses_max`: at the bound the oldest is forgotten that has never worked.
    ///
    /// # Errors
    ///
    /// [`PeerError::OwnId`], [`PeerError::TooManyPeers`], [`PeerError::Blocked`],
    /// [`PeerError::Closed`]. State is unchanged.
    pub fn add_address(&mut self, now: Instant, peer: PeerAddr) -> Result<(), PeerError> {
        self.now = now;
        let key = self.added(now, peer.id)?;
        let known = self.peers.owner(key);
        let address = address::canonical(peer.addr);
        let max = self.shared.config.addresses_max;
        known.addresses.add(address, max, known.is_dialling());
        self.shared.changed(known);
        Ok(())
    }

    /// Removes an address of a peer. Connections stay as they are.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn remove_address(&mut self, now: Instant, peer: PeerAddr) -> Result<(), PeerError> {
        self.now = now;
        let known = known(peer.id, &mut self.peers, &self.shared)?;
        known.remove_address(address::canonical(peer.addr));
        self.shared.changed(known);
        Ok(())
    }

    /// Keeps a peer's slot from being taken away for another peer.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn protect(&mut self, peer: PeerId) -> Result<(), PeerError> {
        let known = known(peer, &mut self.peers, &self.shared)?;
        known.is_protected = true;
        self.slots.set_class(known.key, known.class());
        Ok(())
    }

    /// Lets a peer's slot be taken away for another peer, as it is from the start.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn unprotect(&mut self, peer: PeerId) -> Result<(), PeerError> {
        let known = known(peer, &mut self.peers, &self.shared)?;
        known.is_protected = false;
        self.slots.set_class(known.key, known.class());
        Ok(())
    }

    /// Ends the session: closes its connection, calls off its dial, reports what is queued, at both ends.
    /// Neither end dials until the next `send` or `connect`.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn disconnect(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        self.now = now;
        let key = known(peer, &mut self.peers, &self.shared)?.key;
        rules::end_session(&mut self.parts(now).at(key), Undeliverable::Disconnected);
        Ok(())
    }

    /// Ends the session and forgets the peer with its addresses. What was read and not taken of it
    /// must not be marked as taken later: the peer may be known anew by then. A peer that is blocked stays blocked, and
    /// known as such.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn forget(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        self.disconnect(now, peer)?;
        let known = known(peer, &mut self.peers, &self.shared)?;
        let (key, standing) = (known.key, known.standing);
        ending::remove(&mut self.parts(now), key);
        if standing == Standing::Blocked {
            insert_peer(now, peer, standing, &mut self.peers, &mut self.shared);
        }
        Ok(())
    }

    /// Ends the session and refuses the peer from this moment on. The peer becomes known if it is not.
    ///
    /// # Errors
    ///
    /// [`PeerError::OwnId`]. State is unchanged.
    pub fn block(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        self.now = now;
        if peer == self.shared.id {
            return Err(PeerError::OwnId(peer));
        }
        let known = self.peers.key(peer);
        let key = known.unwrap_or_else(|| {
            let (peers, shared) = (&mut self.peers, &mut self.shared);
            insert_peer(now, peer, Standing::Blocked, peers, shared)
        });
        rules::end_session(&mut self.parts(now).at(key), Undeliverable::Disconnected);
        self.peers.set_standing(key, Standing::Blocked);
        Ok(())
    }

    /// Accepts a blocked peer again. Nothing changes if it is not blocked.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn unblock(&mut self, peer: PeerId) -> Result<(), PeerError> {
        let known = known(peer, &mut self.peers, &self.shared)?;
        if known.standing == Standing::Blocked {
            let key = known.key;
            self.peers.set_standing(key, Standing::Added);
        }
        Ok(())
    }

    // Connections

    /// Why nothing can be sent to a peer at this moment.
    ///
    /// # Errors
    ///
    /// Every variant of [`PeerError`] but [`PeerError::TooManyPeers`].
    pub fn verdict(&self, peer: PeerId) -> Result<(), PeerError> {
        match self.peers.find(peer) {
            Some(known) => accepting::verdict(self.now, known, &self.shared),
            None => Err(verdict_on_unknown(peer, &self.shared)),
        }
    }

    /// Asks for a connection. Its success or failure is a `StatusChanged` event; a peer that is
    /// connected already, which is a pool hit, makes none. Callers for one peer join one dial.
    ///
    /// # Errors
    ///
    /// As [`verdict`](Self::verdict), and [`PeerError::NoAddress`] also for a peer that accepts messages since
    /// it reconnects by itself. State is unchanged.
    pub fn connect(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        self.now = now;
        self.verdict(peer)?;
        let known = known(peer, &mut self.peers, &self.shared)?;
        if !known.has_links() && known.addresses.is_empty() {
            // Messages may wait for it to poll for them; a connection is asked for now.
            return Err(PeerError::NoAddress(peer));
        }
        self.shared.report.used(known, 1);
        known.redial = Redial::Wanted;
        known.last_used = now;
        dialling::dial_for_user(now, known, &mut self.slots, &mut self.shared);
        self.shared.changed(known);
        self.follow_up(now);
        Ok(())
    }

    // Messages out

    /// Queues a message, and dials if there is no connection. Returns the number by which events name
    /// it.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. State is unchanged.
    pub fn send(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
    ) -> Result<MessageNumber, SendError> {
        let (known, _) = self.accept(now, peer, &[message])?;
        let number = MessageNumber::new(known.session.outbox.next() - 1);
        if !known.is_live() {
            self.follow_up(now);
        }
        Ok(number)
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
        if messages.is_empty() {
            return Ok(0);
        }
        let (known, accepted) = self.accept(now, peer, messages)?;
        if !known.is_live() {
            self.follow_up(now);
        }
        Ok(accepted)
    }

    /// Like [`send`](Self::send), for a message that is worth nothing after `until`: if it was not written on
    /// any connection by then, the peer never sees it, and [`Event::Undelivered`](crate::Event::Undelivered)
    /// reports it as [`Expired`](crate::Undeliverable::Expired). One that was written goes on.
    ///
    /// ```
    /// # use quicpool_core::{Config, Event, Identity, Incarnation, Manager, PeerAddr, Undeliverable};
    /// # use std::time::Duration;
    /// # let now = std::time::Instant::now();
    /// # let credentials = Identity::generate().credentials();
    /// # let incarnation = Incarnation { started_ms: 0, random: 1 };
    /// # let mut manager = Manager::new(Config::default(), credentials, incarnation, [1; 32], now)?;
    /// # let bob = Identity::generate().peer_id();
    /// # manager.add_address(now, PeerAddr::new(bob, "192.0.2.1:4433".parse()?))?;
    /// let until = now + Duration::from_millis(200);
    /// let number = manager.send_until(now, bob, b"heartbeat", until)?;
    /// manager.handle_timeout(until); // bob was not reached
    /// let expired = Event::Undelivered {
    ///     peer: bob,
    ///     messages: number.get()..number.get() + 1,
    ///     reason: Undeliverable::Expired,
    /// };
    /// # let actions = std::iter::from_fn(|| manager.driver().poll_event(until));
    /// # assert!(actions.collect::<Vec<_>>().contains(&expired));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`SendError`]. State is unchanged.
    pub fn send_until(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
        until: Instant,
    ) -> Result<MessageNumber, SendError> {
        self.accept(now, peer, &[message])?;
        let key = self.peers.key(peer);
        let known = self
            .peers
            .owner(key.expect("invariant: it has accepted a message"));
        let number = known.session.outbox.next() - 1;
        lifetimes::expires_at(known, &mut self.shared, number, until);
        if !known.is_live() {
            self.follow_up(now);
        }
        Ok(MessageNumber::new(number))
    }

    /// Takes a message back that was never written on any connection: its room is free at once, the peer
    /// never sees it, and no event reports it. To a flush it is no loss.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn cancel(
        &mut self,
        now: Instant,
        peer: PeerId,
        number: MessageNumber,
    ) -> Result<Cancelled, PeerError> {
        self.now = now;
        let known = known(peer, &mut self.peers, &self.shared)?;
        Ok(lifetimes::cancel(known, &mut self.shared, number.get()))
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
    ) -> Result<MessageNumber, SendError> {
        let (known, _) = self.accept(now, peer, &[message])?;
        let number = MessageNumber::new(known.session.outbox.next() - 1);
        known.session.outbox.close_tail();
        if !known.is_live() {
            self.follow_up(now);
        }
        Ok(number)
    }

    /// Queues a message, and asks for [`Event::Flushed`](crate::Event::Flushed) with `token` once the peer's
    /// application has taken it or its fate is unknown, whatever becomes of others. It leaves with its
    /// batch.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. State is unchanged, and there will be no event.
    pub fn send_confirmed(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
        token: u64,
    ) -> Result<(), SendError> {
        let (known, _) = self.accept(now, peer, &[message])?;
        let number = known.session.outbox.next() - 1;
        known.made_flushes().confirm(token, number);
        if !known.is_live() {
            self.follow_up(now);
        }
        Ok(())
    }

    /// Accepts messages, and dials if there is no connection.
    fn accept(
        &mut self,
        now: Instant,
        peer: PeerId,
        messages: &[impl AsRef<[u8]>],
    ) -> Result<(&mut Peer, usize), SendError> {
        self.now = now;
        let Self {
            peers,
            slots,
            shared,
            ..
        } = self;
        let Some(known) = peers.find_mut(peer) else {
            let max = shared.config.message_bytes_max;
            let size = messages.first().map_or(0, |message| message.as_ref().len());
            return Err(match size > max {
                true => SendError::TooLarge { size, max },
                false => verdict_on_unknown(peer, shared).into(),
            });
        };
        let accepted = accepting::accept(now, known, shared, messages)?;
        accepting::accepted(now, known, shared, accepted as u64);
        dialling::dial_for_user(now, known, slots, shared);
        shared.changed(known);
        Ok((known, accepted))
    }

    /// Lets what is queued leave at once, and asks for [`Event::Flushed`](crate::Event::Flushed) with
    /// `token` once the peer's application has taken all of it.
    ///
    /// A flush covers what was accepted before it. It succeeds once all of that is taken, and fails if
    /// any of it was lost and no flush that ended before has reported it: each loss fails all flushes
    /// that wait for it, or else the next one, and none after. A message whose loss was reported to
    /// its own caller, by [`send_confirmed`](Self::send_confirmed), is not a loss to a flush.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`], [`PeerError::Closed`]. State is unchanged.
    pub fn flush(&mut self, now: Instant, peer: PeerId, token: u64) -> Result<(), PeerError> {
        self.now = now;
        if !self.shared.closing.accepts() {
            return Err(PeerError::Closed);
        }
        let known = known(peer, &mut self.peers, &self.shared)?;
        known.session.outbox.close_tail();
        let end = known.session.outbox.next();
        if let Some(losses) = known.made_flushes().flush(token, end) {
            let failed = vec![Failed { token, losses }];
            self.shared.report.failed(peer, failed);
        }
        self.shared.changed(known);
        Ok(())
    }

    /// Forgets a `flush` or `send_confirmed` whose caller waits no longer: it reports no loss, which
    /// is left for the next flush. There will be no event.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn cancel_flush(
        &mut self,
        now: Instant,
        peer: PeerId,
        token: u64,
    ) -> Result<(), PeerError> {
        self.now = now;
        let known = known(peer, &mut self.peers, &self.shared)?;
        if let Some(flushes) = &mut known.flushes {
            flushes.cancel(token);
        }
        // Its answer may wait to be polled.
        if let Some(Err(losses)) = self.shared.report.take_flushed(peer, token) {
            session::return_losses(known, &mut self.shared, &losses);
        }
        Ok(())
    }

    /// Bytes that the peer's outbox can still accept; `None` if the peer is not known. In terms of
    /// [`OpenBatch::cost`](crate::driver::OpenBatch::cost).
    pub fn room(&self, peer: PeerId) -> Option<usize> {
        Some(self.shared.budget.room_of(self.peers.find(peer)?))
    }

    /// Asks for [`Event::Writable`](crate::Event::Writable) once `bytes` of [`room`](Self::room) are there.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn want_room(&mut self, now: Instant, peer: PeerId, bytes: usize) -> Result<(), PeerError> {
        self.now = now;
        let known = known(peer, &mut self.peers, &self.shared)?;
        self.shared.budget.want_room(known, bytes);
        self.shared.changed(known);
        Ok(())
    }

    // Datagrams

    /// Sends a datagram: at most once, in no order, and only if the peer is connected. It is for
    /// what is worthless when it is late, as the position of a player or the sample of a sensor.
    ///
    /// It waits here until control frames are in packets. When more wait than
    /// `datagram_queue_bytes_max` allows, the oldest are dropped; when the connection ends, all of
    /// them are. [`UnreliableCounters`](crate::UnreliableCounters) count what was dropped at this end.
    ///
    /// # Errors
    ///
    /// See [`SendDatagramError`]. The datagram was not accepted then.
    pub fn send_datagram(
        &mut self,
        now: Instant,
        peer: PeerId,
        payload: &[u8],
    ) -> Result<(), SendDatagramError> {
        self.now = now;
        self.queue_datagram(peer, Bytes::copy_from_slice(payload))
    }

    /// The peer, which becomes known and added if it is not. A stranger makes way if there are as many peers as may be.
    fn added(&mut self, now: Instant, id: PeerId) -> Result<PeerKey, PeerError> {
        if !self.shared.closing.is_open() {
            return Err(PeerError::Closed);
        }
        if id == self.shared.id {
            return Err(PeerError::OwnId(id));
        }
        let key = match self.peers.key(id) {
            Some(key) => key,
            None => {
                self.make_room(now)?;
                let (peers, shared) = (&mut self.peers, &mut self.shared);
                insert_peer(now, id, Standing::Added, peers, shared)
            }
        };
        let known = self.peers.owner(key);
        if known.standing == Standing::Blocked {
            return Err(PeerError::Blocked(id));
        }
        self.peers.set_standing(key, Standing::Added);
        let class = self.peers.owner(key).class();
        self.slots.set_class(key, class);
        Ok(key)
    }

    /// Makes room for one more peer in the table.
    fn make_room(&mut self, now: Instant) -> Result<(), PeerError> {
        let max = self.shared.config.peers_max;
        if self.peers.len() < max {
            return Ok(());
        }
        let stranger = self.peers.stranger_to_go();
        let stranger = stranger.ok_or(PeerError::TooManyPeers { max })?;
        let parts = &mut self.parts(now);
        rules::end_session(&mut parts.at(stranger), Undeliverable::Disconnected);
        ending::remove(parts, stranger);
        Ok(())
    }

    pub(super) fn queue_datagram(
        &mut self,
        peer: PeerId,
        payload: Bytes,
    ) -> Result<(), SendDatagramError> {
        if !self.shared.closing.is_open() {
            return Err(PeerError::Closed.into());
        }
        let known = known(peer, &mut self.peers, &self.shared)?;
        datagrams::send(known, &mut self.transport, &mut self.shared, payload)
    }
}

/// Looks a peer up for a verb.
pub(super) fn known<'a>(
    id: PeerId,
    peers: &'a mut Peers,
    shared: &Shared,
) -> Result<&'a mut Peer, PeerError> {
    peers.find_mut(id).ok_or_else(|| unknown(id, shared))
}

fn verdict_on_unknown(id: PeerId, shared: &Shared) -> PeerError {
    match shared.closing.is_open() {
        true => unknown(id, shared),
        false => PeerError::Closed,
    }
}

/// The one answer of verbs for a peer that is not known.
fn unknown(id: PeerId, shared: &Shared) -> PeerError {
    match id == shared.id {
        true => PeerError::OwnId(id),
        false => PeerError::UnknownPeer(id),
    }
}

/// Adds a peer that is not known.
pub(super) fn insert_peer(
    now: Instant,
    id: PeerId,
    standing: Standing,
    peers: &mut Peers,
    shared: &mut Shared,
) -> PeerKey {
    let line = shared.new_line(id);
    let peer = Peer::new(id, standing, line, &shared.config, now);
    peers.insert(peer).key
}
