//! The ways out: disconnect, eviction, expiry of connections and sessions, close.

use std::{ops::Range, time::Instant};

use bytes::Bytes;

use super::{
    Manager, Timer,
    peer::{Comes, Expiry, Peer, Queued, Redial, Standing},
};
use crate::{
    Event, PeerId, Reason, Undeliverable,
    peer::{LinkId, PeerKey},
    slots::Priority,
    wire::code::CloseCode,
};

/// How far the machine is with ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// These peers have not taken everything.
    Flushing {
        owing: Vec<PeerKey>,
        /// Messages reported as undelivered before `close`: those after are its own.
        undelivered_before: u64,
    },
    Done,
}

impl Closing {
    /// Whether others may still connect: those who owe us an acknowledgement may have to.
    pub(super) fn accepts(&self) -> bool {
        match self {
            Self::No | Self::Flushing { .. } => true,
            Self::Done => false,
        }
    }
}

impl Manager {
    /// Ends the session: closes its connection, calls off its dial, reports what is queued, at
    /// both ends. Nobody dials until the next `send` or `connect`.
    pub fn disconnect(&mut self, now: Instant, peer: PeerId) {
        self.now = now;
        if let Some(key) = self.peers.key(peer) {
            self.end_session(now, key, Undeliverable::Disconnected);
        }
    }

    /// Ends the session and forgets the peer with its addresses. What was read and not taken of it
    /// must not be marked as taken later: the peer may be known anew by then.
    pub fn forget(&mut self, now: Instant, peer: PeerId) {
        self.now = now;
        let Some(key) = self.peers.key(peer) else {
            return;
        };
        self.end_session(now, key, Undeliverable::Disconnected);
        self.remove_peer(key);
    }

    /// Ends the session and refuses the peer from this moment on.
    pub fn block(&mut self, now: Instant, peer: PeerId) {
        self.now = now;
        if peer == self.id {
            return;
        }
        let key = match self.peers.key(peer) {
            Some(key) => key,
            None => self.add_peer(now, peer, Standing::Blocked),
        };
        self.end_session(now, key, Undeliverable::Disconnected);
        if let Some(known) = self.peers.get_mut(key) {
            known.standing = Standing::Blocked;
        }
    }

    /// Accepts a blocked peer again.
    pub fn unblock(&mut self, peer: PeerId) {
        if let Some(known) = self.peers.key(peer).and_then(|key| self.peers.get_mut(key))
            && known.standing == Standing::Blocked
        {
            known.standing = Standing::Added;
        }
    }

    /// Flushes every peer, says goodbye, and ends with [`Event::Closed`], after `close_timeout` at
    /// the latest. That event is the last one; the packets that follow it in the same drain tell
    /// the peers.
    pub fn close(&mut self, now: Instant) {
        self.now = now;
        if self.closing != Closing::No {
            return;
        }
        let owing: Vec<PeerKey> = self
            .peers
            .keys()
            .into_iter()
            .filter(|key| self.peers.get(*key).is_some_and(Peer::is_owed))
            .collect();
        for key in &owing {
            if let Some(peer) = self.peers.get_mut(*key) {
                peer.session.outbox.close_tail();
            }
        }
        self.closing = Closing::Flushing {
            owing: owing.clone(),
            undelivered_before: self.counters.messages_undelivered,
        };
        let at = now + self.config.close_timeout;
        self.deadlines.set(Timer::Close, Some(at));
        owing.into_iter().for_each(|key| self.refresh(now, key));
        self.finish_when_flushed(now);
    }

    /// Like [`close`](Self::close), without flushing: the next drain says goodbye and ends.
    pub fn abort(&mut self, now: Instant) {
        self.now = now;
        self.finish(now);
    }

    /// `close` waits for what was staged before it, too.
    pub(super) fn wait_for(&mut self, key: PeerKey) {
        if let Closing::Flushing { owing, .. } = &mut self.closing {
            owing.push(key);
        }
        if let Some(peer) = self.peers.get_mut(key) {
            peer.session.outbox.close_tail();
        }
    }

    pub(super) fn finish_when_flushed(&mut self, now: Instant) {
        let Closing::Flushing { owing, .. } = &mut self.closing else {
            return;
        };
        while let Some(key) = owing.last() {
            if self.peers.get(*key).is_some_and(Peer::is_owed) {
                return;
            }
            owing.pop();
        }
        self.finish(now);
    }

