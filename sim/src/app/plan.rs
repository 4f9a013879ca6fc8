//! Plans of faults while an application runs, as plain data.

use std::{collections::BTreeSet, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    LinkFault,
    dice::{Domain, Draw},
    duration, ms, secs,
};

/// Longer storms than a day are a slip of the pen.
pub(super) const STORM_MAX: Duration = secs(86_400);
/// No planet is so large.
const LATENCY_MAX: Duration = secs(10);
/// One fault for each so much of a storm, at most, in each family that is on.
const STORM_PER_FAULT: Duration = ms(5_000);
/// How long a datagram travels, at least and at most, in milliseconds.
const LATENCY_MS: (u64, u64) = (1, 120);

/// A kind of thing that can go wrong. Each seed draws which of them are on, with even odds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Datagrams are lost, each by itself.
    Loss,
    /// Datagrams are lost, many in a row.
    Burst,
    /// Datagrams arrive twice.
    Duplicate,
    /// Datagrams overtake each other.
    Reorder,
    /// Datagrams arrive damaged.
    Corrupt,
    /// Links are slow, and their queues are short.
    Rate,
    /// Nothing passes between two nodes.
    Cut,
    /// Nothing passes from one node to another, and all passes back.
    CutOneWay,
    /// Everything from one node to another is held up, and then arrives at once.
    Clog,
    /// A node gets another port without noticing, as behind a NAT.
    Rebind,
    /// A process stands still, as in a debugger or a virtual machine.
    Freeze,
    /// A socket takes nothing.
    BlockSocket,
    /// A process dies without a word, and is started again.
    Crash,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Loss,
        Self::Burst,
        Self::Duplicate,
        Self::Reorder,
        Self::Corrupt,
        Self::Rate,
        Self::Cut,
        Self::CutOneWay,
        Self::Clog,
        Self::Rebind,
        Self::Freeze,
        Self::BlockSocket,
        Self::Crash,
    ];

    /// How long one of them lasts, in milliseconds, at least and at most.
    const fn lasts_ms(self) -> (u64, u64) {
        match self {
            Self::Loss | Self::Burst | Self::Duplicate | Self::Reorder | Self::Corrupt => {
                (1_000, 10_000)
            }
            Self::Rate => (1_000, 6_000),
            Self::Cut | Self::CutOneWay => (200, 15_000),
            Self::Clog | Self::BlockSocket => (50, 3_000),
            Self::Rebind => (0, 0),
            Self::Freeze => (50, 8_000),
            Self::Crash => (50, 10_000),
        }
    }

    /// Whether it needs two nodes.
    const fn concerns_a_pair(self) -> bool {
        matches!(self, Self::Cut | Self::CutOneWay | Self::Clog)
    }
}

/// All faults of a run with their times, as data.
///
/// It is drawn from a seed, or read from the file that a failure leaves. With
/// [`Options::plan`](super::Options::plan) a test can bring its own.
///
/// ```
/// use quicpool_sim::{app::{Fault, Plan, Trouble}, ms, secs};
///
/// let mut plan = Plan::calm(ms(20), secs(10));
/// plan.faults.push(Fault { from: secs(2), until: secs(5), what: Trouble::Crash { node: 1 } });
/// assert_eq!(plan.faults[0].to_string(), "crash of node 1 from 2s until 5s");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Plan {
    /// How long a datagram travels when nothing is wrong, unless the options name a path.
    #[serde(with = "duration")]
    pub latency: Duration,
    /// When all that is wrong is mended.
    #[serde(with = "duration")]
    pub storm: Duration,
    /// The faults.
    pub faults: Vec<Fault>,
}

/// Something that is wrong for a time, counted from the beginning of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins.
    #[serde(with = "duration")]
    pub from: Duration,
    /// When it is over; the end of the storm, if that is earlier.
    #[serde(with = "duration")]
    pub until: Duration,
    /// Its kind.
    pub what: Trouble,
}

