//! The congestion window: lets a CONNECTION_CLOSE and a probe pass it, and reads from acknowledgements
//! what quinn-proto measures and does not show. See "close" and "probe" in [`quirks`](super).
//!
//! A packet that closes a connection is not subject to congestion control (RFC 9002 section 7: it
//! elicits no acknowledgement). quinn-proto holds it back while the window is full and data waits behind
//! it. A closed connection processes no acknowledgement, so its window never opens again, and the other
//! end learns of the close only when it next sends.
//!
//! A window that is full when the path is cut stays full. The loss probes of QUIC pass it, but the time
//! between two of them doubles, and after a cut of seconds the next is seconds away.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use quinn_proto::{
    Connection, RttEstimator,
    congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig},
};

/// Makes congestion windows that CUBIC governs (RFC 9438) until they are lifted.
pub(in crate::transport) struct Windows {
    cubic: Arc<CubicConfig>,
    in_flight: InFlight,
}

/// Counts the bytes of all connections that were sent and are neither acknowledged nor sent again.
#[derive(Default, Clone)]
pub(in crate::transport) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    pub(in crate::transport) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Windows {
    /// Makes windows that add what is in flight to one count.
    pub(in crate::transport) fn new(in_flight: InFlight) -> Self {
        Self {
            cubic: Arc::default(),
            in_flight,
        }
    }
}

impl ControllerFactory for Windows {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Window {
            cubic: self.cubic.clone().build(now, current_mtu),
            is_lifted: Arc::default(),
            answered: None,
            kept: Kept::new(&self.in_flight),
        })
    }
}

/// Lifts the congestion window, so that the connection sends however much is in flight.
pub(in crate::transport) fn lift(connection: &Connection) {
    set_lifted(connection, true);
}

/// Ends [`lift`].
pub(in crate::transport) fn lower(connection: &Connection) {
    set_lifted(connection, false);
}

fn set_lifted(connection: &Connection, is_lifted: bool) {
    if let Some(window) = window(connection) {
        window.is_lifted.store(is_lifted, Ordering::Relaxed);
    }
}

/// Returns when the latest packet was sent that the other end has acknowledged. The other end was alive
/// after that.
pub(in crate::transport) fn answered(connection: &Connection) -> Option<Instant> {
    Some(window(connection)?.answered?.sent)
}

/// Returns when an acknowledgement last arrived of a packet that was not acknowledged before.
pub(in crate::transport) fn acknowledged(connection: &Connection) -> Option<Instant> {
    Some(window(connection)?.answered?.at)
}

fn window(connection: &Connection) -> Option<Box<Window>> {
    let copy = connection.congestion_state().clone_box();
    copy.into_any().downcast().ok()
}

struct Window {
    cubic: Box<dyn Controller>,
    /// Shared by all copies: a connection shows a copy of its controller, and no more.
    is_lifted: Arc<AtomicBool>,
    answered: Option<Answered>,
    kept: Kept,
}

/// The last acknowledgement.
#[derive(Clone, Copy)]
struct Answered {
    /// When the latest packet was sent that was acknowledged.
    sent: Instant,
    /// When a packet was last acknowledged.
    at: Instant,
}

/// One window's part in [`InFlight`].
struct Kept {
    all: InFlight,
    in_flight: usize,
    /// Lost, and not sent again.
    lost: usize,
}

impl Kept {
    fn new(all: &InFlight) -> Self {
        Self {
            all: all.clone(),
            in_flight: 0,
            lost: 0,
        }
    }

    fn set(&mut self, in_flight: usize, lost: usize) {
        let before = self.in_flight + self.lost;
        (self.in_flight, self.lost) = (in_flight, lost);
        self.all.0.fetch_add(in_flight + lost, Ordering::Relaxed);
        self.all.0.fetch_sub(before, Ordering::Relaxed);
    }

    /// What was lost is sent again before anything else.
    fn sent(&mut self, bytes: usize) {
        self.set(self.in_flight + bytes, self.lost.saturating_sub(bytes));
    }

    fn lost(&mut self, bytes: usize) {
        self.set(self.in_flight.saturating_sub(bytes), self.lost + bytes);
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}

impl Controller for Window {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.kept.sent(bytes as usize);
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.answered = Some(Answered {
            sent: self.answered.map_or(sent, |last| last.sent.max(sent)),
            at: now,
        });
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.kept.set(in_flight as usize, self.kept.lost);
        self.cubic
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.kept.lost(lost_bytes as usize);
        self.cubic
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.is_lifted.load(Ordering::Relaxed) {
            return u64::MAX;
        }
        self.cubic.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.cubic.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            cubic: self.cubic.clone_box(),
            is_lifted: self.is_lifted.clone(),
            answered: self.answered,
            // A copy to look at has nothing in flight, and neither has a new path.
            kept: Kept::new(&self.kept.all),
        })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
