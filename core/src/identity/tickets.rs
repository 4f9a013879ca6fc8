//! Tickets for resumption: the last one of each peer, and of those peers that were met last.
//!
//! The stores that come with rustls let those go first that came first, however often they come again,
//! and make room for eight tickets of each server. Here both stores are bounded in bytes, too: the other end
//! chooses how long its certificate and its tickets are.

use std::fmt::{self, Write as _};

use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
    server::StoresServerSessions,
};
use zeroize::Zeroizing;

use crate::recent::{Memory, Store};

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

impl Memory for Known {
    fn memory(&self) -> usize {
        self.ticket_bytes
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

    const ROOM: usize = usize::MAX;

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
}
