//! The slots of the pool: who holds one, who may have one, and who must give one up.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{PeerKey, urgency::Urgency};
use crate::index::LookUp;

/// Whether a slot that could not be taken away before can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Evictability {
    Gained,
    /// It could be before, or still cannot.
    AsBefore,
}

/// Slots of `connections_max`. A slot belongs to a peer, from the first handshake until the last
/// connection has ended.
#[derive(Debug)]
pub(crate) struct Pool {
    slots_max: usize,
    dials_max: usize,
    dials: usize,
    /// Of those that hold a slot alone: there may be many more peers.
    holders: LookUp<PeerKey, Holder>,
    /// Those that may be evicted, by the end of their tenure.
    evictable: BTreeSet<(Instant, PeerKey)>,
    /// Those of them that are idle, by their last use.
    idle: BTreeSet<(Instant, PeerKey)>,
    /// Doubtful dials, by their beginning.
    doubtful: BTreeSet<(Instant, PeerKey)>,
    /// Background dials, by their beginning.
    background: BTreeSet<(Instant, PeerKey)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holder {
    /// When it took the slot, and once it is confirmed, until when a busy one is safe.
    safe_until: Instant,
    /// When it was last used, while it is idle at both ends.
    idle_since: Option<Instant>,
    purpose: Purpose,
    /// Who asks for it, if it is a dial.
    urgency: Urgency,
    evictable: Evictable,
}

/// What a slot is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A dial of ours that is not confirmed.
    Dial,
    /// Such a dial to a peer that has not answered the last one: it makes way for a peer that has
    /// come (`doubt.rs`).
    DoubtfulDial,
    /// A peer that has dialled us and proved who it is, and is not confirmed.
    Arrival,
    /// A confirmed connection.
    Peer,
}

/// Whether a slot may be taken away for another peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evictable {
    Yes,
    /// A protected peer.
    No,
}

impl Pool {
    /// A pool of empty slots. Dials may hold three quarters of them, so that others can come in.
    pub(crate) fn new(slots_max: usize, seed: u64) -> Self {
        let dials_max = slots_max - slots_max / 4;
        Self {
            slots_max,
            dials_max,
            dials: 0,
            holders: LookUp::new(seed),
            evictable: BTreeSet::new(),
            idle: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            background: BTreeSet::new(),
        }
    }

    /// Slots in use.
    pub(crate) fn len(&self) -> usize {
        self.holders.len()
    }

    /// Bytes of memory, roughly: places in a tree are two thirds full.
    pub(crate) fn memory(&self) -> usize {
        let orders = [
            &self.evictable,
            &self.idle,
            &self.doubtful,
            &self.background,
        ];
        let entries: usize = orders.iter().map(|order| order.len()).sum();
        entries * size_of::<(Instant, PeerKey)>() * 3 / 2 + self.holders.memory()
    }

    /// Takes a slot, if one is free for this purpose. A peer that holds one keeps it.
    pub(crate) fn acquire(
        &mut self,
        now: Instant,
        key: PeerKey,
        purpose: Purpose,
        evictable: Evictable,
    ) -> Result<(), Full> {
        if let Some(held) = self.holder(key) {
            if purpose == Purpose::Arrival && held.makes_way() {
                // It is there.
                self.set_purpose(key, held, Purpose::Arrival);
            }
            return Ok(());
        }
        if self.len() >= self.slots_max {
            return Err(Full::Slots);
        }
        if purpose.is_dial() && self.dials >= self.dials_max {
            return Err(Full::Dials);
        }
        self.dials += usize::from(purpose.is_dial());
        let holder = Holder {
            safe_until: now,
            idle_since: None,
            purpose,
            urgency: Urgency::User,
            evictable,
        };
        self.holders.insert(key, holder);
        move_entry(&mut self.doubtful, key, [None, holder.doubtfulness()]);
        Ok(())
    }

    /// A connection of the peer is confirmed: if it is the first, its tenure begins.
    pub(crate) fn confirm(&mut self, now: Instant, key: PeerKey, tenure: Duration) {
        let Some(held) = self
            .holder(key)
            .filter(|held| held.purpose != Purpose::Peer)
        else {
            return;
        };
        self.set_purpose(key, held, Purpose::Peer);
        let _ = self.update(key, |holder| holder.safe_until = now + tenure);
    }

    /// The peer's last connection is gone, and it keeps the slot for a dial or an arrival, which is
    /// left alone like any other.
    pub(crate) fn keep_for(&mut self, key: PeerKey, purpose: Purpose) {
        let held = self.holder(key);
        if let Some(held) = held.filter(|held| held.purpose == Purpose::Peer) {
            self.set_purpose(key, held, purpose);
        }
    }

    /// Gives the slot back, if the peer holds one.
    pub(crate) fn release(&mut self, key: PeerKey) {
        let Some(holder) = self.holder(key) else {
            return;
        };
        let _ = self.update(key, |holder| holder.evictable = Evictable::No);
        self.holders.remove(&key);
        self.dials -= usize::from(holder.purpose.is_dial());
    }

    /// The peer is idle at both ends since it was last used, or (`None`) it is not.
    pub(crate) fn set_idle(&mut self, key: PeerKey, since: Option<Instant>) -> Evictability {
        self.update(key, |holder| holder.idle_since = since)
    }

