//! Machines on a wire of 10 ms, each with a heap of its own.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use quicpool_core::{
    Action, Config, Credentials, Datagram, Identity, Incarnation, Manager, Message, NetworkMetrics,
    PeerAddr, PeerId, SendError, driver::TakenMessages,
};
use quicpool_sim::Checksum;

use crate::heap::{allocations, growth};

/// From one node to any other.
const LATENCY: Duration = Duration::from_millis(10);

/// Longer than any burst of datagrams, so that no machine makes it grow.
const BUFFER_BYTES: usize = 128 * 1024;

/// What the sessions of all nodes are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// No cryptography, which is fast.
    Checksum,
    /// TLS as in production.
    Tls,
}

/// A machine, and what of the heap is its.
pub(crate) struct Node {
    manager: Manager,
    addr: SocketAddr,
    /// Bytes.
    heap: isize,
    spent: Spent,
    pub(crate) is_cut: bool,
}

/// What the calls of a machine have cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) time: Duration,
    pub(crate) allocations: usize,
}

impl Spent {
    /// What has come to it.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            time: self.time - before.time,
            allocations: self.allocations - before.allocations,
        }
    }
}

/// Nodes and what is on its way between them.
pub(crate) struct Wire {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    sessions: Sessions,
    flying: VecDeque<Flight>,
    /// Nodes that there ever were.
    made: usize,
    buffer: Vec<u8>,
}

/// Bytes of memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// The truth.
    pub(crate) heap: usize,
    /// `memory_usage`.
    pub(crate) usage: usize,
    /// `memory_queues`.
    pub(crate) queues: usize,
}

impl Look {
    /// What has come to it.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            heap: self.heap - before.heap,
            usage: self.usage - before.usage,
            queues: self.queues - before.queues,
        }
    }
}

