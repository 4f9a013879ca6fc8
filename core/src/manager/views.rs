//! What the application may look at: state, numbers, and explanations in words.

use std::time::{Duration, Instant};

use super::{
    Manager,
    peer::{Expiry, Peer, Redial, Standing},
    pressure::Usage,
    timers::Timer,
};
use crate::{
    Config, ConnectionName, ConnectionStatus, Explanation, Health, NetworkMetrics, Occupancy,
    PeerId, PeerMetrics,
    explanation::{NextAttempt, WaitingFor},
    peer::{LinkId, chooser::Dialler, links::Dialling},
    transport::Stage,
};

impl Manager {
    /// Bytes of the longest message that a peer accepts, as far as it has announced that, and that
    /// we do; `None` if the peer is not known.
    pub fn message_bytes_max(&self, peer: PeerId) -> Option<usize> {
        let known = self.peers.find(peer)?;
        Some(known.message_bytes_max(&self.shared.config))
    }

    /// Our own identity.
    pub fn local_id(&self) -> PeerId {
        self.shared.id
    }

    /// The configuration that it was made with.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The state of a peer's connection; `None` if the peer is not known.
    pub fn status(&self, peer: PeerId) -> Option<ConnectionStatus> {
        Some(self.peers.find(peer)?.status)
    }

    /// How well a peer can be reached; `None` while it is not connected or not known.
    pub fn health(&self, peer: PeerId) -> Option<Health> {
        self.peers.find(peer)?.health()
    }

    /// The longest datagram that can be sent to a peer at this moment, in bytes. `None` if it is not
    /// connected or not known, or if either end has no datagrams.
    ///
    /// It follows from the path: a little over a kilobyte at first, and more when QUIC has found that
    /// longer packets get through (RFC 9000 section 14.3). [`Event::DatagramLimit`](crate::Event::DatagramLimit)
    /// reports changes.
    pub fn datagram_bytes_max(&self, peer: PeerId) -> Option<usize> {
        self.peers.find(peer)?.datagrams.as_ref()?.told_max
    }

    /// Everything in numbers.
    pub fn metrics(&self, now: Instant) -> NetworkMetrics {
        let shared = &self.shared;
        let Usage { queues, all } = Usage::of(&self.peers, &self.transport, &self.slots, shared);
        shared.report.metrics(now, queues, all)
    }

    /// One peer in numbers; `None` if it is not known.
    pub fn peer_metrics(&self, peer: PeerId) -> Option<PeerMetrics> {
        let peer = self.peers.find(peer)?;
        let live = peer.links.live().and_then(|link| self.transport.link(link));
        let counts = &peer.counts;
        Some(PeerMetrics {
            status: peer.status,
            health: peer.health(),
            rtt: live.map(|link| link.rtt()),
            avg_latency: peer.latency.get(),
            outbox_bytes: peer.session.outbox.bytes(),
            outbox_messages: peer.session.outbox.messages(),
            inbox_bytes: peer.session.inbox.bytes(),
            datagram_bytes: peer.datagram_bytes(),
            messages_accepted: counts.messages_accepted,
            messages_delivered: counts.messages_delivered,
            messages_received: counts.messages_received,
            messages_taken: counts.messages_taken,
            dials: counts.dials.into(),
            connections: counts.connections.into(),
            failures: counts.failures.into(),
            pool_hits: counts.pool_hits,
            pool_misses: counts.pool_misses,
        })
    }

    /// The confirmed connections to a peer, the one that is sent on last: one, or none, but for the
    /// moment until two that were begun at once are one. `None` if the peer is not known.
    ///
    /// Both ends give a connection the same name.
    pub fn connections(&self, peer: PeerId) -> Option<impl Iterator<Item = ConnectionName>> {
        let links = self.peers.find(peer)?.links.confirmed();
        Some(links.filter_map(move |link| self.name(peer, link)))
    }

    fn name(&self, peer: PeerId, id: LinkId) -> Option<ConnectionName> {
        let link = self.transport.link(id)?;
        let Stage::Confirmed(greeting) = &link.stage else {
            return None;
        };
        Some(match link.dialler {
            Dialler::Us => ConnectionName {
                dialler: self.shared.id,
                incarnation: self.shared.incarnation,
                dial: link.dial,
            },
            Dialler::Them => ConnectionName {
                dialler: peer,
                incarnation: greeting.incarnation,
                dial: greeting.dial,
            },
        })
    }

