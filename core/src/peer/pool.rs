//! The slots of the pool: who holds one, who may have one, and who must give one up.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::PeerKey;

/// Slots of `connections_max`. A slot belongs to a peer, from the first handshake until the last
/// connection has ended.
#[derive(Debug)]
pub(crate) struct Pool {
    slots_max: usize,
    dials_max: usize,
    dials: usize,
    /// Indexed by [`PeerKey`].
    holders: Vec<Option<Holder>>,
    held: BTreeSet<(Instant, PeerKey)>,
    idle: BTreeSet<(Instant, PeerKey)>,
}

#[derive(Debug, Clone, Copy)]
struct Holder {
    since: Instant,
    /// When it was last used, while it is idle at both ends and may be evicted.
    idle_since: Option<Instant>,
    purpose: Purpose,
    evictable: Evictable,
}

/// What a slot is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A dial of ours that is not confirmed.
    Dial,
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
            dials: 0,
            holders: Vec::new(),
            held: BTreeSet::new(),
            idle: BTreeSet::new(),
        }
    }

    /// Slots in use.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Takes a slot, if one is free for this purpose. A peer that holds one keeps it.
    pub(crate) fn acquire(
        &mut self,
        now: Instant,
        key: PeerKey,
        purpose: Purpose,
        evictable: Evictable,
    ) -> Result<(), Full> {
        if self.holder(key).is_some() {
            return Ok(());
        }
        if self.len() >= self.slots_max {
            return Err(Full::Slots);
        }
        if purpose == Purpose::Dial {
            if self.dials >= self.dials_max {
                return Err(Full::Dials);
            }
            self.dials += 1;
        }
        let index = key.index();
        if self.holders.len() <= index {
            self.holders.resize(index + 1, None);
        }
        self.holders[index] = Some(Holder {
            since: now,
            idle_since: None,
            purpose,
            evictable,
        });
        self.held.insert((now, key));
        Ok(())
    }

    /// A connection of the peer is confirmed: if it is the first, its tenure begins.
    pub(crate) fn confirm(&mut self, now: Instant, key: PeerKey) {
        let Some(held) = self
            .holder(key)
            .filter(|held| held.purpose != Purpose::Peer)
        else {
            return;
        };
        self.dials -= usize::from(held.purpose == Purpose::Dial);
        self.held.remove(&(held.since, key));
        self.held.insert((now, key));
        self.update(key, |holder| {
            holder.purpose = Purpose::Peer;
            holder.since = now;
        });
    }

    /// Gives the slot back, if the peer holds one.
    pub(crate) fn release(&mut self, key: PeerKey) {
        let Some(holder) = self.holders.get_mut(key.index()).and_then(Option::take) else {
            return;
        };
        self.held.remove(&(holder.since, key));
        if let Some(since) = holder.idle_since {
            self.idle.remove(&(since, key));
        }
        if holder.purpose == Purpose::Dial {
            self.dials -= 1;
        }
    }

    /// The peer is idle at both ends since it was last used, or (`None`) it is not.
    pub(crate) fn set_idle(&mut self, key: PeerKey, since: Option<Instant>) {
        let Some(holder) = self.holder(key) else {
            return;
        };
        if holder.idle_since == since {
            return;
        }
        if let Some(before) = holder.idle_since {
            self.idle.remove(&(before, key));
        }
        if let Some(since) = since {
            self.idle.insert((since, key));
        }
        self.update(key, |holder| holder.idle_since = since);
    }

    /// Whether the peer's slot may be taken away.
    pub(crate) fn set_evictable(&mut self, key: PeerKey, evictable: Evictable) {
        self.update(key, |holder| holder.evictable = evictable);
    }

    /// The least recently used of the peers that are idle at both ends.
    pub(crate) fn idle_victim(&self) -> Option<PeerKey> {
        self.idle
            .iter()
            .map(|(_, key)| *key)
            .find(|key| self.holder(*key).is_some_and(Holder::may_be_evicted))
    }

    /// The peer that has held its slot longest, idle or not, if that is `tenure_min` ago; or when
    /// there will be one. Dials and arrivals are left alone: they end by themselves, and peers
    /// that never let each other finish a handshake would never get anywhere.
    pub(crate) fn busy_victim(
        &self,
        now: Instant,
        tenure_min: Duration,
    ) -> Result<PeerKey, Option<Instant>> {
        let (since, key) = self
            .held
            .iter()
            .find(|(_, key)| self.holder(*key).is_some_and(Holder::may_be_evicted))
            .ok_or(None)?;
        if *since + tenure_min <= now {
            return Ok(*key);
        }
        Err(Some(*since + tenure_min))
    }

    fn holder(&self, key: PeerKey) -> Option<Holder> {
        self.holders.get(key.index()).copied().flatten()
    }

    fn update(&mut self, key: PeerKey, change: impl FnOnce(&mut Holder)) {
        if let Some(Some(holder)) = self.holders.get_mut(key.index()) {
            change(holder);
        }
    }
}

