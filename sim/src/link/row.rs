//! The stages of a link, one behind the other.

use std::{collections::VecDeque, time::Duration};

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
    stage::{Context, Parcel, Stage, StageCounts},
};

#[derive(Debug)]
pub(super) struct Row {
    stages: Vec<Box<dyn Stage>>,
    /// Those that have come through.
    through: VecDeque<Parcel>,
    /// What the stages have done to each datagram, if anybody wants to know.
    pub(super) notes: Notes,
}

type Notes = Option<Vec<Note>>;

/// What a stage has done to a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note {
    /// Under which number the link knows it.
    pub(crate) number: u64,
    pub(crate) stage: &'static str,
    pub(crate) deed: Deed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Dropped,
    /// Damaged, marked or held up.
    Touched,
    /// This many copies, under the numbers that follow.
    Copied(u64),
}

impl Row {
    pub(super) fn new() -> Self {
        // Losses come first, so that none of them depends on what else befalls a datagram.
        let stages: Vec<Box<dyn Stage>> = vec![
            Box::new(First::default()),
            Box::new(Loss::default()),
            Box::new(Bursts::default()),
            Box::new(Gate::default()),
            Box::new(Mtu::default()),
            Box::new(Duplicate::default()),
            Box::new(Corrupt::default()),
            Box::new(Shaper::default()),
            Box::new(Travel::new()),
            Box::new(Reorder::new()),
            Box::new(Clog::default()),
            Box::new(Gate::default()),
        ];
        Self {
            stages,
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
        let due = self.stages.iter().filter_map(|stage| stage.due(context));
        due.min()
    }

    /// Moves what is due, until a datagram has come through or nothing moves.
    pub(super) fn pull(&mut self, context: &Context<'_>) -> Option<Parcel> {
        loop {
            if let Some(parcel) = self.through.pop_front() {
                return Some(parcel);
            }
            // From the end, so that those ahead make way first.
            let is_due = |stage: &dyn Stage| stage.due(context).is_some_and(|at| at <= context.now);
            let last = self.stages.iter().rposition(|stage| is_due(&**stage))?;
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
    stages: &mut [Box<dyn Stage>],
    context: &Context<'_>,
    parcel: Parcel,
    through: &mut VecDeque<Parcel>,
    notes: &mut Notes,
) {
    let Some((first, rest)) = stages.split_first_mut() else {
        through.push_back(parcel);
        return;
    };
    let before = notes
        .as_ref()
        .map(|notes| (parcel.number, first.counts(), notes.len()));
    first.enter(context, parcel, &mut |parcel| {
        feed(rest, context, parcel, through, notes);
    });
    if let (Some((number, before, at)), Some(notes)) = (before, notes) {
        // Before the notes of the stages behind it, which speak of copies that it has made.
        let note = |deed| Note {
            number,
            stage: first.name(),
            deed,
        };
        notes.splice(at..at, deeds(&before, &first.counts()).map(note));
    }
}

/// What the counts of a stage tell of the one datagram that has come in between.
fn deeds(before: &StageCounts, after: &StageCounts) -> impl Iterator<Item = Deed> {
    let copies = after.copied - before.copied;
    let dropped = (after.dropped > before.dropped).then_some(Deed::Dropped);
    let touched = (after.touched > before.touched).then_some(Deed::Touched);
    let copied = (copies > 0).then_some(Deed::Copied(copies));
    [dropped, touched, copied].into_iter().flatten()
}
