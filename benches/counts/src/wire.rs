//! Machines on a wire without sockets, driven as the event loop of the driver drives them.

use std::{
    mem,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use quicpool_core::{
    Action, Config, ConnectionStatus, Credentials, Datagram, Event, Identity, Incarnation, Manager,
    Message, PeerAddr, PeerId, Transmit,
    driver::{BatchLimits, OpenBatch, TakenMessages},
};
use quicpool_sim::{Checksum, SeededTls};
use rustls::{pki_types::UnixTime, time_provider::TimeProvider};

/// From one turn to the next, which is also how long a datagram is on its way. A turn of a busy event
/// loop takes about as long.
const TURN: Duration = Duration::from_micros(100);

/// Datagrams that one transmit may carry on Linux.
const SEGMENTS_MAX: usize = 64;

/// Messages that are read at a time, as by the driver.
const MESSAGES_PER_READ: usize = 256;

/// Turns until something has to happen: far more than any work needs.
const TURNS_MAX: usize = 10_000_000;

/// Time after which the path's MTU is known and nothing of the handshake is left to do.
pub(crate) const SETTLED: Duration = Duration::from_secs(1);

/// Longer than the 5 ms that an acknowledgement may wait for company and the 25 ms that QUIC's own may
/// wait, so that nothing of one message is left for the next.
pub(crate) const QUIET: Duration = Duration::from_millis(40);

/// The message where its length does not matter.
pub(crate) const MESSAGE: [u8; 64] = [7; 64];

const PORT: u16 = 4433;

/// The cryptography of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// The TLS of production, with randomness from a seed.
    Tls,
    /// Checksums: a thousand handshakes take no time.
    Checksum,
}

/// A machine, and what its event loop would hold for it.
pub(crate) struct Node {
    pub(crate) manager: Manager,
    address: SocketAddr,
    /// Messages for one peer that other threads have staged.
    staged: OpenBatch,
    staged_for: PeerId,
    inbound: Vec<Datagram>,
    outbound: Vec<(SocketAddr, Datagram)>,
    packets: Vec<u8>,
    /// Peers with messages to read.
    readable: Vec<PeerId>,
    messages: Vec<Message>,
    /// Messages that were read and not yet marked as taken.
    taken: Vec<TakenMessages>,
    /// Messages received, and their bytes.
    pub(crate) received: usize,
    pub(crate) received_bytes: usize,
    /// Whether everything before a flush was taken.
    pub(crate) flushed: bool,
}

/// Nodes, and the time. What is sent in one turn arrives in the next.
pub(crate) struct Wire {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
}

impl Node {
    /// A machine with this number, which decides its identity, its address and its randomness.
    pub(crate) fn new(number: u32, sessions: Sessions, config: Config, now: Instant) -> Self {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        let staged = OpenBatch::new(BatchLimits::of(&config));
        let incarnation = Incarnation {
            started_ms: 0,
            random: number.into(),
        };
        let credentials = credentials(sessions, seed);
        let manager = Manager::new(config, credentials, incarnation, seed, now);
        let mut manager = manager.expect("invariant: the configuration of a work is valid");
        manager.driver().set_segments_max(SEGMENTS_MAX);
        Self {
            staged_for: manager.local_id(),
            manager,
            address: address(number),
            staged,
            inbound: Vec::new(),
            outbound: Vec::new(),
            packets: Vec::new(),
            readable: Vec::new(),
            messages: Vec::with_capacity(MESSAGES_PER_READ),
            taken: Vec::new(),
            received: 0,
            received_bytes: 0,
            flushed: false,
        }
    }

    pub(crate) fn peer_addr(&self) -> PeerAddr {
        PeerAddr::new(self.manager.local_id(), self.address)
    }

    /// Stages a message for a peer, as a handle does, if the peer's outbox has room for it.
    pub(crate) fn stage(&mut self, now: Instant, peer: PeerId, message: &[u8], room: &mut usize) {
        let cost = OpenBatch::cost(message.len());
        if let Some(left) = room.checked_sub(cost) {
            *room = left;
            self.staged_for = peer;
            self.staged.append(now, message);
        }
    }

