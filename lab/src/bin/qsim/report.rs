//! What all worlds together have shown.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use quicpool_sim::Crypto;
use serde_json::json;

use crate::{
    cover::{Cover, WORLDS_MIN},
    failure::{Failed, Kind},
    interrupt,
    run::Played,
    stdout::to_stdout,
};

/// Failures of which the whole network is printed.
const SHOWN_MAX: usize = 3;

/// The sum of all worlds.
pub(crate) struct Report {
    crypto: Crypto,
    seeds: u64,
    failures: Vec<(u64, Failed)>,
    elapsed: Duration,
    simulated: Duration,
    injected: BTreeMap<&'static str, u64>,
    cover: Cover,
    messages: u64,
    /// Of all runs, whatever their order.
    hash: u128,
    interrupted: bool,
}

impl Report {
    pub(crate) fn new(crypto: Crypto) -> Self {
        Self {
            crypto,
            seeds: 0,
            failures: Vec::new(),
            elapsed: Duration::ZERO,
            simulated: Duration::ZERO,
            injected: BTreeMap::new(),
            cover: Cover::new(),
            messages: 0,
            hash: 0,
            interrupted: false,
        }
    }

    /// A world has been played.
    pub(crate) fn add(&mut self, seed: u64, played: Played) {
        self.seeds += 1;
        self.failures
            .extend(played.failed.map(|failed| (seed, failed)));
        let Some(outcome) = played.outcome else {
            return;
        };
        self.simulated += outcome.simulated;
        self.messages += outcome.messages;
        // Exclusive or: worlds end in any order.
        self.hash ^= outcome.hash;
        for (name, count) in &outcome.injected {
            *self.injected.entry(name).or_default() += count;
        }
        self.cover.add(&outcome);
    }

    pub(crate) fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    pub(crate) fn progress(&self) -> String {
        let (failures, simulated) = (self.failures.len(), self.simulated.as_secs());
        format!("{failures} failures, {simulated} s simulated")
    }

    pub(crate) fn finish(&mut self, elapsed: Duration, interrupted: bool) {
        self.elapsed = elapsed;
        self.interrupted = interrupted;
        self.failures.sort_by_key(|(seed, _)| *seed);
    }

    pub(crate) fn exit_code(&self) -> u8 {
        let worst = self
            .failures
            .iter()
            .map(|(_, failure)| failure.kind())
            .max();
        match worst {
            Some(kind) => kind.exit_code(),
            None if self.interrupted => interrupt::EXIT_CODE,
            None if !self.missed().is_empty() => Kind::Invariant.exit_code(),
            None => 0,
        }
    }

    /// Marks that should have been reached: all of them, by as many worlds as it takes. Those that
    /// are on the wire cannot be seen there with TLS.
    fn missed(&self) -> Vec<&'static str> {
        if self.seeds < WORLDS_MIN || self.crypto != Crypto::Checksum {
            return Vec::new();
        }
        self.cover.missed()
    }

    fn seeds_per_second(&self) -> f64 {
        self.seeds as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    pub(crate) fn print(&self, as_json: bool) -> io::Result<()> {
        to_stdout(|out| match as_json {
            true => writeln!(out, "{}", self.json()),
            false => self.summarise(out),
        })
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "crypto": self.crypto.to_string(),
            "seeds": self.seeds,
            "failures": self.failures.len(),
            "failed_seeds": self.failures.iter().map(|(seed, _)| seed).collect::<Vec<_>>(),
            "seeds_per_second": self.seeds_per_second(),
            "simulated_seconds": self.simulated.as_secs_f64(),
            "messages": self.messages,
            "faults": self.injected,
            "marks": self.cover.hits(),
            "marks_missed": self.missed(),
            "interrupted": self.interrupted,
            "hash": format!("{:032x}", self.hash),
        })
    }

    /// Prints what was reached instead of a summary. Here no mark may be missing.
    pub(crate) fn print_cover(&self, as_json: bool) -> io::Result<u8> {
        if as_json {
            self.print(as_json)?;
        } else {
            let (seeds, failures) = (self.seeds, self.failures.len());
            to_stdout(|out| {
                self.cover.print(out)?;
                writeln!(out, "{seeds} worlds, {failures} failures")
            })?;
        }
        Ok(match self.exit_code() {
            0 if !self.cover.missed().is_empty() => Kind::Invariant.exit_code(),
            code => code,
        })
    }

    fn name_missed(&self, out: &mut impl Write) -> io::Result<()> {
        for mark in self.missed() {
            writeln!(out, "no world has reached this mark: {mark}")?;
        }
        Ok(())
    }

    fn summarise(&self, out: &mut impl Write) -> io::Result<()> {
        for (n, (seed, failure)) in self.failures.iter().enumerate() {
            match n < SHOWN_MAX {
                true => writeln!(out, "seed {seed}: {}", failure.story())?,
                false => writeln!(out, "seed {seed}: {}", failure.failure)?,
            }
            let world = match &failure.file {
                Some(file) => {
                    writeln!(out, "written to {}", file.display())?;
                    file.display().to_string()
                }
                None => format!("{seed} --crypto {}", self.crypto),
            };
            writeln!(out, "again: qsim replay {world}")?;
            writeln!(out, "smaller: qsim shrink {world}\n")?;
        }
        self.name_missed(out)?;
        let injected: Vec<String> = self
            .injected
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        writeln!(out, "{}", injected.join(", "))?;
        writeln!(
            out,
            "{} worlds, {} failures; {} messages, {:.0} s simulated in {:.1} s ({:.0} worlds/s); hash {:032x}",
            self.seeds,
            self.failures.len(),
            self.messages,
            self.simulated.as_secs_f64(),
            self.elapsed.as_secs_f64(),
            self.seeds_per_second(),
            self.hash,
        )
    }
}
