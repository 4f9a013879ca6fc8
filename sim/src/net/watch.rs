//! Watches a network: each watch sees what nodes do at the instant at which they do it, and changes nothing.

use std::{
    cell::RefCell, collections::BTreeMap, net::SocketAddr, rc::Rc, time::Duration, time::Instant,
};

use quicpool_core::{
    Cancelled, Datagram, Event, Manager, Message, MessageNumber, PeerError, SendDatagramError,
    SendError,
};

pub use super::node::Departure;
use super::{Net, NodeId, node::Node};
use crate::{
    Faults, Path,
    link::{Link, Note, Parcel},
    trace::{NodeRecord, Parcelled, Place, Reception, Scope},
};

/// Watches a whole network: auditors and records do.
pub trait Watch {
    /// An application has asked its machine for something, and the machine has not acted on it.
    fn asked(&mut self, scene: &Scene<'_>, to: Option<NodeId>, asked: &Asked<'_>) {
        let _ = (scene, to, asked);
    }

    /// A process is given a datagram.
    fn arrived(&mut self, scene: &Scene<'_>, datagram: &Datagram) {
        let _ = (scene, datagram);
    }

    /// A node has done all that it has to do at this instant.
    fn settled(&mut self, scene: &Scene<'_>, done: &Done<'_>) {
        let _ = (scene, done);
    }

    /// Something has happened between nodes, or to them.
    fn sees(&mut self, now: Duration, sight: &Sight<'_>) {
        let _ = (now, sight);
    }
}

/// A call of an application, and the machine's answer.
pub enum Asked<'a> {
    /// To send a message.
    Send(&'a [u8], &'a Result<(), SendError>),
    /// To send a message that is worth nothing after this time of the run.
    SendUntil(&'a [u8], Duration, &'a Result<(), SendError>),
    /// To take messages back. The answer has as many parts as there are messages.
    Cancel(&'a [MessageNumber], &'a Result<Vec<Cancelled>, PeerError>),
    /// To send a datagram.
    SendDatagram(&'a Result<(), SendDatagramError>),
    /// To connect.
    Connect(&'a Result<(), PeerError>),
    /// Another verb, and the reason if it was refused.
    Other(&'static str, Option<String>),
}

/// The acts of a node at an instant.
pub struct Done<'a> {
    /// Its new events.
    pub news: &'a [(Duration, Event)],
    /// Messages that its application has taken.
    pub taken: &'a [Message],
    /// Datagrams that have left it.
    pub departures: &'a [Departure],
}

/// An event between nodes, or of a node.
pub enum Sight<'a> {
    /// Time has passed.
    Time,
    /// A node was added.
    Node(NodeRecord),
    /// A datagram leaves a place. One of `Enters`, `Astray` and `Injected` follows.
    Leaves {
        /// Its sender.
        from: Place,
        /// Its receiver.
        to: Place,
        /// The datagram.
        parcel: &'a Parcel,
    },
    /// A link has taken it under this name.
    Enters(Parcelled),
    /// No node is at its destination.
    Astray,
    /// A node is given it, without a link.
    Injected(NodeId, Reception),
    /// A stage of a link has done something to a datagram.
    Noted(Parcelled, Note),
    /// The receiver of a datagram has another address by now.
    Outdated(Parcelled),
    /// A datagram has come from a link to its receiver.
    Arrives(Parcelled, Reception),
    /// A paused process goes on, and takes the datagrams that waited.
    Resumed(NodeId),
    /// A process has started.
    Started(NodeId),
    /// A process has crashed.
    Crashed(NodeId),
    /// A fault that takes no time.
    Strikes {
        /// Its name.
        family: &'static str,
        /// Which node has it.
        node: NodeId,
        /// More about it.
        detail: String,
    },
    /// A fault begins.
    Begins {
        /// Its name.
        family: &'static str,
        /// Where.
        scope: Scope,
        /// When it ends, if that is known.
        until: Option<Duration>,
    },
    /// A fault has ended.
    Over {
        /// Its name.
        family: &'static str,
        /// Where.
        scope: Scope,
    },
    /// All faults of a name have ended.
    AllOver(&'static str),
    /// The settings of all links.
    Path(&'a Path),
    /// The settings of one link.
    Link {
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
        /// The settings.
        faults: &'a Faults,
        /// The settings by the path.
        path: &'a Faults,
    },
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

    /// Returns the node at an address, or the one that was there before it moved.
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
    /// Adds a watch from this moment on.
    pub fn watch(&mut self, watch: Rc<RefCell<dyn Watch>>) {
        self.watches.push(watch);
    }

    /// Removes a watch.
    pub fn unwatch(&mut self, watch: &Rc<RefCell<dyn Watch>>) {
        self.watches.retain(|other| !Rc::ptr_eq(other, watch));
    }

    pub(super) fn show(&self, sight: &Sight<'_>) {
        for watch in &self.watches {
            watch.borrow_mut().sees(self.clock.now(), sight);
        }
    }

    pub(super) fn show_asked(&self, node: NodeId, to: Option<NodeId>, asked: &Asked<'_>) {
        for watch in &self.watches {
            watch.borrow_mut().asked(&self.scene(node), to, asked);
        }
    }

    pub(super) fn show_arrived(&self, node: NodeId, datagram: &Datagram) {
        for watch in &self.watches {
            watch.borrow_mut().arrived(&self.scene(node), datagram);
        }
    }

    /// Counts the events and the messages of a node so far.
    pub(super) fn heard(&self, node: NodeId) -> (usize, usize) {
        let node = &self.nodes[node.index()];
        (node.history().len(), node.waiting_messages().len())
    }

    /// Shows what a node has done since it was [`heard`](Self::heard).
    pub(super) fn show_settled(
        &self,
        node: NodeId,
        (events, messages): (usize, usize),
        departures: &[Departure],
    ) {
        let process = &self.nodes[node.index()];
        let done = Done {
            news: &process.history()[events..],
            taken: &process.waiting_messages()[messages..],
            departures,
        };
        for watch in &self.watches {
            watch.borrow_mut().settled(&self.scene(node), &done);
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
        fn asked(&mut self, _scene: &Scene<'_>, _to: Option<NodeId>, asked: &Asked<'_>) {
            self.asked += usize::from(matches!(asked, Asked::Send(..)));
        }

        fn arrived(&mut self, _scene: &Scene<'_>, _datagram: &Datagram) {
            self.arrived += 1;
        }

        fn settled(&mut self, scene: &Scene<'_>, done: &Done<'_>) {
            self.departed += done.departures.len();
            for (at, event) in done.news {
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
