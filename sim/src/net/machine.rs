//! The machine in a node: quicpool's, unless a benchmark puts another beside it.

use std::{any::Any, net::SocketAddr, sync::Arc, time::Instant};

use quicpool_core::{
    Action, Cancelled, Config, Credentials, Datagram, Deadline, Event, Incarnation, Manager,
    Message, MessageNumber, PeerAddr, PeerError, PeerId, SendDatagramError, SendError, Transmit,
    driver::OpenBatch,
};

/// The machine in a node, as a network calls it. All kinds are treated alike.
pub trait Machine: Any {
    /// Takes a datagram that has arrived.
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram);

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);

    /// Returns when there is something to do.
    fn poll_timeout(&self) -> Option<Deadline>;

    /// Takes the next action; a datagram is left in `buf`.
    fn poll_action(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Action>;

    /// Takes the next event, while nothing can be sent.
    fn poll_event(&mut self, now: Instant) -> Option<Event> {
        let _ = now;
        None
    }

    /// Takes messages, as [`Manager::receive`] does: none of a peer that is not known.
    fn receive(&mut self, now: Instant, peer: PeerId, max: usize, out: &mut Vec<Message>) -> usize {
        let _ = (now, peer, max, out);
        0
    }

    /// Takes all datagrams of a peer, as [`Manager::receive_datagrams`] does.
    fn receive_datagrams(&mut self, now: Instant, peer: PeerId, out: &mut Vec<Message>) {
        let _ = (now, peer, out);
    }

    /// Returns quicpool's machine, if this is one or contains one.
    fn manager(&self) -> Option<&Manager> {
        None
    }

    /// Returns what an application may ask of quicpool here.
    fn verbs(&mut self) -> Option<&mut dyn Verbs> {
        None
    }

    /// Returns the event loop, if the machine is inside of one: the network drives that, and calls no
    /// other method of this trait but [`handle_datagram`](Self::handle_datagram).
    fn event_loop(&mut self) -> Option<&mut dyn EventLoop> {
        None
    }

    /// Returns when the event loop must run next, if there is one and it waits for a time.
    fn loop_deadline(&self) -> Option<Instant> {
        None
    }
}

