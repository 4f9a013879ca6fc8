//! One direction between two nodes: a row of stages, each of which does one thing to datagrams.

mod burst;
mod clog;
mod corrupt;
mod delay;
mod duplicate;
mod fault;
mod faults;
mod first;
mod gate;
mod kind;
mod loss;
mod mtu;
mod path;
mod rate;
mod reorder;
mod row;
mod stage;
#[cfg(test)]
mod testing;

use std::{mem, time::Duration};

pub use self::{
    fault::{LinkFault, OutOfRange},
    faults::{BlackHole, Burst, Delay, Faults, FirstLost, Order, Queue, Rate},
    kind::Kinds,
    path::Path,
    row::{Deed, Note},
    stage::{Parcel, StageCounts},
};
use self::{
    row::Row,
    stage::{Context, LinkDice},
};
use crate::dice::Dice;

/// Counts of the datagrams offered to a link, by fate.
///
/// None goes missing:
/// `offered + duplicated = lost + too_long + overflowed + cut + arrived + in_flight`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkCounts {
    /// Datagrams that have left the sender.
    pub offered: u64,
    /// Copies made of them.
    pub duplicated: u64,
    /// Lost as [`Faults::first`], [`Faults::loss`] and [`Faults::burst`] say.
    pub lost: u64,
    /// Lost because they are longer than [`Faults::mtu`], or fell into a black hole.
    pub too_long: u64,
    /// Lost because the queue of [`Faults::rate`] was full.
    pub overflowed: u64,
    /// Lost because the link is cut.
    pub cut: u64,
    /// Arrived, damaged or not.
    pub arrived: u64,
    /// Under way.
    pub in_flight: u64,
    /// Damaged, among those arrived and in flight.
    pub corrupted: u64,
    /// Marked for congestion, among those arrived and in flight.
    pub marked: u64,
}

/// One direction of the path between two nodes.
#[derive(Debug)]
pub(crate) struct Link {
    dice: LinkDice,
    pub(crate) faults: Faults,
    pub(crate) is_cut: bool,
    /// The time for which an agenda has an entry for this link.
    pub(crate) armed: Option<Duration>,
    clogged_until: Duration,
    offered: u64,
    row: Row,
}

impl Link {
    pub(crate) fn new(dice: Dice, entity: u64, faults: Faults) -> Self {
        Self {
            dice: LinkDice { dice, entity },
            faults,
            is_cut: false,
            armed: None,
            clogged_until: Duration::ZERO,
            offered: 0,
            row: Row::new(),
        }
    }

    /// Takes a datagram, and returns its number.
    pub(crate) fn enter(&mut self, now: Duration, parcel: Parcel) -> u64 {
        let number = self.offered * Parcel::NUMBERS;
        self.offered += 1;
        let (context, row) = self.parts(now);
        row.enter(&context, Parcel { number, ..parcel });
        number
    }

    /// When there is something to pull.
    pub(crate) fn due(&self, now: Duration) -> Option<Duration> {
        let due = self.row.due(&self.context(now));
        due.map(|at| at.max(now))
    }

    /// Gives one datagram that arrives at this instant, if there is one.
    pub(crate) fn pull(&mut self, now: Duration) -> Option<Parcel> {
        let (context, row) = self.parts(now);
        row.pull(&context)
    }

    /// Holds up all that would arrive before.
    pub(crate) fn clog(&mut self, until: Duration) {
        self.clogged_until = self.clogged_until.max(until);
    }

    pub(crate) fn unclog(&mut self) {
        self.clogged_until = Duration::ZERO;
    }

    /// Notes from this moment on what stages do to each datagram.
    pub(crate) fn take_notes(&mut self) {
        self.row.notes = Some(Vec::new());
    }

    pub(crate) fn leave_notes(&mut self) {
        self.row.notes = None;
    }

    /// Takes the notes of the stages since the last call.
    pub(crate) fn notes(&mut self) -> Vec<Note> {
        self.row.notes.as_mut().map(mem::take).unwrap_or_default()
    }

    /// Counts of each stage, in their order. The first and the last are both called `cut`.
    pub(crate) fn stage_counts(&self) -> impl Iterator<Item = (&'static str, StageCounts)> {
        self.row.counts()
    }

    pub(crate) fn counts(&self) -> LinkCounts {
        let mut sum = LinkCounts {
            offered: self.offered,
            ..LinkCounts::default()
        };
        for (name, stage) in self.stage_counts() {
            sum.add(name, &stage);
        }
        sum
    }

    fn context(&self, now: Duration) -> Context<'_> {
        Context {
            now,
            faults: &self.faults,
            dice: self.dice,
            is_cut: self.is_cut,
            clogged_until: self.clogged_until,
        }
    }

    fn parts(&mut self, now: Duration) -> (Context<'_>, &mut Row) {
        let context = Context {
            now,
            faults: &self.faults,
            dice: self.dice,
            is_cut: self.is_cut,
            clogged_until: self.clogged_until,
        };
        (context, &mut self.row)
    }
}

impl LinkCounts {
    fn add(&mut self, name: &str, stage: &StageCounts) {
        match name {
            "mtu" => self.too_long += stage.dropped,
            "rate" => {
                self.overflowed += stage.dropped;
                self.marked += stage.touched;
            }
            "cut" => self.cut += stage.dropped,
            "corrupt" => self.corrupted += stage.touched,
            _ => self.lost += stage.dropped,
        }
        self.duplicated += stage.copied;
        self.in_flight += stage.held;
        // What leaves the last stage, whichever that is, has arrived.
        self.arrived = stage.left;
    }
}

#[cfg(test)]
mod tests;