impl Holder {
    fn may_be_evicted(self) -> bool {
        self.evictable == Evictable::Yes && self.purpose == Purpose::Peer
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
        Arrival(u32),
        Confirm(u32),
        Release(u32),
        Idle(u32),
        Busy(u32),
        Protect(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        (0..7u8, 0..12u32).prop_map(|(kind, key)| match kind {
            0 => Step::Dial(key),
            1 => Step::Arrival(key),
            6 => Step::Confirm(key),
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
                    Step::Dial(key) | Step::Arrival(key) => {
                        let purpose = if matches!(step, Step::Dial(_)) { Purpose::Dial } else { Purpose::Arrival };
                        let key = PeerKey::new(key);
                        if pool.acquire(now, key, purpose, Evictable::Yes).is_ok() {
                            purposes.entry(key).or_insert(purpose);
                        }
                    }
                    Step::Confirm(key) => {
                        pool.confirm(now, PeerKey::new(key));
                        if let Some(held) = purposes.get_mut(&PeerKey::new(key)) {
                            *held = Purpose::Peer;
                        }
                    }
                    Step::Release(key) => {
                        pool.release(PeerKey::new(key));
                        purposes.remove(&PeerKey::new(key));
                    }
                    Step::Idle(key) => pool.set_idle(PeerKey::new(key), Some(now)),
                    Step::Busy(key) => pool.set_idle(PeerKey::new(key), None),
                    Step::Protect(key) => pool.set_evictable(PeerKey::new(key), Evictable::No),
                }
                prop_assert_eq!(pool.len(), purposes.len());
                prop_assert!(pool.len() <= slots_max);
                let dials = purposes.values().filter(|purpose| **purpose == Purpose::Dial).count();
                prop_assert_eq!(pool.dials, dials);
                prop_assert!(dials <= pool.dials_max.max(1));
                if let Some(victim) = pool.idle_victim() {
                    prop_assert!(purposes.contains_key(&victim));
                }
            }
            for key in 0..12 {
                pool.release(PeerKey::new(key));
            }
            prop_assert!(pool.held.is_empty() && pool.idle.is_empty());
            prop_assert_eq!(pool.dials, 0);
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
            pool.confirm(start, key);
        }
        assert_eq!(pool.idle_victim(), None, "nobody is idle");
        pool.set_idle(a, Some(at(30)));
        pool.set_idle(b, Some(at(10)));
        pool.set_idle(c, Some(at(20)));
        assert_eq!(pool.idle_victim(), Some(b));
        pool.set_evictable(b, Evictable::No);
        assert_eq!(pool.idle_victim(), Some(c));
        pool.set_idle(c, None);
        assert_eq!(pool.idle_victim(), Some(a));
    }

    #[test]
    fn a_busy_peer_is_safe_for_its_tenure() {
        let start = epoch();
        let tenure = Duration::from_secs(1);
        let mut pool = Pool::new(1);
        let key = PeerKey::new(0);
        assert_eq!(pool.busy_victim(start, tenure), Err(None));
        assert_eq!(
            pool.acquire(start, key, Purpose::Dial, Evictable::Yes),
            Ok(())
        );
        let late = start + 9 * tenure;
        assert_eq!(pool.busy_victim(late, tenure), Err(None), "not confirmed");
        pool.confirm(late, key);
        assert_eq!(pool.busy_victim(late, tenure), Err(Some(late + tenure)));
        assert_eq!(pool.busy_victim(late + tenure, tenure), Ok(key));
    }
}
