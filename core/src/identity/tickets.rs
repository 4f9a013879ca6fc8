//! Tickets for resumption: the last one of each peer, and of those peers that were met last.
//!
//! The stores that come with rustls let those go first that came first, however often they come again,
//! and make room for eight tickets of each server.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
    server::StoresServerSessions,
};

/// Tickets that others have given us, one for each server name.
pub(super) struct OurTickets(Mutex<Recent<String, Known>>);

/// What is known of a server.
#[derive(Default)]
struct Known {
    /// The key exchange that it chose last time.
    group: Option<NamedGroup>,
    ticket: Option<Tls13ClientSessionValue>,
}

/// What belongs to tickets that we have given others, by their random ids. One is taken out when it is
/// used, so it works once.
pub(super) struct TheirTickets(Mutex<Recent<Vec<u8>, Vec<u8>>>);

impl OurTickets {
    /// Room for this many servers.
    pub(super) fn new(servers_max: usize) -> Self {
        Self(Mutex::new(Recent::new(servers_max)))
    }
}

impl ClientSessionStore for OurTickets {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        lock(&self.0).touch(name(&server_name)).group = Some(group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        lock(&self.0).get(&name(server_name))?.group
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
        lock(&self.0).touch(name(&server_name)).ticket = Some(value);
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        lock(&self.0).get_mut(&name(server_name))?.ticket.take()
    }
}

impl TheirTickets {
    /// Room for this many tickets.
    pub(super) fn new(tickets_max: usize) -> Self {
        Self(Mutex::new(Recent::new(tickets_max)))
    }
}

impl StoresServerSessions for TheirTickets {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        *lock(&self.0).touch(id) = session;
        true
    }

    /// Only TLS 1.2 uses a session without taking it.
    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        lock(&self.0).remove(id)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

fn name(server: &ServerName<'_>) -> String {
    server.to_str().into_owned()
}

/// A panic elsewhere leaves a store as it is.
fn lock<T>(store: &Mutex<T>) -> MutexGuard<'_, T> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A map of what was touched last, in order of keys and of time: it has no hash that others could
/// make collide.
struct Recent<K, V> {
    values: BTreeMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    touches: u64,
    max: usize,
}

impl<K: Ord + Clone, V: Default> Recent<K, V> {
    const fn new(max: usize) -> Self {
        Self {
            values: BTreeMap::new(),
            order: BTreeMap::new(),
            touches: 0,
            max,
        }
    }

    fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.values.get(key).map(|(_, value)| value)
    }

    fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.values.get_mut(key).map(|(_, value)| value)
    }

    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let (touched, value) = self.values.remove(key)?;
        self.order.remove(&touched);
        Some(value)
    }

    /// Returns the value of a key, which becomes the last to be removed. If there is no room, a new key
    /// replaces the one that was touched the longest ago.
    fn touch(&mut self, key: K) -> &mut V {
        self.touches += 1;
        let touched = self.touches;
        let is_new = !self.values.contains_key(&key);
        if is_new
            && self.values.len() >= self.max
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.values.remove(&oldest);
        }
        self.order.insert(touched, key.clone());
        let (before, value) = self.values.entry(key).or_default();
        self.order.remove(before);
        *before = touched;
        value
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
    use proptest::prelude::*;

    #[test]
    fn whoever_was_met_the_longest_ago_goes_first() {
        let mut recent = Recent::new(3);
        for key in [1, 2, 3, 1, 4] {
            *recent.touch(key) = key;
        }
        assert_eq!(
            [1, 2, 3, 4].map(|key| recent.get(&key).is_some()),
            [true, false, true, true]
        );
    }

    #[test]
    fn a_ticket_that_was_given_works_once() {
        let tickets = TheirTickets::new(2);
        assert!(tickets.put(vec![1], vec![7]));
        assert_eq!(tickets.take(&[2]), None);
        assert_eq!(tickets.take(&[1]), Some(vec![7]));
        assert_eq!(tickets.take(&[1]), None);
    }

    proptest! {
        #[test]
        fn it_holds_the_last_ones_and_no_more(
            touches in prop::collection::vec((0u8..12, any::<bool>()), 0..100),
            max in 1usize..8,
        ) {
            let mut recent = Recent::new(max);
            let mut model: Vec<u8> = Vec::new();
            for (key, is_removed) in touches {
                model.retain(|other| *other != key);
                if is_removed {
                    recent.remove(&key);
                } else {
                    *recent.touch(key) = key;
                    model.push(key);
                }
                let surplus = model.len().saturating_sub(max);
                model.drain(..surplus);
                prop_assert_eq!(recent.order.values().copied().collect::<Vec<_>>(), model.clone());
                prop_assert_eq!(recent.values.len(), model.len());
            }
        }
    }
}
