//! The stages of a link, one behind the other.

use std::{collections::VecDeque, ops::Range, time::Duration};

use super::{
    burst::Bursts,
    clog::Clog,
    corrupt::Corrupt,
    delay::Travel,
    duplicate::Duplicate,
    first::First,
    gate::Gate,
    loss::Loss,
    mtu::Mtu,
    rate::Shaper,
    reorder::Reorder,
    stage::{Context, Counted, Parcel, StageCounts},
};

#[derive(Debug)]
pub(super) struct Row {
    stages: Vec<Counted>,
    /// Which of them hold datagrams. The others are never due, and are not asked.
    holding: Range<usize>,
    /// Those that have come through.
    through: VecDeque<Parcel>,
    /// Notes of what the stages have done to each datagram, if they are kept.
    pub(super) notes: Notes,
}

type Notes = Option<Vec<Note>>;

/// A note of what a stage has done to a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// Under which number the link knows it.
    pub number: u64,
    /// The name of the stage.
    pub stage: &'static str,
    /// What it has done.
    pub deed: Deed,
}

/// A change that a stage makes to a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Lost it.
    Dropped,
    /// Damaged, marked or held up.
    Touched,
    /// This many copies, under the numbers that follow.
    Copied(u64),
}

impl Row {
    pub(super) fn new() -> Self {
        // Losses come first, so that none of them depends on what else befalls a datagram.
        let mut stages = vec![
            Counted::new(First::default()),
            Counted::new(Loss),
            Counted::new(Bursts::default()),
            Counted::new(Gate),
            Counted::new(Mtu),
            Counted::new(Duplicate),
            Counted::new(Corrupt),
        ];
        let holding = [
            Counted::new(Shaper::default()),
            Counted::new(Travel::new()),
            Counted::new(Reorder::new()),
            Counted::new(Clog::default()),
        ];
        let first = stages.len();
        stages.extend(holding);
        let holding = first..stages.len();
        stages.push(Counted::new(Gate));
        Self {
            stages,
            holding,
            through: VecDeque::new(),
            notes: None,
        }
    }

    pub(super) fn enter(&mut self, context: &Context<'_>, parcel: Parcel) {
        let through = &mut self.through;
        feed(&mut self.stages, context, parcel, through, &mut self.notes);
    }

    /// When there is something to pull.
    pub(super) fn due(&self, context: &Context<'_>) -> Option<Duration> {
        if !self.through.is_empty() {
            return Some(context.now);
        }
        let holding = &self.stages[self.holding.clone()];
        let due = holding.iter().filter_map(|stage| stage.due(context));
        due.min()
    }

    /// Moves what is due, until a datagram has come through or nothing moves.
    pub(super) fn pull(&mut self, context: &Context<'_>) -> Option<Parcel> {
        loop {
            if let Some(parcel) = self.through.pop_front() {
                return Some(parcel);
            }
            // From the end, so that those ahead make way first.
            let is_due = |stage: &Counted| stage.due(context).is_some_and(|at| at <= context.now);
            let holding = &self.stages[self.holding.clone()];
            let last = holding.iter().rposition(is_due)?;
            let last = self.holding.start + last;
            let (stage, rest) = self.stages[last..].split_first_mut()?;
            if let Some(parcel) = stage.release(context) {
                feed(rest, context, parcel, &mut self.through, &mut self.notes);
            }
        }
    }

    /// The stages by name, in their order.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, StageCounts)> {
        let stages = self.stages.iter();
        stages.map(|stage| (stage.name(), stage.counts()))
    }
}

/// Leads a datagram through stages, for as far as it gets at once.
fn feed(
    stages: &mut [Counted],
    context: &Context<'_>,
    parcel: Parcel,
    through: &mut VecDeque<Parcel>,
    notes: &mut Notes,
) {
    let Some((first, rest)) = stages.split_first_mut() else {
        through.push_back(parcel);
        return;
    };
    let number = parcel.number;
    let (verdict, parcel) = first.enter(context, parcel);
    if let (Some(notes), Some(deed)) = (notes.as_mut(), verdict.deed()) {
        let stage = first.name();
        notes.push(Note {
            number,
            stage,
            deed,
        });
    }
    let Some(parcel) = parcel else {
        return;
    };
    let copies = verdict.copies(&parcel);
    for parcel in [parcel].into_iter().chain(copies) {
        feed(rest, context, parcel, through, notes);
    }
}
