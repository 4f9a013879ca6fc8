//! Nodes in which another machine runs, for benchmarks.

use std::time::Instant;

use quicpool_core::{Config, PeerAddr};

use super::{
    Net, NodeId,
    machine::{Machine, NewMachine},
    node::Node,
};

#[doc(hidden)]
impl Net {
    /// Adds a node in which another machine runs, and starts it.
    pub fn node_running(
        &mut self,
        config: Config,
        make: fn(NewMachine) -> Box<dyn Machine>,
    ) -> NodeId {
        let (id, proof) = (self.next_id(), self.next_proof());
        let peer = PeerAddr {
            id: proof.id,
            addr: id.addr(),
        };
        let node = Node::new(id.0.into(), peer, config, proof.making);
        self.add(id, node.running(make))
    }

    /// Returns the machine of a node that runs one of this type.
    ///
    /// # Panics
    ///
    /// If it runs another, or none.
    pub fn machine_as<M: Machine>(&self, node: NodeId) -> &M {
        let machine = self.nodes[node.index()].machine_as();
        machine.unwrap_or_else(|| panic!("{node} runs something else"))
    }

    /// Calls a machine of this type at this instant, and then does what it orders.
    ///
    /// # Panics
    ///
    /// As [`machine_as`](Self::machine_as).
    pub fn with_machine_as<M: Machine, R>(
        &mut self,
        node: NodeId,
        act: impl FnOnce(&mut M, Instant) -> R,
    ) -> R {
        let now = self.clock.instant();
        let machine = self.nodes[node.index()].machine_as_mut();
        let machine = machine.unwrap_or_else(|| panic!("{node} runs something else"));
        let result = act(machine, now);
        self.settle(node);
        result
    }
}
