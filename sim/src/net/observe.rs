//! Observations of a network.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use quicpool_core::{
    ConnectionStatus, Event, Health, Manager, Message, NetworkMetrics, Occupancy, PeerId,
    PeerMetrics,
};

use super::{Net, NodeId};
use crate::link::Link;

/// How many of a node's last events are shown when a test fails.
const EVENTS_SHOWN: usize = 8;

impl Net {
    /// How long the run has lasted.
    pub fn now(&self) -> Duration {
        self.clock.now()
    }

    /// The present as the machines see it.
    #[doc(hidden)]
    pub fn instant(&self) -> Instant {
        self.clock.instant()
    }

    /// All nodes, in the order they were added.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        let count = self.nodes.len();
        (0..=u16::MAX).take(count).map(NodeId)
    }

    /// A node's identity.
    pub fn peer_id(&self, node: NodeId) -> PeerId {
        self.nodes[node.index()].peer.id
    }

    /// Where a node is.
    #[doc(hidden)]
    pub fn addr(&self, node: NodeId) -> SocketAddr {
        self.nodes[node.index()].peer.addr
    }

    /// The node with this identity.
    #[doc(hidden)]
    pub fn who(&self, peer: PeerId) -> Option<NodeId> {
        self.ids().find(|node| self.peer_id(*node) == peer)
    }

    /// A node's machine; `None` while the node is down.
    pub fn machine(&self, node: NodeId) -> Option<&Manager> {
        self.nodes[node.index()].machine()
    }

    /// Whether a node's process stands still: see [`pause`](Self::pause).
    #[doc(hidden)]
    pub fn is_paused(&self, node: NodeId) -> bool {
        self.nodes[node.index()].is_paused()
    }

    /// How a node sees its connection to another; `None` if it does not know it, or is down.
    pub fn status(&self, node: NodeId, to: NodeId) -> Option<ConnectionStatus> {
        self.machine(node)?.status(self.peer_id(to))
    }

    /// How well a node can reach another; `None` while it is not connected to it, or is down.
    #[doc(hidden)]
    pub fn health(&self, node: NodeId, of: NodeId) -> Option<Health> {
        self.machine(node)?.health(self.peer_id(of))
    }

    /// Whether both nodes see a connection to the other.
    #[doc(hidden)]
    pub fn are_connected(&self, a: NodeId, b: NodeId) -> bool {
        let connected = Some(ConnectionStatus::Connected);
        self.status(a, b) == connected && self.status(b, a) == connected
    }

    /// A node in numbers; `None` while it is down.
    #[doc(hidden)]
    pub fn metrics(&self, node: NodeId) -> Option<NetworkMetrics> {
        let machine = self.machine(node)?;
        Some(machine.metrics(self.clock.instant()))
    }

    /// Returns a node's metrics of one peer; `None` if the peer is not known, or the node is down.
    #[doc(hidden)]
    pub fn peer_metrics(&self, node: NodeId, of: NodeId) -> Option<PeerMetrics> {
        self.machine(node)?.peer_metrics(self.peer_id(of))
    }

    /// How much a node's machine holds; `None` while it is down.
    #[doc(hidden)]
    pub fn occupancy(&self, node: NodeId) -> Option<Occupancy> {
        self.machine(node).map(Manager::occupancy)
    }

    /// The events of a node since this was last asked, those of earlier processes included.
    ///
    /// `Readable` is left out, as the application uses it itself, unless its reader is paused.
    pub fn events(&mut self, node: NodeId) -> Vec<Event> {
        self.nodes[node.index()].take_events()
    }

    /// Whether a node has had events since they were last asked for.
    pub(crate) fn has_news(&self, node: NodeId) -> bool {
        self.nodes[node.index()].has_news()
    }

    /// All events of a node so far, and when they came.
    #[doc(hidden)]
    pub fn history(&self, node: NodeId) -> &[(Duration, Event)] {
        self.nodes[node.index()].history()
    }

    /// The messages that a node's application has taken since this was last asked.
    pub fn received(&mut self, node: NodeId) -> Vec<Message> {
        self.nodes[node.index()].take_received()
    }

    /// The datagrams of [`send_datagram`](Self::send_datagram) that a node's application has taken
    /// since this was last asked.
    pub fn datagrams(&mut self, node: NodeId) -> Vec<Message> {
        self.nodes[node.index()].take_datagrams()
    }

    /// A hash of all datagrams that have left a node so far: when, whence, whither, and bytes.
    /// Two runs that agree on it have gone the same way.
    pub fn hash(&self) -> u128 {
        self.trace
    }

    /// Datagrams sent to addresses where no node is.
    #[doc(hidden)]
    pub fn astray(&self) -> u64 {
        self.astray
    }
}

impl Net {
    /// Counts the faults so far, by family: datagrams for faults of links, and events for faults of
    /// nodes. Only families that have struck are named.
    #[doc(hidden)]
    pub fn faults_injected(&self) -> BTreeMap<&'static str, u64> {
        let mut injected = self.node_faults.clone();
        let links = self.links.values().flat_map(Link::stage_counts);
        let stages = links.map(|(name, counts)| (name, counts.injected()));
        let losses = [("outdated", self.outdated), ("unread", self.unread)];
        for (name, count) in stages.chain(losses).filter(|(_, count)| *count > 0) {
            *injected.entry(name).or_default() += count;
        }
        injected
    }
}

/// A picture for failed tests: each node, how it sees the others, and its last events.
impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the network at {:?}:", self.now())?;
        for node in self.ids() {
            self.draw_node(node, f)?;
        }
        Ok(())
    }
}

impl Net {
    fn draw_node(&self, node: NodeId, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.machine(node) {
            Some(_) if self.is_paused(node) => {
                writeln!(f, "  {node} {:?} is paused", self.peer_id(node))?;
            }
            Some(_) => writeln!(f, "  {node} {:?}", self.peer_id(node))?,
            None => writeln!(f, "  {node} {:?} is down", self.peer_id(node))?,
        }
        for other in self.ids() {
            if let Some(status) = self.status(node, other) {
                writeln!(f, "    {other}: {status:?}")?;
            }
        }
        let history = self.history(node);
        let shown = history.len().saturating_sub(EVENTS_SHOWN);
        for (at, event) in &history[shown..] {
            writeln!(f, "    {at:?} {event:?}")?;
        }
        Ok(())
    }
}
