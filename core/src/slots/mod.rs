//! Hands out the slots of the pool: `connections_max` of them, each to one peer, from its first
//! handshake until its last connection has ended.
//!
//! - `table`: which claim takes the slot of which holder.
//! - `queue`: dials that wait for a slot; `rate`: dials per second.
//! - `priority`: dials of the user, and of the machine.
//! - `hold_time`: how long a busy connection is safe.

mod hold_time;
mod priority;
mod queue;
mod rate;
mod table;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use self::{
    queue::DialQueue,
    rate::DialRate,
    table::{Claimant, Holder, Outcome, Row},
};
use crate::{Config, index::LookUp, peer::PeerKey};

pub(crate) use self::{
    hold_time::{Hold, HoldTime},
    priority::Priority,
    queue::Entry,
};

/// How long a stranger that holds a slot has for its greeting before a claim of a known peer takes the slot: more than
/// a round trip within a continent.
const GREETING_TIME: Duration = Duration::from_millis(100);

/// The same for a claim of another stranger: more than any path on Earth takes, or strangers behind slow paths would
/// push each other out for ever.
const GREETING_TIME_AMONG_STRANGERS: Duration = Duration::from_secs(1);

/// The part of the slots, one to so many, within which strangers take the slots of others that are idle, and beyond
/// which they make way first.
const STRANGERS_SHARE: usize = 4;

/// The slots, their holders, and the dials that wait for one.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Nothing has happened before.
    start: Instant,
    slots_max: usize,
    dials_max: usize,
    /// How long a claim waits before it is overdue.
    wait: Duration,
    dials: usize,
    /// Strangers that hold a slot.
    strangers: usize,
    /// Of peers that hold a slot alone: there may be many more peers.
    held: LookUp<PeerKey, Held>,
    /// Holders that may give way, in the order of [`Holder`], then of time: idle peers by their last use,
    /// dials by their beginning, busy peers by the end of their minimum hold time.
    order: BTreeSet<Place>,
    queue: DialQueue,
    rate: DialRate,
    /// A slot may have become free for the first dial in the queue.
    is_awake: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    /// When it took the slot; of a connected peer, the end of its minimum hold time.
    since: Instant,
    /// When it was last used, while nothing is queued at either end.
    idle_since: Option<Instant>,
    purpose: Purpose,
    /// Of its dial.
    priority: Priority,
    has_given_way: bool,
    class: Class,
}

/// What a peer is to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It dialled us.
    Stranger,
    /// The application has added it.
    Known,
    /// Its slot is taken away for no other peer.
    Protected,
}

/// What a slot is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A dial of ours that is not confirmed.
    Dial,
    /// A peer that has dialled us and proved its identity, and is not confirmed.
    Arrival,
    /// A confirmed connection.
    Peer,
}

/// A request for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Dial {
        /// When it was queued.
        since: Instant,
        priority: Priority,
        /// Whether a dial to the peer has given way since one was confirmed or failed.
        has_given_way: bool,
    },
    Arrival {
        /// Since when a peer has been refused that the user has added or that messages are queued for.
        waits_since: Option<Instant>,
    },
}

/// The answer to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The claimant has a slot.
    Granted,
    /// It may have the slot of this peer, once that is released.
    Take(PeerKey, Taking),
    /// It may claim again at this time, or once a slot is released.
    Wait(Option<Instant>),
}

/// How a slot is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    /// The holder's connections are closed.
    Evict,
    /// The holder's dial is called off.
    CallOff,
}

/// Why no slot is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    /// `connections_max` peers hold one.
    Slots,
    /// Dials hold three quarters of the slots.
    Dials,
}

impl Slots {
    /// Makes empty slots. Dials may hold three quarters of them, so that peers can come in.
    pub(crate) fn new(config: &Config, seed: u64, now: Instant) -> Self {
        let slots_max = config.connections_max;
        Self {
            start: now,
            slots_max,
            dials_max: slots_max - slots_max / 4,
            wait: config.tuning.slot_wait,
            dials: 0,
            strangers: 0,
            held: LookUp::new(seed),
            order: BTreeSet::new(),
            queue: DialQueue::default(),
            rate: DialRate::new(config.dial_rate, now),
            is_awake: false,
        }
    }

