//! What runs in a node: quicpool's machine, or QUIC alone to compare it with.

use std::{sync::Arc, time::Instant};

use quicpool_core::{
    Action, Config, Credentials, Datagram, Deadline, Event, Incarnation, Manager, Message, PeerId,
};

use crate::bench::Bare;

/// Which of the two a node starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As all do outside of benchmarks.
    Manager,
    Bare,
}

/// A machine of either kind. The network treats both alike.
pub(super) enum Machine {
    Manager(Box<Manager>),
    Bare(Box<Bare>),
}

impl Machine {
    /// # Panics
    ///
    /// If the configuration is not valid.
    pub(super) fn new(
        kind: Kind,
        config: Config,
        credentials: Arc<dyn Credentials>,
        incarnation: Incarnation,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        match kind {
            Kind::Manager => {
                let manager = Manager::new(config, credentials, incarnation, seed, now);
                let manager = manager.expect("the configuration of a node is valid");
                Self::Manager(Box::new(manager))
            }
            Kind::Bare => Self::Bare(Box::new(Bare::new(&config, credentials, seed))),
        }
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        match self {
            Self::Manager(manager) => manager.handle_datagram(now, datagram),
            Self::Bare(bare) => bare.handle_datagram(now, datagram),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Manager(manager) => manager.handle_timeout(now),
            Self::Bare(bare) => bare.handle_timeout(now),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        match self {
            Self::Manager(manager) => manager.poll_timeout(),
            Self::Bare(bare) => bare.poll_timeout(),
        }
    }

    /// QUIC alone has no events.
    pub(super) fn poll_event(&mut self, now: Instant) -> Option<Event> {
        match self {
            Self::Manager(manager) => manager.poll_event(now),
            Self::Bare(_) => None,
        }
    }

    pub(super) fn poll_action(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Action> {
        match self {
            Self::Manager(manager) => manager.poll_action(now, buf),
            Self::Bare(bare) => bare.poll_transmit(now, buf).map(Action::Transmit),
        }
    }

    /// Takes messages, as [`Manager::receive`] does. QUIC alone has none.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> usize {
        match self {
            Self::Manager(manager) => manager.receive(now, peer, max, out),
            Self::Bare(_) => 0,
        }
    }

    /// Takes all datagrams of a peer, as [`Manager::receive_datagrams`] does. QUIC alone has none.
    pub(super) fn receive_datagrams(&mut self, now: Instant, peer: PeerId, out: &mut Vec<Message>) {
        match self {
            Self::Manager(manager) => {
                manager.receive_datagrams(now, peer, usize::MAX, out);
            }
            Self::Bare(_) => {}
        }
    }

    pub(super) fn manager(&self) -> Option<&Manager> {
        match self {
            Self::Manager(manager) => Some(manager),
            Self::Bare(_) => None,
        }
    }

    pub(super) fn manager_mut(&mut self) -> Option<&mut Manager> {
        match self {
            Self::Manager(manager) => Some(manager),
            Self::Bare(_) => None,
        }
    }

    pub(super) fn bare(&self) -> Option<&Bare> {
        match self {
            Self::Bare(bare) => Some(bare),
            Self::Manager(_) => None,
        }
    }

    pub(super) fn bare_mut(&mut self) -> Option<&mut Bare> {
        match self {
            Self::Bare(bare) => Some(bare),
            Self::Manager(_) => None,
        }
    }
}