/// The verbs of an application. Each method does what that of [`Manager`] with its name does; with
/// threads between application and machine, a call may return before the machine refuses it.
pub trait Verbs {
    /// Adds an address to a peer.
    fn add_address(&mut self, now: Instant, peer: PeerAddr) -> Result<(), PeerError>;
    /// Asks for a connection.
    fn connect(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError>;
    /// Sends a message if there is room.
    fn send(&mut self, now: Instant, peer: PeerId, message: &[u8]) -> Result<(), SendError>;
    /// Sends a message if there is room, and asks for [`Event::Flushed`] with this token.
    fn send_confirmed(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
        token: u64,
    ) -> Result<(), SendError>;
    /// Sends a message if there is room, which is worth nothing after `until`.
    fn send_until(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
        until: Instant,
    ) -> Result<(), SendError>;
    /// Takes messages back, in the given order and at one instant. Returns what has become of each.
    fn cancel(
        &mut self,
        now: Instant,
        peer: PeerId,
        numbers: &[MessageNumber],
    ) -> Result<Vec<Cancelled>, PeerError>;
    /// Asks for [`Event::Writable`] once there is room for a message of this length.
    fn want_room(&mut self, now: Instant, peer: PeerId, len: usize);
    /// Sends a datagram.
    fn send_datagram(
        &mut self,
        now: Instant,
        peer: PeerId,
        payload: &[u8],
    ) -> Result<(), SendDatagramError>;
    /// Asks for [`Event::Flushed`] with this token.
    fn flush(&mut self, now: Instant, peer: PeerId, token: u64) -> Result<(), PeerError>;
    /// Stops waiting for a flush.
    fn cancel_flush(&mut self, now: Instant, peer: PeerId, token: u64);
    /// Ends the session.
    fn disconnect(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError>;
    /// Ends the session and forgets the peer.
    fn forget(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError>;
    /// Ends the session and refuses the peer.
    fn block(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError>;
    /// Refuses the peer no longer.
    fn unblock(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError>;
    /// Flushes, ends all sessions and ends.
    fn close(&mut self, now: Instant);
    /// Ends all sessions and ends.
    fn abort(&mut self, now: Instant);
}

/// An event loop around a machine, with its socket and the application's tasks.
pub trait EventLoop {
    /// Lets the socket take nothing until this time.
    fn block_socket(&mut self, until: Instant);

    /// Runs all that is awake until it sleeps. The application takes at most so many messages.
    fn run(&mut self, now: Instant, messages_max: usize, out: &mut Turned);
}

/// The results of one run of an event loop.
#[derive(Default)]
pub struct Turned {
    /// Events for the application.
    pub events: Vec<Event>,
    /// Messages that it has taken.
    pub messages: Vec<Message>,
    /// Datagrams that it has taken.
    pub datagrams: Vec<Message>,
    /// Transmits, with their bytes.
    pub transmits: Vec<(Transmit, Vec<u8>)>,
}

/// The parts from which a machine is made as its process starts.
#[non_exhaustive]
pub struct NewMachine {
    /// The configuration of its node.
    pub config: Config,
    /// Proofs of the node's identity.
    pub credentials: Arc<dyn Credentials>,
    /// The name of this process among all of the node.
    pub incarnation: Incarnation,
    /// The address of its socket.
    pub addr: SocketAddr,
    /// All its randomness.
    pub seed: [u8; 32],
    /// When it starts.
    pub now: Instant,
}

/// Makes the machine of a new process.
pub(super) type MakeMachine = fn(NewMachine) -> Box<dyn Machine>;

/// Makes quicpool's machine.
///
/// # Panics
///
/// If the configuration is not valid.
pub(super) fn manager(new: NewMachine) -> Box<dyn Machine> {
    let NewMachine {
        config,
        credentials,
        incarnation,
        seed,
        now,
        addr: _,
    } = new;
    let manager = Manager::new(config, credentials, incarnation, seed, now);
    Box::new(manager.expect("the configuration of a node is valid"))
}

impl Machine for Manager {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        Self::handle_datagram(self, now, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        Self::handle_timeout(self, now);
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        Self::poll_timeout(self)
    }

    fn poll_action(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Action> {
        Self::poll_action(self, now, buf)
    }

    fn poll_event(&mut self, now: Instant) -> Option<Event> {
        self.driver().poll_event(now)
    }

    fn receive(&mut self, now: Instant, peer: PeerId, max: usize, out: &mut Vec<Message>) -> usize {
        Self::receive(self, now, peer, max, out).unwrap_or(0)
    }

    fn receive_datagrams(&mut self, now: Instant, peer: PeerId, out: &mut Vec<Message>) {
        let _ = Self::receive_datagrams(self, now, peer, usize::MAX, out);
    }

    fn manager(&self) -> Option<&Manager> {
        Some(self)
    }

    fn verbs(&mut self) -> Option<&mut dyn Verbs> {
        Some(self)
    }
}

impl Verbs for Manager {
    fn add_address(&mut self, now: Instant, peer: PeerAddr) -> Result<(), PeerError> {
        Self::add_address(self, now, peer)
    }

    fn connect(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        Self::connect(self, now, peer)
    }

    fn send(&mut self, now: Instant, peer: PeerId, message: &[u8]) -> Result<(), SendError> {
        Self::send(self, now, peer, message).map(drop)
    }

    fn send_confirmed(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
        token: u64,
    ) -> Result<(), SendError> {
        Self::send_confirmed(self, now, peer, message, token)
    }

    fn send_until(
        &mut self,
        now: Instant,
        peer: PeerId,
        message: &[u8],
        until: Instant,
    ) -> Result<(), SendError> {
        Self::send_until(self, now, peer, message, until).map(drop)
    }

    fn cancel(
        &mut self,
        now: Instant,
        peer: PeerId,
        numbers: &[MessageNumber],
    ) -> Result<Vec<Cancelled>, PeerError> {
        let numbers = numbers.iter();
        numbers
            .map(|number| Self::cancel(self, now, peer, *number))
            .collect()
    }

    fn want_room(&mut self, now: Instant, peer: PeerId, len: usize) {
        // A peer that is not known has no room to wait for.
        let _ = Self::want_room(self, now, peer, OpenBatch::cost(len));
    }

    fn send_datagram(
        &mut self,
        now: Instant,
        peer: PeerId,
        payload: &[u8],
    ) -> Result<(), SendDatagramError> {
        Self::send_datagram(self, now, peer, payload)
    }

    fn flush(&mut self, now: Instant, peer: PeerId, token: u64) -> Result<(), PeerError> {
        Self::flush(self, now, peer, token)
    }

    fn cancel_flush(&mut self, now: Instant, peer: PeerId, token: u64) {
        // A peer that is not known has no flushes.
        let _ = Self::cancel_flush(self, now, peer, token);
    }

    fn disconnect(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        Self::disconnect(self, now, peer)
    }

    fn forget(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        Self::forget(self, now, peer)
    }

    fn block(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        Self::block(self, now, peer)
    }

    fn unblock(&mut self, _: Instant, peer: PeerId) -> Result<(), PeerError> {
        Self::unblock(self, peer)
    }

    fn close(&mut self, now: Instant) {
        Self::close(self, now);
    }

    fn abort(&mut self, now: Instant) {
        Self::abort(self, now);
    }
}
