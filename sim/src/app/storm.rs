//! A plan as it is carried out: each fault begins and ends at its time, and then all is mended.

use std::{collections::BTreeSet, time::Duration};

use super::{App, Fault, Plan, Sim, Trouble};
use crate::Path;

/// The plan, and how far it has come.
#[derive(Debug)]
pub(super) struct Storm {
    plan: Plan,
    /// The path of links without faults.
    calm: Path,
    /// All turns of the plan in the order in which they come.
    turns: Vec<(Duration, Turn)>,
    taken: usize,
    /// The faults that are on, by their place in the plan.
    on: BTreeSet<usize>,
}

/// Faults are named by their place in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Begins(usize),
    Ends(usize),
    /// Everything is mended.
    Heals,
}

impl Storm {
    pub(super) fn new(plan: Plan, calm: Path) -> Self {
        let mut turns = vec![(plan.storm, Turn::Heals)];
        for (n, fault) in plan.faults.iter().enumerate() {
            let from = fault.from.min(plan.storm);
            let until = fault.until.clamp(from, plan.storm);
            turns.extend([(from, Turn::Begins(n)), (until, Turn::Ends(n))]);
        }
        turns.sort();
        Self {
            plan,
            calm,
            turns,
            taken: 0,
            on: BTreeSet::new(),
        }
    }

    /// When the next turn is due.
    pub(super) fn due(&self) -> Option<Duration> {
        self.turns.get(self.taken).map(|(at, _)| *at)
    }

    /// When all is mended.
    pub(super) const fn end(&self) -> Duration {
        self.plan.storm
    }

    pub(super) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The faults that are on.
    pub(super) fn on(&self) -> impl Iterator<Item = Fault> {
        self.on.iter().map(|n| self.plan.faults[*n])
    }

    /// The faults that have begun so far.
    pub(super) fn begun(&self) -> impl Iterator<Item = Fault> {
        self.taken(|turn| match turn {
            Turn::Begins(n) => Some(n),
            Turn::Ends(_) | Turn::Heals => None,
        })
    }

    /// The faults that are over.
    pub(super) fn over(&self) -> impl Iterator<Item = Fault> {
        self.taken(|turn| match turn {
            Turn::Ends(n) => Some(n),
            Turn::Begins(_) | Turn::Heals => None,
        })
    }

    fn taken(&self, pick: impl Fn(Turn) -> Option<usize>) -> impl Iterator<Item = Fault> {
        let taken = self.turns[..self.taken].iter();
        taken.filter_map(move |(_, turn)| Some(self.plan.faults[pick(*turn)?]))
    }

    fn is_on(&self, trouble: Trouble) -> bool {
        self.on().any(|fault| fault.what == trouble)
    }

    /// Returns the path of links with the faults that are on.
    fn weather(&self) -> Path {
        let mut path = self.calm.clone();
        for fault in self.on() {
            if let Trouble::Links(worse) = fault.what {
                worse.worsen(fault.from, &mut path.up);
                worse.worsen(fault.from, &mut path.down);
            }
        }
        path
    }
}

impl<A: App> Sim<A> {
    /// Takes the next turn of the plan.
    pub(super) fn turn(&mut self) {
        let (_, turn) = self.storm.turns[self.storm.taken];
        self.storm.taken += 1;
        match turn {
            Turn::Begins(n) => {
                self.storm.on.insert(n);
                self.break_something(self.storm.plan.faults[n]);
            }
            Turn::Ends(n) => {
                self.storm.on.remove(&n);
                self.mend_something(self.storm.plan.faults[n].what);
            }
            Turn::Heals => self.heal(),
        }
    }

    fn break_something(&mut self, fault: Fault) {
        if fault.what.last_place() >= self.nodes.len() {
            return;
        }
        let lasts = fault.until.saturating_sub(fault.from);
        match fault.what {
            Trouble::Links(_) => self.net.set_path(self.storm.weather()),
            Trouble::Cut { .. } | Trouble::CutOneWay { .. } => self.set_cuts(),
            Trouble::Clog { from, to } => self.net.clog(self.node(from), self.node(to), lasts),
            Trouble::Rebind { node } => self.net.rebind(self.node(node)),
            Trouble::Freeze { node } => self.net.pause(self.node(node)),
            Trouble::BlockSocket { node } => self.net.block_socket(self.node(node), lasts),
            Trouble::Crash { node } if self.app(node).is_some() => self.crash(node),
            Trouble::Crash { .. } => {}
        }
    }

    fn mend_something(&mut self, what: Trouble) {
        if what.last_place() >= self.nodes.len() {
            return;
        }
        match what {
            Trouble::Links(_) => self.net.set_path(self.storm.weather()),
            Trouble::Cut { .. } | Trouble::CutOneWay { .. } => self.set_cuts(),
            // Another one of the same node or link may last for longer.
            Trouble::Freeze { .. } | Trouble::Crash { .. } if self.storm.is_on(what) => {}
            Trouble::Freeze { node } => self.net.resume(self.node(node)),
            Trouble::Crash { node } => self.restart(node),
            // They end by themselves, or not at all.
            Trouble::Clog { .. } | Trouble::Rebind { .. } | Trouble::BlockSocket { .. } => {}
        }
    }

    /// Links may be in several cuts at once.
    fn set_cuts(&mut self) {
        self.net.heal_all();
        let cuts: Vec<Trouble> = self.storm.on().map(|fault| fault.what).collect();
        for cut in cuts {
            if let Trouble::Cut { a, b } = cut {
                self.net.cut(self.node(a), self.node(b));
            } else if let Trouble::CutOneWay { from, to } = cut {
                self.net.cut_one_way(self.node(from), self.node(to));
            }
        }
    }

    /// Mends all there is, also what the test itself has broken.
    fn heal(&mut self) {
        self.net.set_path(self.storm.calm.clone());
        self.net.heal_all();
        self.net.unclog_all();
        for place in 0..self.nodes.len() {
            self.net.resume(self.node(place));
            self.restart(place);
        }
        // Nodes that have moved are found again.
        for node in self.net.ids() {
            for other in self.net.ids().filter(|other| *other != node) {
                self.net.introduce_one_way(node, other);
            }
        }
    }
}
