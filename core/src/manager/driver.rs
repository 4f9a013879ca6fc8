//! The calls of the machine that only event loops need.

use std::time::Instant;

use super::{
    Manager,
    closing::Closing,
    context::Context,
    dialling,
    pairing::rules,
    peer::Standing,
    session::{self, accepting, lifetimes, reading},
    verbs,
};
use crate::{
    Event, Losses, MessageNumber, PeerError, PeerId, Undeliverable,
    driver::{DatagramQueue, OpenBatch, TakenMessages},
    peer::PeerKey,
};

/// A [`Manager`] as its event loop sees it, made by [`Manager::driver`].
///
/// What other threads have staged was accepted when it was staged, so [`handle_staged`](Self::handle_staged),
/// [`confirm_next`](Self::confirm_next) and [`number_next`](Self::number_next) make a peer known that is not, and
/// [`handle_staged_datagrams`](Self::handle_staged_datagrams) counts them as dropped. The other calls answer for
/// a peer that is not known as those of [`Manager`] do.
pub struct Driver<'a> {
    machine: &'a mut Manager,
}

impl Manager {
    /// Returns the calls that only an event loop needs: see [`driver`](crate::driver).
    pub const fn driver(&mut self) -> Driver<'_> {
        Driver { machine: self }
    }
}

