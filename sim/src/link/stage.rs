//! The common parts of the stages of a link.

use std::{fmt, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use quicpool_core::EcnCodepoint;

use super::{Deed, Faults};
use crate::dice::{Dice, Domain};

/// A datagram on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// Under which number its fate is drawn. No two on a link have the same, copies included.
    pub number: u64,
    /// Its sender.
    pub source: SocketAddr,
    /// Its receiver.
    pub destination: SocketAddr,
    /// Its congestion mark.
    pub ecn: Option<EcnCodepoint>,
    /// Its bytes.
    pub payload: BytesMut,
}

impl Parcel {
    /// How many numbers a datagram takes: one for itself, the others for copies of it.
    pub(super) const NUMBERS: u64 = 256;

    /// Which of the datagrams offered to the link this is, or is a copy of.
    pub(super) fn offered_as(&self) -> u64 {
        self.number / Self::NUMBERS
    }
}

/// The input of a stage besides the datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) now: Duration,
    pub(super) faults: &'a Faults,
    pub(super) dice: LinkDice,
    pub(super) is_cut: bool,
    pub(super) clogged_until: Duration,
}

impl Context<'_> {
    /// Whether something happens to a datagram that has this probability.
    pub(super) fn happens(&self, domain: Domain, parcel: &Parcel, probability: f64) -> bool {
        // The draw is spared where it cannot matter, and no other decision depends on it.
        probability > 0.0 && self.dice.fraction(domain, parcel.number) < probability
    }
}

/// The draws of one link.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkDice {
    pub(super) dice: Dice,
    /// Under which name the link draws.
    pub(super) entity: u64,
}

impl LinkDice {
    pub(super) fn roll(self, domain: Domain, n: u64) -> u64 {
        self.dice.roll(domain, self.entity, n)
    }

    pub(super) fn fraction(self, domain: Domain, n: u64) -> f64 {
        self.dice.fraction(domain, self.entity, n)
    }

    pub(super) fn bytes<const N: usize>(self, domain: Domain, n: u64) -> [u8; N] {
        self.dice.bytes(domain, self.entity, n)
    }
}

/// Counts of the datagrams that came to a stage, by fate.
///
/// None goes missing: `entered + copied = left + dropped + held`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageCounts {
    /// Came in.
    pub entered: u64,
    /// Copies made of those.
    pub copied: u64,
    /// Went out.
    pub left: u64,
    /// Lost.
    pub dropped: u64,
    /// Wait inside.
    pub held: u64,
    /// Damaged, marked or held up, among those that were not lost.
    pub touched: u64,
}

impl StageCounts {
    /// How often the stage has done what it is for.
    pub fn injected(&self) -> u64 {
        self.copied + self.dropped + self.touched
    }
}

/// The decision of a stage about a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passes as it came.
    Pass,
    /// It passes, changed by the stage.
    Touched,
    /// It passes, followed by this many copies.
    Copied(u64),
    Lost,
    /// The stage keeps it, since it works by keeping everything.
    Kept,
    /// The stage keeps it, which is the fault that it is there for, or marks it.
    KeptTouched,
}

impl Verdict {
    /// Loses a datagram for which a condition holds.
    pub(super) const fn lost_if(condition: bool) -> Self {
        match condition {
            true => Self::Lost,
            false => Self::Pass,
        }
    }

    /// Makes the copies that follow a datagram. Each has a number of its own, since each meets its
    /// own fate.
    pub(super) fn copies(self, parcel: &Parcel) -> Vec<Parcel> {
        let Self::Copied(copies) = self else {
            return Vec::new();
        };
        let of = |n| Parcel {
            number: parcel.number + n,
            ..parcel.clone()
        };
        (1..=copies).map(of).collect()
    }

    /// Returns what is noted of it.
    pub(super) const fn deed(self) -> Option<Deed> {
        match self {
            Self::Pass | Self::Kept => None,
            Self::Touched | Self::KeptTouched => Some(Deed::Touched),
            Self::Copied(copies) => Some(Deed::Copied(copies)),
            Self::Lost => Some(Deed::Dropped),
        }
    }
}

/// One thing that a link does to datagrams: its decision, and what it keeps. Everything else is
/// [`Counted`].
pub(super) trait Stage: fmt::Debug {
    /// Returns the name under which it is counted.
    fn name(&self) -> &'static str;

    /// Decides about a datagram, which it may change.
    fn judge(&mut self, context: &Context<'_>, parcel: &mut Parcel) -> Verdict;

    /// Keeps a datagram that it has judged so.
    fn keep(&mut self, _context: &Context<'_>, _parcel: Parcel) {}

    /// Returns when something that is kept leaves; a time that has passed means at once.
    fn due(&self, _context: &Context<'_>) -> Option<Duration> {
        None
    }

    /// Gives one datagram that is due.
    fn release(&mut self, _context: &Context<'_>) -> Option<Parcel> {
        None
    }
}

/// A stage in its place, with its counts.
#[derive(Debug)]
pub(super) struct Counted {
    stage: Box<dyn Stage>,
    counts: StageCounts,
}

impl Counted {
    pub(super) fn new(stage: impl Stage + 'static) -> Self {
        Self {
            stage: Box::new(stage),
            counts: StageCounts::default(),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.stage.name()
    }

    pub(super) const fn counts(&self) -> StageCounts {
        self.counts
    }

    /// Takes a datagram. Gives the verdict, and the datagram unless it is lost or kept.
    pub(super) fn enter(
        &mut self,
        context: &Context<'_>,
        mut parcel: Parcel,
    ) -> (Verdict, Option<Parcel>) {
        let verdict = self.stage.judge(context, &mut parcel);
        let counts = &mut self.counts;
        counts.entered += 1;
        match verdict {
            Verdict::Pass => {}
            Verdict::Touched => counts.touched += 1,
            Verdict::Copied(copies) => counts.copied += copies,
            Verdict::Lost => counts.dropped += 1,
            Verdict::Kept => counts.held += 1,
            Verdict::KeptTouched => {
                counts.held += 1;
                counts.touched += 1;
            }
        }
        counts.left = counts.entered + counts.copied - counts.dropped - counts.held;
        match verdict {
            Verdict::Pass | Verdict::Touched | Verdict::Copied(_) => (verdict, Some(parcel)),
            Verdict::Lost => (verdict, None),
            Verdict::Kept | Verdict::KeptTouched => {
                self.stage.keep(context, parcel);
                (verdict, None)
            }
        }
    }

    pub(super) fn due(&self, context: &Context<'_>) -> Option<Duration> {
        self.stage.due(context)
    }

    pub(super) fn release(&mut self, context: &Context<'_>) -> Option<Parcel> {
        let parcel = self.stage.release(context)?;
        self.counts.held -= 1;
        self.counts.left += 1;
        Some(parcel)
    }
}
