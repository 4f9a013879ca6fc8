//! The operations of a world, as plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{LinkFault, duration};

/// An operation of a world. Nodes are named by their place, from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Operation {
    /// A node sends messages to another.
    Send {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// Bytes of each message.
        lengths: Vec<usize>,
    },
    /// A node sends messages to another, and waits for each until it is taken.
    SendConfirmed {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// Bytes of each message.
        lengths: Vec<usize>,
    },
    /// A node sends messages to another that are worth nothing after a time.
    SendUntil {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// Bytes of each message.
        lengths: Vec<usize>,
        /// How long each is worth something.
        #[serde(with = "duration")]
        lifetime: Duration,
    },
    /// A node takes messages back that it has sent to another.
    Withdraw(Withdrawal),
    /// A node sends datagrams to another, each of which is sent once or not at all.
    SendDatagrams {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// Bytes of each datagram.
        lengths: Vec<usize>,
    },
    /// A node asks for a connection to another.
    Connect(usize, usize),
    /// Two nodes ask for a connection to each other at the same instant.
    ConnectBoth(usize, usize),
    /// A node asks for an event once all that it has sent to another is taken.
    Flush(usize, usize),
    /// A node flushes to another, and then all callers of its flushes leave.
    LeaveFlush(usize, usize),
    /// A node ends its session with another.
    Disconnect(usize, usize),
    /// A node flushes to all, ends its sessions and ends. Its process may be started again.
    Close {
        /// Which.
        node: usize,
        /// Messages that it sends right before, to each other node.
        last_words: usize,
    },
    /// A node ends its sessions and ends, as if its application had dropped its last handle.
    Abort(usize),
    /// Nothing passes between two nodes.
    Cut(usize, usize),
    /// Nothing passes from one node to another.
    CutOneWay(usize, usize),
    /// All cuts end.
    Heal,
    /// Links do something to datagrams from here on, besides what else they do.
    Link {
        /// Which links.
        on: Where,
        /// What they do.
        fault: LinkFault,
    },
    /// Everything from one node to another is held for a time, and then arrives at once.
    Clog {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// How long.
        #[serde(with = "duration")]
        time: Duration,
    },
    /// A node moves to another port without noticing, as behind a NAT.
    Rebind(usize),
    /// A node moves to another port. The others that are up get its address, unless it is hidden.
    Move(usize),
    /// A node's process stands still for a time.
    Freeze {
        /// Which.
        node: usize,
        /// How long.
        #[serde(with = "duration")]
        time: Duration,
    },
    /// A node's socket takes nothing for a time.
    BlockSocket {
        /// Which.
        node: usize,
        /// How long.
        #[serde(with = "duration")]
        time: Duration,
    },
    /// A node's process dies without a word.
    Crash(usize),
    /// It is started again, with the same identity at the same address.
    Restart(usize),
    /// A node's process dies, and is started again with a wall clock that is wrong. A clock that
    /// was further ahead before has stepped back.
    StepClock {
        /// Which.
        node: usize,
        /// How far its clock is ahead.
        #[serde(with = "duration")]
        ahead: Duration,
    },
    /// A node's application takes no messages.
    PauseReader(usize),
    /// It takes so many more, of all others together, and then none.
    ReadUpTo {
        /// Which.
        node: usize,
        /// How many.
        messages: usize,
    },
    /// It takes them again.
    ResumeReader(usize),
}

/// Messages that are taken back, all at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// Bytes of each message that is sent right before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lengths: Vec<usize>,
    /// How many newer messages are not taken back.
    pub behind: usize,
    /// How many are, the newest first.
    pub count: usize,
    /// When they are.
    pub when: When,
}

/// When messages are taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At once.
    Now,
    /// Once another connection is there.
    Reconnected,
}

/// Which links something happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Where {
    /// All of them, in both directions.
    Everywhere,
    /// The one from a node to another, and not the way back.
    Link(usize, usize),
}

impl Operation {
    /// Its name, for counts.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::SendConfirmed { .. } => "send_confirmed",
            Self::SendUntil { .. } => "send_until",
            Self::Withdraw(_) => "withdraw",
            Self::SendDatagrams { .. } => "send_datagrams",
            Self::Connect(..) => "connect",
            Self::ConnectBoth(..) => "connect_both",
            Self::Flush(..) => "flush",
            Self::LeaveFlush(..) => "leave_flush",
            Self::Disconnect(..) => "disconnect",
            Self::Close { .. } => "close",
            Self::Abort(_) => "abort",
            Self::Cut(..) => "cut",
            Self::CutOneWay(..) => "cut_one_way",
            Self::Heal => "heal",
            Self::Link { fault, .. } => fault.name(),
            Self::Clog { .. } => "clog",
            Self::Rebind(_) => "rebind",
            Self::Move(_) => "move",
            Self::Freeze { .. } => "freeze",
            Self::BlockSocket { .. } => "block_socket",
            Self::Crash(_) => "crash",
            Self::Restart(_) => "restart",
            Self::StepClock { .. } => "step_clock",
            Self::PauseReader(_) => "pause_reader",
            Self::ReadUpTo { .. } => "read_up_to",
            Self::ResumeReader(_) => "resume_reader",
        }
    }

    /// The nodes it names.
    pub(super) fn nodes(&self) -> Vec<usize> {
        let mut copy = self.clone();
        copy.nodes_mut().into_iter().map(|node| *node).collect()
    }

    /// The nodes it names, to be renumbered.
    pub(super) fn nodes_mut(&mut self) -> Vec<&mut usize> {
        match self {
            Self::Send { from, to, .. }
            | Self::SendConfirmed { from, to, .. }
            | Self::SendUntil { from, to, .. }
            | Self::Withdraw(Withdrawal { from, to, .. })
            | Self::SendDatagrams { from, to, .. }
            | Self::Clog { from, to, .. } => vec![from, to],
            Self::Connect(a, b)
            | Self::ConnectBoth(a, b)
            | Self::Flush(a, b)
            | Self::LeaveFlush(a, b)
            | Self::Disconnect(a, b)
            | Self::Cut(a, b)
            | Self::CutOneWay(a, b) => vec![a, b],
            Self::Link { on, .. } => on.nodes_mut(),
            Self::Rebind(node)
            | Self::Close { node, .. }
            | Self::Abort(node)
            | Self::Move(node)
            | Self::Crash(node)
            | Self::Restart(node)
            | Self::PauseReader(node)
            | Self::ResumeReader(node)
            | Self::Freeze { node, .. }
            | Self::BlockSocket { node, .. }
            | Self::ReadUpTo { node, .. }
            | Self::StepClock { node, .. } => vec![node],
            Self::Heal => vec![],
        }
    }
}

impl Where {
    fn nodes_mut(&mut self) -> Vec<&mut usize> {
        match self {
            Self::Everywhere => vec![],
            Self::Link(from, to) => vec![from, to],
        }
    }
}
