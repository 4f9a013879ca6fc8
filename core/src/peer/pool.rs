//! The slots of the pool: who holds one, who may have one, and who must give one up.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::PeerKey;

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
    slots: usize,
    dials: usize,
    /// Indexed by [`PeerKey`].
    holders: Vec<Option<Holder>>,
    /// Those that may be evicted, by the end of their tenure.
    evictable: BTreeSet<(Instant, PeerKey)>,
    /// Those of them that are idle, by their last use.
    idle: BTreeSet<(Instant, PeerKey)>,
    /// Doubtful dials, by their beginning.
    doubtful: BTreeSet<(Instant, PeerKey)>,
}

#[derive(Debug, Clone, Copy)]
struct Holder {
    /// When it took the slot, and once it is confirmed, until when a busy one is safe.
    safe_until: Instant,
    /// When it was last used, while it is idle at both ends.
    idle_since: Option<Instant>,
    purpose: Purpose,
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
    pub(crate) const fn new(slots_max: usize) -> Self {
        let dials_max = slots_max - slots_max / 4;
        Self {
            slots_max,
            dials_max,
            slots: 0,
            dials: 0,
            holders: Vec::new(),
            evictable: BTreeSet::new(),
            idle: BTreeSet::new(),
            doubtful: BTreeSet::new(),
        }
    }

