//! A world played again, by a process that looks different from within.

use std::{fmt, panic, thread};

use super::{Outcome, Scenario, world::World};
use crate::{Dice, Difference, Domain, Trail};

/// Steps of the other world that is played before.
const STEPS_OF_ANOTHER: usize = 8;
/// Pieces of memory that are held meanwhile, and the bytes of the largest.
const PIECES: u64 = 512;
const PIECE_BYTES_MAX: u64 = 4_096;

/// How two runs of one world have parted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Divergence {
    /// They have sent different datagrams.
    Sent(Box<Difference>),
    /// They have sent the same, and come to different ends.
    Ended(Box<[Outcome; 2]>),
}

impl Scenario {
    /// Plays the world twice and compares the runs.
    ///
    /// The second run is on another thread, with other things at other places in memory, after
    /// another world, and makes its links in the opposite order. None of it may matter.
    ///
    /// # Errors
    ///
    /// The first difference.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run) does.
    pub fn run_twice(&self) -> Result<Outcome, Divergence> {
        let (once, trail) = self.run_with(|_| {});
        let again = thread::scope(|scope| scope.spawn(|| self.run_perturbed()).join());
        let (again, other) = again.unwrap_or_else(|payload| panic::resume_unwind(payload));
        if let Some(difference) = trail.first_difference(&other) {
            return Err(Divergence::Sent(Box::new(difference)));
        }
        if once != again {
            return Err(Divergence::Ended(Box::new([once, again])));
        }
        Ok(once)
    }

    fn run_perturbed(&self) -> (Outcome, Trail) {
        let junk = junk(self.seed);
        let mut another = Self::draw(!self.seed).crypto(self.crypto);
        another.steps.truncate(STEPS_OF_ANOTHER);
        // That is not the world which is looked at: if it panics, its own seed will say so.
        let _ = panic::catch_unwind(|| another.run());
        let played = self.run_with(|world| world.make_links_backwards());
        drop(junk);
        played
    }

    /// Plays the world and keeps its trail.
    fn run_with(&self, prepare: impl FnOnce(&mut World<'_>)) -> (Outcome, Trail) {
        let mut nobody = ();
        let mut world = World::new(self, &mut nobody, None);
        prepare(&mut world);
        world.run_with_trail(self)
    }
}

/// Memory with holes in it, so that what is allocated next lies elsewhere.
fn junk(seed: u64) -> Vec<Vec<u8>> {
    let dice = Dice::new(seed);
    let len = |n| dice.roll(Domain::Junk, 0, n) % PIECE_BYTES_MAX;
    let mut pieces: Vec<Vec<u8>> = (0..PIECES).map(|n| vec![0xa5; len(n) as usize]).collect();
    let mut even = false;
    pieces.retain(|_| {
        even = !even;
        even
    });
    pieces
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(difference) => write!(f, "two runs send different datagrams: {difference}"),
            Self::Ended(ends) => {
                let [once, again] = &**ends;
                write!(f, "two runs end differently: {once:?} and {again:?}")
            }
        }
    }
}
