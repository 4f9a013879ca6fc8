//! A run that has failed, and what is known of it.

use std::{fmt, time::Duration};

use super::{Fault, Plan};

/// How many faults are shown that are over.
const OVER_SHOWN: usize = 5;

/// How many nodes are shown.
const NODES_SHOWN: usize = 16;

/// A run in which something did not hold. [`Display`](fmt::Display) writes the full report.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    pub(super) name: String,
    /// The property that did not hold: its name in the test, or the part that has panicked.
    pub property: String,
    /// The seed of the run.
    pub seed: u64,
    /// When it was noticed, in simulated time since the run began.
    pub at: Duration,
    /// What was seen.
    pub what: String,
    /// The faults that were on.
    pub faults: Vec<Fault>,
    /// Those that were over, the last one last.
    pub(super) over: Vec<Fault>,
    /// Everything that was to go wrong in this run.
    pub plan: Plan,
    pub(super) nodes: usize,
    /// Some lines for each node.
    pub(super) pictures: Vec<Vec<String>>,
    /// The hash of the run up to this.
    pub hash: u128,
    pub(super) commands: Vec<String>,
    pub(super) note: Option<String>,
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
            self.faults.len(),
            self.over.len()
        )?;
        for fault in &self.faults {
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
