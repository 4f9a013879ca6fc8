//! Passes numbers of the machine and of the socket to callers on other threads.

use std::{
    mem,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use quicpool_core::NetworkMetrics;

use crate::reply::Responder;

/// Callers that wait for the numbers of the machine, until the event loop has ended.
#[derive(Debug, Default)]
pub(crate) struct MetricsRequests(Mutex<Requests>);

#[derive(Debug)]
enum Requests {
    Open(Vec<Responder<NetworkMetrics>>),
    Ended,
}

impl Default for Requests {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl MetricsRequests {
    /// Adds a caller, or drops its responder if the event loop has ended.
    pub(crate) fn push(&self, responder: Responder<NetworkMetrics>) {
        if let Requests::Open(waiting) = &mut *self.0.lock() {
            waiting.push(responder);
        }
    }

    /// Takes all callers, to be answered.
    pub(crate) fn take(&self) -> Vec<Responder<NetworkMetrics>> {
        match &mut *self.0.lock() {
            Requests::Open(waiting) => mem::take(waiting),
            Requests::Ended => Vec::new(),
        }
    }

    /// Drops all callers, and those that come later.
    pub(crate) fn end(&self) {
        let waiting = mem::replace(&mut *self.0.lock(), Requests::Ended);
        // Dropped without the lock: they wake their callers.
        drop(waiting);
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
