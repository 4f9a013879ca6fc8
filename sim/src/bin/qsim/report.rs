//! What all worlds together have shown.

use std::{
    any::Any,
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use quicpool_sim::{
    Crypto,
    swarm::{Divergence, Outcome},
};
use serde_json::json;

/// Failures that are printed whole.
const SHOWN_MAX: usize = 3;

/// The sum of all worlds.
pub(crate) struct Report {
    crypto: Crypto,
    seeds: u64,
    failures: Vec<(u64, Failure)>,
    elapsed: Duration,
    simulated: Duration,
    injected: BTreeMap<&'static str, u64>,
    messages: u64,
    /// Of all runs, whatever their order.
    hash: u128,
    interrupted: bool,
}

/// Why a world has failed.
pub(crate) struct Failure {
    kind: Kind,
    what: String,
}

/// The worst of several decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Liveness,
    Invariant,
    Nondeterminism,
    Panic,
}

impl Kind {
    const fn exit_code(self) -> u8 {
        match self {
            Self::Invariant => 2,
            Self::Liveness => 3,
            Self::Nondeterminism => 4,
            Self::Panic => 5,
        }
    }
}

impl Failure {
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self {
            kind: Kind::Panic,
            what: format!("panicked: {}", panic_message(&*payload)),
        }
    }

    pub(crate) fn diverged(divergence: &Divergence) -> Self {
        Self {
            kind: Kind::Nondeterminism,
            what: divergence.to_string(),
        }
    }

    /// What did not hold in a world that was played to its end.
    fn of(outcome: &Outcome) -> Option<Self> {
        let first = outcome.violations.first()?;
        let liveness = outcome.violations.iter().all(|v| v.property.is_liveness());
        let kind = if liveness {
            Kind::Liveness
        } else {
            Kind::Invariant
        };
        let more = outcome.violations.len() - 1;
        let what = format!("{first}, and {more} more\n{}", outcome.picture);
        Some(Self { kind, what })
    }
}

/// What a panic has said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or(payload.downcast_ref::<&str>().copied());
    text.unwrap_or("without a word")
}

impl Report {
    pub(crate) const fn new(crypto: Crypto) -> Self {
        Self {
            crypto,
            seeds: 0,
            failures: Vec::new(),
            elapsed: Duration::ZERO,
            simulated: Duration::ZERO,
            injected: BTreeMap::new(),
            messages: 0,
            hash: 0,
            interrupted: false,
        }
    }

    /// A world has been played.
    pub(crate) fn add(&mut self, seed: u64, played: Result<Outcome, Failure>) {
        self.seeds += 1;
        match played {
            Err(failure) => self.failures.push((seed, failure)),
            Ok(outcome) => {
                self.simulated += outcome.simulated;
                self.messages += outcome.messages;
                // Exclusive or: worlds end in any order.
                self.hash ^= outcome.hash;
                for (name, count) in &outcome.injected {
                    *self.injected.entry(name).or_default() += count;
                }
                self.failures
                    .extend(Failure::of(&outcome).map(|failure| (seed, failure)));
            }
        }
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
        let worst = self.failures.iter().map(|(_, failure)| failure.kind).max();
        match worst {
            Some(kind) => kind.exit_code(),
            None if self.interrupted => 130,
            None => 0,
        }
    }

    fn seeds_per_second(&self) -> f64 {
        self.seeds as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    pub(crate) fn print(&self, as_json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if as_json {
            writeln!(out, "{}", self.json())?;
        } else {
            self.summarise(&mut out)?;
        }
        out.flush()
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
            "hash": format!("{:032x}", self.hash),
        })
    }

    fn summarise(&self, out: &mut impl Write) -> io::Result<()> {
        for (seed, failure) in self.failures.iter().take(SHOWN_MAX) {
            writeln!(out, "seed {seed}: {}", failure.what)?;
            let (end, crypto) = (seed + 1, self.crypto);
            writeln!(
                out,
                "again: qsim run --seeds {seed}..{end} --crypto {crypto}\n"
            )?;
        }
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
