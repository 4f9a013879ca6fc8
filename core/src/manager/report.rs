//! Numbers.

use std::time::{Duration, Instant};

use super::Manager;
use crate::{
    ConnectionName, Event, NetworkMetrics, Occupancy, PeerId, PeerMetrics,
    peer::{LinkId, chooser::Dialler},
    transport::Stage,
};

/// Over how many seconds a rate is taken.
const WINDOW: usize = 10;

/// Messages per second over the last [`WINDOW`] seconds.
#[derive(Debug)]
pub(super) struct Rate {
    start: Instant,
    /// Messages in each of the last seconds, and which second it was.
    seconds: [(u64, u64); WINDOW],
}

impl Rate {
    pub(super) const fn new(start: Instant) -> Self {
        Self {
            start,
            seconds: [(0, 0); WINDOW],
        }
    }

    pub(super) fn add(&mut self, now: Instant, messages: u64) {
        let second = self.second(now);
        let slot = &mut self.seconds[second as usize % WINDOW];
        if slot.0 != second {
            *slot = (second, 0);
        }
        slot.1 += messages;
    }

    pub(super) fn per_second(&self, now: Instant) -> f64 {
        let second = self.second(now);
        let messages: u64 = self
            .seconds
            .iter()
            .filter(|(at, _)| second.saturating_sub(*at) < WINDOW as u64)
            .map(|(_, messages)| messages)
            .sum();
        // The oldest second is whole, the present one has just begun.
        let began = second.saturating_sub(WINDOW as u64 - 1);
        let elapsed = now.saturating_duration_since(self.start + Duration::from_secs(began));
        messages as f64 / elapsed.as_secs_f64().max(1.0)
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs()
    }
}

impl Manager {
    /// Everything in numbers.
    pub fn metrics(&self, now: Instant) -> NetworkMetrics {
        NetworkMetrics {
            messages_per_second: self.rate.per_second(now),
            connections: self.connected,
            avg_latency: self.latency.get(),
            avg_queue_delay: self.queue_delay.get(),
            memory_queues: self.memory_queues(),
            memory_usage: self.memory_usage(),
            counters: self.counters,
        }
    }

    fn memory_queues(&self) -> usize {
        let told = self.events.capacity() * size_of::<Event>()
            + self.endings.capacity() * size_of::<LinkId>();
        self.queued.memory + self.datagram_bytes + self.transport.buffers() + told
    }

    fn memory_usage(&self) -> usize {
        let known = self.peers.memory() + self.slots.memory() + self.deadlines.memory();
        self.memory_queues() + known + self.transport.quic_memory()
    }

    /// One peer in numbers; `None` if it is not known.
    pub fn peer_metrics(&self, peer: PeerId) -> Option<PeerMetrics> {
        let peer = self.peer(peer)?;
        let live = peer.links.live().and_then(|link| self.transport.link(link));
        let counts = &peer.counts;
        Some(PeerMetrics {
            status: peer.status,
            health: peer.health(),
            rtt: live.map(|link| link.rtt()),
            avg_latency: peer.latency.get(),
            outbox_bytes: peer.session.outbox.bytes(),
            inbox_bytes: peer.session.inbox.bytes(),
            datagram_bytes: peer.datagram_bytes(),
            messages_accepted: counts.messages_accepted,
            messages_delivered: counts.messages_delivered,
            messages_received: counts.messages_received,
            messages_taken: counts.messages_taken,
            dials: counts.dials,
            connections: counts.connections,
            failures: counts.failures,
            pool_hits: counts.pool_hits,
            pool_misses: counts.pool_misses,
        })
    }

    /// The confirmed connections to a peer, the one that is sent on last: one, or none, but for the
    /// moment until two that were begun at once are one.
    ///
    /// Both ends give a connection the same name.
    pub fn connections(&self, peer: PeerId) -> impl Iterator<Item = ConnectionName> {
        let links = self.peer(peer).into_iter();
        let links = links.flat_map(|known| known.links.confirmed());
        links.filter_map(move |link| self.name(peer, link))
    }

    fn name(&self, peer: PeerId, id: LinkId) -> Option<ConnectionName> {
        let link = self.transport.link(id)?;
        let Stage::Confirmed(hello) = &link.stage else {
            return None;
        };
        Some(match link.dialler {
            Dialler::Us => ConnectionName {
                dialler: self.id,
                incarnation: self.incarnation,
                dial: link.dial,
            },
            Dialler::Them => ConnectionName {
                dialler: peer,
                incarnation: hello.incarnation,
                dial: hello.dial,
            },
        })
    }

    /// How much the machine's maps and queues hold.
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            peers: self.peers.len(),
            connections: self.transport.len(),
            slots: self.slots.len(),
            handshakes: self.handshakes,
            deadlines: self.deadlines.len(),
            waiting_dials: self.slots.waiting(),
            actions: self.events.len() + self.transport.replies(),
            queued_bytes: self.queued.bytes + self.datagram_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;

    #[test]
    fn a_steady_rate_is_what_it_is_and_fades_when_it_stops() {
        let start = epoch();
        let mut rate = Rate::new(start);
        for tick in 0..2_000u64 {
            rate.add(start + Duration::from_millis(tick * 10), 5);
        }
        let end = start + Duration::from_millis(19_990);
        let measured = rate.per_second(end);
        assert!((measured - 500.0).abs() < 5.0, "{measured}");
        assert_eq!(rate.per_second(end + Duration::from_secs(11)), 0.0);
    }
}