    pub(super) fn finish(&mut self, now: Instant) {
        let before = match self.closing {
            Closing::No => self.counters.messages_undelivered,
            Closing::Flushing {
                undelivered_before, ..
            } => undelivered_before,
            Closing::Done => return,
        };
        self.closing = Closing::Done;
        self.deadlines.set(Timer::Close, None);
        for key in self.peers.keys() {
            self.end_session(now, key, Undeliverable::Closed);
        }
        self.tell_all_waiting();
        let undelivered = self.counters.messages_undelivered - before;
        self.events.push_back(Event::Closed { undelivered });
    }

    // Sessions

    /// Ends both lines, and closes everything that is open.
    pub(super) fn end_session(&mut self, now: Instant, key: PeerKey, why: Undeliverable) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        // First, so that nothing that follows dials again.
        peer.redial = Redial::OnDemand;
        peer.priority = Priority::Background;
        let confirmed: Vec<LinkId> = peer.links.confirmed().collect();
        let unconfirmed: Vec<LinkId> = peer.links.unconfirmed().collect();
        peer.links.stop_waiting();
        let goodbye = crate::wire::code::ack_reason(&self.acknowledgement(key));
        self.give_up(key, why);
        for link in unconfirmed {
            let code = CloseCode::CalledOff;
            self.close_link(now, link, code, Bytes::new(), Reason::CalledOff);
        }
        for link in confirmed {
            let code = CloseCode::Goodbye;
            self.close_link(now, link, code, goodbye.clone(), Reason::Goodbye);
        }
        if why == Undeliverable::Disconnected {
            self.drop_unread_datagrams(key);
        }
        self.disarm(key);
        self.release_unused(key);
        self.refresh(now, key);
    }

    /// The other end has ended the session.
    pub(super) fn said_goodbye(&mut self, now: Instant, key: PeerKey) {
        self.end_session(now, key, Undeliverable::Goodbye);
    }

    /// Ends the session of a peer that will never take what waits for it: a message is longer than
    /// the peer accepts, which shows only when it says hello, and those after it must not overtake.
    pub(super) fn give_up_too_large(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get(key).filter(|peer| peer.is_live()) else {
            return;
        };
        if peer.session.outbox.longest_message() > peer.message_bytes_max(&self.config) {
            self.end_session(now, key, Undeliverable::TooLarge);
        }
    }

    /// Reports everything held, and starts both lines anew.
    pub(super) fn give_up(&mut self, key: PeerKey, why: Undeliverable) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let line = self.draws.new_line(peer.id);
        let given_up = peer.session.outbox.give_up(line);
        peer.session.inbox.end();
        peer.processes.end_session();
        peer.session.their_line = None;
        peer.session.their_held = 0;
        peer.session.held_reported = 0;
        peer.session.expiry = Expiry::NotDue;
        peer.session.comes = Comes::Unknown;
        self.report_undelivered(key, given_up, why);
    }

    pub(super) fn report_undelivered(
        &mut self,
        key: PeerKey,
        messages: Range<u64>,
        reason: Undeliverable,
    ) {
        if messages.is_empty() {
            return;
        }
        self.counters.messages_undelivered += messages.end - messages.start;
        if let Some(peer) = self.peers.get(key) {
            let peer = peer.id;
            tracing::warn!(
                ?peer,
                count = messages.end - messages.start,
                %reason,
                "messages undelivered"
            );
            self.events.push_back(Event::Undelivered {
                peer,
                messages: messages.clone(),
                reason,
            });
        }
        self.fail_flushes(key, &messages, reason);
    }

    /// Sees to it that a session without connection does not last for ever.
    pub(super) fn arm_session(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        let matters = peer.is_owed()
            || peer.processes.present().is_some()
            || peer.standing == Standing::Stranger;
        let armed = self.deadlines.get(Timer::Session(key)).is_some();
        if matters && !peer.is_live() && !armed && self.closing != Closing::Done {
            let at = now + peer.session.timeout;
            self.deadlines.set(Timer::Session(key), Some(at));
        }
    }

    pub(super) fn session_is_due(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if peer.is_live() {
            return;
        }
        // Somebody may wait for a connection that was asked for: the last dial answers.
        let wanted = peer.is_owed() || peer.redial == Redial::Wanted;
        let hopeless = !wanted || peer.addresses.is_empty();
        if hopeless || peer.session.expiry == Expiry::LastDial {
            return self.expire_session(now, key);
        }
        peer.session.expiry = Expiry::LastDial;
        self.dial_last(now, key);
        // The last dial decides; if it cannot even begin, so does its time.
        let at = now + 2 * self.config.handshake_timeout;
        if self.peers.get(key).is_some_and(|peer| !peer.is_live()) {
            self.deadlines.set(Timer::Session(key), Some(at));
        }
    }

    pub(super) fn expire_session(&mut self, now: Instant, key: PeerKey) {
        self.end_session(now, key, Undeliverable::SessionExpired);
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        peer.processes.expire();
        let unread = peer.session.inbox.bytes() > 0;
        if peer.standing == Standing::Stranger {
            if unread {
                // What it sent may still be taken; then it is forgotten.
                self.arm_session(now, key);
            } else {
                self.tell_to_give_up(key);
                self.remove_peer(key);
            }
        }
    }

    fn remove_peer(&mut self, key: PeerKey) {
        self.drop_unread_datagrams(key);
        self.disarm(key);
        self.slots.release(key);
        if let Some(peer) = self.peers.remove(key) {
            self.queued.replace(peer.counted, Queued::default());
            self.budget.forget(key, &peer);
        }
    }

    fn disarm(&mut self, key: PeerKey) {
        for timer in [
            Timer::Health(key),
            Timer::Flush(key),
            Timer::Acknowledge(key),
            Timer::Backoff(key),
            Timer::Idle(key),
            Timer::Session(key),
            Timer::Stable(key),
            Timer::Stall(key),
            Timer::Revisit(key),
        ] {
            self.deadlines.set(timer, None);
        }
    }

    // Connections

    /// Closes a peer's connections, for its slot. Its session stays.
    pub(super) fn evict(&mut self, now: Instant, key: PeerKey) {
        self.counters.evictions += 1;
        self.stay_away(now, key);
        self.close_keeping_session(now, key, CloseCode::Evicted, Reason::Evicted);
    }

    /// Calls off a preemptible dial, for its slot.
    pub(super) fn make_way(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        peer.preemption.preempted();
        self.call_off(now, key);
    }

    /// Calls a dial off. It has not failed, and if it is wanted still it waits for a slot again.
    pub(super) fn call_off(&mut self, now: Instant, key: PeerKey) {
        let running = self.peers.get(key).and_then(|peer| peer.links.running());
        debug_assert!(running.is_some(), "only what is under way is called off");
        if let Some(link) = running {
            let code = CloseCode::CalledOff;
            self.close_link(now, link, code, Bytes::new(), Reason::CalledOff);
        }
    }

    /// Delays the next dial by a random part of the new holder's minimum hold time.
    pub(super) fn stay_away(&mut self, now: Instant, key: PeerKey) {
        let fraction = self.fraction(key, "stay away");
        if let Some(peer) = self.peers.get_mut(key) {
            let hold = peer.hold_time.shortest().max(self.config.tenure_min);
            let at = now + hold.mul_f64(fraction);
            peer.not_before = peer.not_before.max(Some(at));
        }
    }

    /// A pooled connection may have reached its time to live.
    pub(super) fn expire_idle(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get(key).filter(|peer| peer.is_live()) else {
            return;
        };
        let at = peer.last_used + self.config.pool_ttl;
        if at > now {
            self.deadlines.set(Timer::Idle(key), Some(at));
        } else if !peer.is_idle() || peer.session.comes == Comes::Never {
            // Something waits at one of the ends: the connection is in use until it is taken. Or the
            // other end could not get back to us if something did.
            let at = now + self.config.pool_ttl;
            self.deadlines.set(Timer::Idle(key), Some(at));
        } else {
            self.counters.expirations += 1;
            self.close_keeping_session(now, key, CloseCode::Idle, Reason::Idle);
        }
    }

    pub(super) fn close_keeping_session(
        &mut self,
        now: Instant,
        key: PeerKey,
        code: CloseCode,
        reason: Reason,
    ) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let confirmed: Vec<LinkId> = peer.links.confirmed().collect();
        let unconfirmed: Vec<LinkId> = peer.links.unconfirmed().collect();
        for link in unconfirmed {
            let code = CloseCode::CalledOff;
            self.close_link(now, link, code, Bytes::new(), reason.clone());
        }
        for link in confirmed {
            self.close_with_ack(now, link, key, code, reason.clone());
        }
        self.refresh(now, key);
    }

    /// Remembers the most slots that were ever in use.
    pub(super) fn count_peak(&mut self) {
        let live = self.slots.len() as u64;
        self.counters.connections_peak = self.counters.connections_peak.max(live);
    }
}
