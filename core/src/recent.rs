//! Keeps what was touched last, within a count and within bytes of memory.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use zeroize::Zeroizing;

/// What was touched last, shared by the handshakes of all connections.
pub(crate) struct Store<K, V> {
    recent: Mutex<Recent<K, V>>,
    /// Bytes of memory, for readers that must not wait.
    memory: AtomicUsize,
}

impl<K: Ord + Clone + Memory, V: Default + Memory> Store<K, V> {
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> Self {
        Self {
            recent: Mutex::new(Recent::new(count_max, bytes_max)),
            memory: AtomicUsize::new(0),
        }
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Recent<K, V>) -> T) -> T {
        let mut recent = lock(&self.recent);
        let outcome = change(&mut recent);
        self.memory.store(recent.bytes, Ordering::Relaxed);
        outcome
    }

    pub(crate) fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }
}

/// A panic elsewhere leaves a store as it is.
fn lock<T>(store: &Mutex<T>) -> MutexGuard<'_, T> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of memory behind a key or a value, beyond its own size.
pub(crate) trait Memory {
    fn memory(&self) -> usize;
}

impl Memory for String {
    fn memory(&self) -> usize {
        self.capacity()
    }
}

impl Memory for Vec<u8> {
    fn memory(&self) -> usize {
        self.capacity()
    }
}

impl Memory for Zeroizing<Vec<u8>> {
    fn memory(&self) -> usize {
        self.capacity()
    }
}

/// A map of what was touched last, in order of keys and of time: it has no hash that others could
/// make collide.
pub(crate) struct Recent<K, V> {
    values: BTreeMap<K, Entry<V>>,
    order: BTreeMap<u64, K>,
    touches: u64,
    count_max: usize,
    bytes_max: usize,
    /// Bytes of memory.
    bytes: usize,
}

#[derive(Default)]
struct Entry<V> {
    touched: u64,
    /// What it counts for, in bytes of memory.
    bytes: usize,
    value: V,
}

impl<K: Ord + Clone + Memory, V: Default + Memory> Recent<K, V> {
    /// Bytes of memory for an entry in both trees, whose places are two thirds full.
    const ENTRY_BYTES: usize = (size_of::<(K, Entry<V>)>() + size_of::<(u64, K)>()) * 3 / 2;

    const fn new(count_max: usize, bytes_max: usize) -> Self {
        Self {
            values: BTreeMap::new(),
            order: BTreeMap::new(),
            touches: 0,
            count_max,
            bytes_max,
            bytes: 0,
        }
    }

    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub(crate) fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.evict();
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.values.get(key).map(|entry| &entry.value)
    }

    /// Changes the value of a key, if it has one, to take no more memory than before.
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub(crate) fn lessen<T>(&mut self, key: &str, change: impl FnOnce(&mut V) -> T) -> Option<T>
    where
        K: Borrow<str>,
    {
        let entry = self.values.get_mut(key)?;
        let before = entry.value.memory();
        let outcome = change(&mut entry.value);
        let freed = before - entry.value.memory();
        entry.bytes -= freed;
        self.bytes -= freed;
        Some(outcome)
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let entry = self.values.remove(key)?;
        self.order.remove(&entry.touched);
        self.bytes -= entry.bytes;
        Some(entry.value)
    }

    /// Changes the value of a key, which becomes the last to be removed. Keys that were touched the longest ago
    /// make room.
    pub(crate) fn update(&mut self, key: K, change: impl FnOnce(&mut V)) {
        self.touches += 1;
        let key_bytes = 2 * key.memory();
        self.order.insert(self.touches, key.clone());
        let entry = self.values.entry(key).or_default();
        self.order.remove(&entry.touched);
        entry.touched = self.touches;
        change(&mut entry.value);
        let bytes = Self::ENTRY_BYTES + key_bytes + entry.value.memory();
        self.bytes = self.bytes + bytes - std::mem::replace(&mut entry.bytes, bytes);
        self.evict();
    }

    /// Removes the keys that were touched the longest ago, until the rest keeps both limits.
    fn evict(&mut self) {
        while self.values.len() > self.count_max || self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            if let Some(entry) = self.values.remove(&oldest) {
                self.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// So many bytes, which are counted.
    impl Memory for u8 {
        fn memory(&self) -> usize {
            usize::from(*self)
        }
    }

    #[test]
    fn what_was_touched_the_longest_ago_goes_first() {
        let mut recent = Recent::<u8, u8>::new(3, usize::MAX);
        for key in [1, 2, 3, 1, 4] {
            recent.update(key, |value| *value = key);
        }
        assert_eq!(
            [1, 2, 3, 4].map(|key| recent.get(&key).is_some()),
            [true, false, true, true]
        );
    }

    proptest! {
        #[test]
        fn it_holds_the_last_ones_and_no_more(
            touches in prop::collection::vec((0u8..12, any::<bool>()), 0..100),
            count_max in 1usize..8,
            room in 0usize..40,
        ) {
            let entry = Recent::<u8, u8>::ENTRY_BYTES;
            let bytes_max = room * entry / 4;
            let mut recent = Recent::new(count_max, bytes_max);
            let mut model: Vec<u8> = Vec::new();
            for (key, is_removed) in touches {
                model.retain(|other| *other != key);
                if is_removed {
                    recent.remove(&key);
                } else {
                    recent.update(key, |value| *value = key);
                    model.push(key);
                }
                let bytes = |model: &[u8]| {
                    model.iter().map(|key| entry + 3 * usize::from(*key)).sum::<usize>()
                };
                while model.len() > count_max || bytes(&model) > bytes_max {
                    model.remove(0);
                }
                prop_assert_eq!(recent.order.values().copied().collect::<Vec<_>>(), model.clone());
                prop_assert_eq!(recent.values.len(), model.len());
                prop_assert_eq!(recent.bytes, bytes(&model));
            }
        }
    }
}