    /// Slots in use.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Bytes of memory, roughly: places in a tree are two thirds full.
    pub(crate) fn memory(&self) -> usize {
        self.order.len() * size_of::<Place>() * 3 / 2 + self.held.memory()
    }

    // Claims

    /// Claims a slot for a peer. A peer that holds one keeps it.
    pub(crate) fn claim(
        &mut self,
        now: Instant,
        key: PeerKey,
        claim: Claim,
        class: Class,
    ) -> Decision {
        let full = match self.acquire(now, key, claim, class) {
            Ok(()) => return Decision::Granted,
            Err(full) => full,
        };
        let claimant = self.claimant(now, claim, class);
        if let Some((victim, row)) = self.victim(now, claimant, class, full) {
            tracing::debug!(%row, "a slot is taken");
            let taking = match row.outcome() {
                Outcome::CalledOff => Taking::CallOff,
                Outcome::Evicted | Outcome::Keeps | Outcome::KeepsForNow => Taking::Evict,
            };
            return Decision::Take(victim, taking);
        }
        match (full, claim) {
            // A peer that has dialled us is refused, and comes again.
            (Full::Dials, _) | (_, Claim::Arrival { .. }) => Decision::Wait(None),
            (Full::Slots, Claim::Dial { since, .. }) => {
                let overdue = Some(since + self.wait).filter(|at| *at > now);
                let at = overdue.or_else(|| self.hold_times_end());
                let silent = self.first(Holder::SilentStranger);
                let silent = silent.map(|place| place.since + greeting_time(class));
                Decision::Wait(at.into_iter().chain(silent).min())
            }
        }
    }

    /// Takes a slot if one is free for this claim.
    fn acquire(
        &mut self,
        now: Instant,
        key: PeerKey,
        claim: Claim,
        class: Class,
    ) -> Result<(), Full> {
        let (purpose, priority, has_given_way) = match claim {
            Claim::Dial {
                priority,
                has_given_way,
                ..
            } => (Purpose::Dial, priority, has_given_way),
            Claim::Arrival { .. } => (Purpose::Arrival, Priority::Foreground, false),
        };
        if let Some(held) = self.held.get(&key) {
            match claim {
                Claim::Dial { .. } => self.set_priority(key, priority),
                // The peer is there: its slot is not for a dial that gives way.
                Claim::Arrival { .. } if held.is_background_dial() => {
                    self.set_purpose(key, purpose);
                }
                Claim::Arrival { .. } => {}
            }
            return Ok(());
        }
        // First: a slot of a peer would be of no use to a dial that other dials keep out.
        if purpose == Purpose::Dial && self.dials >= self.dials_max {
            return Err(Full::Dials);
        }
        if self.len() >= self.slots_max {
            return Err(Full::Slots);
        }
        self.dials += usize::from(purpose == Purpose::Dial);
        let held = Held {
            since: now,
            idle_since: None,
            purpose,
            priority,
            has_given_way,
            class,
        };
        self.strangers += usize::from(class == Class::Stranger);
        self.held.insert(key, held);
        self.order.extend(held.place(key));
        Ok(())
    }

    /// Whether strangers hold their share of the slots, or more.
    fn have_strangers_share(&self) -> bool {
        self.strangers * STRANGERS_SHARE >= self.slots_max
    }

