//! A recording, as plain data. All times are counted from the beginning of the run.

use std::{fmt, net::SocketAddr, time::Duration};

use quicpool_core::{EcnCodepoint, Event, PeerId};

use super::packets::PacketRecord;
use crate::NodeId;

/// The record of a run.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Recording {
    /// The heading of the page and the chart, such as `seed 17`.
    pub title: String,
    /// All nodes, in the order they were added.
    #[doc(hidden)]
    pub nodes: Vec<NodeRecord>,
    /// All datagrams, copies included, in the order in which they left.
    #[doc(hidden)]
    pub datagrams: Vec<DatagramRecord>,
    /// Events and verbs of the nodes, in order.
    #[doc(hidden)]
    pub moments: Vec<Moment>,
    /// The faults around them, in the order in which they began.
    #[doc(hidden)]
    pub faults: Vec<FaultRecord>,
    /// Properties that did not hold.
    #[doc(hidden)]
    pub alerts: Vec<Alert>,
    /// When the recording ends.
    #[doc(hidden)]
    pub ended: Duration,
    /// Datagrams beyond those that a recording holds.
    #[doc(hidden)]
    pub unrecorded: u64,
}

/// The name, identity and address of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeRecord {
    /// Its name in the network.
    pub node: NodeId,
    /// Its identity.
    pub peer: PeerId,
    /// Where it was first.
    pub addr: SocketAddr,
}

/// A datagram, or a copy of one that the network has made.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DatagramRecord {
    /// When it left.
    pub at: Duration,
    /// Whence.
    pub from: Place,
    /// Whither.
    pub to: Place,
    /// From which address.
    pub source: SocketAddr,
    /// To which address.
    pub destination: SocketAddr,
    /// Its bytes, as it left.
    pub length: usize,
    /// Its congestion mark, as it left (RFC 3168).
    pub ecn: Option<EcnCodepoint>,
    /// Its QUIC packets.
    pub packets: Vec<PacketRecord>,
    /// Of which datagram it is a copy, by its place in [`Recording::datagrams`].
    pub copy_of: Option<usize>,
    /// Faults that it met on its way.
    pub flags: Flags,
    /// Its fate; `None` if it was under way when the recording ended.
    pub end: Option<End>,
}

/// One end of a datagram's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A node of the network.
    Node(NodeId),
    /// An address where no node is.
    Outside(SocketAddr),
}

/// Faults that a datagram met on its way, whatever its fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flags {
    /// The network has made copies of it.
    pub duplicated: bool,
    /// A bit is flipped, or its end is cut off.
    pub damaged: bool,
    /// It was marked for congestion (CE, RFC 3168).
    pub marked: bool,
    /// It was held up, so that others could overtake it.
    pub reordered: bool,
    /// It was stuck in a clog.
    pub clogged: bool,
    /// It waited in the socket of a paused process.
    pub waited: bool,
}

/// The end of a datagram's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: Duration,
    /// How.
    pub fate: Fate,
}

/// The fate of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// A process has it.
    Delivered,
    /// Lost by a stage of the link that loses at random or by plan: `first`, `loss` or `burst`.
    Lost(&'static str),
    /// Longer than the path takes.
    TooLong,
    /// Came to a full queue.
    QueueFull,
    /// The link was cut.
    Cut,
    /// Its receiver has moved to another port.
    Outdated,
    /// The process was paused, and its socket had no room for more.
    NoRoom,
    /// The process was down when it came, or died while it waited in the socket.
    NobodyHome,
    /// No node is at its destination.
    Astray,
}

/// An event or a verb of a node, or a start or crash of its process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moment {
    /// When.
    pub at: Duration,
    /// Which node.
    pub node: NodeId,
    /// The other node that it is about, if it is about one.
    pub about: Option<NodeId>,
    /// What.
    pub what: What,
}

/// What happened at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A process has started. It knows no peer.
    Started,
    /// It has ended without a word.
    Crashed,
    /// The machine has reported an event to the application.
    Event(Event),
    /// The application has sent messages, one after the other at one instant.
    Sent {
        /// How many.
        messages: u64,
        /// Their bytes together.
        bytes: u64,
    },
    /// The application has taken messages.
    Took {
        /// How many.
        messages: u64,
        /// Their bytes together.
        bytes: u64,
    },
    /// The application has asked for something else.
    Asked(&'static str),
    /// The application has asked for something, and was refused.
    Refused {
        /// The verb.
        verb: &'static str,
        /// Why not.
        why: String,
    },
}

