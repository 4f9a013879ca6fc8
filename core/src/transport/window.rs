//! The congestion window, for which last words and questions do not wait, and what acknowledgements
//! prove.
//!
//! A packet that closes a connection is not subject to congestion control (RFC 9002 section 7: it
//! elicits no acknowledgement). quinn-proto holds it back all the same while the window is full and
//! data waits behind it. A closed connection looks at no acknowledgement, so its window never opens
//! again, and the other end learns nothing until it next sends.
//!
//! A window that is full when the path is cut stays full. QUIC's own probes pass it, but each waits twice
//! as long as the one before, and after a cut of seconds the next is seconds away.

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

/// Makes windows that CUBIC governs (RFC 9438) until they are lifted.
pub(super) struct Windows {
    cubic: Arc<CubicConfig>,
    in_flight: InFlight,
}

/// Bytes that connections have sent and keep, since they may have to send them again.
#[derive(Default, Clone)]
pub(super) struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Windows {
    /// Windows that count what is in flight through all of them.
    pub(super) fn new(in_flight: InFlight) -> Self {
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

/// Lets a connection send, however much is in flight.
pub(super) fn lift(connection: &Connection) {
    set_lifted(connection, true);
}

/// Lets the window be what it is.
pub(super) fn lower(connection: &Connection) {
    set_lifted(connection, false);
}

fn set_lifted(connection: &Connection, is_lifted: bool) {
    if let Some(window) = window(connection) {
        window.is_lifted.store(is_lifted, Ordering::Relaxed);
    }
}

/// When the latest packet left that the other end has acknowledged: it was alive after that.
pub(super) fn answered(connection: &Connection) -> Option<Instant> {
    window(connection)?.answered
}

fn window(connection: &Connection) -> Option<Box<Window>> {
    let copy = connection.congestion_state().clone_box();
    copy.into_any().downcast().ok()
}

struct Window {
    cubic: Box<dyn Controller>,
    /// Shared by all copies: a connection shows a copy of its controller, and no more.
    is_lifted: Arc<AtomicBool>,
    /// When the latest packet was sent that was acknowledged.
    answered: Option<Instant>,
    kept: Kept,
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
        self.answered = self.answered.max(Some(sent));
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
