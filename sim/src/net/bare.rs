//! Nodes with QUIC alone, for benchmarks.

use std::time::Instant;

use quicpool_core::{Config, PeerAddr};

use super::{Net, NodeId, node::Node};
use crate::bench::Bare;

impl Net {
    /// Adds a node in which a bare endpoint runs, and starts it.
    pub(crate) fn bare_node(&mut self, config: Config) -> NodeId {
        let (id, proof) = (self.next_id(), self.next_proof());
        let peer = PeerAddr {
            id: proof.id,
            addr: id.addr(),
        };
        let node = Node::new(id.0.into(), peer, config, proof.making);
        self.add(id, node.bare())
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
