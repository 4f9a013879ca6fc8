//! The loads of either stack.

use std::time::Duration;

use bytes::Bytes;
use quicpool_core::Config;
use quinn_proto::ConnectionHandle;

use super::{Stack, Subject, bare::Bare};
use crate::{Delay, Net, NodeId, Order, ms, secs};

/// One way.
const LATENCY: Duration = ms(20);
/// A handshake is four of those.
const HANDSHAKE: Duration = ms(100);
/// Three probe timeouts (RFC 9000 section 10.2) at this latency, generously.
const DRAIN: Duration = secs(1);

/// The length of a message, in bytes.
const MESSAGE_LEN: u64 = 256;
/// What the bare sender writes at a time, as long as the longest batch: the larger, the faster it is.
const CHUNK_LEN: usize = 64 * 1024;
/// How often a sender looks whether there is room: it never runs dry meanwhile.
const LOOK: Duration = ms(5);
/// Long after everything has arrived.
const TRANSFER_MAX: Duration = secs(100_000);

/// The time between keep-alives of idle connections is a third of this.
const IDLE_LIVENESS: Duration = secs(30);

/// What the links do to messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weather {
    /// 20 ms, and no faults.
    Clean,
    /// 20 to 23 ms, in any order; 2 % are lost, 0.5 % come twice, and 0.5 % are damaged.
    Lossy,
}

impl Weather {
    fn apply(self, net: &mut Net) {
        match self {
            Self::Clean => {}
            Self::Lossy => net.faults(|faults| {
                faults.loss = 0.02;
                faults.delay = Delay::Uniform {
                    from: LATENCY,
                    to: LATENCY + ms(3),
                };
                faults.order = Order::Free;
                faults.duplicate = 0.005;
                faults.corrupt = 0.005;
            }),
        }
    }
}

/// Two nodes of a stack.
struct Pair {
    net: Net,
    stack: Stack,
    a: NodeId,
    b: NodeId,
    /// The connection of a bare pair.
    handle: ConnectionHandle,
}

impl Pair {
    fn new(subject: Subject) -> Self {
        let (mut net, stack) = (network(subject), subject.stack);
        let (a, b) = (
            add(&mut net, stack, stack.config()),
            add(&mut net, stack, stack.config()),
        );
        if stack != Stack::Bare {
            net.introduce(a, b);
        }
        let handle = ConnectionHandle(0);
        Self {
            net,
            stack,
            a,
            b,
            handle,
        }
    }

    /// Connects, until both ends know that it is done.
    fn connect(&mut self) {
        match self.stack {
            Stack::Bare => self.handle = dial(&mut self.net, self.a, self.b),
            Stack::Plain | Stack::Sealed => self.net.connect(self.a, self.b),
        }
        self.net.advance(HANDSHAKE);
        let connected = match self.stack {
            Stack::Bare => self
                .net
                .machine_as::<Bare>(self.a)
                .is_confirmed(self.handle),
            Stack::Plain | Stack::Sealed => self.net.are_connected(self.a, self.b),
        };
        assert!(connected, "the handshake is not done in time");
    }

    /// Closes, until both ends have forgotten the connection.
    fn disconnect(&mut self) {
        let handle = self.handle;
        match self.stack {
            Stack::Bare => self
                .net
                .with_machine_as(self.a, |bare: &mut Bare, now| bare.close(now, handle)),
            Stack::Plain | Stack::Sealed => self.net.disconnect(self.a, self.b),
        }
        self.net.advance(DRAIN);
        for node in [self.a, self.b] {
            let connections = match self.stack {
                Stack::Bare => self.net.machine_as::<Bare>(node).connections(),
                Stack::Plain | Stack::Sealed => {
                    let held = self.net.occupancy(node);
                    held.map_or(0, |held| held.connections)
                }
            };
            assert_eq!(connections, 0, "the connection is not drained in time");
        }
    }

    /// Offers messages of up to so many bytes, and returns how many bytes were accepted.
    fn offer(&mut self, chunk: &Bytes, bytes_max: u64) -> u64 {
        let (peer, handle) = (self.net.peer_id(self.b), self.handle);
        match self.stack {
            Stack::Bare => self.net.with_machine_as(self.a, |bare: &mut Bare, now| {
                bare.write(now, handle, chunk, bytes_max)
            }),
            Stack::Plain | Stack::Sealed => self.net.with(self.a, |machine, now| {
                let message = &chunk[..MESSAGE_LEN as usize];
                let mut send = || machine.send(now, peer, message).is_ok();
                let sent = (0..bytes_max / MESSAGE_LEN).take_while(|_| send());
                sent.count() as u64 * MESSAGE_LEN
            }),
        }
    }

    /// Bytes of messages that have arrived since this was last asked.
    fn take(&mut self) -> u64 {
        match self.stack {
            Stack::Bare => self
                .net
                .with_machine_as(self.b, |bare: &mut Bare, _| bare.take_received()),
            Stack::Plain | Stack::Sealed => self.net.received(self.b).len() as u64 * MESSAGE_LEN,
        }
    }
}

/// Connects, closes and drains so many times, one after the other, on a clean link. Returns the hash
/// of all that was sent.
///
/// ```
/// use quicpool_lab::bench::{Stack, Subject, handshakes};
/// use quicpool_sim::Crypto;
///
/// let subject = Subject { crypto: Crypto::Checksum, stack: Stack::Plain };
/// assert_eq!(handshakes(subject, 2), handshakes(subject, 2));
/// ```
pub fn handshakes(subject: Subject, count: u64) -> u128 {
    let mut pair = Pair::new(subject);
    for _ in 0..count {
        pair.connect();
        pair.disconnect();
    }
    pair.net.hash()
}

