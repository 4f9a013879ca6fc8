//! Every state that can be reached, each looked at once, those that need the fewest steps first.

use std::fmt;

use super::{
    rule::Rule,
    step::Step,
    world::{End, World},
};
use crate::{index::LookUp, peer::LinkId};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) states: usize,
    /// States in which nothing more happens but for a fault.
    pub(super) ends: usize,
    /// The most dials after the last of 0, 1, 2 .. faults.
    pub(super) dials: Vec<u8>,
}

/// A way to a state that must not be.
pub(super) struct Disagreement {
    pub(super) why: String,
    start: World,
    pub(super) steps: Vec<Step>,
    rule: Rule,
}

/// The search: all states that were seen, and how each was come to first.
struct Search {
    rule: Rule,
    /// After the last of 0, 1, 2 .. faults.
    dials_max: Vec<u8>,
    seen: LookUp<Box<[u8]>, u32>,
    /// By number: the state before, and the step from there.
    ways: Vec<Way>,
    report: Report,
}

#[derive(Clone, Copy)]
enum Way {
    Start,
    From(u32, Step),
}

/// Goes through all states that can be reached from these, with a fault less than there are bounds
/// on the dials after it.
pub(super) fn explore(
    rule: Rule,
    starts: &[World],
    dials_max: &[u8],
) -> Result<Report, Box<Disagreement>> {
    let mut search = Search {
        rule,
        dials_max: dials_max.to_vec(),
        seen: LookUp::new(0),
        ways: Vec::new(),
        report: Report {
            dials: vec![0; dials_max.len()],
            ..Report::default()
        },
    };
    let mut level = Vec::new();
    for start in starts {
        search.visit(start.clone(), Way::Start, &mut level);
    }
    while !level.is_empty() {
        let mut next = Vec::new();
        for (number, world) in level {
            if let Err(why) = search.look_at(number, &world, &mut next) {
                return Err(Box::new(search.disagreement(why, number, starts)));
            }
        }
        level = next;
    }
    search.report.states = search.seen.len();
    Ok(search.report)
}

impl Search {
    fn look_at(
        &mut self,
        number: u32,
        world: &World,
        next: &mut Vec<(u32, World)>,
    ) -> Result<(), String> {
        let faults = usize::from(world.faults);
        let dials = &mut self.report.dials[faults];
        *dials = world.dials.max(*dials);
        if world.dials > self.dials_max[faults] {
            return Err(format!("{} dials after the last fault", world.dials));
        }
        if world.steps(self.rule, 0).is_empty() {
            self.report.ends += 1;
            world.agreement()?;
        }
        for step in world.steps(self.rule, self.dials_max.len() - 1) {
            let mut after = world.clone();
            after.apply(self.rule, step);
            let _ = after.make_canonical();
            self.visit(after, Way::From(number, step), next);
        }
        Ok(())
    }

    fn visit(&mut self, world: World, way: Way, next: &mut Vec<(u32, World)>) {
        let bytes = world.to_bytes();
        if self.seen.get(&bytes).is_some() {
            return;
        }
        let number = u32::try_from(self.ways.len()).expect("they fit into memory");
        self.seen.insert(bytes, number);
        self.ways.push(way);
        next.push((number, world));
    }

    fn disagreement(&self, why: String, mut number: u32, starts: &[World]) -> Disagreement {
        let mut steps = Vec::new();
        while let Way::From(before, step) = self.ways[number as usize] {
            steps.push(step);
            number = before;
        }
        steps.reverse();
        Disagreement {
            why,
            start: starts[number as usize].clone(),
            steps,
            rule: self.rule,
        }
    }
}

impl fmt::Display for Disagreement {
    /// The way step by step, with one name for each connection all along.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut world = self.start.clone();
        let mut names: Vec<(LinkId, String)> = Vec::new();
        let mut dials = [0, 0];
        for (index, step) in self.steps.iter().enumerate() {
            let name = |link: LinkId| {
                let named = names.iter().find(|(named, _)| *named == link);
                named.map_or_else(|| "?".to_owned(), |(_, name)| name.clone())
            };
            writeln!(f, "{:3}. {}", index + 1, step.tell(name))?;
            world.apply(self.rule, *step);
            if let Step::Dial(end) = *step {
                dials[end as usize] += 1;
                let letter = match end {
                    End::Small => 'S',
                    End::Great => 'G',
                };
                let link = world.connections.last().expect("it was dialled").link;
                names.push((link, format!("{letter}{}", dials[end as usize])));
            }
            let renamed = world.make_canonical();
            names = renamed
                .iter()
                .filter_map(|(old, new)| {
                    let named = names.iter().find(|(named, _)| named == old);
                    named.map(|(_, name)| (*new, name.clone()))
                })
                .collect();
        }
        write!(f, "{}", self.why)
    }
}