    fn claimant(&self, now: Instant, claim: Claim, class: Class) -> Claimant {
        let is_overdue = |since: Instant| since + self.wait <= now;
        match claim {
            Claim::Dial {
                since, priority, ..
            } => match (priority, is_overdue(since)) {
                (Priority::Foreground, false) => Claimant::ForegroundDial,
                (Priority::Foreground, true) => Claimant::OverdueForegroundDial,
                (Priority::Background, false) => Claimant::BackgroundDial,
                (Priority::Background, true) => Claimant::OverdueBackgroundDial,
            },
            Claim::Arrival { waits_since } if waits_since.is_some_and(is_overdue) => {
                Claimant::OverdueArrival
            }
            Claim::Arrival { .. } if class == Class::Stranger && self.have_strangers_share() => {
                Claimant::SurplusArrival
            }
            Claim::Arrival { .. } => Claimant::Arrival,
        }
    }

    /// Finds the first holder that gives way. Of dials it is the one that has run for the longest time,
    /// which is the most likely to be in vain.
    fn victim(
        &self,
        now: Instant,
        claimant: Claimant,
        class: Class,
        full: Full,
    ) -> Option<(PeerKey, Row)> {
        let gives_way = |Place { holder, since, key }: Place| {
            let holder = match holder {
                Holder::Busy | Holder::BusyStranger if since > now => Holder::NewlyBusy,
                Holder::SilentStranger if since + greeting_time(class) > now => Holder::Arrival,
                Holder::SilentStranger
                | Holder::IdleStranger
                | Holder::Idle
                | Holder::BackgroundDial
                | Holder::SparedBackgroundDial
                | Holder::BusyStranger
                | Holder::Busy
                | Holder::NewlyBusy
                | Holder::ForegroundDial
                | Holder::Arrival
                | Holder::Protected => holder,
            };
            let row = Row { claimant, holder };
            match row.outcome() {
                Outcome::Keeps | Outcome::KeepsForNow => None,
                Outcome::Evicted | Outcome::CalledOff => Some((since, key, row)),
            }
        };
        let first = |holder| self.first(holder).and_then(gives_way);
        let dial = || {
            let dials = [Holder::BackgroundDial, Holder::SparedBackgroundDial];
            let dials = dials.into_iter().filter_map(first);
            dials.min_by_key(|(since, key, _)| (*since, *key))
        };
        // What strangers hold beyond their share is borrowed; within it they are peers like others.
        let idle = || {
            let [stranger, known] = [Holder::IdleStranger, Holder::Idle].map(first);
            match self.have_strangers_share() {
                true => stranger.or(known),
                false => stranger
                    .into_iter()
                    .chain(known)
                    .min_by_key(|(since, key, _)| (*since, *key)),
            }
        };
        let victim = match full {
            // One dial more has to be one less elsewhere.
            Full::Dials => dial(),
            Full::Slots => first(Holder::SilentStranger)
                .or_else(idle)
                .or_else(dial)
                .or_else(|| first(Holder::BusyStranger))
                .or_else(|| first(Holder::Busy)),
        };
        victim.map(|(_, key, row)| (key, row))
    }

    /// The holder that gives way while memory is short: a stranger whose greeting has not come in its time, then the
    /// idle stranger that was used the longest ago, then the idle peer of which that is true.
    pub(crate) fn least_recently_used(&self, now: Instant) -> Option<PeerKey> {
        let silent = self.first(Holder::SilentStranger);
        let silent = silent.filter(|place| place.since + GREETING_TIME <= now);
        let idle = || {
            let idle = [Holder::IdleStranger, Holder::Idle];
            idle.into_iter().find_map(|holder| self.first(holder))
        };
        silent.or_else(idle).map(|place| place.key)
    }

    /// The first of the holders of this kind.
    fn first(&self, holder: Holder) -> Option<Place> {
        let start = Place {
            holder,
            since: self.start,
            key: PeerKey::new(0),
        };
        let first = self.order.range(start..).next().copied();
        first.filter(|place| place.holder == holder)
    }

    /// When the first minimum hold time ends.
    fn hold_times_end(&self) -> Option<Instant> {
        let busy = [Holder::BusyStranger, Holder::Busy];
        let firsts = busy.into_iter().filter_map(|holder| self.first(holder));
        firsts.map(|place| place.since).min()
    }