impl Driver<'_> {
    /// Sets how many datagrams of one size the socket sends in one call (GSO); 1 from the start.
    pub fn set_segments_max(&mut self, segments: usize) {
        self.machine.transport.set_segments_max(segments);
    }

    /// Returns the next event, and builds no packet: for a loop whose socket has no room, or that must
    /// know the events of one call from those of the next. [`Manager::poll_action`] returns the rest.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        self.machine.next_event(now)
    }

    // Messages out

    /// Returns how many bytes other threads may stage for a peer, known or not, in terms of
    /// [`OpenBatch::cost`]. What they stage within it is accepted.
    pub fn credit(&self, peer: PeerId) -> usize {
        let budget = &self.machine.shared.budget;
        let known = self.machine.peers.find(peer);
        known.map_or_else(|| budget.room_of_unknown(), |known| budget.room_of(known))
    }

    /// Takes over messages that other threads have staged within their credit.
    ///
    /// They count as accepted when they were staged: those for which nothing can be done any more are
    /// reported by [`Event::Undelivered`].
    pub fn handle_staged(&mut self, now: Instant, peer: PeerId, staged: &mut OpenBatch) {
        if staged.is_empty() {
            return;
        }
        let Some(key) = self.introduce(now, peer) else {
            return;
        };
        let messages = staged.messages() as u64;
        let mut parts = self.machine.parts(now);
        let cx = &mut parts.at(key);
        let Context {
            peer: known,
            slots,
            shared,
            ..
        } = cx;
        let max = known.message_bytes_max(&shared.config);
        let is_too_long = staged.longest_message() > max;
        known.session.outbox.absorb(staged);
        accepting::accepted(now, known, shared, messages);
        dialling::dial_for_user(now, known, slots, shared);
        shared.changed(known);
        let is_blocked = known.standing == Standing::Blocked;
        let why = match &mut shared.closing {
            Closing::Ending { .. } | Closing::Done => Some(Undeliverable::Closed),
            Closing::No | Closing::Flushing { .. } if is_blocked => {
                Some(Undeliverable::Disconnected)
            }
            Closing::No => None,
            Closing::Flushing { owing, .. } => {
                // `close` waits for what was staged before it, too.
                owing.push(key);
                known.session.outbox.close_tail();
                None
            }
        };
        match why {
            Some(why) => rules::end_session(cx, why),
            None if is_too_long && cx.peer.is_live() => {
                session::void_too_large(cx.peer, cx.shared);
            }
            None => {}
        }
        if !cx.peer.is_live() {
            self.machine.follow_up(now);
        }
    }

    /// Asks for [`Event::Flushed`] with `token` once the peer's application has taken the next message
    /// that is accepted for it, or that message's fate is unknown.
    ///
    /// Call it right before [`handle_staged`](Self::handle_staged) of a batch that begins with that
    /// message: afterwards the message may have been given up.
    pub fn confirm_next(&mut self, now: Instant, peer: PeerId, token: u64) {
        if let Some(key) = self.introduce(now, peer) {
            let known = self.machine.peers.owner(key);
            let number = known.session.outbox.next();
            known.made_flushes().confirm(token, number);
        }
    }

    /// Gives the next message that is accepted for a peer a lifetime, as
    /// [`send_until`](Manager::send_until) does.
    ///
    /// Call it right before [`handle_staged`](Self::handle_staged) of a batch that begins with that message.
    pub fn expire_next(&mut self, now: Instant, peer: PeerId, until: Instant) {
        if let Some(key) = self.introduce(now, peer) {
            let known = self.machine.peers.owner(key);
            let number = known.session.outbox.next();
            lifetimes::expires_at(known, &mut self.machine.shared, number, until);
        }
    }

    /// Names the next message that is accepted for a peer, where other threads number messages when they
    /// stage them: what was accepted for the peer before it was forgotten is counted, too.
    ///
    /// Call it right before [`handle_staged`](Self::handle_staged) of a batch that begins with that
    /// message. Numbers never go back: one that is too small changes nothing.
    pub fn number_next(&mut self, now: Instant, peer: PeerId, number: MessageNumber) {
        if let Some(key) = self.introduce(now, peer) {
            let known = self.machine.peers.owner(key);
            known.session.outbox.number_next(number.get());
        }
    }

    /// Takes back losses that an [`Event::Flushed`] has named and that no caller has heard of: the
    /// flushes that wait for them report them, or else the next one.
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn return_losses(
        &mut self,
        now: Instant,
        peer: PeerId,
        losses: &Losses,
    ) -> Result<(), PeerError> {
        let machine = &mut *self.machine;
        machine.now = now;
        let known = verbs::known(peer, &mut machine.peers, &machine.shared)?;
        session::return_losses(known, &mut machine.shared, losses);
        Ok(())
    }

    /// A peer for which messages were staged: known from now on, beyond `peers_max` if need be, since
    /// they were accepted. `None` for our own id.
    fn introduce(&mut self, now: Instant, peer: PeerId) -> Option<PeerKey> {
        let machine = &mut *self.machine;
        machine.now = now;
        if peer == machine.shared.id {
            return None;
        }
        let (peers, shared) = (&mut machine.peers, &mut machine.shared);
        let known = peers.key(peer);
        Some(known.unwrap_or_else(|| verbs::insert_peer(now, peer, Standing::Added, peers, shared)))
    }

    // Messages in

    /// Takes messages that [`receive_held`](Manager::receive_held) has handed out, several in one call: see
    /// [`done`](Manager::done).
    ///
    /// # Errors
    ///
    /// [`PeerError::UnknownPeer`], [`PeerError::OwnId`]. State is unchanged.
    pub fn mark_taken(&mut self, now: Instant, taken: &TakenMessages) -> Result<(), PeerError> {
        self.machine.now = now;
        let Manager {
            peers,
            transport,
            shared,
            ..
        } = &mut *self.machine;
        let known = verbs::known(taken.sender(), peers, shared)?;
        reading::mark_taken(now, known, transport, shared, taken);
        Ok(())
    }

    // Datagrams

    /// Takes over datagrams that other threads have sent to a peer.
    ///
    /// They count as accepted when they were staged: those that cannot be sent any more, since the peer
    /// is connected no longer or its path carries none so long, count as dropped unsent.
    pub fn handle_staged_datagrams(
        &mut self,
        now: Instant,
        peer: PeerId,
        staged: &mut DatagramQueue,
    ) {
        let machine = &mut *self.machine;
        machine.now = now;
        let crowded_out = staged.take_crowded_out();
        let unreliable = &mut machine.shared.report.counters.unreliable;
        unreliable.accepted += crowded_out;
        unreliable.crowded_out += crowded_out;
        while let Some(payload) = staged.pop() {
            if machine.queue_datagram(peer, payload).is_err() {
                let unreliable = &mut machine.shared.report.counters.unreliable;
                unreliable.accepted += 1;
                unreliable.abandoned += 1;
            }
        }
    }

    /// States the bytes of memory that the loop and its handle hold for peers. They count in
    /// [`memory_usage`](crate::NetworkMetrics::memory_usage), and so towards `memory_max`.
    pub fn set_handle_memory(&mut self, bytes: usize) {
        self.machine.shared.handle_memory = bytes;
    }

    /// Counts datagrams that the loop has received for the application and then dropped.
    pub fn note_datagrams_discarded(&mut self, count: u64) {
        let unreliable = &mut self.machine.shared.report.counters.unreliable;
        unreliable.taken = unreliable.taken.saturating_sub(count);
        unreliable.discarded += count;
    }
}