    /// Messages that wait for the next turn.
    pub(crate) const fn staged(&self) -> usize {
        self.staged.messages()
    }

    /// One turn of the event loop: what has come, then what follows from it, then messages.
    pub(crate) fn turn(&mut self, now: Instant) {
        self.take_orders(now);
        for datagram in self.inbound.drain(..) {
            self.manager.handle_datagram(now, datagram);
        }
        let due = self.manager.poll_timeout();
        if due.is_some_and(|deadline| deadline.at <= now) {
            self.manager.handle_timeout(now);
        }
        self.act(now);
        self.hand_out(now);
    }

    fn take_orders(&mut self, now: Instant) {
        if !self.staged.is_empty() {
            self.manager
                .driver()
                .handle_staged(now, self.staged_for, &mut self.staged);
        }
        for taken in self.taken.drain(..) {
            let marked = self.manager.driver().mark_taken(now, &taken);
            marked.expect("a known peer");
        }
    }

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.manager.poll_action(now, &mut self.packets) {
            match action {
                Action::Notify(Event::Readable { peer }) => self.readable.push(peer),
                Action::Notify(Event::Flushed { result, .. }) => {
                    self.flushed = true;
                    assert_eq!(result, Ok(()), "a flush has failed");
                }
                Action::Notify(_) => {}
                Action::Transmit(transmit) => self.transmit(&transmit),
            }
        }
    }

    /// Copies a transmit in one piece and cuts it, as the driver does with what it receives.
    fn transmit(&mut self, transmit: &Transmit) {
        let mut rest = BytesMut::from(&self.packets[..transmit.size]);
        let stride = transmit.segment_size.unwrap_or(transmit.size);
        while !rest.is_empty() {
            let datagram = Datagram {
                remote: self.address,
                local_ip: None,
                ecn: transmit.ecn,
                payload: rest.split_to(stride.min(rest.len())),
            };
            self.outbound.push((transmit.destination, datagram));
        }
    }

    fn hand_out(&mut self, now: Instant) {
        while let Some(&peer) = self.readable.last() {
            let count = self
                .manager
                .receive_held(now, peer, MESSAGES_PER_READ, &mut self.messages)
                .expect("a known peer");
            if count < MESSAGES_PER_READ {
                self.readable.pop();
            }
            self.taken.extend(TakenMessages::of(&self.messages));
            self.received += count;
            let lengths = self.messages.drain(..).map(|message| message.payload.len());
            self.received_bytes += lengths.sum::<usize>();
        }
    }

    fn is_busy(&self, now: Instant) -> bool {
        let due = self.manager.poll_timeout();
        !self.inbound.is_empty()
            || !self.staged.is_empty()
            || !self.taken.is_empty()
            || due.is_some_and(|deadline| deadline.at <= now)
    }
}

impl Wire {
    /// A wire without nodes.
    pub(crate) fn new() -> Self {
        Self {
            // An `Instant` cannot be made from a number; only differences count.
            now: Instant::now(),
            nodes: Vec::new(),
        }
    }

    /// Two nodes, with numbers from `first` on. The first one knows where the other is.
    pub(crate) fn pair(first: u32, sessions: Sessions, config: &Config) -> Self {
        let mut wire = Self::new();
        for number in [first, first + 1] {
            wire.add(Node::new(number, sessions, config.clone(), wire.now));
        }
        let (now, to) = (wire.now, wire.nodes[1].peer_addr());
        let added = wire.nodes[0].manager.add_address(now, to);
        added.expect("invariant: a new machine takes an address");
        wire
    }

    pub(crate) fn add(&mut self, node: Node) {
        self.nodes.push(node);
    }

    /// The id of a node.
    pub(crate) fn id(&self, node: usize) -> PeerId {
        self.nodes[node].manager.local_id()
    }

