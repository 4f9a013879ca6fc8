//! Nodes with QUIC alone, for benchmarks.

use std::{rc::Rc, time::Instant};

use quicpool_core::{Config, PeerAddr, PeerId};

use super::{Net, NodeId, node::Node};
use crate::{bench::Bare, dice::Domain};

impl Net {
    /// Adds a node in which a bare endpoint runs, and starts it.
    pub(crate) fn bare_node(&mut self, config: Config) -> NodeId {
        let id = self.next_id();
        let identity = self.dice.bytes(Domain::Identity, id.0.into(), 0);
        let peer = PeerAddr {
            id: PeerId::from_bytes(identity),
            addr: id.addr(),
        };
        let dress = Rc::new(|credentials| credentials);
        self.add(id, Node::new(id.0.into(), peer, config, dress).bare())
    }

    /// The bare endpoint of a node that has one.
    pub(crate) fn bare(&self, node: NodeId) -> &Bare {
        let bare = self.nodes[node.index()].bare_machine();
        bare.unwrap_or_else(|| panic!("{node} runs something else"))
    }

    /// Calls a bare endpoint at this instant, and then does what it orders.
    pub(crate) fn with_bare<R>(
        &mut self,
        node: NodeId,
        act: impl FnOnce(&mut Bare, Instant) -> R,
    ) -> R {
        let now = self.clock.instant();
        let bare = self.nodes[node.index()].bare_machine_mut();
        let bare = bare.unwrap_or_else(|| panic!("{node} runs something else"));
        let result = act(bare, now);
        self.settle(node);
        result
    }
}