/// A kind of fault. Nodes are named by their places, from 0; those that do not exist are left
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Trouble {
    /// All links are worse.
    Links(LinkFault),
    /// Nothing passes between two nodes.
    Cut {
        /// The one.
        a: usize,
        /// The other.
        b: usize,
    },
    /// Nothing passes from one node to another.
    CutOneWay {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
    },
    /// What would arrive from one node at another arrives at the end, at once and in order.
    Clog {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
    },
    /// A node has another port from the beginning of this on. Others dial the old one until the
    /// storm is over.
    Rebind {
        /// The node.
        node: usize,
    },
    /// A process stands still. What comes to its time meanwhile comes when it goes on.
    Freeze {
        /// The node.
        node: usize,
    },
    /// A socket takes nothing: a send would block.
    BlockSocket {
        /// The node.
        node: usize,
    },
    /// A process is dead: it ends at the beginning, and another is started at the end.
    Crash {
        /// The node.
        node: usize,
    },
}

impl Plan {
    /// A plan in which nothing goes wrong.
    #[must_use]
    pub const fn calm(latency: Duration, storm: Duration) -> Self {
        Self {
            latency,
            storm,
            faults: Vec::new(),
        }
    }

    /// The plan of a seed for so many nodes, with faults of these families only. What one family
    /// does is the same whichever others there are.
    #[must_use]
    #[doc(hidden)]
    pub fn draw(seed: u64, nodes: usize, storm: Duration, families: &BTreeSet<Family>) -> Self {
        let latency = Draw::new(seed, Domain::Plan, LATENCY).between(LATENCY_MS);
        let mut plan = Self::calm(ms(latency), storm);
        for family in families {
            plan.draw_family(seed, nodes, *family);
        }
        plan.faults.sort_by_key(|fault| fault.from);
        plan
    }

    /// Checks the plan, or returns the value that is out of range and the allowed range.
    pub(super) fn check(&self) -> Result<(), String> {
        let most = |name: &str, time: Duration, max: Duration| match time <= max {
            true => Ok(()),
            false => Err(format!("{name} is {time:?}, allowed is up to {max:?}")),
        };
        most("the latency of the plan", self.latency, LATENCY_MAX)?;
        most("the storm of the plan", self.storm, STORM_MAX)?;
        for (n, fault) in self.faults.iter().enumerate() {
            let bad = |allowed| format!("fault {n} of the plan is {fault:?}, allowed is {allowed}");
            fault.what.check().map_err(bad)?;
        }
        Ok(())
    }

    fn draw_family(&mut self, seed: u64, nodes: usize, family: Family) {
        let mut draw = Draw::new(seed, Domain::Plan, family as u64);
        let is_on = draw.below(2) == 1;
        if !is_on || nodes == 0 || (family.concerns_a_pair() && nodes < 2) {
            return;
        }
        let storm = self.storm.min(STORM_MAX).as_millis() as u64;
        let faults_max = 1 + storm / STORM_PER_FAULT.as_millis() as u64;
        for _ in 0..draw.between((1, faults_max)) {
            let from = draw.below(storm.max(1));
            let until = from + draw.between(family.lasts_ms());
            self.faults.push(Fault {
                from: ms(from),
                until: ms(until.min(storm)),
                what: trouble(&mut draw, family, nodes as u64),
            });
        }
    }
}

impl Trouble {
    /// Its name, for counts.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Links(fault) => fault.name(),
            Self::Cut { .. } => "cut",
            Self::CutOneWay { .. } => "cut_one_way",
            Self::Clog { .. } => "clog",
            Self::Rebind { .. } => "rebind",
            Self::Freeze { .. } => "freeze",
            Self::BlockSocket { .. } => "block_socket",
            Self::Crash { .. } => "crash",
        }
    }

    /// Checks it, or returns the allowed values.
    fn check(self) -> Result<(), String> {
        match self {
            Self::Links(fault) => fault.check().map_err(|error| error.allowed),
            Self::Cut { a: from, b: to }
            | Self::CutOneWay { from, to }
            | Self::Clog { from, to }
                if from == to =>
            {
                Err("two different nodes".to_owned())
            }
            Self::Cut { .. }
            | Self::CutOneWay { .. }
            | Self::Clog { .. }
            | Self::Rebind { .. }
            | Self::Freeze { .. }
            | Self::BlockSocket { .. }
            | Self::Crash { .. } => Ok(()),
        }
    }

    /// The last place that it names.
    pub(super) fn last_place(self) -> usize {
        match self {
            Self::Links(_) => 0,
            Self::Cut { a, b } => a.max(b),
            Self::CutOneWay { from, to } | Self::Clog { from, to } => from.max(to),
            Self::Rebind { node }
            | Self::Freeze { node }
            | Self::BlockSocket { node }
            | Self::Crash { node } => node,
        }
    }
}

