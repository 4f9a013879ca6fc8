//! Look-up and deadlines: the two indexes that everything else relies on.

use std::{collections::BTreeSet, hash::Hash, time::Instant};

use rustc_hash::FxSeededState;

/// A hash map for look-up only: without iteration there is no order to depend on, and without the seed keys
/// that collide cannot be made.
#[derive(Debug)]
#[expect(
    clippy::disallowed_types,
    reason = "the one wrapper, which offers no iteration"
)]
pub(crate) struct LookUp<K, V>(std::collections::HashMap<K, V, FxSeededState>);

#[expect(clippy::disallowed_types, reason = "see the type")]
impl<K: Eq + Hash, V: Copy> LookUp<K, V> {
    pub(crate) fn new(seed: u64) -> Self {
        Self(std::collections::HashMap::with_hasher(
            FxSeededState::with_seed(seed as usize),
        ))
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.0.get(key).copied()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes of memory, roughly: at most seven of eight places are taken, and each has a byte beside
    /// it.
    pub(crate) fn memory(&self) -> usize {
        self.0.capacity() / 7 * 8 * (size_of::<(K, V)>() + 1)
    }
}

/// Deadlines in order of time: the cost of a turn does not grow with idle peers.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    order: BTreeSet<(Instant, K)>,
    at: LookUp<K, Instant>,
}

impl<K: Copy + Ord + Hash> Deadlines<K> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            order: BTreeSet::new(),
            at: LookUp::new(seed),
        }
    }

    /// Arms the deadline, in place of an earlier one for the same key; `None` disarms it.
    pub(crate) fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.at.insert(key, at),
            None => self.at.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, key));
        }
        if let Some(at) = at {
            self.order.insert((at, key));
        }
    }

    /// Arms the deadline unless an earlier one is armed for the same key.
    pub(crate) fn set_by(&mut self, key: K, at: Instant) {
        if self.at.get(&key).is_none_or(|armed| at < armed) {
            self.set(key, Some(at));
        }
    }

    pub(crate) fn get(&self, key: K) -> Option<Instant> {
        self.at.get(&key)
    }

    /// The first deadline.
    pub(crate) fn first(&self) -> Option<(Instant, K)> {
        self.order.first().copied()
    }

    /// Takes the first deadline that has come: it is disarmed before it fires, since firing may
    /// arm it again.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.first()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Bytes of memory, roughly: places in a tree are two thirds full.
    pub(crate) fn memory(&self) -> usize {
        self.order.len() * size_of::<(Instant, K)>() * 3 / 2 + self.at.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;
    use proptest::prelude::*;
    use std::{collections::BTreeMap, time::Duration};

    proptest! {
        #[test]
        fn deadlines_fire_in_order_and_once(steps in prop::collection::vec((0..10u8, prop::option::of(0..100u64)), 0..200)) {
            let start = epoch();
            let mut deadlines = Deadlines::new(7);
            let mut model = BTreeMap::new();
            for (key, millis) in steps {
                let at = millis.map(|millis| start + Duration::from_millis(millis));
                deadlines.set(key, at);
                match at {
                    Some(at) => model.insert(key, at),
                    None => model.remove(&key),
                };
                prop_assert_eq!(deadlines.len(), model.len());
            }
            let middle = start + Duration::from_millis(50);
            let mut due: Vec<_> = model.iter().filter(|(_, at)| **at <= middle).map(|(k, at)| (*at, *k)).collect();
            due.sort();
            let fired: Vec<_> = std::iter::from_fn(|| deadlines.pop_due(middle)).collect();
            prop_assert_eq!(fired, due.iter().map(|(_, key)| *key).collect::<Vec<_>>());
            prop_assert!(deadlines.first().is_none_or(|(at, _)| at > middle));
        }
    }
}
