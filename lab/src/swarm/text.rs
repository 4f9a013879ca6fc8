//! A world as text, for readers.

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use super::{
    Condition, LinkFault, LinkProfile, Operation, Outsider, Scenario, When, Where, Withdrawal,
};
use crate::{Crypto, Delay, duration::text};

impl Display for Scenario {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}, {} nodes, {}",
            self.seed, self.nodes, self.links
        )?;
        if self.crypto != Crypto::default() {
            writeln!(f, "crypto {}", self.crypto)?;
        }
        for node in &self.hidden {
            writeln!(f, "n{node} is hidden")?;
        }
        for node in &self.driven {
            writeln!(f, "n{node} runs in the driver")?;
        }
        writeln!(f, "{}", self.limits)?;
        for own in &self.own_limits {
            writeln!(f, "{own}")?;
        }
        for stranger in &self.strangers {
            writeln!(f, "{stranger}")?;
        }
        let mut at = Duration::ZERO;
        for step in &self.steps {
            writeln!(f, "{:>10.3} s  {}", at.as_secs_f64(), step.operation)?;
            at += step.pause;
        }
        write!(f, "{:>10.3} s  ", at.as_secs_f64())?;
        if self.outsiders.is_empty() {
            return writeln!(f, "all are well again");
        }
        let ill: Vec<String> = self.outsiders.iter().map(Outsider::to_string).collect();
        writeln!(f, "all are well again but {}", ill.join(", "))
    }
}

impl Display for Outsider {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let node = self.node;
        match self.condition {
            Condition::Unhealed => write!(f, "n{node}, which stays as it is"),
            Condition::Crashed => write!(f, "n{node}, which is down"),
            Condition::Frozen => write!(f, "n{node}, which stands still"),
            Condition::CutOff => write!(f, "n{node}, which is cut off"),
            Condition::Deaf => write!(f, "n{node}, which nothing reaches"),
            Condition::Mute => write!(f, "n{node}, of which nothing reaches others"),
            Condition::Lossy(part) => write!(f, "n{node}, whose links lose {}", percent(part)),
        }
    }
}

impl Display for LinkProfile {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Delay(Delay::Constant(delay)) => write!(f, "{} apart", text(delay)),
            Self::Delay(Delay::Uniform { from, to }) => {
                write!(f, "{} to {} apart", text(from), text(to))
            }
            Self::Delay(Delay::Normal { mean, deviation }) => {
                write!(
                    f,
                    "about {} apart, give or take {}",
                    text(mean),
                    text(deviation)
                )
            }
            Self::Lan => f.write_str("links as in a LAN"),
            Self::Dsl => f.write_str("links as of DSL"),
            Self::Lte => f.write_str("links as of LTE"),
            Self::Satellite => f.write_str("links as by satellite"),
            Self::WifiFade => f.write_str("links as of fading Wi-Fi"),
            Self::Datacenter => f.write_str("links as in a data centre"),
        }
    }
}

impl Display for Operation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { from, to, lengths } => {
                let (count, bytes) = (lengths.len(), lengths.iter().sum::<usize>());
                write!(f, "n{from} sends n{to} {count} messages, {bytes} B")
            }
            Self::SendConfirmed { from, to, lengths } => {
                let (count, bytes) = (lengths.len(), lengths.iter().sum::<usize>());
                write!(
                    f,
                    "n{from} sends n{to} {count} messages to be confirmed, {bytes} B"
                )
            }
            Self::SendUntil {
                from,
                to,
                lengths,
                lifetime,
            } => {
                let (count, bytes) = (lengths.len(), lengths.iter().sum::<usize>());
                let lifetime = text(*lifetime);
                write!(
                    f,
                    "n{from} sends n{to} {count} messages that live for {lifetime}, {bytes} B"
                )
            }
            Self::Withdraw(withdrawal) => withdrawal.fmt(f),
            Self::SendDatagrams { from, to, lengths } => {
                let (count, bytes) = (lengths.len(), lengths.iter().sum::<usize>());
                write!(f, "n{from} sends n{to} {count} datagrams, {bytes} B")
            }
            Self::Connect(a, b) => write!(f, "n{a} connects to n{b}"),
            Self::ConnectBoth(a, b) => write!(f, "n{a} and n{b} connect to each other at once"),
            Self::Flush(a, b) => write!(f, "n{a} flushes to n{b}"),
            Self::LeaveFlush(a, b) => {
                write!(f, "n{a} flushes to n{b}, and waits for no flush any longer")
            }
            Self::Close { node, last_words } => {
                write!(
                    f,
                    "n{node} sends {last_words} messages to each other, and closes"
                )
            }
            Self::Abort(node) => write!(f, "n{node} drops its last handle"),
            Self::Disconnect(a, b) => write!(f, "n{a} disconnects from n{b}"),
            Self::Cut(a, b) => write!(f, "n{a} and n{b} are cut off from each other"),
            Self::CutOneWay(a, b) => write!(f, "the way from n{a} to n{b} is cut"),
            Self::Heal => f.write_str("all cuts end"),
            Self::Link {
                on,
                fault: LinkFault::None,
            } => write!(f, "{on} as in the beginning"),
            Self::Link { on, fault } => write!(f, "{on} with {fault}"),
            Self::Clog { from, to, time } => {
                write!(
                    f,
                    "the way from n{from} to n{to} is clogged for {}",
                    text(*time)
                )
            }
            Self::Rebind(node) => write!(f, "n{node} is moved to another port unawares"),
            Self::Move(node) => write!(f, "n{node} moves to another port, and tells"),
            Self::Freeze { node, time } => write!(f, "n{node} stands still for {}", text(*time)),
            Self::BlockSocket { node, time } => {
                write!(f, "the socket of n{node} blocks for {}", text(*time))
            }
            Self::Crash(node) => write!(f, "n{node} crashes"),
            Self::Restart(node) => write!(f, "n{node} starts again"),
            Self::StepClock { node, ahead } => write!(
                f,
                "n{node} crashes, and starts again with a clock {} ahead",
                text(*ahead)
            ),
            Self::PauseReader(node) => write!(f, "n{node} reads no more"),
            Self::ReadUpTo { node, messages } => {
                write!(f, "n{node} reads {messages} messages more, and then none")
            }
            Self::ResumeReader(node) => write!(f, "n{node} reads again"),
        }
    }
}

impl Display for Withdrawal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            to,
            lengths,
            behind,
            count,
            when,
        } = self;
        if !lengths.is_empty() {
            let (count, bytes) = (lengths.len(), lengths.iter().sum::<usize>());
            write!(f, "n{from} sends n{to} {count} messages, {bytes} B, and ")?;
        }
        match when {
            When::Now => {}
            When::Reconnected => f.write_str("once reconnected ")?,
        }
        write!(f, "n{from} takes back {count} to n{to}")?;
        match behind {
            0 => Ok(()),
            newer => write!(f, " behind {newer} newer ones"),
        }
    }
}

impl Display for Where {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere => f.write_str("all links"),
            Self::Link(from, to) => write!(f, "the link from n{from} to n{to}"),
        }
    }
}

fn percent(part: f64) -> String {
    format!("{} %", (part * 10_000.0).round() / 100.0)
}
