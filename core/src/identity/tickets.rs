//! Tickets for resumption: the last one of each peer, and of those peers that were met last.
//!
//! The stores that come with rustls let those go first that came first, however often they come again,
//! and make room for eight tickets of each server. Here both stores are bounded in bytes, too: the other end
//! chooses how long its certificate and its tickets are.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
    server::StoresServerSessions,
};
use zeroize::Zeroizing;

/// Tickets that others have given us, one for each server name.
pub(super) struct OurTickets(Store<String, Known>);

/// What is known of a server.
#[derive(Default)]
struct Known {
    /// The key exchange that it chose last time.
    group: Option<NamedGroup>,
    /// rustls erases the secret in it when it is dropped.
    ticket: Option<Box<Tls13ClientSessionValue>>,
    ticket_bytes: usize,
}

/// What belongs to tickets that we have given others, by their random ids. One is taken out when it is
/// used, so it works once. The secret in it is erased with its entry.
pub(super) struct TheirTickets(Store<Vec<u8>, Zeroizing<Vec<u8>>>);

impl OurTickets {
    /// Room for this many servers, in so many bytes of memory.
    pub(super) fn new(servers_max: usize, bytes_max: usize) -> Self {
        Self(Store::new(servers_max, bytes_max))
    }

    pub(super) fn set_bytes_max(&self, bytes_max: usize) {
        self.0.change(|recent| recent.set_bytes_max(bytes_max));
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.0.memory()
    }
}

impl ClientSessionStore for OurTickets {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.0.change(|recent| {
            recent.update(name(&server_name), |known| known.group = Some(group));
        });
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.0
            .change(|recent| recent.get(&name(server_name))?.group)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        let Some(bytes) = bytes_of(&value) else {
            return;
        };
        self.0.change(|recent| {
            recent.update(name(&server_name), |known| {
                known.ticket = Some(Box::new(value));
                known.ticket_bytes = bytes;
            });
        });
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.0.change(|recent| {
            recent.lessen(&name(server_name), |known| {
                known.ticket_bytes = 0;
                known.ticket.take().map(|ticket| *ticket)
            })?
        })
    }
}

/// The longest ticket of another end that is kept, in bytes of memory with what comes with it.
const TICKET_BYTES_MAX: usize = 4 * 1024;

/// Bytes of memory behind a ticket, or `None` if they are more than [`TICKET_BYTES_MAX`].
///
/// rustls 0.23 has no other way to learn the length of a ticket than its Debug, which writes two digits for each
/// byte, and not the secret. Remove this when a ticket states its length.
fn bytes_of(value: &Tls13ClientSessionValue) -> Option<usize> {
    let mut digits = Digits {
        left: 2 * TICKET_BYTES_MAX,
    };
    write!(digits, "{value:?}").ok()?;
    Some(size_of::<Tls13ClientSessionValue>() + TICKET_BYTES_MAX - digits.left / 2)
}

/// Counts what is written, up to a limit, and keeps none of it.
struct Digits {
    left: usize,
}

impl fmt::Write for Digits {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.left = self.left.checked_sub(part.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

impl TheirTickets {
    /// Room for this many tickets, in so many bytes of memory.
    pub(super) fn new(tickets_max: usize, bytes_max: usize) -> Self {
        Self(Store::new(tickets_max, bytes_max))
    }

    pub(super) fn set_bytes_max(&self, bytes_max: usize) {
        self.0.change(|recent| recent.set_bytes_max(bytes_max));
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.0.memory()
    }
}

impl StoresServerSessions for TheirTickets {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        let session = Zeroizing::new(session);
        self.0
            .change(|recent| recent.update(id, |value| *value = session));
        true
    }

    /// Only TLS 1.2 uses a session without taking it.
    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        let mut session = self.0.change(|recent| recent.remove(id))?;
        // Moved and not copied: the secret stays in one place, which is rustls's from here on.
        Some(std::mem::take(&mut *session))
    }

    fn can_cache(&self) -> bool {
        true
    }
}

fn name(server: &ServerName<'_>) -> String {
    server.to_str().into_owned()
}

/// What was touched last, shared by the handshakes of all connections.
struct Store<K, V> {
    recent: Mutex<Recent<K, V>>,
    /// Bytes of memory, for readers that must not wait.
    memory: AtomicUsize,
}

