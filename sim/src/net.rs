//! A small network of whole machines, in discrete time.
//!
//! The clock jumps from one thing that is due to the next: the arrival of a datagram, or the
//! deadline of a machine, exactly. It never ticks, so a machine that forgets to ask for a call is
//! not called, and the test sees it hang.

mod credentials;
mod faults;
pub mod machine;
mod node;
mod observe;
mod other;
mod outside;
mod process;
mod record;
mod trail;
mod verbs;
pub mod watch;
mod wire;

use std::{
    cell::RefCell, collections::BTreeMap, fmt, mem, net::SocketAddr, rc::Rc, sync::Arc,
    time::Duration,
};

pub use credentials::NewProcess;
pub use outside::Astray;
use quicpool_core::{Config, Credentials, PeerAddr};
pub use trail::{Difference, Sent, Trail};

use self::{credentials::Proof, node::Node};
use crate::{
    Checksum, Crypto, Path,
    agenda::Agenda,
    clock::Clock,
    dice::{Dice, Domain},
    link::{Delay, Link},
};

/// Things done at one instant by all nodes together. A run that needs more stands still.
const STEPS_AT_ONE_INSTANT_MAX: usize = 1_000_000;
/// The port that all nodes are bound to.
const PORT: u16 = 4433;

/// A node of a [`Net`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// A network of machines, with a link between any two of them.
///
/// All that happens follows from the seed and from what is asked of the nodes. Methods panic where
/// a test has gone wrong: a node that is down is asked to send, a condition is not met in time, a
/// machine breaks its contract with its driver.
///
/// ```no_run
/// use quicpool_core::{Config, ConnectionStatus::Connected};
/// use quicpool_sim::{Net, ms, secs};
///
/// let mut net = Net::new(7).latency(ms(40));
/// let (a, b) = (net.node(Config::default()), net.node(Config::default()));
/// net.introduce(a, b);
/// net.connect(a, b);
/// net.run_until(secs(5), |n| n.status(b, a) == Some(Connected));
///
/// net.loss(0.02);
/// net.send(a, b, b"through the rain");
/// net.advance(secs(5));
/// assert_eq!(net.received(b)[0].payload, &b"through the rain"[..]);
///
/// net.cut(a, b);
/// net.advance(secs(30));
/// println!("{:?}", net.events(a));
/// ```
pub struct Net {
    clock: Clock,
    dice: Dice,
    crypto: Crypto,
    agenda: Agenda<Due>,
    ties: Ties,
    nodes: Vec<Node>,
    /// The deadline for which each node has an entry in the agenda.
    armed: Vec<Option<Duration>>,
    /// The node at an address, or the one that was there before it moved.
    addresses: BTreeMap<SocketAddr, NodeId>,
    /// The path of new links.
    path: Path,
    links: BTreeMap<(NodeId, NodeId), Link>,
    trace: u128,
    trail: Option<Trail>,
    astray: u64,
    /// Datagrams lost because their receiver has moved to another port.
    outdated: u64,
    /// Datagrams lost because their receiver was paused and had no room for more.
    unread: u64,
    /// How often each fault of a node has been asked for.
    node_faults: BTreeMap<&'static str, u64>,
    /// Datagrams that have gone astray and have not been taken yet.
    outside: Vec<Astray>,
    /// How many steps have been taken since the clock moved.
    steps: usize,
    /// How many may still be taken in all.
    steps_left: u64,
    /// All that watch the network.
    watches: Vec<Rc<RefCell<dyn watch::Watch>>>,
    /// The one of them that keeps a record, if one does. Links take notes for it.
    recorder: Option<Rc<RefCell<dyn watch::Watch>>>,
}

/// In which order things happen that are due at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ties {
    AsArranged,
    Drawn,
}

/// An entry of the agenda, to which the clock can jump.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// Something moves on a link, unless its deadline has moved since.
    Link(NodeId, NodeId),
    /// A machine's deadline, unless it has moved since.
    Deadline(NodeId),
}

impl Net {
    /// A network without nodes, at time zero, with links of 10 ms and no faults.
    pub fn new(seed: u64) -> Self {
        Self {
            clock: Clock::new(),
            dice: Dice::new(seed),
            crypto: Crypto::default(),
            agenda: Agenda::new(),
            ties: Ties::AsArranged,
            nodes: Vec::new(),
            armed: Vec::new(),
            addresses: BTreeMap::new(),
            path: Path::default(),
            links: BTreeMap::new(),
            trace: 0,
            trail: None,
            astray: 0,
            outdated: 0,
            unread: 0,
            node_faults: BTreeMap::new(),
            outside: Vec::new(),
            steps: 0,
            steps_left: u64::MAX,
            watches: Vec::new(),
            recorder: None,
        }
    }

