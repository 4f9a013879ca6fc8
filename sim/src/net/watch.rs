//! Who looks on: shown what nodes do at the instant at which they do it, and no part of it.

use std::{
    cell::RefCell, collections::BTreeMap, net::SocketAddr, rc::Rc, time::Duration, time::Instant,
};

use quicpool_core::{Datagram, Event, Manager, PeerError, SendDatagramError, SendError};

pub use super::node::Departure;
use super::{Net, NodeId, node::Node};
use crate::link::Link;

/// Somebody who watches a whole network.
pub trait Watch {
    /// An application has asked its machine for something, and the machine has not acted on it.
    fn asked(&mut self, scene: &Scene<'_>, to: NodeId, asked: &Asked<'_>);
    /// A process is given a datagram.
    fn arrived(&mut self, scene: &Scene<'_>, datagram: &Datagram);
    /// A node has done all that it has to do at this instant.
    fn settled(&mut self, scene: &Scene<'_>, news: &[(Duration, Event)], departures: &[Departure]);
}

/// What an application asks for, and what the machine says to it.
pub enum Asked<'a> {
    /// To send a message.
    Send(&'a [u8], &'a Result<(), SendError>),
    /// To send a datagram.
    SendDatagram(&'a Result<(), SendDatagramError>),
    /// To connect.
    Connect(&'a Result<(), PeerError>),
}

/// A node at an instant.
pub struct Scene<'a> {
    /// The time since the run began.
    pub at: Duration,
    /// The same as the machine sees it.
    pub now: Instant,
    /// Which node.
    pub node: NodeId,
    /// How often it has been started.
    pub life: u64,
    /// `None` while it is down.
    pub machine: Option<&'a Manager>,
    /// Whether it cannot act: it is paused, or its socket would block.
    pub is_held_up: bool,
    nodes: &'a [Node],
    links: &'a BTreeMap<(NodeId, NodeId), Link>,
    addresses: &'a BTreeMap<SocketAddr, NodeId>,
}

impl Scene<'_> {
    /// Where a node is.
    pub fn addr_of(&self, node: NodeId) -> SocketAddr {
        self.nodes[node.index()].peer.addr
    }

    /// Who is at an address, or was there before it moved.
    pub fn who_is_at(&self, addr: SocketAddr) -> Option<NodeId> {
        self.addresses.get(&addr).copied()
    }

    /// How often anything has befallen datagrams between two nodes, in either direction. Each move
    /// of a node counts, since what is sent to where it was is lost.
    pub fn faults_between(&self, a: NodeId, b: NodeId) -> u64 {
        let links = [(a, b), (b, a)];
        let links = links.iter().filter_map(|ends| self.links.get(ends));
        let counts = links.flat_map(Link::stage_counts);
        let befallen: u64 = counts.map(|(_, counts)| counts.injected()).sum();
        let moves = |node: NodeId| u64::from(self.addr_of(node).port() - node.addr().port());
        befallen + moves(a) + moves(b)
    }
}

#[doc(hidden)]
impl Net {
    /// Lets somebody watch from this moment on, in place of who did before.
    pub fn watch(&mut self, watch: Rc<RefCell<dyn Watch>>) {
        self.watch = Some(watch);
    }

    /// Lets nobody watch.
    pub fn unwatch(&mut self) {
        self.watch = None;
    }

    pub(super) fn show_asked(&self, node: NodeId, to: NodeId, asked: &Asked<'_>) {
        if let Some(watch) = &self.watch {
            watch.borrow_mut().asked(&self.scene(node), to, asked);
        }
    }

    pub(super) fn show_arrived(&self, node: NodeId, datagram: &Datagram) {
        if let Some(watch) = &self.watch {
            watch.borrow_mut().arrived(&self.scene(node), datagram);
        }
    }

    /// `told` is how many events the node had told before.
    pub(super) fn show_settled(&self, node: NodeId, told: usize, departures: &[Departure]) {
        if let Some(watch) = &self.watch {
            let news = &self.history(node)[told..];
            let scene = self.scene(node);
            watch.borrow_mut().settled(&scene, news, departures);
        }
    }

    fn scene(&self, id: NodeId) -> Scene<'_> {
        let node = &self.nodes[id.index()];
        Scene {
            at: self.clock.now(),
            now: self.clock.instant(),
            node: id,
            life: node.starts(),
            machine: node.machine(),
            is_held_up: node.is_held_up(&self.clock),
            nodes: &self.nodes,
            links: &self.links,
            addresses: &self.addresses,
        }
    }
}

#[cfg(test)]
mod tests {
    use quicpool_core::{Config, ConnectionStatus::Connected};

    use super::*;
    use crate::secs;

    #[derive(Default)]
    struct Diary {
        asked: usize,
        arrived: usize,
        departed: usize,
        news: Vec<(NodeId, Duration, Event)>,
    }

    impl Watch for Diary {
        fn asked(&mut self, _scene: &Scene<'_>, _to: NodeId, _asked: &Asked<'_>) {
            self.asked += 1;
        }

        fn arrived(&mut self, _scene: &Scene<'_>, _datagram: &Datagram) {
            self.arrived += 1;
        }

        fn settled(
            &mut self,
            scene: &Scene<'_>,
            news: &[(Duration, Event)],
            departures: &[Departure],
        ) {
            self.departed += departures.len();
            for (at, event) in news {
                assert_eq!(*at, scene.at, "it is shown when it happens");
                self.news.push((scene.node, *at, event.clone()));
            }
        }
    }

    #[test]
    fn a_watcher_sees_all_of_it_and_changes_nothing() {
        let play = |diary: Option<&Rc<RefCell<Diary>>>| {
            let mut net = Net::new(7);
            if let Some(diary) = diary {
                net.watch(diary.clone());
            }
            let nodes = net.nodes(2, &Config::default());
            net.introduce_all();
            net.send(nodes[0], nodes[1], b"hello");
            net.run_until(secs(1), |net| {
                net.status(nodes[1], nodes[0]) == Some(Connected)
            });
            net.advance(secs(1));
            net
        };
        let diary = Rc::default();
        let net = play(Some(&diary));
        assert_eq!(net.hash(), play(None).hash());
        let diary = diary.borrow();
        let nodes: Vec<NodeId> = net.ids().collect();
        let counts = [(0, 1), (1, 0)].map(|(a, b)| net.link_counts(nodes[a], nodes[b]));
        let offered: u64 = counts.iter().map(|counts| counts.offered).sum();
        let arrived: u64 = counts.iter().map(|counts| counts.arrived).sum();
        assert_eq!((diary.asked, diary.departed as u64), (1, offered));
        assert_eq!(diary.arrived as u64, arrived);
        for node in nodes {
            let seen = diary.news.iter().filter(|(of, ..)| *of == node);
            let seen: Vec<_> = seen.map(|(_, at, event)| (*at, event.clone())).collect();
            assert_eq!(seen, net.history(node));
        }
    }
}
