//! How connections end, and what that means for their peer.

use std::time::Instant;

use bytes::Bytes;

use super::{Manager, Timer, peer::Redial};
use crate::{
    Reason, Undeliverable,
    peer::{
        LinkId, PeerKey, backoff::Kind, chooser::Dialler, lifecycle::Cause, links::Loss,
        pool::Purpose,
    },
    transport::{Ending, Link, Stage},
    wire::code::{self, CloseCode},
};

/// How a connection left a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// As intended, by either end.
    Deliberate,
    /// By an error.
    Error,
}

impl Manager {
    pub(super) fn ended(&mut self, now: Instant, id: LinkId, ending: Ending) {
        let link = self.transport.link(id);
        debug_assert!(link.is_some(), "{id:?} is gone and nobody has learnt of it");
        let Some(link) = link else {
            return;
        };
        let Some(key) = link.owner else {
            return self.part(now, id, Parting::Error, ending.reason);
        };
        let stale = self.is_stale(link, key);
        let is_former = self.is_former(link, key);
        self.note_end(now, key, &ending);
        if let Some(ack) = ending.ack {
            // An acknowledgement of what was never sent changes nothing, and there is nothing
            // left to close.
            let _ = self.acknowledged(now, key, ack);
        }
        let parting = match ending.code {
            Some(code) if code.is_deliberate() => Parting::Deliberate,
            Some(_) | None => Parting::Error,
        };
        // What is said to a process that we no longer are, since we were told to begin anew, is not
        // said to us.
        let current = |code: &CloseCode| {
            let is_about_us = *code == CloseCode::Forgotten || *code == CloseCode::IdentityInUse;
            let is_about_session = *code != CloseCode::Forgotten;
            !(is_about_us && is_former || is_about_session && stale)
        };
        let code = ending.code.filter(current);
        // First, so that nothing is left to dial for.
        match code {
            Some(CloseCode::Goodbye) => self.give_up(key, Undeliverable::Goodbye),
            Some(CloseCode::IdentityInUse) => self.superseded(key),
            Some(_) | None => {}
        }
        self.part(now, id, parting, ending.reason);
        match code {
            Some(CloseCode::Goodbye) => self.said_goodbye(now, key),
            Some(CloseCode::Forgotten) => self.forgotten(now, key),
            Some(CloseCode::IdentityInUse) => {
                self.close_keeping_session(now, key, CloseCode::Replaced, Reason::Replaced);
            }
            Some(_) | None => {}
        }
    }

    /// Whether we have become another process to the peer since we said hello.
    fn is_former(&self, link: &Link, key: PeerKey) -> bool {
        let ours = self
            .peers
            .get(key)
            .and_then(|peer| peer.session.ours.as_deref().copied());
        link.said != Some(ours.unwrap_or(self.incarnation))
    }

    /// Whether a connection is about a line that the peer has given up since, or that is not the
    /// peer's: another process with its identity has begun it.
    fn is_stale(&self, link: &Link, key: PeerKey) -> bool {
        let peer = self.peers.get(key);
        let their_line = peer.and_then(|peer| peer.session.their_line);
        match &link.stage {
            Stage::Confirmed(hello) => Some(hello.mine.id) != their_line,
            Stage::Waiting(_) => true,
            // Whoever ends its session says so on the connection that is confirmed, too.
            Stage::Handshaking | Stage::Greeted => peer.is_some_and(super::Peer::is_live),
            Stage::Closed => false,
        }
    }

    /// Closes a connection deliberately, and tells the other end how far we are.
    pub(super) fn close_with_ack(
        &mut self,
        now: Instant,
        id: LinkId,
        key: PeerKey,
        code: CloseCode,
        reason: Reason,
    ) {
        let ack = code::ack_reason(&self.acknowledgement(key));
        self.close_link(now, id, code, ack, reason);
    }

    /// Closes a connection from our end.
    pub(super) fn close_link(
        &mut self,
        now: Instant,
        id: LinkId,
        code: CloseCode,
        bytes: Bytes,
        reason: Reason,
    ) {
        let parting = if code.is_error() {
            Parting::Error
        } else {
            Parting::Deliberate
        };
        self.transport.close(now, id, code, bytes);
        self.transport.mark_ready(id);
        self.part(now, id, parting, reason);
    }

    /// A connection is over: whoever had it learns of it, once.
    fn part(&mut self, now: Instant, id: LinkId, parting: Parting, reason: Reason) {
        self.deadlines.set(Timer::Handshake(id), None);
        self.count_datagrams(id);
        let Some(link) = self.transport.link_mut(id) else {
            return;
        };
        let stage = std::mem::replace(&mut link.stage, Stage::Closed);
        if matches!(stage, Stage::Handshaking) && link.dialler == Dialler::Them {
            self.handshakes -= 1;
            self.counters.handshakes_failed += 1;
        }
        if let Some(key) = link.owner.take() {
            self.lost_link(now, id, key, parting, reason);
        }
    }