    /// The same network with this time from any node to any other.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.faults(|faults| faults.delay = Delay::Constant(latency));
        self
    }

    /// The same network with this path between any two nodes. Of two, the one that was added first
    /// is the user: it sends by [`Path::up`].
    ///
    /// ```
    /// use quicpool_sim::{Net, Path};
    ///
    /// let net = Net::new(7).path(Path::lte());
    /// ```
    #[must_use]
    pub fn path(mut self, path: Path) -> Self {
        self.set_path(path);
        self
    }

    pub(crate) fn set_path(&mut self, path: Path) {
        self.path = path;
        for ((from, to), link) in &mut self.links {
            link.faults = wire::faults(&self.path, *from, *to);
        }
        self.arm_links();
    }

    /// The same network with another cryptography, which decides what identities are: with TLS they
    /// are Ed25519 keys.
    ///
    /// # Panics
    ///
    /// If there are nodes already.
    #[must_use]
    pub fn crypto(mut self, crypto: Crypto) -> Self {
        assert!(self.nodes.is_empty(), "nodes have their identities already");
        self.crypto = crypto;
        self
    }

    /// The same network in which the seed decides the order of things that happen at one instant to
    /// different nodes and on different links. Without it they happen in the order in which they
    /// came to be due, which is as good as any, and the same for every seed.
    #[must_use]
    #[doc(hidden)]
    pub fn draw_ties(mut self) -> Self {
        self.ties = Ties::Drawn;
        self
    }

    /// The same network, which panics after this many steps: datagrams that move on links, and calls
    /// of machines at their deadlines.
    #[doc(hidden)]
    pub const fn steps_max(mut self, steps: u64) -> Self {
        self.steps_left = steps;
        self
    }

    /// Adds a node and starts it. It knows no peer.
    ///
    /// # Panics
    ///
    /// If the configuration is not valid.
    pub fn node(&mut self, config: Config) -> NodeId {
        let proof = self.next_proof();
        self.node_of(config, proof)
    }

    /// Adds a node whose processes have credentials that the test makes: of its own public key
    /// infrastructure, for instance. All of one node must have the same identity.
    #[doc(hidden)]
    pub fn node_as(
        &mut self,
        config: Config,
        make: impl Fn(&NewProcess) -> Arc<dyn Credentials> + 'static,
    ) -> NodeId {
        let id = make(&NewProcess {
            seed: 0,
            wall_clock: self.clock.wall_clock(Duration::ZERO),
        })
        .local_id();
        let making = Rc::new(make);
        self.node_of(config, Proof { id, making })
    }

    /// Adds a node with other credentials than plain ones, such as [`Checksum::anonymous`].
    ///
    /// # Panics
    ///
    /// If the network has another cryptography than [`Crypto::Checksum`].
    #[doc(hidden)]
    pub fn node_with(
        &mut self,
        config: Config,
        dress: impl Fn(Checksum) -> Checksum + 'static,
    ) -> NodeId {
        assert_eq!(
            self.crypto,
            Crypto::Checksum,
            "the network has no checksums"
        );
        let proof = Proof::checksum(self.next_identity(), dress);
        self.node_of(config, proof)
    }

    /// Adds a node with the identity, the credentials and the configuration of another, and an
    /// address of its own: what a copied key file makes.
    #[doc(hidden)]
    pub fn twin(&mut self, of: NodeId) -> NodeId {
        let id = self.next_id();
        let twin = self.nodes[of.index()].twin(id.0.into(), id.addr());
        self.add(id, twin)
    }

    /// Adds several nodes with one configuration.
    pub fn nodes(&mut self, count: usize, config: &Config) -> Vec<NodeId> {
        (0..count).map(|_| self.node(config.clone())).collect()
    }

    fn next_id(&self) -> NodeId {
        let count = u16::try_from(self.nodes.len());
        NodeId(count.expect("a net has at most 65,536 nodes"))
    }

    fn next_identity(&self) -> [u8; 32] {
        let number = self.next_id().0;
        self.dice.bytes(Domain::Identity, number.into(), 0)
    }

    /// The plain credentials of the next node.
    fn next_proof(&self) -> Proof {
        let identity = self.next_identity();
        match self.crypto {
            Crypto::Checksum => Proof::checksum(identity, |credentials| credentials),
            #[cfg(feature = "tls")]
            Crypto::Tls => Proof::tls(identity),
        }
    }

    fn node_of(&mut self, config: Config, proof: Proof) -> NodeId {
        let id = self.next_id();
        let peer = PeerAddr {
            id: proof.id,
            addr: id.addr(),
        };
        self.add(id, Node::new(id.0.into(), peer, config, proof.making))
    }

    fn add(&mut self, id: NodeId, node: Node) -> NodeId {
        self.addresses.insert(id.addr(), id);
        self.nodes.push(node);
        self.armed.push(None);
        self.show_node(id);
        self.restart(id);
        id
    }

    /// Lets time pass, with all that happens meanwhile.
    pub fn advance(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        while self.step(end) {}
        self.move_clock(end);
    }

    /// Lets time pass until a condition holds, for at most `limit`.
    ///
    /// # Panics
    ///
    /// If the condition does not hold in time, with a picture of the network.
    #[track_caller]
    pub fn run_until(&mut self, limit: Duration, condition: impl FnMut(&Self) -> bool) {
        if !self.comes_to(limit, condition) {
            panic!("it has not happened within {limit:?}; {self:?}");
        }
    }

    /// Lets time pass until a condition holds, for at most `limit`; returns whether it does.
    #[doc(hidden)]
    pub fn comes_to(&mut self, limit: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let end = self.clock.now() + limit;
        loop {
            if condition(self) {
                return true;
            }
            if !self.step(end) {
                self.move_clock(end);
                return condition(self);
            }
        }
    }

    /// Does the next thing that is due not after `end`, if there is one.
    pub(crate) fn step(&mut self, end: Duration) -> bool {
        let Some(at) = self.next_due().filter(|at| *at <= end) else {
            return false;
        };
        self.move_clock(at);
        self.steps += 1;
        self.steps_left = self.steps_left.saturating_sub(1);
        assert!(
            self.steps <= STEPS_AT_ONE_INSTANT_MAX,
            "livelock: time stands still; {self:?}"
        );
        assert!(self.steps_left > 0, "livelock: time crawls; {self:?}");
        match self.agenda.take_first() {
            None => {}
            Some(Due::Deadline(node)) => self.settle(node),
            Some(Due::Link(from, to)) => self.move_link(from, to),
        }
        true
    }

    /// When the next thing is due. Deadlines that have moved are dropped on the way: they must not
    /// move the clock.
    fn next_due(&mut self) -> Option<Duration> {
        loop {
            let (at, due) = self.agenda.first()?;
            match due {
                Due::Deadline(node) if self.armed[node.index()] != Some(at) => {
                    self.agenda.take_first();
                }
                Due::Link(from, to) if self.link_armed(*from, *to) != Some(at) => {
                    self.agenda.take_first();
                }
                Due::Deadline(_) | Due::Link(..) => return Some(at),
            }
        }
    }

    /// Notes that something is due.
    fn arrange(&mut self, at: Duration, due: Due) {
        let rank = match self.ties {
            Ties::AsArranged => 0,
            Ties::Drawn => self
                .dice
                .roll(Domain::Tie, due.entity(), at.as_nanos() as u64),
        };
        self.agenda.insert_ranked(at, rank, due);
    }

    fn move_clock(&mut self, to: Duration) {
        if to > self.clock.now() {
            self.steps = 0;
        }
        self.clock.advance_to(to);
        self.show(&watch::Sight::Time);
    }

    /// Lets a node do what it has to do at this instant, and notes when it wants to be called.
    fn settle(&mut self, id: NodeId) {
        let heard = self.heard(id);
        let node = &mut self.nodes[id.index()];
        let departures = node.settle(&self.clock);
        let deadline = node.deadline(&self.clock);
        let armed = mem::replace(&mut self.armed[id.index()], deadline);
        if let Some(at) = deadline.filter(|_| deadline != armed) {
            self.arrange(at, Due::Deadline(id));
        }
        self.show_settled(id, heard, &departures);
        for departure in departures {
            self.depart(id, departure);
        }
    }
}

impl Due {
    /// Under which name its rank is drawn. No link leads from a node to itself.
    fn entity(self) -> u64 {
        match self {
            Self::Link(from, to) => u64::from(from.0) << 32 | u64::from(to.0),
            Self::Deadline(node) => u64::from(node.0) << 32 | u64::from(node.0),
        }
    }
}

impl NodeId {
    #[doc(hidden)]
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// Where the node is.
    fn addr(self) -> SocketAddr {
        let [high, low] = self.0.to_be_bytes();
        SocketAddr::from(([10, 0, high, low], PORT))
    }
}

/// This many milliseconds.
pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// This many seconds.
pub const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}
