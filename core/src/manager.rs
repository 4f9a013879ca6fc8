//! The machine: routes facts and verbs to the rooms that decide, and collects what they order.

use std::{sync::Arc, time::Instant};

use crate::{
    Action, Config, ConfigError, ConnectionStatus, Credentials, Datagram, Deadline, Incarnation,
    Message, NetworkMetrics, Occupancy, OpenBatch, PeerAddr, PeerError, PeerId, PeerMetrics,
    SendError,
};

/// The pure machine: facts and time in, actions out.
pub struct Manager {}

#[expect(unused_variables, reason = "a sketch of the face")]
impl Manager {
    /// A machine without peers.
    pub fn new(
        config: Config,
        credentials: Arc<dyn Credentials>,
        incarnation: Incarnation,
        seed: [u8; 32],
        now: Instant,
    ) -> Result<Self, ConfigError> {
        todo!()
    }

    /// Our own identity.
    pub fn local_id(&self) -> PeerId {
        todo!()
    }

    /// The state of a peer's connection; `None` if the peer is not known.
    pub fn status(&self, peer: PeerId) -> Option<ConnectionStatus> {
        todo!()
    }

    /// Why nothing can be sent to a peer at this moment.
    pub fn verdict(&self, peer: PeerId) -> Result<(), PeerError> {
        todo!()
    }

    /// Bytes that the peer's outbox can still accept, in terms of [`OpenBatch::cost`].
    ///
    /// A driver may lend them to other threads: what they stage within this room is accepted.
    pub fn room(&self, peer: PeerId) -> usize {
        todo!()
    }

    /// Datagrams of one size that a transmit may carry (GSO); 1 until it is said to be more.
    pub fn set_segments_max(&mut self, segments: usize) {
        todo!()
    }

    /// Everything in numbers.
    pub fn metrics(&self, now: Instant) -> NetworkMetrics {
        todo!()
    }

    /// One peer in numbers; `None` if it is not known.
    pub fn peer_metrics(&self, peer: PeerId) -> Option<PeerMetrics> {
        todo!()
    }

    /// How much the machine's maps and queues hold.
    pub fn occupancy(&self) -> Occupancy {
        todo!()
    }

    /// A datagram has arrived. Bad bytes are counted, and never an error.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        todo!()
    }

    /// A deadline has come. Early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }

    /// Takes over what other threads have staged within the room they were lent.
    ///
    /// The messages count as accepted when they were staged: those for which nothing can be done
    /// any more are reported by [`Event::Undelivered`](crate::Event::Undelivered).
    pub fn handle_staged(&mut self, now: Instant, peer: PeerId, staged: &mut OpenBatch) {
        todo!()
    }

    /// Adds an address to a peer, which becomes known if it is not; known addresses are kept once.
    pub fn add_address(&mut self, now: Instant, peer: PeerAddr) -> Result<(), PeerError> {
        todo!()
    }

    /// Removes an address of a peer. Connections stay as they are.
    pub fn remove_address(&mut self, now: Instant, peer: PeerAddr) {
        todo!()
    }

    /// Asks for a connection. Its success or failure is a `StatusChanged` event; a peer that is
    /// connected already, which is a pool hit, makes none.
    pub fn connect(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        todo!()
    }

    /// Ends the session: closes its connection, calls off its dial, reports what is queued.
    pub fn disconnect(&mut self, now: Instant, peer: PeerId) {
        todo!()
    }

    /// Ends the session and forgets the peer with its addresses.
    pub fn forget(&mut self, now: Instant, peer: PeerId) {
        todo!()
    }

    /// Ends the session and refuses the peer from this moment on.
    pub fn block(&mut self, now: Instant, peer: PeerId) {
        todo!()
    }

    /// Accepts a blocked peer again.
    pub fn unblock(&mut self, peer: PeerId) {
        todo!()
    }

    /// Queues a message, and dials if there is no connection.
    pub fn send(&mut self, now: Instant, peer: PeerId, message: &[u8]) -> Result<(), SendError> {
        todo!()
    }

    /// Like [`send`](Self::send), and lets the message's batch leave at once.
    pub fn send_express(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
    ) -> Result<(), SendError> {
        todo!()
    }

    /// Asks for [`Event::Writable`](crate::Event::Writable) once `bytes` of room are there.
    pub fn want_room(&mut self, now: Instant, peer: PeerId, bytes: usize) {
        todo!()
    }

    /// Lets what is queued leave at once, and asks for
    /// [`Event::Flushed`](crate::Event::Flushed) with `token` once all of it is taken.
    pub fn flush(&mut self, now: Instant, peer: PeerId, token: u64) -> Result<(), PeerError> {
        todo!()
    }

    /// Flushes every peer, says goodbye, and ends with [`Event::Closed`](crate::Event::Closed),
    /// after `close_timeout` at the latest.
    pub fn close(&mut self, now: Instant) {
        todo!()
    }

    /// Like [`close`](Self::close), without flushing: the next drain says goodbye and ends.
    pub fn abort(&mut self, now: Instant) {
        todo!()
    }

    /// Takes up to `max` messages of a peer, and says how many it appended to `out`.
    pub fn receive(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> usize {
        todo!()
    }

    /// Reads up to `max` messages without taking them: they hold inbox room, and the other end
    /// keeps them, until [`mark_taken`](Self::mark_taken).
    pub fn read(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> usize {
        todo!()
    }

    /// The application has taken the next `count` messages that were read.
    pub fn mark_taken(&mut self, now: Instant, peer: PeerId, count: usize) {
        todo!()
    }

    /// The next thing to do. The bytes of a [`Transmit`](crate::Transmit) are in `buf`, which is
    /// cleared first.
    pub fn poll_action(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Action> {
        todo!()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; at once while actions wait.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        todo!()
    }
}
