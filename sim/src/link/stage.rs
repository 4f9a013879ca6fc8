//! What the stages of a link have in common.

use std::{fmt, net::SocketAddr, time::Duration};

use bytes::BytesMut;
use quicpool_core::EcnCodepoint;

use super::Faults;
use crate::dice::{Dice, Domain};

/// A datagram on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parcel {
    /// Under which number its fate is drawn. No two on a link have the same, copies included.
    pub(crate) number: u64,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) ecn: Option<EcnCodepoint>,
    pub(crate) payload: BytesMut,
}

impl Parcel {
    /// How many numbers a datagram takes: one for itself, the others for copies of it.
    pub(super) const NUMBERS: u64 = 256;

    /// Which of the datagrams offered to the link this is, or is a copy of.
    pub(super) fn offered_as(&self) -> u64 {
        self.number / Self::NUMBERS
    }
}

/// What a stage may look at.
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

/// What has become of the datagrams that came to a stage.
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

/// Where a datagram goes from a stage.
pub(super) type Next<'a> = &'a mut dyn FnMut(Parcel);

/// One thing that a link does to datagrams.
pub(super) trait Stage: fmt::Debug {
    /// Under which name it is counted.
    fn name(&self) -> &'static str;

    /// Takes a datagram, and hands on what leaves at once.
    fn enter(&mut self, context: &Context<'_>, parcel: Parcel, next: Next<'_>);

    /// When something that is held leaves; a time that has passed means at once.
    fn due(&self, _context: &Context<'_>) -> Option<Duration> {
        None
    }

    /// Gives one datagram that is due.
    fn release(&mut self, _context: &Context<'_>) -> Option<Parcel> {
        None
    }

    fn counts(&self) -> StageCounts;
}
