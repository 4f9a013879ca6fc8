//! How it stands with a peer, and why.

use std::time::{Duration, Instant};

use super::{
    Manager, Timer,
    peer::{Expiry, Peer, Redial, Standing},
};
use crate::{
    Explanation, PeerId,
    explanation::{Lack, Outlook},
    peer::{PeerKey, links::Dialling},
};

impl Manager {
    /// How it stands with a peer: why it is not connected, when the next dial is due, what is queued.
    /// `None` if the peer is not known.
    ///
    /// It looks through the dials that wait for their turn, so it is for people and not for loops.
    ///
    /// ```
    /// # use quicpool_core::{Config, Identity, Incarnation, Manager, PeerAddr, PeerId};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (seed, now) = ([1; 32], std::time::Instant::now());
    /// # let credentials = Identity::from_seed(&seed).credentials();
    /// # let incarnation = Incarnation { started_ms: 0, random: 1 };
    /// # let mut manager = Manager::new(Config::default(), credentials, incarnation, seed, now)?;
    /// let bob = PeerAddr::new(PeerId::from_bytes([2; 32]), ([192, 0, 2, 1], 4433).into());
    /// manager.add_address(now, bob)?;
    /// manager.send(now, bob.id, b"hello")?;
    ///
    /// let told = manager.explain(now, bob.id).expect("bob is known").to_string();
    /// assert!(told.contains("is not connected: we dial 192.0.2.1:4433 for 5.0 s more at most."));
    /// assert!(told.contains("1 messages of 6 bytes wait to be taken"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn explain(&self, now: Instant, peer: PeerId) -> Option<Explanation> {
        let key = self.peers.key(peer)?;
        let known = self.peers.get(key)?;
        let session = &known.session;
        let outstanding = session.outbox.outstanding();
        let expires = self.deadlines.get(Timer::Session(key)).map(|at| {
            // One last dial comes first, if it can begin.
            let grace = match session.expiry {
                Expiry::NotDue if !known.addresses.is_empty() => 2 * self.config.handshake_timeout,
                Expiry::NotDue | Expiry::LastDial => Duration::ZERO,
            };
            left(now, at) + grace
        });
        Some(Explanation {
            peer,
            status: known.status,
            outlook: self.outlook(now, key, known),
            ailment: known.ailment(),
            refuses: self.verdict(peer).err(),
            last_failure: known.last_failure.as_deref().cloned(),
            failures: known.failures.count(),
            addresses: known.addresses.len(),
            queued_messages: outstanding.end - outstanding.start,
            queued_bytes: session.outbox.bytes(),
            unread_bytes: session.inbox.bytes(),
            session_expires_in: expires.filter(|_| !known.is_live()),
        })
    }

    fn outlook(&self, now: Instant, key: PeerKey, peer: &Peer) -> Outlook {
        let live = peer.links.live().and_then(|id| self.transport.link(id));
        if let Some(link) = live {
            let rtt = link.rtt();
            return Outlook::Connected { rtt };
        }
        match peer.links.dialling() {
            Dialling::Running { link, address } => {
                let due = self.deadlines.get(Timer::Handshake(link));
                let open = self.transport.link(link);
                let dialled = open.map(|link| link.remote_address());
                let gives_up_in = due.map_or(Duration::ZERO, |at| left(now, at));
                // What is dialled may have been removed from the list since.
                let address = dialled.or(peer.addresses.get(address).copied());
                address.map_or(Outlook::Unreachable, |address| Outlook::Dialling {
                    address,
                    gives_up_in,
                })
            }
            Dialling::Waiting { ticket } => Outlook::Waiting {
                ahead: self.slots.ahead_of(ticket),
                lacks: match self.slots.keeps_rate(now) {
                    true => Lack::Slot,
                    false => Lack::DialRate,
                },
            },
            Dialling::Idle | Dialling::Backoff if peer.links.has_arrivals() => Outlook::Arriving,
            Dialling::Backoff => {
                let at = self.deadlines.get(Timer::Backoff(key));
                let dials_in = at.map_or(Duration::ZERO, |at| left(now, at));
                Outlook::BackingOff { dials_in }
            }
            Dialling::Idle if peer.addresses.is_empty() && peer.standing != Standing::Blocked => {
                Outlook::Unreachable
            }
            Dialling::Idle if peer.redial == Redial::Barred => Outlook::Barred,
            Dialling::Idle if self.deadlines.get(Timer::Revisit(key)).is_some() => {
                let at = self.deadlines.get(Timer::Revisit(key));
                let dials_in = at.map_or(Duration::ZERO, |at| left(now, at));
                Outlook::Revisiting { dials_in }
            }
            Dialling::Idle => {
                let not_before = peer.not_before.filter(|at| *at > now);
                let not_before = not_before.map(|at| left(now, at));
                Outlook::Idle { not_before }
            }
        }
    }
}

fn left(now: Instant, at: Instant) -> Duration {
    at.saturating_duration_since(now)
}
