//! The application's verbs: each looks its peer up, has a room do the work, and marks the peer.

use std::time::Instant;

use bytes::Bytes;

use super::{
    Manager, datagrams, dialling, ending,
    pairing::close,
    peer::{Peer, Peers, Redial, Standing},
    session::{accepting, acknowledging},
    shared::Shared,
};
use crate::{
    Event, Losses, Message, MessageNumber, PeerAddr, PeerError, PeerId, SendDatagramError,
    SendError, Undeliverable, address,
    peer::{PeerKey, flushes::Failed},
    slots::Slots,
    transport::Transport,
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
        let known = added(now, peer, &mut self.peers, &mut self.shared)?;
        self.shared.changed(known);
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
        let known = added(now, peer.id, &mut self.peers, &mut self.shared)?;
        let address = address::canonical(peer.addr);
        let max = self.shared.config.addresses_max;
        known.addresses.add(address, max, known.is_dialling());
        self.shared.changed(known);
        Ok(())
    }

    /// Removes an address of a peer. Connections stay as they are.
    pub fn remove_address(&mut self, now: Instant, peer: PeerAddr) {
        self.now = now;
        if let Some(known) = self.peers.find_mut(peer.id) {
            known.remove_address(address::canonical(peer.addr));
            self.shared.changed(known);
        }
    }

    /// Keeps a peer's slot from being taken away for another peer.
    pub fn protect(&mut self, peer: PeerId) {
        set_protected(peer, true, &mut self.peers, &mut self.slots);
    }

    /// Lets a peer's slot be taken away for another peer, as it is from the start.
    pub fn unprotect(&mut self, peer: PeerId) {
        set_protected(peer, false, &mut self.peers, &mut self.slots);
    }

    /// Ends the session: closes its connection, calls off its dial, reports what is queued, at
    /// both ends. Nobody dials until the next `send` or `connect`.
    pub fn disconnect(&mut self, now: Instant, peer: PeerId) {
        self.now = now;
        if let Some(key) = self.peers.key(peer) {
            let Self {
                peers,
                transport,
                slots,
                shared,
                ..
            } = self;
            let why = Undeliverable::Disconnected;
            close::end_session(now, peers.owner(key), transport, slots, shared, why);
        }
    }

    /// Ends the session and forgets the peer with its addresses. What was read and not taken of it
    /// must not be marked as taken later: the peer may be known anew by then.
    pub fn forget(&mut self, now: Instant, peer: PeerId) {
        self.disconnect(now, peer);
        if let Some(key) = self.peers.key(peer) {
            ending::remove(key, &mut self.peers, &mut self.slots, &mut self.shared);
        }
    }

    /// Ends the session and refuses the peer from this moment on.
    pub fn block(&mut self, now: Instant, peer: PeerId) {
        self.now = now;
        if peer == self.shared.id {
            return;
        }
        let known = self.peers.key(peer);
        let key = known.unwrap_or_else(|| {
            insert_peer(
                now,
                peer,
                Standing::Blocked,
                &mut self.peers,
                &mut self.shared,
            )
        });
        self.disconnect(now, peer);
        self.peers.owner(key).standing = Standing::Blocked;
    }

    /// Accepts a blocked peer again.
    pub fn unblock(&mut self, peer: PeerId) {
        if let Some(known) = self.peers.find_mut(peer)
            && known.standing == Standing::Blocked
        {
            known.standing = Standing::Added;
        }
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
    /// As [`verdict`](Self::verdict), and [`PeerError::NoAddress`] also for a peer that accepts
    /// messages since it looks in by itself. State is unchanged.
    pub fn connect(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        self.now = now;
        self.verdict(peer)?;
        let known = self
            .peers
            .find_mut(peer)
            .ok_or(PeerError::NoAddress(peer))?;
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

    /// Queues a message, and asks for [`Event::Flushed`] with `token` once the peer's application
    /// has taken it or its fate is unknown, whatever becomes of others. It leaves with its batch.
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

    /// Lets what is queued leave at once, and asks for [`Event::Flushed`] with `token` once the
    /// peer's application has taken all of it.
    ///
    /// A flush covers what was accepted before it. It succeeds once all of that is taken, and fails if
    /// any of it was lost and no flush that ended before has reported it: each loss fails all flushes
    /// that wait for it, or else the next one, and none after. A message whose loss was reported to
    /// its own caller, by [`send_confirmed`](Self::send_confirmed), is not a loss to a flush.
    ///
    /// # Errors
    ///
    /// [`PeerError::NoAddress`] if the peer is not known, [`PeerError::Closed`]. State is
    /// unchanged.
    pub fn flush(&mut self, now: Instant, peer: PeerId, token: u64) -> Result<(), PeerError> {
        self.now = now;
        if !self.shared.closing.accepts() {
            return Err(PeerError::Closed);
        }
        let known = self
            .peers
            .find_mut(peer)
            .ok_or(PeerError::NoAddress(peer))?;
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
    pub fn cancel_flush(&mut self, now: Instant, peer: PeerId, token: u64) {
        self.now = now;
        let known = self.peers.find_mut(peer);
        if let Some(flushes) = known.and_then(|known| known.flushes.as_mut()) {
            flushes.cancel(token);
        }
    }

    /// Takes back losses that an [`Event::Flushed`] has named and that no caller has heard of: the
    /// flushes that wait for them report them, or else the next one.
    pub fn return_losses(&mut self, now: Instant, peer: PeerId, losses: &Losses) {
        self.now = now;
        if let Some(known) = self.peers.find_mut(peer) {
            let failed = known.made_flushes().report(losses);
            self.shared.report.failed(peer, failed);
            self.shared.closing.lost(peer, losses);
        }
    }

    /// Bytes that the peer's outbox can still accept, in terms of
    /// [`OpenBatch::cost`](crate::OpenBatch::cost).
    ///
    /// A driver may lend them to other threads: what they stage within this room is accepted.
    pub fn room(&self, peer: PeerId) -> usize {
        let budget = &self.shared.budget;
        let known = self.peers.find(peer);
        known.map_or_else(|| budget.room_of_unknown(), |known| budget.room_of(known))
    }

    /// Asks for [`Event::Writable`] once `bytes` of room are there.
    pub fn want_room(&mut self, now: Instant, peer: PeerId, bytes: usize) {
        self.now = now;
        match self.peers.find_mut(peer) {
            Some(known) => {
                self.shared.budget.want_room(known, bytes);
                self.shared.changed(known);
            }
            None => self.shared.report.event(Event::Writable { peer }),
        }
    }

    // Messages in

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
        let Some(known) = self.peers.find_mut(peer) else {
            return 0;
        };
        let inbox = &mut known.session.inbox;
        let count = inbox.read(peer, max, out);
        known.is_readable_reported &= inbox.is_readable();
        self.shared.budget.count(known);
        count
    }

    /// The application has taken the next `count` messages that were read.
    pub fn mark_taken(&mut self, now: Instant, peer: PeerId, count: usize) {
        self.now = now;
        let Some(known) = self.peers.find_mut(peer).filter(|_| count > 0) else {
            return;
        };
        let shared = &mut self.shared;
        let could_read = shared.budget.may_read(known);
        let inbox = &mut known.session.inbox;
        inbox.mark_taken(count);
        // What was not handed out before for want of room.
        if inbox.is_readable() && !std::mem::replace(&mut known.is_readable_reported, true) {
            shared.report.event(Event::Readable { peer });
        }
        shared.report.taken(now, known, count as u64);
        shared.changed(known);
        if !shared.budget.may_read(known) {
            // Other inboxes may be the cause.
            shared.budget.hold_back(known);
        } else if !could_read {
            self.transport.mark_all_dirty(known.links.confirmed());
        }
        acknowledging::schedule(now, known, &mut self.transport, shared);
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
        let payload = Bytes::copy_from_slice(payload);
        let Self {
            peers,
            transport,
            shared,
            ..
        } = self;
        queue_datagram(peer, payload, peers, transport, shared)
    }

    /// Takes up to `max` datagrams of a peer, and says how many it appended to `out`.
    pub fn receive_datagrams(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> usize {
        self.now = now;
        let known = self.peers.find_mut(peer);
        known.map_or(0, |known| {
            datagrams::receive(known, &mut self.shared, max, out)
        })
    }

    /// The driver has dropped this many datagrams that it had taken for the application.
    pub fn note_datagrams_discarded(&mut self, count: u64) {
        let unreliable = &mut self.shared.report.counters.unreliable;
        unreliable.taken = unreliable.taken.saturating_sub(count);
        unreliable.discarded += count;
    }
}

fn set_protected(id: PeerId, is_protected: bool, peers: &mut Peers, slots: &mut Slots) {
    if let Some(known) = peers.find_mut(id) {
        known.is_protected = is_protected;
        slots.set_protected(known.key, is_protected);
    }
}

fn verdict_on_unknown(id: PeerId, shared: &Shared) -> PeerError {
    if !shared.closing.is_open() {
        return PeerError::Closed;
    }
    match id == shared.id {
        true => PeerError::OwnId(id),
        false => PeerError::NoAddress(id),
    }
}

/// The peer, which becomes known and added if it is not.
fn added<'a>(
    now: Instant,
    id: PeerId,
    peers: &'a mut Peers,
    shared: &mut Shared,
) -> Result<&'a mut Peer, PeerError> {
    if !shared.closing.is_open() {
        return Err(PeerError::Closed);
    }
    if id == shared.id {
        return Err(PeerError::OwnId(id));
    }
    let max = shared.config.peers_max;
    let key = match peers.key(id) {
        Some(key) => key,
        None if peers.len() >= max => return Err(PeerError::TooManyPeers { max }),
        None => insert_peer(now, id, Standing::Added, peers, shared),
    };
    let known = peers.owner(key);
    if known.standing == Standing::Blocked {
        return Err(PeerError::Blocked(id));
    }
    known.standing = Standing::Added;
    Ok(known)
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

pub(super) fn queue_datagram(
    peer: PeerId,
    payload: Bytes,
    peers: &mut Peers,
    transport: &mut Transport,
    shared: &mut Shared,
) -> Result<(), SendDatagramError> {
    if !shared.closing.is_open() {
        return Err(SendDatagramError::Closed);
    }
    let known = peers.find_mut(peer);
    let known = known.ok_or(SendDatagramError::NotConnected(peer))?;
    datagrams::send(known, transport, shared, payload)
}