    /// Two nodes that are connected and have nothing to do.
    pub(crate) fn connected_pair(sessions: Sessions, config: &Config) -> Self {
        let mut wire = Self::pair(1, sessions, config);
        wire.connect(0, 1);
        wire.run_until("two machines are connected", |wire| {
            wire.are_connected(0, 1)
        });
        wire.run_for(SETTLED);
        wire
    }

    /// Lets a node dial another.
    pub(crate) fn connect(&mut self, from: usize, to: usize) {
        let (now, peer) = (self.now, self.id(to));
        let dialled = self.nodes[from].manager.connect(now, peer);
        dialled.expect("invariant: the peer has an address");
    }

    pub(crate) fn are_connected(&self, a: usize, b: usize) -> bool {
        let connected = |from: usize, to: usize| {
            self.nodes[from].manager.status(self.id(to)) == Some(ConnectionStatus::Connected)
        };
        connected(a, b) && connected(b, a)
    }

    /// A turn of every node that has something to do, and what they send on its way.
    pub(crate) fn turn(&mut self) {
        let now = self.now;
        for node in &mut self.nodes {
            if node.is_busy(now) {
                node.turn(now);
            }
        }
        self.pass();
    }

    /// Delivers what the nodes have sent, and lets time pass. What is for none of them is lost.
    pub(crate) fn pass(&mut self) {
        self.now += TURN;
        for from in 0..self.nodes.len() {
            for (to, datagram) in mem::take(&mut self.nodes[from].outbound) {
                let receiver = self.nodes.iter_mut().find(|node| node.address == to);
                if let Some(receiver) = receiver {
                    receiver.inbound.push(datagram);
                }
            }
        }
    }

    /// Turns until something holds.
    pub(crate) fn run_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..TURNS_MAX {
            if holds(self) {
                return;
            }
            self.sleep(self.now + SETTLED);
            self.turn();
        }
        panic!("it does not come to this: {what}");
    }

    /// Turns until nothing is due within `time`.
    pub(crate) fn settle(&mut self, time: Duration) {
        while self.next_due().is_some_and(|at| at < self.now + time) {
            self.sleep(self.now + time);
            self.turn();
        }
    }

    /// Turns for `time`.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.sleep(end);
            self.turn();
        }
    }

    /// Moves the time to when a node has something to do, but not beyond `end`.
    fn sleep(&mut self, end: Instant) {
        let due = self.next_due().unwrap_or(end);
        self.now = due.min(end).max(self.now);
    }

    fn next_due(&self) -> Option<Instant> {
        let due = |node: &Node| match node.is_busy(self.now) {
            true => Some(self.now),
            false => node.manager.poll_timeout().map(|deadline| deadline.at),
        };
        self.nodes.iter().filter_map(due).min()
    }
}

fn credentials(sessions: Sessions, seed: [u8; 32]) -> Arc<dyn Credentials> {
    /// Of all sessions: identities differ, and so do their draws.
    const SESSIONS_SEED: u64 = 1;
    match sessions {
        Sessions::Tls => {
            let identity = Identity::from_seed(&seed);
            Arc::new(SeededTls::new(&identity, SESSIONS_SEED, Arc::new(Noon)))
        }
        Sessions::Checksum => Arc::new(Checksum::new(PeerId::from_bytes(seed), SESSIONS_SEED)),
    }
}

/// 10.0.0.0 and the number.
fn address(number: u32) -> SocketAddr {
    let [_, b, c, d] = number.to_be_bytes();
    (Ipv4Addr::new(10, b, c, d), PORT).into()
}

/// A wall clock that stands still.
#[derive(Debug)]
struct Noon;

impl TimeProvider for Noon {
    fn current_time(&self) -> Option<UnixTime> {
        /// Some day in 2026.
        const NOON: Duration = Duration::from_secs(1_780_000_000);
        Some(UnixTime::since_unix_epoch(NOON))
    }
}