    fn lost_link(
        &mut self,
        now: Instant,
        id: LinkId,
        key: PeerKey,
        parting: Parting,
        reason: Reason,
    ) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        peer.processes.leave(id);
        match (peer.links.lost(id), parting) {
            (Loss::Dial { address }, Parting::Error) => {
                self.dial_failed(now, key, address, reason);
            }
            (Loss::Dial { .. }, Parting::Deliberate) => self.dial_called_off(now, key, reason),
            (Loss::Arrival, _) => self.lost_arrival(now, key, parting, reason),
            (Loss::Live, _) => self.live_changed(now, key),
            // Its last words may have been an acknowledgement.
            (Loss::Spare, _) => self.refresh(now, key),
            (Loss::Last, _) => self.disconnected(now, key, parting, reason),
        }
    }

    /// A connection that was not confirmed is gone, and with it the attempt if it was the only one.
    fn lost_attempt(&mut self, key: PeerKey, cause: Cause, reason: Reason) {
        if self.peers.get(key).is_some_and(|peer| !peer.has_links()) {
            self.moved(key, cause, reason);
        }
        self.release_unused(key);
    }

    fn lost_arrival(&mut self, now: Instant, key: PeerKey, parting: Parting, reason: Reason) {
        let cause = match parting {
            Parting::Deliberate => Cause::CalledOff,
            Parting::Error => Cause::AttemptFailed,
        };
        self.lost_attempt(key, cause, reason);
        self.refresh(now, key);
        self.pump_dials(now);
    }

    fn dial_called_off(&mut self, now: Instant, key: PeerKey, reason: Reason) {
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        let sent_away = reason != Reason::CalledOff && !peer.has_links();
        if sent_away {
            // The other end has closed what we had just begun: it knows better for a while.
            self.stay_away(now, key);
        }
        self.lost_attempt(key, Cause::CalledOff, reason);
        self.refresh(now, key);
        self.pump_dials(now);
    }

    /// The last confirmed connection of a peer is gone.
    fn disconnected(&mut self, now: Instant, key: PeerKey, parting: Parting, reason: Reason) {
        self.leave_health(now, key, &reason);
        for timer in [
            Timer::Idle(key),
            Timer::Stable(key),
            Timer::Stall(key),
            Timer::Flush(key),
            Timer::Acknowledge(key),
        ] {
            self.deadlines.set(timer, None);
        }
        let cause = match parting {
            Parting::Deliberate => Cause::Closed,
            Parting::Error => Cause::Lost,
        };
        if parting == Parting::Error {
            self.counters.connections_lost += 1;
            let kind = match reason.is_busy() {
                true => Kind::NoRoom,
                false => Kind::Error,
            };
            if reason == Reason::Unresponsive {
                self.path_has_failed(key);
            }
            self.back_off(now, key, reason.clone(), kind);
        }
        let forgotten = reason == Reason::Forgotten;
        let sent_away = forgotten || matches!(reason, Reason::Evicted | Reason::Replaced);
        let evicted = reason == Reason::Evicted;
        self.moved(key, cause, reason);
        self.drop_unsent_datagrams(key);
        self.tell_datagram_limit(key);
        if let Some(peer) = self.peers.get_mut(key) {
            if evicted {
                peer.tenure.ended(peer.turn());
            }
            peer.redial = match (peer.redial, parting) {
                // What the user asked for was given, and is over.
                (Redial::Wanted, Parting::Deliberate) if !forgotten => Redial::OnDemand,
                (redial, _) => redial,
            };
        }
        if sent_away {
            self.stay_away(now, key);
        }
        if let Some(peer) = self.peers.get(key).filter(|peer| peer.has_links()) {
            let purpose = match peer.is_dialling() {
                true => Purpose::Dial,
                false => Purpose::Arrival,
            };
            self.pool.keep_for(key, purpose);
            self.moved(key, Cause::Begun, Reason::Dialling);
        }
        self.release_unused(key);
        self.call_waiting(key);
        self.plan_visit(now, key);
        self.refresh(now, key);
        self.pump_dials(now);
    }

    /// A connection on which messages have passed was lost to silence: what failed is the path, and
    /// the peer has been left alone for `liveness_timeout` already. What had failed before counts no
    /// more, or a path that is cut now and then would keep the peer away for minutes.
    fn path_has_failed(&mut self, key: PeerKey) {
        let proved = |peer: &&mut super::Peer| peer.passed() != peer.passed_before;
        if let Some(peer) = self.peers.get_mut(key).filter(proved) {
            peer.failures.reset();
        }
    }
}
