//! When and where to dial.

use std::{collections::VecDeque, time::Instant};

use super::{
    Manager, Timer,
    ending::Closing,
    peer::{Expiry, Redial},
};
use crate::{
    Reason,
    peer::{
        PeerKey, backoff::Kind, lifecycle::Cause, limits::DialRate, links::Dialling, pool::Full,
        urgency::Urgency,
    },
};

/// Dials that wait for a slot, or for the dial rate.
pub(super) struct DialRow {
    /// Somebody waits for these.
    urgent: VecDeque<Entry>,
    /// Reconnects: nobody asked at this moment, so they never delay the others.
    background: VecDeque<Entry>,
    rate: DialRate,
    tickets: u64,
    pumping: Pumping,
    roused: Roused,
}

/// Whether a slot may have become free for the first in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Roused {
    No,
    Yes,
}

/// Whether the row is being worked on: what that sets off must not begin it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pumping {
    No,
    Yes,
}

/// A place in the row; void once the peer's ticket is another.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: PeerKey,
    ticket: u64,
    since: Instant,
    urgency: Urgency,
}

impl DialRow {
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Self {
            urgent: VecDeque::new(),
            background: VecDeque::new(),
            rate: DialRate::new(rate, now),
            tickets: 0,
            pumping: Pumping::No,
            roused: Roused::No,
        }
    }

    /// A slot can be taken away that could not before: whoever waits for one need not wait for a
    /// deadline.
    pub(super) fn rouse(&mut self) {
        if self.len() > 0 {
            self.roused = Roused::Yes;
        }
    }

    /// Whether somebody was roused and has not been looked after.
    pub(super) fn is_roused(&self) -> bool {
        self.roused == Roused::Yes
    }

    pub(super) fn len(&self) -> usize {
        self.urgent.len() + self.background.len()
    }

    /// How many are served before the one with this ticket, some of them in vain.
    pub(super) fn ahead_of(&self, ticket: u64) -> usize {
        let mut row = self.urgent.iter().chain(&self.background);
        row.position(|entry| entry.ticket == ticket)
            .unwrap_or(self.len())
    }

    /// Whether the dial rate allows the first of those that wait.
    pub(super) fn keeps_rate(&self, now: Instant) -> bool {
        let first = match self.urgent.is_empty() {
            true => Urgency::Background,
            false => Urgency::User,
        };
        self.rate.check(now, first).is_ok()
    }

    fn push(&mut self, now: Instant, key: PeerKey, urgency: Urgency) -> u64 {
        self.tickets += 1;
        let entry = Entry {
            key,
            ticket: self.tickets,
            since: now,
            urgency,
        };
        match urgency {
            Urgency::User => self.urgent.push_back(entry),
            Urgency::Background => self.background.push_back(entry),
        }
        self.tickets
    }

    fn pop(&mut self) -> Option<Entry> {
        self.urgent
            .pop_front()
            .or_else(|| self.background.pop_front())
    }

    fn put_back(&mut self, entry: Entry) {
        match entry.urgency {
            Urgency::User => self.urgent.push_front(entry),
            Urgency::Background => self.background.push_front(entry),
        }
    }
}

impl Manager {
    /// The user asks for a connection at this moment. If a dial waits or is under way in the
    /// background, it is the user's from here on.
    pub(super) fn dial_for_user(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key).filter(|peer| !peer.is_live()) else {
            return;
        };
        if std::mem::replace(&mut peer.asked, Urgency::User) == Urgency::Background {
            match peer.links.dialling() {
                Dialling::Waiting { .. } => self.enqueue(now, key),
                Dialling::Running { .. } => self.pool.set_urgency(key, Urgency::User),
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
        let ticket = self.row.push(now, key, peer.asked);
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
                peer.asked = Urgency::User;
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
        if std::mem::replace(&mut self.row.pumping, Pumping::Yes) == Pumping::Yes {
            return;
        }
        self.row.roused = Roused::No;
        let next = self.pump_until_blocked(now);
        self.row.pumping = Pumping::No;
        self.deadlines.set(Timer::Row, next);
    }

    /// Does what frees slots for somebody else than the dials that wait: they are looked after later.
    pub(super) fn before_dials<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let pumping = std::mem::replace(&mut self.row.pumping, Pumping::Yes);
        let done = work(self);
        self.row.pumping = pumping;
        self.row.rouse();
        done
    }

    fn pump_until_blocked(&mut self, now: Instant) -> Option<Instant> {
        loop {
            let entry = self.row.pop()?;
            let ticket = entry.ticket;
            let waits = |peer: &super::Peer| peer.links.dialling() == Dialling::Waiting { ticket };
            if !self.peers.get(entry.key).is_some_and(waits) {
                continue;
            }
            // The rate first: nobody is evicted for a dial that has to wait all the same.
            let rate = self.row.rate.check(now, entry.urgency).map_err(Some);
            match rate.and_then(|()| self.slot_for(now, entry)) {
                Ok(()) => {
                    let taken = self.row.rate.take(now, entry.urgency);
                    debug_assert!(taken.is_ok(), "it was there");
                    self.dial(now, entry.key, 0);
                }
                Err(at) => {
                    self.row.put_back(entry);
                    return at;
                }
            }
        }
    }

    /// A slot for a dial: a free one, or that of an idle peer, or for the user's that of one in the
    /// background, or after `slot_wait` that of a busy peer. If there is none, when to try again, or
    /// nothing if a slot has to be released first.
    fn slot_for(&mut self, now: Instant, entry: Entry) -> Result<(), Option<Instant>> {
        let peer = self.peers.get(entry.key).ok_or(None)?;
        let (purpose, evictable) = (peer.doubt.purpose(), peer.evictable);
        loop {
            let full = match self.pool.acquire(now, entry.key, purpose, evictable) {
                Ok(()) => {
                    self.pool.set_urgency(entry.key, entry.urgency);
                    return Ok(());
                }
                Err(full) => full,
            };
            let background = match entry.urgency {
                Urgency::User => self.pool.background_dial(),
                Urgency::Background => None,
            };
            let due = entry.since + self.config.slot_wait;
            let victim = match (full, self.pool.idle_victim(), background) {
                (Full::Slots, Some(idle), _) => idle,
                (Full::Slots | Full::Dials, _, Some(dial)) => {
                    self.call_off(now, dial);
                    continue;
                }
                (Full::Dials, _, None) => return Err(None),
                (Full::Slots, None, None) if now < due => return Err(Some(due)),
                (Full::Slots, None, None) => self.pool.busy_victim(now)?,
            };
            self.evict(now, victim);
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
        match self.transport.dial(now, id, to, number, &mut self.rng) {
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
            self.row.rate.owe(now, peer.asked);
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
        peer.doubt.failed(kind);
        // Whoever asked was answered; from here on the machine tries by itself.
        peer.asked = Urgency::Background;
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
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        peer.counts.failures += 1;
        peer.links.stop_waiting();
        let asked = reason.retry_after();
        let backoff = &self.config.backoff;
        let at = peer
            .failures
            .failed(now, backoff, kind, asked, &mut self.rng);
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
            self.pool.release(key);
        }
    }
}
