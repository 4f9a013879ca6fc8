//! Faults of one direction of a path, as plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration;

/// How a link treats datagrams. Probabilities are from 0 to 1.
///
/// A link is a row of stages, and each of them does one thing. In the order in which a datagram
/// meets them: [`first`](Self::first), [`loss`](Self::loss), [`burst`](Self::burst), a cut,
/// [`mtu`](Self::mtu) and [`black_hole`](Self::black_hole), [`duplicate`](Self::duplicate),
/// [`corrupt`](Self::corrupt), [`rate`](Self::rate), [`delay`](Self::delay),
/// [`reorder`](Self::reorder), a clog, and the cut again.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Faults {
    /// How many of the first datagrams of a kind are lost. Default: none.
    pub first: FirstLost,
    /// How often a datagram is lost, whatever has become of its predecessors.
    pub loss: f64,
    /// Loss that comes in bursts.
    pub burst: Option<Burst>,
    /// The longest datagram that passes, in bytes. Default 1,472: Ethernet with IPv4.
    pub mtu: usize,
    /// A time in which only shorter ones do.
    pub black_hole: Option<BlackHole>,
    /// How often a datagram arrives more than once.
    pub duplicate: f64,
    /// How many copies are made of such a datagram at most. Default 1.
    pub duplicate_max: u8,
    /// How often a datagram arrives with a flipped bit, or cut short.
    pub corrupt: f64,
    /// How fast bytes leave, and what happens to those that wait. Default: at once.
    pub rate: Option<Rate>,
    /// How long a datagram travels. Default 10 ms.
    pub delay: Delay,
    /// Whether delays that differ let datagrams overtake each other. Default: they do not.
    pub order: Order,
    /// How often a datagram travels for longer, so that others overtake it.
    pub reorder: f64,
    /// How much longer at most.
    pub reorder_extra: Duration,
}

/// How many of the first datagrams of a kind are lost, counted from when this was set.
///
/// A datagram is of each kind of which it holds a packet (RFC 9000, section 17).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FirstLost {
    /// Of those with an Initial packet.
    pub initial: u32,
    /// Of those with a Handshake packet.
    pub handshake: u32,
    /// Of those with a 1-RTT packet.
    pub one_rtt: u32,
}

/// Loss in bursts, after Gilbert and Elliott: a link is good or bad, and turns at random with each
/// datagram. It begins good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// How often a good link turns bad (`p`).
    pub to_bad: f64,
    /// How often a bad link turns good (`r`). A burst lasts for `1 / r` datagrams on average.
    pub to_good: f64,
    /// How often a datagram is lost while the link is bad.
    pub loss: f64,
}

/// A time in which a link swallows long datagrams without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlackHole {
    /// The longest datagram that passes, in bytes.
    pub mtu: usize,
    /// When it begins, counted from the beginning of the run.
    pub from: Duration,
    /// When it ends.
    pub until: Duration,
}

/// How fast bytes leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bytes per second, headers of IP and UDP included.
    pub bytes_per_second: u64,
    /// How much waits. What comes to a full queue is lost.
    pub queue: Queue,
    /// When more waits than this, in the unit of the queue, datagrams that can carry a mark for
    /// congestion get one (CE, RFC 3168).
    pub mark_above: Option<u64>,
}

/// The length of a queue; the datagram that is leaving is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// In bytes, headers of IP and UDP included.
    Bytes(u64),
    /// In datagrams.
    Packets(u64),
}

/// How long datagrams travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Delay {
    /// All for this long.
    Constant(#[serde(with = "duration")] Duration),
    /// At least `from`, and less than `to`.
    Uniform {
        /// The shortest.
        #[serde(with = "duration")]
        from: Duration,
        /// The longest.
        #[serde(with = "duration")]
        to: Duration,
    },
    /// About `mean`, two in three within one `deviation`; never below zero.
    Normal {
        /// In the middle.
        #[serde(with = "duration")]
        mean: Duration,
        /// The standard deviation.
        #[serde(with = "duration")]
        deviation: Duration,
    },
}

/// The effect of different delays on the order of datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing: a datagram that would arrive too early waits for its predecessor.
    Kept,
    /// The shorter delay arrives first.
    Free,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            first: FirstLost::default(),
            loss: 0.0,
            burst: None,
            mtu: 1_472,
            black_hole: None,
            duplicate: 0.0,
            duplicate_max: 1,
            corrupt: 0.0,
            rate: None,
            delay: Delay::Constant(Duration::from_millis(10)),
            order: Order::Kept,
            reorder: 0.0,
            reorder_extra: Duration::ZERO,
        }
    }
}

impl Faults {
    /// Ends all that loses, copies, damages or reorders. What the path is like stays: MTU, rate and
    /// delay.
    #[doc(hidden)]
    pub fn calm(&mut self) {
        *self = Self {
            mtu: self.mtu,
            rate: self.rate,
            delay: self.delay,
            order: self.order,
            ..Self::default()
        };
    }
}
