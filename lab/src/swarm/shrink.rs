//! Makes a failing world smaller while it fails in the same way.

use std::{ops::ControlFlow, time::Duration};

use super::{Scenario, Step, simplify::Simplify};
use crate::Crypto;

/// How a world is made smaller.
#[derive(Debug, Clone, Copy)]
pub struct Shrink {
    /// Worlds that are tried at most.
    pub runs_max: u64,
}

impl Default for Shrink {
    fn default() -> Self {
        Self { runs_max: 20_000 }
    }
}

/// The result of shrinking a world.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Shrunk {
    /// It still fails.
    pub scenario: Scenario,
    /// Worlds that were tried.
    pub runs: u64,
    /// Whether anything that could have been tried was not.
    pub end: End,
}

/// Why shrinking has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing that is simpler fails.
    Minimal,
    /// As many worlds were tried as may be, or it was called off.
    Stopped,
}

impl Shrink {
    /// Makes a world smaller that fails: fewer steps (delta debugging, after Zeller and
    /// Hildebrandt, then pairs), fewer nodes, fewer that stay ill, limits as by default
    /// and the same for all, plain links, round numbers, short pauses.
    ///
    /// `fails` plays a world and returns whether it fails as the first one did; see
    /// [`Failure::befalls`](super::Failure::befalls). `watch` is called after each world with the
    /// number of worlds tried and the smallest one, and may call it off. The same world and the
    /// same answers give the same result.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use quicpool_lab::swarm::{Operation, Scenario, Shrink};
    ///
    /// let crashes = |world: &Scenario| {
    ///     world.steps.iter().any(|step| matches!(step.operation, Operation::Crash(_)))
    /// };
    /// let seed = (0..).find(|seed| crashes(&Scenario::draw(*seed))).unwrap();
    /// let shrunk = Shrink::default().run(Scenario::draw(seed), crashes, |_, _| ControlFlow::Continue(()));
    /// assert_eq!(shrunk.scenario.steps.len(), 1);
    /// ```
    pub fn run(
        self,
        scenario: Scenario,
        fails: impl FnMut(&Scenario) -> bool,
        watch: impl FnMut(u64, &Scenario) -> ControlFlow<()>,
    ) -> Shrunk {
        let mut search = Search {
            best: scenario,
            runs: 0,
            runs_max: self.runs_max,
            fails,
            watch,
        };
        let end = match search.until_nothing_changes() {
            ControlFlow::Continue(()) => End::Minimal,
            ControlFlow::Break(()) => End::Stopped,
        };
        Shrunk {
            scenario: search.best,
            runs: search.runs,
            end,
        }
    }
}

struct Search<F, W> {
    /// The smallest world so far that fails.
    best: Scenario,
    runs: u64,
    runs_max: u64,
    fails: F,
    watch: W,
}

