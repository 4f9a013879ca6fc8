//! When and where to dial.

use std::time::Instant;

use super::{
    Manager, Timer,
    ending::Closing,
    peer::{Expiry, Redial},
};
use crate::{
    Reason,
    peer::{PeerKey, backoff::Kind, lifecycle::Cause, links::Dialling},
    slots::{Claim, Decision, Entry, Priority, Taking},
};

impl Manager {
    /// Dials for the user. A dial that waits or is under way in the background is moved to the foreground.
    pub(super) fn dial_for_user(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.is_live()) else {
            return;
        };
        if std::mem::replace(&mut peer.priority, Priority::Foreground) == Priority::Background {
            match peer.links.dialling() {
                Dialling::Waiting { .. } => self.enqueue(now, key),
                Dialling::Running { .. } => self.slots.set_priority(key, Priority::Foreground),
                Dialling::Idle | Dialling::Backoff => {}
            }
        }
        self.dial_if_wanted(now, key);
    }

    /// Asks for a dial if a connection would be of use and there is none.
    pub(super) fn dial_if_wanted(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if !peer.links.may_dial() || !peer.wants_connection() || self.closing == Closing::Done {
            return;
        }
        match peer.not_before.filter(|at| *at > now) {
            Some(at) => {
                peer.links.put_off();
                self.deadlines.set(Timer::Backoff(key), Some(at));
            }
            None => self.enqueue(now, key),
        }
    }

    /// Puts a dial into the row; the place that it had before, if any, is void.
    fn enqueue(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let ticket = self.slots.enqueue(now, key, peer.priority);
        peer.links.queued(ticket);
        self.deadlines.set(Timer::Backoff(key), None);
        self.pump_dials(now);
    }

    pub(super) fn backoff_ended(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if peer.links.dialling() == Dialling::Backoff {
            peer.links.stop_waiting();
            self.dial_if_wanted(now, key);
        }
    }

    /// Dials at once, whatever the backoff says: the session is about to expire.
    pub(super) fn dial_last(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        match peer.links.dialling() {
            Dialling::Idle | Dialling::Backoff if !peer.links.has_arrivals() => {
                // What the user has queued depends on it.
                peer.priority = Priority::Foreground;
                self.enqueue(now, key);
            }
            Dialling::Idle
            | Dialling::Backoff
            | Dialling::Waiting { .. }
            | Dialling::Running { .. } => {}
        }
    }

    /// Begins the dials that wait, as far as slots and the dial rate allow.
    pub(super) fn pump_dials(&mut self, now: Instant) {
        if std::mem::replace(&mut self.runs_dials, true) {
            return;
        }
        self.slots.begin_run();
        let next = self.pump_until_blocked(now);
        self.runs_dials = false;
        self.deadlines.set(Timer::Row, next);
    }

    /// Does what frees slots for another purpose than the dials that wait: these run later.
    pub(super) fn before_dials<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let runs = std::mem::replace(&mut self.runs_dials, true);
        let done = work(self);
        self.runs_dials = runs;
        self.slots.wake();
        done
    }

    fn pump_until_blocked(&mut self, now: Instant) -> Option<Instant> {
        loop {
            let entry = self.slots.next_dial()?;
            let ticket = entry.ticket;
            let waits = |peer: &super::Peer| peer.links.dialling() == Dialling::Waiting { ticket };
            if !self.peers.get(entry.key).is_some_and(waits) {
                continue;
            }
            // The rate first: nothing is evicted for a dial that has to wait all the same.
            let rate = self.slots.check_rate(now, entry.priority).map_err(Some);
            match rate.and_then(|()| self.slot_for(now, entry)) {
                Ok(()) => {
                    self.slots.count_dial(now, entry.priority);
                    self.dial(now, entry.key, 0);
                }
                Err(at) => {
                    self.slots.put_back(entry);
                    return at;
                }
            }
        }
    }

    /// Takes a slot for a dial. If there is none, returns when to try again, or nothing if a slot has to
    /// be released first.
    fn slot_for(&mut self, now: Instant, entry: Entry) -> Result<(), Option<Instant>> {
        let peer = self.peers.get(entry.key).ok_or(None)?;
        let claim = Claim::Dial {
            since: entry.since,
            priority: entry.priority,
            is_preemptible: peer.preemption.is_preemptible(),
        };
        let is_protected = peer.is_protected;
        loop {
            match self.slots.claim(now, entry.key, claim, is_protected) {
                Decision::Granted => return Ok(()),
                Decision::Take(victim, taking) => self.take_slot(now, victim, taking),
                Decision::Wait(at) => return Err(at),
            }
        }
    }

    /// Takes a peer's slot away for another peer. Its session stays.
    pub(super) fn take_slot(&mut self, now: Instant, victim: PeerKey, taking: Taking) {
        match taking {
            Taking::Evict => self.evict(now, victim),
            Taking::CallOff => self.call_off(now, victim),
            Taking::Preempt => self.make_way(now, victim),
        }
    }

    fn dial(&mut self, now: Instant, key: PeerKey, address: usize) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Some(&to) = peer.addresses.get(address) else {
            self.attempt_failed(now, key, Reason::CalledOff);
            return;
        };
        peer.counts.dials += 1;
        self.counters.dials += 1;
        let id = peer.id;
        // One count for all peers: it goes on when a peer is forgotten and comes back, while the
        // other end may still hold its earlier connection.
        let number = self.counters.dials;
        let mut rng = self.draws.stream("dial", id, number);
        match self.transport.dial(now, id, to, number, &mut rng) {
            Ok(link) => {
                if let Some(link) = self.transport.link_mut(link) {
                    link.owner = Some(key);
                }
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.links.begun(link, address);
                }
                let at = now + self.config.handshake_timeout;
                self.deadlines.set(Timer::Handshake(link), Some(at));
                self.moved(key, Cause::Begun, Reason::Dialling);
            }
            Err(reason) => {
                self.moved(key, Cause::Begun, Reason::Dialling);
                self.dial_failed(now, key, address, reason);
            }
        }
    }

    /// A dial has failed: the next address, or the end of the attempt.
    pub(super) fn dial_failed(
        &mut self,
        now: Instant,
        key: PeerKey,
        address: usize,
        reason: Reason,
    ) {
        self.counters.dials_failed += 1;
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let more = address + 1 < peer.addresses.len();
        if more && !peer.is_live() && !peer.links.has_arrivals() && reason.concerns_address() {
            // At once, since somebody waits; those that come after it wait in its place.
            self.slots.count_dial(now, peer.priority);
            self.dial(now, key, address + 1);
            return;
        }
        self.attempt_failed(now, key, reason);
    }

    /// Every address has failed.
    fn attempt_failed(&mut self, now: Instant, key: PeerKey, reason: Reason) {
        let kind = match reason.is_busy() {
            true => Kind::NoRoom,
            false => Kind::Error,
        };
        self.back_off(now, key, reason.clone(), kind);
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        peer.preemption.failed(kind);
        // Whoever asked was answered; from here on the machine tries by itself.
        peer.priority = Priority::Background;
        let last = peer.session.expiry == Expiry::LastDial && !peer.has_links();
        if !peer.has_links() {
            self.moved(key, Cause::AttemptFailed, reason);
        }
        self.release_unused(key);
        if last {
            self.expire_session(now, key);
        }
        self.dial_if_wanted(now, key);
        self.pump_dials(now);
    }

    /// Counts a failure, and puts off the next dial.
    pub(super) fn back_off(&mut self, now: Instant, key: PeerKey, reason: Reason, kind: Kind) {
        let mut rng = self.stream(key, "backoff");
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        peer.counts.failures += 1;
        peer.links.stop_waiting();
        let asked = reason.retry_after();
        let backoff = &self.config.backoff;
        let at = peer.failures.failed(now, backoff, kind, asked, &mut rng);
        peer.not_before = Some(at);
        if reason.is_lasting() {
            peer.redial = Redial::Barred;
        }
        peer.last_failure = Some(Box::new(reason));
    }

    pub(super) fn proved_stable(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.is_live()) {
            peer.failures.reset();
            peer.not_before = None;
            peer.last_failure = None;
        }
    }

    /// Gives the slot back once nothing of the peer is open.
    pub(super) fn release_unused(&mut self, key: PeerKey) {
        if self.peers.get(key).is_none_or(|peer| !peer.has_links()) {
            self.slots.release(key);
        }
    }
}