impl<K: Ord + Clone + Memory, V: Default + Memory> Store<K, V> {
    fn new(count_max: usize, bytes_max: usize) -> Self {
        Self {
            recent: Mutex::new(Recent::new(count_max, bytes_max)),
            memory: AtomicUsize::new(0),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Recent<K, V>) -> T) -> T {
        let mut recent = lock(&self.recent);
        let outcome = change(&mut recent);
        self.memory.store(recent.bytes, Ordering::Relaxed);
        outcome
    }

    fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }
}

/// A panic elsewhere leaves a store as it is.
fn lock<T>(store: &Mutex<T>) -> MutexGuard<'_, T> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of memory behind a key or a value, beyond its own size.
trait Memory {
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

impl Memory for Known {
    fn memory(&self) -> usize {
        self.ticket_bytes
    }
}

/// A map of what was touched last, in order of keys and of time: it has no hash that others could
/// make collide.
struct Recent<K, V> {
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

    fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.evict();
    }

    fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.values.get(key).map(|entry| &entry.value)
    }

    /// Changes the value of a key, if it has one, to take no more memory than before.
    fn lessen<T>(&mut self, key: &str, change: impl FnOnce(&mut V) -> T) -> Option<T>
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

    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
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
    fn update(&mut self, key: K, change: impl FnOnce(&mut V)) {
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

impl fmt::Debug for OurTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OurTickets")
    }
}

impl fmt::Debug for TheirTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TheirTickets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::keys_in_memory::search::{Masked, alone, parts_in_memory};
    use proptest::prelude::*;

    /// So many bytes, which are counted.
    impl Memory for u8 {
        fn memory(&self) -> usize {
            usize::from(*self)
        }
    }

    const ROOM: usize = usize::MAX;

    #[test]
    fn the_peer_that_was_met_the_longest_ago_goes_first() {
        let mut recent = Recent::<u8, u8>::new(3, ROOM);
        for key in [1, 2, 3, 1, 4] {
            recent.update(key, |value| *value = key);
        }
        assert_eq!(
            [1, 2, 3, 4].map(|key| recent.get(&key).is_some()),
            [true, false, true, true]
        );
    }

    #[test]
    fn a_ticket_that_was_given_works_once() {
        let tickets = TheirTickets::new(2, ROOM);
        assert!(tickets.put(vec![1], vec![7]));
        assert_eq!(tickets.take(&[2]), None);
        assert_eq!(tickets.take(&[1]), Some(vec![7]));
        assert_eq!(tickets.take(&[1]), None);
        assert_eq!(tickets.memory(), 0);
    }

    #[test]
    fn failure_38_tickets_are_bounded_in_bytes() {
        const BYTES_MAX: usize = 1 << 20;
        let tickets = TheirTickets::new(4_096, BYTES_MAX);
        for number in 0..4_096u32 {
            assert!(tickets.put(number.to_be_bytes().to_vec(), vec![1; 60_000]));
            assert!(tickets.memory() <= BYTES_MAX);
        }
        assert!(tickets.memory() > BYTES_MAX / 2);
        assert!(tickets.take(&4_095u32.to_be_bytes()).is_some());
        tickets.set_bytes_max(1_000);
        assert!(tickets.memory() <= 1_000);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn failure_38_secrets_of_tickets_are_erased_with_their_entries() {
        let _alone = alone();
        let secrets = [(); 4].map(|()| Masked::fresh());
        let tickets = TheirTickets::new(2, ROOM);
        for (number, secret) in secrets.iter().enumerate() {
            let mut session = vec![0; 300];
            secret.write(&mut session[100..132]);
            // The third one evicts the first, and the fourth takes the place of the second.
            let id = vec![[0, 1, 2, 1][number]];
            assert!(tickets.put(id, session));
        }
        assert_eq!(parts_in_memory(&secrets[..2]), 0);
        assert_ne!(parts_in_memory(&secrets[2..]), 0);
        let used = tickets.take(&[2]).map(Zeroizing::new);
        assert!(used.is_some());
        drop((used, tickets));
        assert_eq!(parts_in_memory(&secrets), 0);
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
