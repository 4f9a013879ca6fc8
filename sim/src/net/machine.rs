//! What runs in a node: quicpool's machine, unless a benchmark puts something else beside it.

use std::{any::Any, sync::Arc, time::Instant};

use quicpool_core::{
    Action, Config, Credentials, Datagram, Deadline, Event, Incarnation, Manager, Message, PeerId,
};

/// What a network asks of a machine. All kinds are treated alike.
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
}

/// What a machine is made from as its process starts.
#[non_exhaustive]
pub struct NewMachine {
    /// The configuration of its node.
    pub config: Config,
    /// Proofs of the node's identity.
    pub credentials: Arc<dyn Credentials>,
    /// The name of this process among all of the node.
    pub incarnation: Incarnation,
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
}