    // Holders

    /// A connection of the peer is confirmed: if it is the first, its minimum hold time begins.
    pub(crate) fn confirm(&mut self, now: Instant, key: PeerKey, hold_time: Duration) {
        let held = self.held.get(&key);
        if held.is_some_and(|held| held.purpose != Purpose::Peer) {
            self.set_purpose(key, Purpose::Peer);
            self.update(key, |held| held.since = now + hold_time);
        }
    }

    /// The peer's last connection is gone, and it keeps the slot for a dial or an arrival, which is
    /// left alone like any other.
    pub(crate) fn keep_for(&mut self, key: PeerKey, purpose: Purpose) {
        let held = self.held.get(&key);
        if held.is_some_and(|held| held.purpose == Purpose::Peer) {
            self.set_purpose(key, purpose);
        }
    }

    /// Gives the slot back, if the peer holds one.
    pub(crate) fn release(&mut self, key: PeerKey) {
        let Some(held) = self.held.remove(&key) else {
            return;
        };
        if let Some(place) = held.place(key) {
            self.order.remove(&place);
        }
        self.dials -= usize::from(held.purpose == Purpose::Dial);
        self.strangers -= usize::from(held.class == Class::Stranger);
        self.wake();
    }

    /// Notes since when nothing is queued for the peer at either end; `None` while something is.
    pub(crate) fn set_idle(&mut self, key: PeerKey, since: Option<Instant>) {
        self.update(key, |held| held.idle_since = since);
    }

    /// Changes the priority of the dial that the peer's slot is held for.
    pub(crate) fn set_priority(&mut self, key: PeerKey, priority: Priority) {
        self.update(key, |held| held.priority = priority);
    }

    /// Changes what the peer is to the application.
    pub(crate) fn set_class(&mut self, key: PeerKey, class: Class) {
        self.update(key, |held| held.class = class);
    }

    fn set_purpose(&mut self, key: PeerKey, purpose: Purpose) {
        self.update(key, |held| {
            held.purpose = purpose;
            // A dial that is not the first one in the slot is spared.
            held.has_given_way = true;
        });
    }

    /// Changes a holder, and its place in the order.
    fn update(&mut self, key: PeerKey, change: impl FnOnce(&mut Held)) {
        let Some(before) = self.held.get(&key) else {
            return;
        };
        let mut after = before;
        change(&mut after);
        if after == before {
            return;
        }
        self.held.insert(key, after);
        self.dials += usize::from(after.purpose == Purpose::Dial);
        self.dials -= usize::from(before.purpose == Purpose::Dial);
        self.strangers += usize::from(after.class == Class::Stranger);
        self.strangers -= usize::from(before.class == Class::Stranger);
        if before.purpose == Purpose::Dial && after.purpose != Purpose::Dial {
            // One dial more may begin.
            self.wake();
        }
        let [left, taken] = [before, after].map(|held| held.place(key));
        if left == taken {
            return;
        }
        if let Some(left) = left {
            self.order.remove(&left);
        }
        if let Some(taken) = taken {
            self.order.insert(taken);
        }
        if has_become_evictable(left, taken) {
            self.wake();
        }
    }

    // Dials

    /// Queues a dial, and returns its ticket: it is void once the peer has another.
    pub(crate) fn enqueue(&mut self, now: Instant, key: PeerKey, priority: Priority) -> u64 {
        let ticket = self.queue.push(now, key, priority);
        self.wake();
        ticket
    }

    /// Dials that wait, void ones included.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Counts the dials before the one with this ticket, void ones included.
    pub(crate) fn ahead_of(&self, ticket: u64) -> usize {
        self.queue.ahead_of(ticket)
    }

    /// Whether the dial rate allows the first dial in the queue.
    pub(crate) fn keeps_rate(&self, now: Instant) -> bool {
        self.rate.check(now, self.queue.first_priority()).is_ok()
    }