/// A time in which something was wrong, or the moment at which something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultRecord {
    /// Its kind: `cut`, `clog`, `loss`, `down`, `paused`, `rebind` and others.
    pub family: &'static str,
    /// Where.
    pub scope: Scope,
    /// Since when.
    pub from: Duration,
    /// Until when: the same as `from` for what takes no time, and `None` for what goes on when the
    /// recording ends.
    pub until: Option<Duration>,
    /// More about it, such as `3 %`; may be empty.
    pub detail: String,
}

/// Where something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// On all links.
    Everywhere,
    /// On the way from one node to another.
    OneWay(NodeId, NodeId),
    /// Both ways between two nodes.
    Between(NodeId, NodeId),
    /// At one node.
    Node(NodeId),
}

/// Something that must hold and did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// When it was noticed.
    pub at: Duration,
    /// Which property.
    pub property: String,
    /// What was seen.
    pub what: String,
}

impl Fate {
    /// All that there are.
    pub const ALL: [Self; 11] = [
        Self::Delivered,
        Self::Lost("first"),
        Self::Lost("loss"),
        Self::Lost("burst"),
        Self::TooLong,
        Self::QueueFull,
        Self::Cut,
        Self::Outdated,
        Self::NoRoom,
        Self::NobodyHome,
        Self::Astray,
    ];

    /// Returns the fate of the datagrams that the stage of a link with this name drops.
    pub(super) fn of_stage(stage: &'static str) -> Self {
        match stage {
            "mtu" => Self::TooLong,
            "rate" => Self::QueueFull,
            "cut" => Self::Cut,
            stage => Self::Lost(stage),
        }
    }

    /// In one word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Lost(stage) => stage,
            Self::TooLong => "too long",
            Self::QueueFull => "queue full",
            Self::Cut => "cut",
            Self::Outdated => "outdated address",
            Self::NoRoom => "no room",
            Self::NobodyHome => "nobody home",
            Self::Astray => "astray",
        }
    }

    /// In a sentence.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Delivered => "a process has it",
            Self::Lost("first") => "lost as one of the first of its kind",
            Self::Lost("loss") => "lost at random",
            Self::Lost("burst") => "lost in a burst",
            Self::Lost(_) => "lost on the way",
            Self::TooLong => "longer than the path takes",
            Self::QueueFull => "came to a full queue",
            Self::Cut => "the link was cut",
            Self::Outdated => "its receiver has moved to another port",
            Self::NoRoom => "the process was paused and its socket full",
            Self::NobodyHome => "the process was down, or died before it looked",
            Self::Astray => "no node is at its destination",
        }
    }
}

impl Flags {
    /// The names of those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.duplicated, "duplicated"),
            (self.damaged, "damaged"),
            (self.marked, "marked"),
            (self.reordered, "reordered"),
            (self.clogged, "clogged"),
            (self.waited, "waited"),
        ];
        let set = all.into_iter().filter(|(is_set, _)| *is_set);
        set.map(|(_, name)| name)
    }
}

impl FaultRecord {
    /// Whether it takes no time.
    pub fn is_instant(&self) -> bool {
        self.until == Some(self.from)
    }

    /// Returns its name in a picture: `cut n0 → n1`, `loss 3 %`.
    pub fn label(&self) -> String {
        let place = match self.scope {
            Scope::Everywhere => String::new(),
            Scope::OneWay(..) | Scope::Between(..) | Scope::Node(_) => format!(" {}", self.scope),
        };
        let detail = match self.detail.as_str() {
            "" => String::new(),
            detail => format!(" {detail}"),
        };
        format!("{}{place}{detail}", self.family)
    }
}

impl Recording {
    /// The node with this identity; of several, the first.
    pub(super) fn who(&self, peer: PeerId) -> Option<NodeId> {
        let node = self.nodes.iter().find(|node| node.peer == peer)?;
        Some(node.node)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Outside(addr) => addr.fmt(f),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere => f.write_str("everywhere"),
            Self::OneWay(from, to) => write!(f, "{from} → {to}"),
            Self::Between(a, b) => write!(f, "{a} ⇄ {b}"),
            Self::Node(node) => node.fmt(f),
        }
    }
}