/// Moves so many messages of 256 B one way, over one connection. Returns the hash of all that was
/// sent.
///
/// # Panics
///
/// If they do not arrive.
pub fn messages(subject: Subject, weather: Weather, count: u64) -> u128 {
    let mut pair = Pair::new(subject);
    pair.connect();
    weather.apply(&mut pair.net);
    let chunk = Bytes::from(vec![7; CHUNK_LEN]);
    let bytes = count * MESSAGE_LEN;
    let (mut sent, mut arrived) = (0, 0);
    while arrived < bytes {
        sent += pair.offer(&chunk, bytes - sent);
        pair.net.advance(LOOK);
        arrived += pair.take();
        assert!(pair.net.now() < TRANSFER_MAX, "messages do not arrive");
    }
    pair.net.hash()
}

/// Many connections on which nothing happens but keep-alives, every 10 s.
///
/// Half of the nodes have dialled each of the others once.
pub struct Idle {
    net: Net,
    stack: Stack,
    side: u16,
}

impl Idle {
    /// A network with `side * side` connections between `2 * side` nodes.
    ///
    /// # Panics
    ///
    /// If they do not come about.
    #[must_use]
    pub fn new(subject: Subject, side: u16) -> Self {
        let (net, stack) = (network(subject), subject.stack);
        let mut idle = Self { net, stack, side };
        let (dialling, listening) = (idle.add_row(), idle.add_row());
        for b in listening {
            for a in &dialling {
                idle.dial(*a, b);
            }
            // Handshakes take turns, so that their peak does not count as memory of idle ones.
            idle.advance(HANDSHAKE);
        }
        idle.assert_connected();
        idle
    }

    fn add_row(&mut self) -> Vec<NodeId> {
        let side = usize::from(self.side);
        let mut config = self.stack.config();
        config.liveness_timeout = IDLE_LIVENESS;
        // A row dials at once, and no address has to be proved.
        config.handshakes_max = 2 * side + 1;
        config.connections_max = 2 * side;
        let mut add = || add(&mut self.net, self.stack, config.clone());
        (0..side).map(|_| add()).collect()
    }

    fn dial(&mut self, a: NodeId, b: NodeId) {
        match self.stack {
            Stack::Bare => {
                dial(&mut self.net, a, b);
            }
            Stack::Plain | Stack::Sealed => {
                self.net.introduce_one_way(a, b);
                self.net.connect(a, b);
            }
        }
    }

    fn assert_connected(&self) {
        for node in self.net.ids() {
            let connected = match self.stack {
                Stack::Bare => self.net.machine_as::<Bare>(node).connections(),
                Stack::Plain | Stack::Sealed => {
                    let metrics = self.net.metrics(node);
                    metrics.map_or(0, |metrics| metrics.connections)
                }
            };
            let side = usize::from(self.side);
            assert_eq!(connected, side, "not all of {node} are connected");
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, time: Duration) {
        self.net.advance(time);
    }

    /// How many there are.
    #[must_use]
    pub fn connections(&self) -> u64 {
        u64::from(self.side).pow(2)
    }
}

/// A network without nodes.
fn network(subject: Subject) -> Net {
    Net::new(1).latency(LATENCY).crypto(subject.crypto)
}

fn add(net: &mut Net, stack: Stack, config: Config) -> NodeId {
    match stack {
        Stack::Bare => net.node_running(config, Bare::machine),
        Stack::Plain | Stack::Sealed => net.node(config),
    }
}

fn dial(net: &mut Net, from: NodeId, to: NodeId) -> ConnectionHandle {
    let (peer, address) = (net.peer_id(to), net.addr(to));
    net.with_machine_as(from, |bare: &mut Bare, now| {
        bare.connect(now, peer, address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Crypto;

    #[test]
    fn every_subject_does_its_work_and_does_it_again() {
        for subject in subjects() {
            assert_eq!(handshakes(subject, 3), handshakes(subject, 3));
            for weather in [Weather::Clean, Weather::Lossy] {
                let run = || messages(subject, weather, 5_000);
                assert_eq!(run(), run(), "{subject:?}, {weather:?}");
            }
        }
    }

    #[test]
    fn subjects_differ_on_the_wire() {
        let hashes: Vec<u128> = subjects()
            .map(|subject| messages(subject, Weather::Clean, 1_000))
            .collect();
        for (n, hash) in hashes.iter().enumerate() {
            assert!(
                !hashes[..n].contains(hash),
                "the {n}th is like an earlier one"
            );
        }
    }

    #[test]
    fn idle_connections_stay() {
        for subject in subjects() {
            let mut idle = Idle::new(subject, 3);
            assert_eq!(idle.connections(), 9);
            let before = idle.net.hash();
            idle.advance(secs(60));
            assert_ne!(idle.net.hash(), before, "there are keep-alives");
            idle.assert_connected();
        }
    }

    fn subjects() -> impl Iterator<Item = Subject> {
        let of = |crypto: &Crypto| {
            let crypto = *crypto;
            Stack::ALL.map(|stack| Subject { crypto, stack })
        };
        Crypto::ALL.iter().flat_map(of)
    }
}
