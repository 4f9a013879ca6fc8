//! Collects what the machine reports: events in their order, counters, delays and rates.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use super::peer::{Average, Peer};
use crate::{
    ConnectionStatus, Counters, Event, Losses, NetworkMetrics, PeerId, Reason, Undeliverable,
    peer::{
        flushes::Failed,
        lifecycle::{self, Cause, Move},
    },
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

/// Events that wait for the driver, and everything in numbers.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) events: VecDeque<Event>,
    pub(super) counters: Counters,
    latency: Average,
    queue_delay: Average,
    rate: Rate,
    /// Peers that are connected.
    connected: usize,
}

impl Report {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            events: VecDeque::new(),
            counters: Counters::default(),
            latency: Average::default(),
            queue_delay: Average::default(),
            rate: Rate::new(now),
            connected: 0,
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Moves a peer along the lifecycle, and reports the move.
    pub(super) fn moved(&mut self, peer: &mut Peer, cause: Cause, reason: Reason) {
        match lifecycle::next(peer.status, cause) {
            Move::To(to) => {
                let from = std::mem::replace(&mut peer.status, to);
                self.connected += usize::from(to == ConnectionStatus::Connected);
                self.connected -= usize::from(from == ConnectionStatus::Connected);
                let peer = peer.id;
                tracing::info!(?peer, ?from, ?to, %reason, "connection status");
                self.event(Event::StatusChanged {
                    peer,
                    from,
                    to,
                    reason,
                });
            }
            Move::Stay => {}
            Move::Impossible => {
                debug_assert!(false, "{cause:?} in {:?}: {reason}", peer.status);
            }
        }
    }

    /// Counts messages that the peer's application has taken.
    pub(super) fn delivered(&mut self, now: Instant, peer: &mut Peer, messages: u64) {
        peer.counts.messages_delivered += messages;
        self.counters.messages_delivered += messages;
        self.rate.add(now, messages);
    }

    /// Counts messages of the peer that our application has taken.
    pub(super) fn taken(&mut self, now: Instant, peer: &mut Peer, messages: u64) {
        peer.counts.messages_taken += messages;
        self.counters.messages_taken += messages;
        self.rate.add(now, messages);
    }

    /// Counts messages that were received.
    pub(super) fn received(&mut self, peer: &mut Peer, messages: u64) {
        peer.counts.messages_received += messages;
        self.counters.messages_received += messages;
    }

    /// Counts messages that are sent on a connection, or wait for one.
    pub(super) fn used(&mut self, peer: &mut Peer, uses: u64) {
        if peer.is_live() {
            peer.counts.pool_hits += uses;
            self.counters.pool_hits += uses;
        } else {
            peer.counts.pool_misses += uses;
            self.counters.pool_misses += uses;
        }
    }

    /// Adds the time from accepting a message to learning that it was received.
    pub(super) fn measured(&mut self, peer: &mut Peer, latency: Duration) {
        peer.latency.add(latency);
        self.latency.add(latency);
    }

    /// Adds the time that a batch has waited for its connection.
    pub(super) fn waited(&mut self, delay: Duration) {
        self.queue_delay.add(delay);
    }

    /// Reports messages whose fate is unknown.
    pub(super) fn undelivered(
        &mut self,
        peer: PeerId,
        messages: Range<u64>,
        reason: Undeliverable,
    ) {
        let count = messages.end - messages.start;
        self.counters.messages_undelivered += count;
        tracing::warn!(?peer, count, %reason, "messages undelivered");
        self.event(Event::Undelivered {
            peer,
            messages,
            reason,
        });
    }

    /// Reports flushes that have failed.
    pub(super) fn failed(&mut self, peer: PeerId, flushes: Vec<Failed>) {
        for Failed { token, losses } in flushes {
            self.event(Event::Flushed {
                peer,
                token,
                result: Err(losses),
            });
        }
    }

    /// Takes back the answer of a flush that was not polled.
    pub(super) fn take_flushed(&mut self, of: PeerId, which: u64) -> Option<Result<(), Losses>> {
        let is_it = |event: &Event| {
            let is_flush = matches!(event, Event::Flushed { token, .. } if *token == which);
            is_flush && event.peer() == Some(of)
        };
        let place = self.events.iter().position(is_it)?;
        let Some(Event::Flushed { result, .. }) = self.events.remove(place) else {
            return None;
        };
        Some(result)
    }

    /// Remembers the most slots that were ever in use.
    pub(super) fn count_peak(&mut self, slots: usize) {
        let peak = &mut self.counters.connections_peak;
        *peak = (*peak).max(slots as u64);
    }

    /// Everything in numbers, with the memory that others count.
    pub(super) fn metrics(
        &self,
        now: Instant,
        memory_queues: usize,
        memory_usage: usize,
    ) -> NetworkMetrics {
        NetworkMetrics {
            messages_per_second: self.rate.per_second(now),
            connections: self.connected,
            avg_latency: self.latency.get(),
            avg_queue_delay: self.queue_delay.get(),
            memory_queues,
            memory_usage,
            counters: self.counters,
        }
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.events.capacity() * size_of::<Event>()
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
