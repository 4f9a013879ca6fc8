//! The machine: routes facts between the rooms, and orders out of them.

use std::{net::SocketAddr, ops::Range, sync::Arc, time::Instant};

use crate::{
    Action, Config, ConfigError, ConnectionStatus, Credentials, Datagram, Deadline, Message,
    NetworkMetrics, OpenBatch, PeerError, PeerId, PeerMetrics, SendError,
};

/// Tells one run of a process from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation {
    /// When the process started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// 64 random bits.
    pub random: u64,
}

/// The machine.
pub struct Manager {}

#[allow(unused_variables, missing_docs)]
impl Manager {
    pub fn new(
        config: Config,
        credentials: Arc<dyn Credentials>,
        incarnation: Incarnation,
        seed: [u8; 32],
        now: Instant,
    ) -> Result<Self, ConfigError> {
        loop {}
    }

    // getters
    pub fn local_id(&self) -> PeerId {
        loop {}
    }
    pub fn config(&self) -> &Config {
        loop {}
    }
    pub fn status(&self, peer: PeerId) -> Option<ConnectionStatus> {
        loop {}
    }
    /// Every known peer and its state, in the order of ids.
    pub fn peers(&self) -> Vec<(PeerId, ConnectionStatus)> {
        loop {}
    }
    pub fn metrics(&self, now: Instant) -> NetworkMetrics {
        loop {}
    }
    pub fn peer_metrics(&self, peer: PeerId) -> Option<PeerMetrics> {
        loop {}
    }
    /// Bytes (framing included, see `OpenBatch::cost`) that the outbox has room for.
    pub fn outbox_room(&self, peer: PeerId) -> usize {
        loop {}
    }
    /// Messages accepted and not yet taken, by number; for a driver that aborts.
    pub fn outstanding(&self) -> Vec<(PeerId, Range<u64>)> {
        loop {}
    }
    /// Whether `close` has ended and all connections are drained: nothing more will come.
    pub fn is_closed(&self) -> bool {
        loop {}
    }

    // facts
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {}
    pub fn handle_timeout(&mut self, now: Instant) {}
    /// Takes over what other threads appended within the room that `outbox_room` granted; always
    /// accepted. `open` is left empty, ready to be appended to. Dials if need be.
    pub fn handle_staged(&mut self, now: Instant, peer: PeerId, open: &mut OpenBatch) {}

    // verbs
    /// Makes a peer known (without an address) or checks that it may be: a prerequisite of staging.
    pub fn add_peer(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        Ok(())
    }
    pub fn add_address(
        &mut self,
        now: Instant,
        peer: PeerId,
        addr: SocketAddr,
    ) -> Result<(), PeerError> {
        Ok(())
    }
    pub fn remove_address(&mut self, now: Instant, peer: PeerId, addr: SocketAddr) {}
    /// Whether messages may be staged for `peer` now: the verdict that `send` would give.
    pub fn may_send(&self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        Ok(())
    }
    /// Dials unless connected or dialling; the outcome is `Event::StatusChanged`.
    pub fn connect(&mut self, now: Instant, peer: PeerId) -> Result<ConnectionStatus, PeerError> {
        loop {}
    }
    pub fn disconnect(&mut self, now: Instant, peer: PeerId) {}
    pub fn forget(&mut self, now: Instant, peer: PeerId) {}
    pub fn send(&mut self, now: Instant, peer: PeerId, message: &[u8]) -> Result<(), SendError> {
        loop {}
    }
    /// As `send`, and the batch leaves at once.
    pub fn send_express(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
    ) -> Result<(), SendError> {
        loop {}
    }
    /// The open batch leaves at once; `Event::Flushed` with `token` follows when all is taken.
    pub fn flush(&mut self, now: Instant, peer: PeerId, token: u64) -> Result<(), PeerError> {
        Ok(())
    }
    /// Asks for `Event::Writable` once the outbox has room for `bytes`.
    pub fn want_room(&mut self, now: Instant, peer: PeerId, bytes: usize) {}
    /// Hands out up to `max` messages and marks them as taken.
    pub fn receive(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> usize {
        0
    }
    /// Hands out up to `max` messages, which stay unacknowledged until `mark_taken`.
    pub fn read(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> usize {
        0
    }
    /// The application has taken the next `count` of the messages that `read` handed out.
    pub fn mark_taken(&mut self, now: Instant, peer: PeerId, count: usize) {}
    /// Flushes, says goodbye, ends with `Event::Closed` after at most `close_timeout`.
    pub fn close(&mut self, now: Instant) {}

    // out
    /// `max_segments`: how many datagrams of one size one transmit may hold (GSO), at least 1.
    pub fn poll_action(
        &mut self,
        now: Instant,
        max_segments: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Action> {
        None
    }
    pub fn poll_timeout(&self) -> Option<Deadline> {
        None
    }
}