struct Flight {
    at: Instant,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(sessions: Sessions) -> Self {
        Self {
            now: Instant::now(),
            nodes: Vec::new(),
            sessions,
            flying: VecDeque::new(),
            made: 0,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Adds a node, whose number is returned.
    pub(crate) fn node(&mut self, config: Config) -> usize {
        let number = self.nodes.len();
        let (now, made) = (self.now, self.made);
        self.made += 1;
        let (manager, heap) = growth(|| machine(self.sessions, made, config, now));
        self.nodes.push(Node {
            manager,
            addr: address(made),
            heap,
            spent: Spent::default(),
            is_cut: false,
        });
        number
    }

    /// Takes nodes away, from this one on, without a word.
    pub(crate) fn dismiss(&mut self, from: usize) {
        self.nodes.truncate(from);
    }

    pub(crate) fn id(&self, node: usize) -> PeerId {
        self.nodes[node].manager.local_id()
    }

    /// Lets a node know where another is.
    pub(crate) fn introduce(&mut self, node: usize, other: usize) {
        let id = self.id(other);
        let addr = self.nodes[other].addr;
        let now = self.now;
        self.at(node, |manager| {
            manager
                .add_address(now, PeerAddr::new(id, addr))
                .expect("there is room for another peer");
        });
    }

    /// Has a node know another, and no address of it.
    pub(crate) fn add(&mut self, node: usize, other: usize) {
        let (id, now) = (self.id(other), self.now);
        self.at(node, |manager| {
            manager
                .add_peer(now, id)
                .expect("there is room for another peer");
        });
    }

    /// Does something with a machine, at its own expense.
    pub(crate) fn at<T>(&mut self, node: usize, work: impl FnOnce(&mut Manager) -> T) -> T {
        self.nodes[node].within(work)
    }

    pub(crate) fn connect(&mut self, node: usize, to: usize) {
        let (now, to) = (self.now, self.id(to));
        self.at(node, |manager| {
            manager.connect(now, to).expect("it may be dialled")
        });
    }

    pub(crate) fn send(&mut self, node: usize, to: usize, message: &[u8]) -> Result<(), SendError> {
        let (now, to) = (self.now, self.id(to));
        self.at(node, |manager| manager.send(now, to, message).map(drop))
    }

    /// Sends until there is no room, and returns how often there was.
    pub(crate) fn send_all(&mut self, node: usize, to: usize, message: &[u8]) -> usize {
        let mut count = 0;
        while self.send(node, to, message).is_ok() {
            count += 1;
        }
        count
    }

    /// Reads without taking.
    pub(crate) fn read(&mut self, node: usize, from: usize, max: usize) -> Vec<Message> {
        let (now, from) = (self.now, self.id(from));
        let mut messages = Vec::with_capacity(max);
        self.at(node, |manager| {
            manager
                .receive_held(now, from, max, &mut messages)
                .expect("a known peer")
        });
        messages
    }

    /// Takes what was read.
    pub(crate) fn take(&mut self, node: usize, messages: &[Message]) {
        let now = self.now;
        self.at(node, |manager| {
            for taken in TakenMessages::of(messages) {
                let marked = manager.driver().mark_taken(now, &taken);
                marked.expect("a known peer");
            }
        });
    }

    pub(crate) fn metrics(&self, node: usize) -> NetworkMetrics {
        self.nodes[node].manager.metrics(self.now)
    }

    /// The heap of a node at this moment, and its own metrics of it.
    pub(crate) fn look(&self, node: usize) -> Look {
        let metrics = self.metrics(node);
        let heap = self.nodes[node].heap;
        Look {
            heap: usize::try_from(heap).expect("nobody frees what is not its"),
            usage: metrics.memory_usage,
            queues: metrics.memory_queues,
        }
    }

    /// What a node has cost so far.
    pub(crate) fn spent(&self, node: usize) -> Spent {
        self.nodes[node].spent
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            for node in 0..self.nodes.len() {
                self.drain(node);
            }
            let deadlines = self
                .nodes
                .iter()
                .filter_map(|node| node.manager.poll_timeout());
            let deadlines = deadlines.map(|deadline| deadline.at);
            let arrival = self.flying.front().map(|flight| flight.at);
            let Some(at) = deadlines.chain(arrival).min().filter(|at| *at <= end) else {
                break;
            };
            self.now = at.max(self.now);
            self.land();
            let now = self.now;
            for node in &mut self.nodes {
                let is_due = |manager: &mut Manager| {
                    manager
                        .poll_timeout()
                        .is_some_and(|deadline| deadline.at <= now)
                };
                node.within(|manager| {
                    if is_due(manager) {
                        manager.handle_timeout(now);
                    }
                });
            }
        }
        self.now = end;
    }

    fn land(&mut self) {
        while self
            .flying
            .front()
            .is_some_and(|flight| flight.at <= self.now)
            && let Some(flight) = self.flying.pop_front()
        {
            let now = self.now;
            let Some(node) = self.nodes.iter_mut().find(|node| node.addr == flight.to) else {
                continue;
            };
            if node.is_cut {
                continue;
            }
            node.within(|manager| {
                manager.handle_datagram(now, Datagram::new(flight.from, &flight.bytes));
            });
        }
    }

    fn drain(&mut self, number: usize) {
        let now = self.now;
        let buffer = &mut self.buffer;
        let node = &mut self.nodes[number];
        while let Some(action) = node.within(|manager| manager.poll_action(now, buffer)) {
            match action {
                Action::Notify(_) => {}
                Action::Transmit(_) if node.is_cut => {}
                Action::Transmit(transmit) => {
                    for bytes in transmit.datagrams(buffer) {
                        self.flying.push_back(Flight {
                            at: now + LATENCY,
                            from: node.addr,
                            to: transmit.destination,
                            bytes: bytes.to_vec(),
                        });
                    }
                }
            }
        }
    }
}

impl Node {
    fn within<T>(&mut self, work: impl FnOnce(&mut Manager) -> T) -> T {
        let (allocated, begun) = (allocations(), Instant::now());
        let (outcome, bytes) = growth(|| work(&mut self.manager));
        self.spent.time += begun.elapsed();
        self.spent.allocations += allocations() - allocated;
        self.heap += bytes;
        outcome
    }
}

fn address(number: usize) -> SocketAddr {
    let [.., high, low] = number.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 4433))
}

fn machine(sessions: Sessions, number: usize, config: Config, now: Instant) -> Manager {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    let credentials: Arc<dyn Credentials> = match sessions {
        Sessions::Checksum => Arc::new(Checksum::new(PeerId::from_bytes(seed), 1)),
        Sessions::Tls => Identity::from_seed(&seed).credentials(),
    };
    let incarnation = Incarnation {
        started_ms: 0,
        random: number as u64,
    };
    Manager::new(config, credentials, incarnation, seed, now).expect("the limits are in range")
}
