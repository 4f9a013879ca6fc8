//! What worlds have reached.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use quicpool_lab::swarm::{MARKS, Outcome};

/// Worlds that reach every mark together. Fewer may miss some by chance.
pub(crate) const WORLDS_MIN: u64 = 2_000;

/// How often each mark was hit.
pub(crate) struct Cover {
    marks: BTreeMap<&'static str, Reached>,
}

#[derive(Default, Clone, Copy)]
struct Reached {
    hits: u64,
    worlds: u64,
}

impl Cover {
    pub(crate) fn new() -> Self {
        let marks = MARKS.iter().map(|name| (*name, Reached::default()));
        Self {
            marks: marks.collect(),
        }
    }

    pub(crate) fn add(&mut self, outcome: &Outcome) {
        for (name, hits) in &outcome.marks {
            let reached = self.marks.entry(name).or_default();
            reached.hits += hits;
            reached.worlds += u64::from(*hits > 0);
        }
    }

    /// Marks that no world has reached.
    pub(crate) fn missed(&self) -> Vec<&'static str> {
        let missed = self.marks.iter().filter(|(_, reached)| reached.hits == 0);
        missed.map(|(name, _)| *name).collect()
    }

    /// Hits by mark.
    pub(crate) fn hits(&self) -> BTreeMap<&'static str, u64> {
        let hits = self
            .marks
            .iter()
            .map(|(name, reached)| (*name, reached.hits));
        hits.collect()
    }

    /// Prints all marks, the rarest first.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rows: Vec<_> = self.marks.iter().collect();
        rows.sort_by_key(|(name, reached)| (reached.worlds, reached.hits, *name));
        writeln!(out, "{:>10} {:>8}  mark", "hits", "worlds")?;
        for (name, Reached { hits, worlds }) in rows {
            let flag = if *hits == 0 { "NEVER: " } else { "" };
            writeln!(out, "{hits:>10} {worlds:>8}  {flag}{name}")?;
        }
        Ok(())
    }
}
