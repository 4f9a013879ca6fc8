//! Mirrors the status and health of one peer for callers on other threads.

use std::sync::atomic::{AtomicU8, Ordering};

use quicpool_core::{ConnectionStatus, Health};

/// What stands for no health: no state of it has this number.
const NO_HEALTH: u8 = u8::MAX;

/// What stands for no status: no state of it has this number.
const NO_STATUS: u8 = u8::MAX;

/// A peer's status and health, as the event loop saw them last.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// [`NO_STATUS`] while the core does not know the peer.
    status: AtomicU8,
    /// [`NO_HEALTH`] while it is not connected.
    health: AtomicU8,
}

impl Mirror {
    /// Makes the mirror of a peer that the core does not know.
    pub(crate) const fn new() -> Self {
        Self {
            status: AtomicU8::new(NO_STATUS),
            health: AtomicU8::new(NO_HEALTH),
        }
    }

    /// The state of the peer's connection, if the core knows the peer. Never waits.
    pub(crate) fn status(&self) -> Option<ConnectionStatus> {
        const ALL: [ConnectionStatus; 5] = [
            ConnectionStatus::New,
            ConnectionStatus::Connecting,
            ConnectionStatus::Connected,
            ConnectionStatus::Disconnected,
            ConnectionStatus::Failed,
        ];
        let stored = self.status.load(Ordering::Acquire);
        ALL.into_iter().find(|status| *status as u8 == stored)
    }

    /// Notes that the core knows the peer: its status is `New` until an event changes it.
    pub(crate) fn set_known(&self) {
        let (from, to) = (NO_STATUS, ConnectionStatus::New as u8);
        // It had a status before.
        let _ = self
            .status
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Notes that the core does not know the peer.
    pub(crate) fn clear(&self) {
        self.status.store(NO_STATUS, Ordering::Release);
        self.set_health(None);
    }

    /// Each connection begins healthy.
    pub(crate) fn set_status(&self, status: ConnectionStatus) {
        self.status.store(status as u8, Ordering::Release);
        self.set_health((status == ConnectionStatus::Connected).then_some(Health::Healthy));
    }

    /// Replaces the status of a peer that is connected or about to be.
    pub(crate) fn disconnected(&self, to: ConnectionStatus) {
        match self.status() {
            Some(ConnectionStatus::Connected | ConnectionStatus::Connecting) => {
                self.set_status(to);
            }
            Some(
                ConnectionStatus::New | ConnectionStatus::Disconnected | ConnectionStatus::Failed,
            )
            | None => {}
        }
    }

    /// How well the peer can be reached, if it is connected. Never waits.
    pub(crate) fn health(&self) -> Option<Health> {
        const ALL: [Health; 3] = [Health::Healthy, Health::Degraded, Health::Unresponsive];
        let stored = self.health.load(Ordering::Acquire);
        ALL.into_iter().find(|health| *health as u8 == stored)
    }

    pub(crate) fn set_health(&self, health: Option<Health>) {
        let stored = health.map_or(NO_HEALTH, |health| health as u8);
        self.health.store(stored, Ordering::Release);
    }
}
