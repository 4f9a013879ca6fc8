//! Faults between nodes, and of nodes.

use std::time::Duration;

use super::{Net, NodeId, watch::Sight};
use crate::{Faults, LinkCounts, StageCounts, link::Link, trace::Scope};

impl Net {
    /// Changes how all links treat datagrams, present and future ones, in both directions.
    pub fn faults(&mut self, change: impl Fn(&mut Faults)) {
        change(&mut self.path.up);
        change(&mut self.path.down);
        for link in self.links.values_mut() {
            change(&mut link.faults);
        }
        self.show_settings();
        self.arm_links();
    }

    /// Changes how one direction of one link treats datagrams.
    pub fn faults_between(&mut self, from: NodeId, to: NodeId, change: impl FnOnce(&mut Faults)) {
        change(&mut self.link(from, to).faults);
        self.show_settings();
        self.arm_link(from, to);
    }

    /// Loses datagrams on all links with this probability.
    pub fn loss(&mut self, probability: f64) {
        self.faults(|faults| faults.loss = probability);
    }

    /// Lets datagrams arrive twice on all links with this probability.
    #[doc(hidden)]
    pub fn duplicate(&mut self, probability: f64) {
        self.faults(|faults| faults.duplicate = probability);
    }

    /// Lets datagrams travel up to `extra` longer on all links with this probability.
    #[doc(hidden)]
    pub fn reorder(&mut self, probability: f64, extra: Duration) {
        self.faults(|faults| {
            faults.reorder = probability;
            faults.reorder_extra = extra;
        });
    }

    /// Damages datagrams on all links with this probability.
    #[doc(hidden)]
    pub fn corrupt(&mut self, probability: f64) {
        self.faults(|faults| faults.corrupt = probability);
    }

    /// Cuts both directions between two nodes; what is in flight is lost, too.
    pub fn cut(&mut self, a: NodeId, b: NodeId) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Cuts the way from one node to another, and leaves the way back.
    pub fn cut_one_way(&mut self, from: NodeId, to: NodeId) {
        self.link(from, to).is_cut = true;
        self.show_gate(from, to);
    }

    /// Cuts a node off from all others.
    #[doc(hidden)]
    pub fn isolate(&mut self, node: NodeId) {
        for other in self.ids() {
            self.cut(node, other);
        }
    }

    /// Mends both directions between two nodes.
    pub fn heal(&mut self, a: NodeId, b: NodeId) {
        self.link(a, b).is_cut = false;
        self.link(b, a).is_cut = false;
        self.show_gate(a, b);
        self.show_gate(b, a);
    }

    /// Mends all cuts. Random faults stay.
    pub fn heal_all(&mut self) {
        for link in self.links.values_mut() {
            link.is_cut = false;
        }
        self.show(&Sight::AllOver("cut"));
    }

    /// Holds all that would arrive at one node from another for this time. Then it arrives at once,
    /// in order.
    pub fn clog(&mut self, from: NodeId, to: NodeId, time: Duration) {
        let until = self.clock.now() + time;
        self.link(from, to).clog(until);
        let scope = Scope::OneWay(from, to);
        self.show(&Sight::Begins {
            family: "clog",
            scope,
            until: Some(until),
        });
        self.arm_link(from, to);
    }

    /// Ends all clogs before their time.
    #[doc(hidden)]
    pub fn unclog_all(&mut self) {
        self.links.values_mut().for_each(Link::unclog);
        self.show(&Sight::AllOver("clog"));
        self.arm_links();
    }

    /// Returns counts of the datagrams that one node has sent to another, by fate.
    #[doc(hidden)]
    pub fn link_counts(&self, from: NodeId, to: NodeId) -> LinkCounts {
        let link = self.links.get(&(from, to));
        link.map_or_else(LinkCounts::default, |link| link.counts())
    }

    /// Returns the counts of each stage of the link from one node to another, in the order in which
    /// datagrams meet them. There is a `cut` at either end.
    #[doc(hidden)]
    pub fn stage_counts(&self, from: NodeId, to: NodeId) -> Vec<(&'static str, StageCounts)> {
        let link = self.links.get(&(from, to));
        link.map_or_else(Vec::new, |link| link.stage_counts().collect())
    }

    /// Ends a node's process without a word. What is sent to it is lost.
    pub fn crash(&mut self, node: NodeId) {
        self.count("crash");
        self.nodes[node.index()].crash();
        self.show(&Sight::Crashed(node));
        self.settle(node);
    }

