//! Numbers for readers on other threads.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::RwLock;
use quicpool_core::NetworkMetrics;

/// How old the published numbers may be while the event loop works.
pub(crate) const METRICS_AGE_MAX: Duration = Duration::from_millis(50);

/// The manager's numbers, as the event loop last published them.
#[derive(Debug, Default)]
pub(crate) struct MetricsBoard {
    published: RwLock<NetworkMetrics>,
}

impl MetricsBoard {
    pub(crate) fn publish(&self, metrics: NetworkMetrics) {
        *self.published.write() = metrics;
    }

    pub(crate) fn read(&self) -> NetworkMetrics {
        self.published.read().clone()
    }
}

/// What the socket has done since it was bound. Counters never go backwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketMetrics {
    /// Datagrams received, empty ones included.
    pub datagrams_received: u64,
    /// Datagrams received without a byte in them. They are dropped.
    pub datagrams_empty: u64,
    /// Receive calls that failed for a passing reason: an ICMP message, a lack of memory.
    pub receive_errors: u64,
    /// Send calls that succeeded. One may carry many datagrams.
    pub sends: u64,
    /// Send calls that failed for a passing reason. What they carried is lost, and sent again by
    /// QUIC.
    pub send_errors: u64,
    /// Times that sending had to wait for the socket's buffer.
    pub send_waits: u64,
}

/// The counters behind [`SocketMetrics`]; the event loop alone adds to them.
#[derive(Debug, Default)]
pub(crate) struct SocketMeter {
    pub(crate) datagrams_received: Counter,
    pub(crate) datagrams_empty: Counter,
    pub(crate) receive_errors: Counter,
    pub(crate) sends: Counter,
    pub(crate) send_errors: Counter,
    pub(crate) send_waits: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl SocketMeter {
    pub(crate) fn read(&self) -> SocketMetrics {
        SocketMetrics {
            datagrams_received: self.datagrams_received.get(),
            datagrams_empty: self.datagrams_empty.get(),
            receive_errors: self.receive_errors.get(),
            sends: self.sends.get(),
            send_errors: self.send_errors.get(),
            send_waits: self.send_waits.get(),
        }
    }
}
