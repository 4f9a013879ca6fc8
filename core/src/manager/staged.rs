//! What other threads have staged: for drivers that accept messages away from the machine.

use std::time::Instant;

use super::{
    Manager,
    closing::Closing,
    dialling,
    pairing::{close, hello},
    peer::{Peers, Standing},
    session::accepting,
    shared::Shared,
    verbs::{insert_peer, queue_datagram},
};
use crate::{DatagramQueue, MessageNumber, OpenBatch, PeerId, Undeliverable, peer::PeerKey};

impl Manager {
    /// Names the next message that is accepted for a peer, where other threads number messages when
    /// they stage them: what was accepted for the peer before it was forgotten is counted, too.
    ///
    /// For drivers, right before [`handle_staged`](Self::handle_staged) of a batch that begins with
    /// that message. Numbers never go back: one that is too small changes nothing.
    pub fn number_next(&mut self, now: Instant, peer: PeerId, number: MessageNumber) {
        self.now = now;
        if peer == self.shared.id {
            return;
        }
        let key = owner_of_staged(now, peer, &mut self.peers, &mut self.shared);
        self.peers
            .owner(key)
            .session
            .outbox
            .number_next(number.get());
    }

    /// Asks for [`Event::Flushed`](crate::Event::Flushed) with `token` once the peer's application
    /// has taken the next message that is accepted for it, or that message's fate is unknown.
    ///
    /// For drivers, right before [`handle_staged`](Self::handle_staged) of a batch that begins with
    /// that message: asked afterwards, it may have been given up by then.
    pub fn confirm_next(&mut self, now: Instant, peer: PeerId, token: u64) {
        self.now = now;
        if peer == self.shared.id {
            return;
        }
        let key = owner_of_staged(now, peer, &mut self.peers, &mut self.shared);
        let known = self.peers.owner(key);
        let number = known.session.outbox.next();
        known.made_flushes().confirm(token, number);
    }

    /// Takes over what other threads have staged within the room they were lent.
    ///
    /// The messages count as accepted when they were staged: those for which nothing can be done
    /// any more are reported by [`Event::Undelivered`](crate::Event::Undelivered).
    pub fn handle_staged(&mut self, now: Instant, peer: PeerId, staged: &mut OpenBatch) {
        self.now = now;
        if staged.is_empty() || peer == self.shared.id {
            return;
        }
        let messages = staged.messages() as u64;
        let key = owner_of_staged(now, peer, &mut self.peers, &mut self.shared);
        let Self {
            peers,
            transport,
            slots,
            shared,
            ..
        } = self;
        let known = peers.owner(key);
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
            Some(why) => close::end_session(now, known, transport, slots, shared, why),
            None => hello::end_if_too_large(now, known, transport, slots, shared),
        }
        if !known.is_live() {
            self.follow_up(now);
        }
    }

    /// Takes over datagrams that other threads have sent to a peer.
    ///
    /// They count as accepted when they were staged: those that cannot be sent any more, since the
    /// peer is connected no longer or its path carries none so long, count as dropped unsent.
    pub fn handle_staged_datagrams(
        &mut self,
        now: Instant,
        peer: PeerId,
        staged: &mut DatagramQueue,
    ) {
        self.now = now;
        let crowded_out = staged.take_crowded_out();
        let unreliable = &mut self.shared.report.counters.unreliable;
        unreliable.accepted += crowded_out;
        unreliable.crowded_out += crowded_out;
        while let Some(payload) = staged.pop() {
            let Self {
                peers,
                transport,
                shared,
                ..
            } = self;
            if queue_datagram(peer, payload, peers, transport, shared).is_err() {
                let unreliable = &mut shared.report.counters.unreliable;
                unreliable.accepted += 1;
                unreliable.abandoned += 1;
            }
        }
    }
}

/// The peer that messages were staged for. Beyond `peers_max` if need be: they were accepted.
fn owner_of_staged(now: Instant, id: PeerId, peers: &mut Peers, shared: &mut Shared) -> PeerKey {
    let known = peers.key(id);
    known.unwrap_or_else(|| insert_peer(now, id, Standing::Added, peers, shared))
}