/// The entity that draws the latency; families draw under their own numbers.
const LATENCY: u64 = 1_000;

fn trouble(draw: &mut Draw, family: Family, nodes: u64) -> Trouble {
    let first = draw.below(nodes);
    // Another one, if there is one.
    let second = (first + 1 + draw.below((nodes - 1).max(1))) % nodes;
    let (from, to) = (first as usize, second as usize);
    let node = from;
    match family {
        Family::Loss => Trouble::Links(LinkFault::Loss(draw.percent((1, 30)))),
        Family::Burst => Trouble::Links(LinkFault::Burst(draw.percent((1, 5)))),
        Family::Duplicate => Trouble::Links(LinkFault::Duplicate(draw.percent((1, 20)))),
        Family::Reorder => Trouble::Links(LinkFault::Reorder(draw.percent((1, 30)))),
        Family::Corrupt => Trouble::Links(LinkFault::Corrupt(draw.percent((1, 5)))),
        Family::Rate => Trouble::Links(LinkFault::Rate(draw.between((20_000, 1_000_000)))),
        Family::Cut => Trouble::Cut { a: from, b: to },
        Family::CutOneWay => Trouble::CutOneWay { from, to },
        Family::Clog => Trouble::Clog { from, to },
        Family::Rebind => Trouble::Rebind { node },
        Family::Freeze => Trouble::Freeze { node },
        Family::BlockSocket => Trouble::BlockSocket { node },
        Family::Crash => Trouble::Crash { node },
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, until) = (duration::text(self.from), duration::text(self.until));
        write!(f, "{} from {from}", self.what)?;
        if let Trouble::Rebind { .. } = self.what {
            return f.write_str(" on");
        }
        write!(f, " until {until}")
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Links(fault) => fault.fmt(f),
            Self::Cut { a, b } => write!(f, "cut between node {a} and node {b}"),
            Self::CutOneWay { from, to } => write!(f, "cut from node {from} to node {to}"),
            Self::Clog { from, to } => write!(f, "clog from node {from} to node {to}"),
            Self::Rebind { node } => write!(f, "new port of node {node}"),
            Self::Freeze { node } => write!(f, "freeze of node {node}"),
            Self::BlockSocket { node } => write!(f, "blocked socket of node {node}"),
            Self::Crash { node } => write!(f, "crash of node {node}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_on_in_half_of_all_plans() {
        for family in Family::ALL {
            let families = BTreeSet::from([family]);
            let plans = (0..1_000).map(|seed| Plan::draw(seed, 3, secs(30), &families));
            let plans: Vec<Plan> = plans.filter(|plan| !plan.faults.is_empty()).collect();
            assert!(
                (430..570).contains(&plans.len()),
                "{family:?}: {}",
                plans.len()
            );
            for fault in plans.iter().flat_map(|plan| &plan.faults) {
                let name = fault.what.name().replace('_', "");
                assert_eq!(name, format!("{family:?}").to_lowercase());
                assert!(
                    fault.from <= fault.until && fault.until <= secs(30),
                    "{fault}"
                );
                assert!(fault.what.last_place() < 3, "{fault}");
            }
        }
    }

    #[test]
    fn a_family_less_leaves_all_others_as_they_were() {
        let all = BTreeSet::from(Family::ALL);
        let mut fewer = all.clone();
        fewer.remove(&Family::Cut);
        for seed in 0..100 {
            let mut plan = Plan::draw(seed, 4, secs(60), &all);
            plan.faults.retain(|fault| fault.what.name() != "cut");
            assert_eq!(plan, Plan::draw(seed, 4, secs(60), &fewer));
        }
    }

    #[test]
    fn a_single_node_has_no_links_to_cut() {
        let all = BTreeSet::from(Family::ALL);
        for seed in 0..100 {
            let plan = Plan::draw(seed, 1, secs(60), &all);
            assert!(plan.faults.iter().all(|fault| fault.what.last_place() == 0));
        }
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let all = BTreeSet::from(Family::ALL);
        for seed in 0..100 {
            let plan = Plan::draw(seed, 3, secs(60), &all);
            let text = serde_json::to_string(&plan).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        }
    }
}