    /// Starts a new process with a node's identity, address and configuration, in place of the one
    /// that runs, if one does. It knows no peer.
    pub fn restart(&mut self, node: NodeId) {
        let again = !self.nodes[node.index()].is_fresh();
        self.nodes[node.index()].start(self.dice, &self.clock);
        if again {
            self.show(&Sight::Strikes {
                family: "restart",
                node,
                detail: String::new(),
            });
        }
        self.show(&Sight::Started(node));
        self.settle(node);
    }

    /// Stops a node's process where it stands, as a debugger or a virtual machine does. Datagrams
    /// wait for it in its socket, as long as there is room; deadlines pass. It cannot be asked for
    /// anything meanwhile.
    pub fn pause(&mut self, node: NodeId) {
        self.count("pause");
        self.nodes[node.index()].pause();
        if self.is_paused(node) {
            let scope = Scope::Node(node);
            self.show(&Sight::Begins {
                family: "paused",
                scope,
                until: None,
            });
        }
        self.settle(node);
    }

    /// Lets a paused process go on. It is as if no time had passed for it, but for the clock.
    pub fn resume(&mut self, node: NodeId) {
        self.nodes[node.index()].resume(&self.clock);
        self.show(&Sight::Resumed(node));
        self.settle(node);
    }

    /// Lets the socket of a node take nothing for this time: a send would block.
    pub fn block_socket(&mut self, node: NodeId, time: Duration) {
        self.count("blocked socket");
        let until = self.clock.now() + time;
        self.nodes[node.index()].block_socket(&self.clock, until);
        let scope = Scope::Node(node);
        self.show(&Sight::Begins {
            family: "blocked socket",
            scope,
            until: Some(until),
        });
        self.settle(node);
    }

    /// Moves a node to another port, as a NAT does that has forgotten it. The node does not notice:
    /// from this moment on its datagrams come from the new port, and those to the old one are lost,
    /// those in flight included. A node can dial the new one after
    /// [`introduce_one_way`](Self::introduce_one_way).
    ///
    /// # Panics
    ///
    /// If there is no port left.
    pub fn rebind(&mut self, node: NodeId) {
        self.count("rebind");
        let mut addr = self.addr(node);
        let port = addr.port().checked_add(1);
        addr.set_port(port.expect("a node moves less than 60,000 times"));
        self.addresses.insert(addr, node);
        self.nodes[node.index()].peer.addr = addr;
        let detail = format!("to port {}", addr.port());
        self.show(&Sight::Strikes {
            family: "rebind",
            node,
            detail,
        });
    }

    /// Sets what a node's wall clock adds to the time of the run; its next process starts by it.
    ///
    /// A clock that was ahead and is right again has stepped back.
    #[doc(hidden)]
    pub fn set_wall_clock(&mut self, node: NodeId, ahead: Duration) {
        self.nodes[node.index()].set_wall_clock(ahead);
        let detail = format!("ahead by {ahead:?}");
        self.show(&Sight::Strikes {
            family: "wall clock",
            node,
            detail,
        });
    }

    /// Lets messages wait: the application of this node takes none.
    pub fn pause_reader(&mut self, node: NodeId) {
        self.nodes[node.index()].read_up_to(0);
        let scope = Scope::Node(node);
        self.show(&Sight::Begins {
            family: "slow reader",
            scope,
            until: None,
        });
    }

    /// Lets the application of this node take this many messages more as they come, of all peers
    /// together, and then none: as if it stopped in the middle of its work.
    ///
    /// ```
    /// use quicpool_core::Config;
    /// use quicpool_sim::{Net, secs};
    ///
    /// let mut net = Net::new(1);
    /// let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    /// net.introduce(a, b);
    /// net.read_up_to(b, 2);
    /// for message in [b"one", b"two", b"six"] {
    ///     net.send(a, b, message);
    /// }
    /// net.advance(secs(5));
    /// assert_eq!(net.received(b).len(), 2);
    /// net.resume_reader(b);
    /// assert_eq!(net.received(b).len(), 1);
    /// ```
    #[doc(hidden)]
    pub fn read_up_to(&mut self, node: NodeId, messages: usize) {
        self.nodes[node.index()].read_up_to(messages);
        let detail = format!("{messages} messages");
        self.show(&Sight::Strikes {
            family: "reads in part",
            node,
            detail,
        });
        self.show(&Sight::Begins {
            family: "slow reader",
            scope: Scope::Node(node),
            until: None,
        });
        self.settle(node);
    }

    /// Lets the application of this node take messages as they come, which it does by default.
    pub fn resume_reader(&mut self, node: NodeId) {
        self.nodes[node.index()].resume_reader();
        let scope = Scope::Node(node);
        self.show(&Sight::Over {
            family: "slow reader",
            scope,
        });
        self.settle(node);
    }

    fn count(&mut self, fault: &'static str) {
        *self.node_faults.entry(fault).or_default() += 1;
    }
}