    /// How much the machine's maps and queues hold.
    pub fn occupancy(&self) -> Occupancy {
        let shared = &self.shared;
        Occupancy {
            peers: self.peers.len(),
            connections: self.transport.len(),
            slots: self.slots.len(),
            handshakes: shared.half_open.len(),
            deadlines: shared.timers.len(),
            waiting_dials: self.slots.waiting(),
            actions: shared.report.events.len() + self.transport.replies(),
            queued_bytes: shared.budget.queued_bytes(),
        }
    }

    /// Explains the state of a peer: why it is not connected, when the next dial is due, what is queued.
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
    /// assert!(told.contains("is not connected: dialling 192.0.2.1:4433 for at most 5.0 s more."));
    /// assert!(told.contains("Queued: 1 messages, 6 bytes"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn explain(&self, now: Instant, peer: PeerId) -> Option<Explanation> {
        let known = self.peers.find(peer)?;
        let session = &known.session;
        let armed = self.shared.timers.get(Timer::Session(known.key));
        let time_left = match session.expiry {
            Expiry::Paused { left } => Some(left),
            Expiry::NotDue | Expiry::LastDial => armed.map(|at| left(now, at)),
        };
        // One last dial comes first, if it can begin.
        let grace = match session.expiry {
            Expiry::LastDial => Duration::ZERO,
            Expiry::NotDue | Expiry::Paused { .. } if known.addresses.is_empty() => Duration::ZERO,
            Expiry::NotDue | Expiry::Paused { .. } => 2 * self.shared.config.handshake_timeout,
        };
        let expires = time_left.map(|left| left + grace);
        Some(Explanation {
            peer,
            status: known.status,
            next_attempt: self.next_attempt(now, known),
            ailment: known.ailment(),
            refuses: self.verdict(peer).err(),
            last_failure: known.last_failure.as_deref().cloned(),
            failures: known.failures.count(),
            addresses: known.addresses.len(),
            queued_messages: session.outbox.messages(),
            queued_bytes: session.outbox.bytes(),
            unread_bytes: session.inbox.bytes(),
            session_expires_in: expires.filter(|_| !known.is_live()),
        })
    }

    fn next_attempt(&self, now: Instant, peer: &Peer) -> NextAttempt {
        let live = peer.links.live().and_then(|id| self.transport.link(id));
        if let Some(link) = live {
            let rtt = link.rtt();
            return NextAttempt::Connected { rtt };
        }
        match peer.links.dialling() {
            Dialling::Running { link, address } => {
                let due = self.shared.timers.get(Timer::Handshake(link));
                let gives_up_in = due.map_or(Duration::ZERO, |at| left(now, at));
                NextAttempt::Dialling {
                    address,
                    gives_up_in,
                }
            }
            Dialling::Waiting { ticket } => NextAttempt::Waiting {
                ahead: self.slots.ahead_of(ticket),
                waits_for: match self.slots.keeps_rate(now) {
                    true => WaitingFor::Slot,
                    false => WaitingFor::DialRate,
                },
            },
            Dialling::Idle | Dialling::Backoff if peer.links.has_arrivals() => {
                NextAttempt::Arriving
            }
            Dialling::Backoff => {
                let at = self.shared.timers.get(Timer::Backoff(peer.key));
                let dials_in = at.map_or(Duration::ZERO, |at| left(now, at));
                NextAttempt::BackingOff { dials_in }
            }
            Dialling::Idle if peer.addresses.is_empty() && peer.standing != Standing::Blocked => {
                NextAttempt::Unreachable
            }
            Dialling::Idle if peer.redial == Redial::Barred => NextAttempt::Barred,
            Dialling::Idle if self.shared.timers.get(Timer::Reconnect(peer.key)).is_some() => {
                let at = self.shared.timers.get(Timer::Reconnect(peer.key));
                let dials_in = at.map_or(Duration::ZERO, |at| left(now, at));
                NextAttempt::ReconnectPoll { dials_in }
            }
            Dialling::Idle => {
                let not_before = peer.not_before.filter(|at| *at > now);
                let not_before = not_before.map(|at| left(now, at));
                NextAttempt::Idle { not_before }
            }
        }
    }
}

fn left(now: Instant, at: Instant) -> Duration {
    at.saturating_duration_since(now)
}