    /// Slots in use.
    pub(crate) const fn len(&self) -> usize {
        self.slots
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
            if purpose == Purpose::Arrival && held.purpose == Purpose::DoubtfulDial {
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
        let index = key.index();
        if self.holders.len() <= index {
            self.holders.resize(index + 1, None);
        }
        let holder = Holder {
            safe_until: now,
            idle_since: None,
            purpose,
            evictable,
        };
        self.holders[index] = Some(holder);
        move_entry(&mut self.doubtful, key, [None, holder.doubtfulness()]);
        self.slots += 1;
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
        self.holders[key.index()] = None;
        self.slots -= 1;
        self.dials -= usize::from(holder.purpose.is_dial());
    }

    /// The peer is idle at both ends since it was last used, or (`None`) it is not.
    pub(crate) fn set_idle(&mut self, key: PeerKey, since: Option<Instant>) -> Evictability {
        self.update(key, |holder| holder.idle_since = since)
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
        self.holders.get(key.index()).copied().flatten()
    }

    fn set_purpose(&mut self, key: PeerKey, held: Holder, purpose: Purpose) {
        self.dials += usize::from(purpose.is_dial());
        self.dials -= usize::from(held.purpose.is_dial());
        let _ = self.update(key, |holder| holder.purpose = purpose);
    }

    /// Changes a holder, and its place among those that may be evicted.
    fn update(&mut self, key: PeerKey, change: impl FnOnce(&mut Holder)) -> Evictability {
        let Some(Some(holder)) = self.holders.get_mut(key.index()) else {
            return Evictability::AsBefore;
        };
        let before = *holder;
        change(holder);
        let after = *holder;
        let tenure = [before, after].map(Holder::tenure);
        let idleness = [before, after].map(Holder::idleness);
        move_entry(&mut self.evictable, key, tenure);
        move_entry(&mut self.idle, key, idleness);
        let doubtfulness = [before, after].map(Holder::doubtfulness);
        move_entry(&mut self.doubtful, key, doubtfulness);
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
mod tests {
    use super::*;
    use crate::testing::epoch;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone)]
    enum Step {
        Dial(u32),
        DoubtfulDial(u32),
        Arrival(u32),
        Confirm(u32),
        Release(u32),
        Idle(u32),
        Busy(u32),
        Protect(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        (0..8u8, 0..12u32).prop_map(|(kind, key)| match kind {
            0 => Step::Dial(key),
            1 => Step::Arrival(key),
            6 => Step::Confirm(key),
            7 => Step::DoubtfulDial(key),
            2 => Step::Release(key),
            3 => Step::Idle(key),
            4 => Step::Busy(key),
            _ => Step::Protect(key),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn slots_never_exceed_the_limit_and_all_come_back(slots_max in 1..9usize, steps in prop::collection::vec(step(), 0..200)) {
            let start = epoch();
            let mut pool = Pool::new(slots_max);
            let mut purposes: BTreeMap<PeerKey, Purpose> = BTreeMap::new();
            for (tick, step) in steps.into_iter().enumerate() {
                let now = start + Duration::from_millis(tick as u64);
                match step {
                    Step::Dial(key) | Step::DoubtfulDial(key) | Step::Arrival(key) => {
                        let purpose = if matches!(step, Step::Dial(_)) {
                            Purpose::Dial
                        } else if matches!(step, Step::DoubtfulDial(_)) {
                            Purpose::DoubtfulDial
                        } else {
                            Purpose::Arrival
                        };
                        let key = PeerKey::new(key);
                        if pool.acquire(now, key, purpose, Evictable::Yes).is_ok() {
                            let held = purposes.entry(key).or_insert(purpose);
                            if (*held, purpose) == (Purpose::DoubtfulDial, Purpose::Arrival) {
                                *held = Purpose::Arrival;
                            }
                        }
                    }
                    Step::Confirm(key) => {
                        pool.confirm(now, PeerKey::new(key), Duration::from_millis(10));
                        if let Some(held) = purposes.get_mut(&PeerKey::new(key)) {
                            *held = Purpose::Peer;
                        }
                    }
                    Step::Release(key) => {
                        pool.release(PeerKey::new(key));
                        purposes.remove(&PeerKey::new(key));
                    }
                    Step::Idle(key) => {
                        let _ = pool.set_idle(PeerKey::new(key), Some(now));
                    }
                    Step::Busy(key) => {
                        let _ = pool.set_idle(PeerKey::new(key), None);
                    }
                    Step::Protect(key) => {
                        let _ = pool.set_evictable(PeerKey::new(key), Evictable::No);
                    }
                }
                prop_assert_eq!(pool.len(), purposes.len());
                prop_assert!(pool.len() <= slots_max);
                let dials = purposes.values().filter(|purpose| purpose.is_dial()).count();
                prop_assert_eq!(pool.dials, dials);
                prop_assert!(dials <= pool.dials_max.max(1));
                if let Some(victim) = pool.idle_victim() {
                    prop_assert!(purposes.contains_key(&victim));
                }
                if let Some(dial) = pool.doubtful_dial() {
                    prop_assert_eq!(purposes.get(&dial), Some(&Purpose::DoubtfulDial));
                }
            }
            for key in 0..12 {
                pool.release(PeerKey::new(key));
            }
            prop_assert!(pool.evictable.is_empty() && pool.idle.is_empty() && pool.doubtful.is_empty());
            prop_assert_eq!((pool.slots, pool.dials), (0, 0));
        }
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_protected_stays() {
        let start = epoch();
        let at = |millis| start + Duration::from_millis(millis);
        let [a, b, c] = [0, 1, 2].map(PeerKey::new);
        let mut pool = Pool::new(3);
        for key in [a, b, c] {
            assert_eq!(
                pool.acquire(start, key, Purpose::Arrival, Evictable::Yes),
                Ok(())
            );
            pool.confirm(start, key, Duration::ZERO);
        }
        assert_eq!(pool.idle_victim(), None, "nobody is idle");
        for (key, millis) in [(a, 30), (b, 10), (c, 20)] {
            let change = pool.set_idle(key, Some(at(millis)));
            assert_eq!(change, Evictability::Gained);
        }
        assert_eq!(pool.idle_victim(), Some(b));
        let change = pool.set_evictable(b, Evictable::No);
        assert_eq!(change, Evictability::AsBefore, "it has lost");
        assert_eq!(pool.idle_victim(), Some(c));
        assert_eq!(pool.set_idle(c, None), Evictability::AsBefore);
        assert_eq!(pool.idle_victim(), Some(a));
        let change = pool.set_evictable(b, Evictable::Yes);
        assert_eq!(change, Evictability::Gained);
        assert_eq!(pool.idle_victim(), Some(b));
    }

    #[test]
    fn whoever_has_lost_its_connection_and_dials_again_is_left_alone() {
        let start = epoch();
        let key = PeerKey::new(0);
        for purpose in [Purpose::Dial, Purpose::Arrival] {
            let mut pool = Pool::new(1);
            assert_eq!(pool.acquire(start, key, purpose, Evictable::Yes), Ok(()));
            pool.confirm(start, key, Duration::ZERO);
            pool.keep_for(key, purpose);
            assert_eq!(pool.busy_victim(start), Err(None));
            pool.confirm(start, key, Duration::ZERO);
            assert_eq!(pool.busy_victim(start), Ok(key));
            pool.keep_for(key, purpose);
            pool.release(key);
            assert_eq!(pool.dials, 0);
        }
    }

    #[test]
    fn the_oldest_doubtful_dial_makes_way_until_its_peer_shows_itself_or_is_protected() {
        let start = epoch();
        let [first, second, third] = [0, 1, 2].map(PeerKey::new);
        let mut pool = Pool::new(3);
        for (key, secs) in [(second, 2), (first, 1), (third, 3)] {
            let at = start + Duration::from_secs(secs);
            let slot = pool.acquire(at, key, Purpose::DoubtfulDial, Evictable::Yes);
            assert_eq!(slot, Ok(()));
        }
        assert_eq!(pool.busy_victim(start), Err(None), "not for other dials");
        assert_eq!(pool.doubtful_dial(), Some(first));
        let _ = pool.set_evictable(first, Evictable::No);
        assert_eq!(pool.doubtful_dial(), Some(second));
        let slot = pool.acquire(start, second, Purpose::Arrival, Evictable::Yes);
        assert_eq!((slot, pool.doubtful_dial()), (Ok(()), Some(third)));
        pool.confirm(start, third, Duration::ZERO);
        assert_eq!(pool.doubtful_dial(), None);
    }

    #[test]
    fn a_busy_peer_is_safe_for_its_tenure() {
        let start = epoch();
        let tenure = Duration::from_secs(1);
        let mut pool = Pool::new(1);
        let key = PeerKey::new(0);
        assert_eq!(pool.busy_victim(start), Err(None));
        assert_eq!(
            pool.acquire(start, key, Purpose::Dial, Evictable::Yes),
            Ok(())
        );
        let late = start + 9 * tenure;
        assert_eq!(pool.busy_victim(late), Err(None), "not confirmed");
        pool.confirm(late, key, tenure);
        assert_eq!(pool.busy_victim(late), Err(Some(late + tenure)));
        pool.confirm(late + tenure, key, tenure);
        assert_eq!(pool.busy_victim(late + tenure), Ok(key), "it began once");
    }

    #[test]
    fn the_first_whose_tenure_ends_goes_first() {
        let start = epoch();
        let mut pool = Pool::new(2);
        let [long, short] = [0, 1].map(PeerKey::new);
        for (key, secs) in [(long, 9), (short, 2)] {
            let slot = pool.acquire(start, key, Purpose::Arrival, Evictable::Yes);
            assert_eq!(slot, Ok(()));
            pool.confirm(start, key, Duration::from_secs(secs));
        }
        let end = |secs| start + Duration::from_secs(secs);
        assert_eq!(pool.busy_victim(end(1)), Err(Some(end(2))));
        assert_eq!(pool.busy_victim(end(3)), Ok(short));
        pool.release(short);
        assert_eq!(pool.busy_victim(end(3)), Err(Some(end(9))));
    }
}