    /// Has the queue run: a slot may have become free.
    pub(crate) fn wake(&mut self) {
        self.is_awake |= self.queue.len() > 0;
    }

    /// Whether the queue is to be run.
    pub(crate) fn is_awake(&self) -> bool {
        self.is_awake
    }

    /// The queue is run.
    pub(crate) fn begin_run(&mut self) {
        self.is_awake = false;
    }

    /// Takes the first dial out of the queue.
    pub(crate) fn next_dial(&mut self) -> Option<Entry> {
        self.queue.pop()
    }

    /// Puts a dial back that has to wait.
    pub(crate) fn put_back(&mut self, entry: Entry) {
        self.queue.put_back(entry);
    }

    /// Whether the dial rate allows a dial of this priority, or when it does.
    pub(crate) fn check_rate(&self, now: Instant, priority: Priority) -> Result<(), Instant> {
        self.rate.check(now, priority)
    }

    /// Counts a dial against the rate. One that is not allowed delays those that come after it.
    pub(crate) fn count_dial(&mut self, now: Instant, priority: Priority) {
        self.rate.owe(now, priority);
    }
}

/// How long a stranger has for its greeting, for a claim of a peer of this class.
const fn greeting_time(class: Class) -> Duration {
    match class {
        Class::Stranger => GREETING_TIME_AMONG_STRANGERS,
        Class::Known | Class::Protected => GREETING_TIME,
    }
}

/// Whether a peer that changes its place may be evicted from now on, or at once and not only by a claim
/// that has waited.
fn has_become_evictable(left: Option<Place>, taken: Option<Place>) -> bool {
    let rank = |place: Option<Place>| match place.map(|place| place.holder) {
        Some(Holder::SilentStranger | Holder::IdleStranger | Holder::Idle) => 2,
        Some(Holder::BusyStranger | Holder::Busy | Holder::NewlyBusy) => 1,
        Some(
            Holder::BackgroundDial
            | Holder::SparedBackgroundDial
            | Holder::ForegroundDial
            | Holder::Arrival
            | Holder::Protected,
        )
        | None => 0,
    };
    rank(taken) > rank(left)
}

/// A place in the order of holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    holder: Holder,
    since: Instant,
    key: PeerKey,
}

impl Held {
    fn holder(self) -> Holder {
        let is_stranger = match self.class {
            Class::Protected => return Holder::Protected,
            Class::Stranger => true,
            Class::Known => false,
        };
        match (self.purpose, self.priority, self.has_given_way) {
            (Purpose::Arrival, ..) if is_stranger => Holder::SilentStranger,
            (Purpose::Arrival, ..) => Holder::Arrival,
            (Purpose::Peer, ..) => match (self.idle_since, is_stranger) {
                (Some(_), true) => Holder::IdleStranger,
                (Some(_), false) => Holder::Idle,
                (None, true) => Holder::BusyStranger,
                (None, false) => Holder::Busy,
            },
            (Purpose::Dial, Priority::Background, false) => Holder::BackgroundDial,
            (Purpose::Dial, Priority::Background, true) => Holder::SparedBackgroundDial,
            (Purpose::Dial, Priority::Foreground, _) => Holder::ForegroundDial,
        }
    }

    fn is_background_dial(self) -> bool {
        self.purpose == Purpose::Dial && self.priority == Priority::Background
    }

    /// Its place in the order, if it may give way at all.
    fn place(self, key: PeerKey) -> Option<Place> {
        let holder = self.holder();
        let since = match holder {
            Holder::IdleStranger | Holder::Idle => self.idle_since?,
            Holder::SilentStranger | Holder::BusyStranger | Holder::Busy => self.since,
            Holder::BackgroundDial | Holder::SparedBackgroundDial => self.since,
            Holder::NewlyBusy | Holder::ForegroundDial | Holder::Arrival | Holder::Protected => {
                return None;
            }
        };
        Some(Place { holder, since, key })
    }
}

#[cfg(test)]
mod tests;