impl<F, W> Search<F, W>
where
    F: FnMut(&Scenario) -> bool,
    W: FnMut(u64, &Scenario) -> ControlFlow<()>,
{
    fn until_nothing_changes(&mut self) -> ControlFlow<()> {
        loop {
            let before = self.best.clone();
            self.drop_nodes()?;
            self.drop_steps()?;
            self.drop_outsiders()?;
            self.simplify_whole()?;
            self.simplify_steps()?;
            if self.best == before && !self.drop_pair()? {
                return ControlFlow::Continue(());
            }
        }
    }

    /// Plays a candidate, and keeps it if it fails.
    fn keeps(&mut self, candidate: Scenario) -> ControlFlow<(), bool> {
        // What the network would refuse to play fails in no interesting way.
        if candidate.check().is_err() {
            return ControlFlow::Continue(false);
        }
        if self.runs >= self.runs_max {
            return ControlFlow::Break(());
        }
        self.runs += 1;
        let fails = (self.fails)(&candidate);
        if fails {
            self.best = candidate;
        }
        (self.watch)(self.runs, &self.best)?;
        ControlFlow::Continue(fails)
    }

    /// Takes away ever smaller pieces: half of the steps, a quarter, and so on to single ones.
    ///
    /// The last go first: what comes after the failure is not needed.
    fn drop_steps(&mut self) -> ControlFlow<()> {
        let mut size = self.best.steps.len();
        while size > 0 {
            let mut end = self.best.steps.len();
            while end > 0 {
                let begin = end.saturating_sub(size);
                let mut candidate = self.best.clone();
                candidate.steps = without(&self.best.steps, begin..end);
                self.keeps(candidate)?;
                end = begin.min(self.best.steps.len());
            }
            size /= 2;
        }
        ControlFlow::Continue(())
    }

    /// Takes away two steps at once, of which neither can go alone: a cut and what heals it.
    fn drop_pair(&mut self) -> ControlFlow<(), bool> {
        let count = self.best.steps.len();
        for second in (1..count).rev() {
            for first in (0..second).rev() {
                let mut candidate = self.best.clone();
                let rest = without(&self.best.steps, second..second + 1);
                candidate.steps = without(&rest, first..first + 1);
                if self.keeps(candidate)? {
                    return ControlFlow::Continue(true);
                }
            }
        }
        ControlFlow::Continue(false)
    }

    /// Takes away a node with all that it does, or lets another do it. Those behind it move up.
    fn drop_nodes(&mut self) -> ControlFlow<()> {
        for node in (0..self.best.nodes).rev() {
            let candidate = without_node(&self.best, node);
            if self.keeps(candidate)? {
                continue;
            }
            for other in (0..self.best.nodes).filter(|other| *other != node) {
                let candidate = without_node(&in_place_of(&self.best, other, node), node);
                if self.keeps(candidate)? {
                    break;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn drop_outsiders(&mut self) -> ControlFlow<()> {
        for place in (0..self.best.strangers.len()).rev() {
            let mut candidate = self.best.clone();
            candidate.strangers.remove(place);
            self.keeps(candidate)?;
        }
        for place in (0..self.best.outsiders.len()).rev() {
            let mut candidate = self.best.clone();
            candidate.outsiders.remove(place);
            self.keeps(candidate)?;
        }
        for place in 0..self.best.outsiders.len() {
            self.simplify(
                |world| world.outsiders[place],
                |world, outsider| {
                    world.outsiders[place] = outsider;
                },
            )?;
        }
        ControlFlow::Continue(())
    }

    fn drop_hidden(&mut self) -> ControlFlow<()> {
        for place in (0..self.best.hidden.len()).rev() {
            let mut candidate = self.best.clone();
            candidate.hidden.remove(place);
            self.keeps(candidate)?;
        }
        ControlFlow::Continue(())
    }

    fn drop_driven(&mut self) -> ControlFlow<()> {
        for place in (0..self.best.driven.len()).rev() {
            let mut candidate = self.best.clone();
            candidate.driven.remove(place);
            self.keeps(candidate)?;
        }
        ControlFlow::Continue(())
    }

    fn drop_own_limits(&mut self) -> ControlFlow<()> {
        for place in (0..self.best.own_limits.len()).rev() {
            let mut candidate = self.best.clone();
            candidate.own_limits.remove(place);
            self.keeps(candidate)?;
        }
        for place in 0..self.best.own_limits.len() {
            self.simplify(
                |world| world.own_limits[place].clone(),
                |world, own| {
                    world.own_limits[place] = own;
                },
            )?;
        }
        ControlFlow::Continue(())
    }

    fn simplify_whole(&mut self) -> ControlFlow<()> {
        if self.best.crypto != Crypto::default() {
            let candidate = self.best.clone().crypto(Crypto::default());
            self.keeps(candidate)?;
        }
        self.simplify(
            |world| world.limits.clone(),
            |world, limits| world.limits = limits,
        )?;
        self.drop_hidden()?;
        self.drop_driven()?;
        self.drop_own_limits()?;
        self.simplify(|world| world.links, |world, links| world.links = links)
    }

    fn simplify_steps(&mut self) -> ControlFlow<()> {
        for place in 0..self.best.steps.len() {
            self.simplify(
                |world| world.steps[place].clone(),
                |world, step| {
                    world.steps[place] = step;
                },
            )?;
        }
        ControlFlow::Continue(())
    }

    /// Replaces a part by what is simpler, as long as there is something.
    fn simplify<T: Simplify>(
        &mut self,
        get: impl Fn(&Scenario) -> T,
        set: impl Fn(&mut Scenario, T),
    ) -> ControlFlow<()> {
        'again: loop {
            for simpler in get(&self.best).simpler() {
                let mut candidate = self.best.clone();
                set(&mut candidate, simpler);
                if self.keeps(candidate)? {
                    continue 'again;
                }
            }
            return ControlFlow::Continue(());
        }
    }
}

/// Steps without some. The storm is as long as before: their pauses go to the step before them, or,
/// if there is none, to the last.
fn without(steps: &[Step], range: std::ops::Range<usize>) -> Vec<Step> {
    let pause: Duration = steps[range.clone()].iter().map(|step| step.pause).sum();
    let before = range.start.checked_sub(1);
    let mut rest = [&steps[..range.start], &steps[range.end..]].concat();
    let heir = before.or(rest.len().checked_sub(1));
    if let Some(heir) = heir {
        rest[heir].pause = rest[heir].pause.saturating_add(pause);
    }
    rest
}

/// What one node does is done by another, unless it is done to this other.
fn in_place_of(world: &Scenario, stands_in: usize, node: usize) -> Scenario {
    let mut world = world.clone();
    for step in &mut world.steps {
        let mut operation = step.operation.clone();
        for named in operation.nodes_mut() {
            if *named == node {
                *named = stands_in;
            }
        }
        let nodes = operation.nodes();
        if nodes.iter().filter(|named| **named == stands_in).count() < 2 {
            step.operation = operation;
        }
    }
    world
}

fn without_node(world: &Scenario, node: usize) -> Scenario {
    let mut world = world.clone();
    world.nodes -= 1;
    world
        .steps
        .retain(|step| !step.operation.nodes().contains(&node));
    world.outsiders.retain(|outsider| outsider.node != node);
    world.own_limits.retain(|own| own.node != node);
    world.hidden.retain(|hidden| *hidden != node);
    world.driven.retain(|driven| *driven != node);
    let named = world.steps.iter_mut();
    let named = named.flat_map(|step| step.operation.nodes_mut());
    let ill = world
        .outsiders
        .iter_mut()
        .map(|outsider| &mut outsider.node);
    let own = world.own_limits.iter_mut().map(|own| &mut own.node);
    let hidden = world.hidden.iter_mut().chain(&mut world.driven);
    world.strangers.retain(|stranger| stranger.dials != node);
    let dialled = world
        .strangers
        .iter_mut()
        .map(|stranger| &mut stranger.dials);
    let all = named.chain(ill).chain(own).chain(hidden).chain(dialled);
    for other in all.filter(|other| **other > node) {
        *other -= 1;
    }
    world
}