    /// Who asks for the dial that the peer's slot is held for: the user, as long as nothing else is
    /// said.
    pub(crate) fn set_urgency(&mut self, key: PeerKey, urgency: Urgency) {
        let _ = self.update(key, |holder| holder.urgency = urgency);
    }

    /// Whether the peer's slot may be taken away.
    pub(crate) fn set_evictable(&mut self, key: PeerKey, evictable: Evictable) -> Evictability {
        self.update(key, |holder| holder.evictable = evictable)
    }

    /// The least recently used of the peers that are idle at both ends.
    pub(crate) fn idle_victim(&self) -> Option<PeerKey> {
        self.idle.first().map(|(_, key)| *key)
    }

    /// The doubtful dial that has held its slot for the longest time: for peers that have come, and
    /// for no other dial.
    pub(crate) fn doubtful_dial(&self) -> Option<PeerKey> {
        self.doubtful.first().map(|(_, key)| *key)
    }

    /// The background dial that has held its slot for the longest time, which is the one most likely
    /// to be in vain: for dials that the user asks for.
    pub(crate) fn background_dial(&self) -> Option<PeerKey> {
        self.background.first().map(|(_, key)| *key)
    }

    /// The peer whose tenure ended first, idle or not, or when one will end. Dials and arrivals are
    /// left alone: they end by themselves, and peers that never let each other finish a handshake
    /// would never get anywhere.
    pub(crate) fn busy_victim(&self, now: Instant) -> Result<PeerKey, Option<Instant>> {
        let (safe_until, key) = self.evictable.first().ok_or(None)?;
        if *safe_until <= now {
            return Ok(*key);
        }
        Err(Some(*safe_until))
    }

    fn holder(&self, key: PeerKey) -> Option<Holder> {
        self.holders.get(&key)
    }

    fn set_purpose(&mut self, key: PeerKey, held: Holder, purpose: Purpose) {
        self.dials += usize::from(purpose.is_dial());
        self.dials -= usize::from(held.purpose.is_dial());
        let _ = self.update(key, |holder| holder.purpose = purpose);
    }

    /// Changes a holder, and its place among those that may be evicted.
    fn update(&mut self, key: PeerKey, change: impl FnOnce(&mut Holder)) -> Evictability {
        let Some(before) = self.holder(key) else {
            return Evictability::AsBefore;
        };
        let mut after = before;
        change(&mut after);
        if after == before {
            return Evictability::AsBefore;
        }
        self.holders.insert(key, after);
        let tenure = [before, after].map(Holder::tenure);
        let idleness = [before, after].map(Holder::idleness);
        move_entry(&mut self.evictable, key, tenure);
        move_entry(&mut self.idle, key, idleness);
        let doubtfulness = [before, after].map(Holder::doubtfulness);
        move_entry(&mut self.doubtful, key, doubtfulness);
        let background = [before, after].map(Holder::background_since);
        move_entry(&mut self.background, key, background);
        let gained = |[before, after]: [Option<Instant>; 2]| before.is_none() && after.is_some();
        match gained(tenure) || gained(idleness) {
            true => Evictability::Gained,
            false => Evictability::AsBefore,
        }
    }
}

fn move_entry(
    entries: &mut BTreeSet<(Instant, PeerKey)>,
    key: PeerKey,
    [before, after]: [Option<Instant>; 2],
) {
    if before == after {
        return;
    }
    if let Some(before) = before {
        entries.remove(&(before, key));
    }
    if let Some(after) = after {
        entries.insert((after, key));
    }
}

impl Holder {
    /// The end of its tenure, if it may be evicted at all.
    fn tenure(self) -> Option<Instant> {
        self.may_be_evicted().then_some(self.safe_until)
    }

    /// Since when it is idle, if it may be evicted at all.
    fn idleness(self) -> Option<Instant> {
        self.idle_since.filter(|_| self.may_be_evicted())
    }

    fn may_be_evicted(self) -> bool {
        self.evictable == Evictable::Yes && self.purpose == Purpose::Peer
    }

    /// Since when it is a doubtful dial, if its slot may be taken away at all.
    fn doubtfulness(self) -> Option<Instant> {
        let makes_way = self.evictable == Evictable::Yes && self.purpose == Purpose::DoubtfulDial;
        makes_way.then_some(self.safe_until)
    }

    /// Since when it is a background dial, if its slot may be taken away at all.
    fn background_since(self) -> Option<Instant> {
        let is_background = self.purpose.is_dial() && self.urgency == Urgency::Background;
        let makes_way = self.evictable == Evictable::Yes && is_background;
        makes_way.then_some(self.safe_until)
    }

    /// Whether it is a dial that makes way for somebody, unless the peer is protected.
    fn makes_way(self) -> bool {
        match self.purpose {
            Purpose::DoubtfulDial => true,
            Purpose::Dial => self.urgency == Urgency::Background,
            Purpose::Arrival | Purpose::Peer => false,
        }
    }
}

impl Purpose {
    const fn is_dial(self) -> bool {
        matches!(self, Self::Dial | Self::DoubtfulDial)
    }
}

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// `connections_max` peers hold one.
    Slots,
    /// Three quarters of the slots are held by dials: one will end soon.
    Dials,
}

#[cfg(test)]
mod tests;
