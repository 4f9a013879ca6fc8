//! A run that has failed, and what is known of it.

use std::{fmt, time::Duration};

use super::{Fault, Plan};

/// How many faults are shown that are over.
const OVER_SHOWN: usize = 5;

/// How many nodes are shown.
const NODES_SHOWN: usize = 16;

/// A run in which something did not hold. [`Display`](fmt::Display) tells all of it.
#[derive(Debug, Clone)]
pub struct Failure {
    pub(super) name: String,
    pub(super) property: String,
    pub(super) seed: u64,
    pub(super) at: Duration,
    pub(super) what: String,
    pub(super) on: Vec<Fault>,
    /// Those that were over, the last one last.
    pub(super) over: Vec<Fault>,
    pub(super) plan: Plan,
    pub(super) nodes: usize,
    /// Some lines for each node.
    pub(super) pictures: Vec<Vec<String>>,
    pub(super) hash: u128,
    pub(super) commands: Vec<String>,
    pub(super) note: Option<String>,
}

impl Failure {
    /// What did not hold: the name that the test has given it, or who has panicked.
    #[must_use]
    pub fn property(&self) -> &str {
        &self.property
    }

    /// The seed of the run.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// When it was noticed, in simulated time since the run began.
    #[must_use]
    pub const fn at(&self) -> Duration {
        self.at
    }

    /// What was seen.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The faults that were on.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.on
    }

    /// Everything that was to go wrong in this run.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The hash of the run up to this: see [`Sim::hash`](super::Sim::hash).
    #[must_use]
    pub const fn hash(&self) -> u128 {
        self.hash
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {:?} does not hold", self.name, self.property)?;
        writeln!(f, "  seed    {}", self.seed)?;
        let weather = match self.at < self.plan.storm {
            true => "in a storm until",
            false => "after the storm, which ended at",
        };
        let (at, storm) = (self.at.as_secs_f64(), self.plan.storm);
        writeln!(
            f,
            "  time    {at:.9} s of simulated time, {weather} {storm:?}"
        )?;
        writeln!(f, "  what    {}", self.what)?;
        writeln!(
            f,
            "  faults  {} on, {} over",
            self.on.len(),
            self.over.len()
        )?;
        for fault in &self.on {
            writeln!(f, "          {fault}: on")?;
        }
        for fault in self.over.iter().rev().take(OVER_SHOWN) {
            writeln!(f, "          {fault}: over")?;
        }
        for (place, picture) in self.pictures.iter().enumerate().take(NODES_SHOWN) {
            writeln!(f, "  node {place}  {}", picture.join("\n          "))?;
        }
        if let Some(more @ 1..) = self.pictures.len().checked_sub(NODES_SHOWN) {
            writeln!(f, "  and {more} nodes more")?;
        }
        if let Some(note) = &self.note {
            writeln!(f, "  note    {note}")?;
        }
        for command in &self.commands {
            writeln!(f, "  again   {command}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
