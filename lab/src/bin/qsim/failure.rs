//! The failure of a world, and the program's exit code for it.

use std::{
    any::Any,
    io,
    path::{Path, PathBuf},
};

use quicpool_lab::swarm::{Divergence, Failure, Outcome, Repro, Scenario};

/// How a world has failed.
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    /// What was seen, on one line.
    what: String,
    /// The network at the end.
    picture: String,
    /// Where the world was written to.
    pub(crate) file: Option<PathBuf>,
}

/// The worst of several decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Liveness,
    Invariant,
    Nondeterminism,
    Panic,
}

/// Returns the message of a panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or(payload.downcast_ref::<&str>().copied());
    text.unwrap_or("without a word")
}

impl Kind {
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Invariant => 2,
            Self::Liveness => 3,
            Self::Nondeterminism => 4,
            Self::Panic => 5,
        }
    }
}

impl Failed {
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let (failure, what) = Failure::in_panic(payload);
        let (first, picture) = what.split_once('\n').unwrap_or((&what, ""));
        Self {
            failure,
            what: format!("panicked: {first}"),
            picture: picture.to_owned(),
            file: None,
        }
    }

    pub(crate) fn diverged(divergence: &Divergence) -> Self {
        Self {
            failure: Failure::Difference,
            what: divergence.to_string(),
            picture: String::new(),
            file: None,
        }
    }

    /// Returns the property that did not hold in a world that was played to its end.
    pub(crate) fn of(outcome: &Outcome) -> Option<Self> {
        let (failure, what) = Failure::in_outcome(outcome)?;
        let more = outcome.violations.len() - 1;
        Some(Self {
            failure,
            what: match more {
                0 => what,
                _ => format!("{what}, and {more} more"),
            },
            picture: outcome.picture.clone(),
            file: None,
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        match &self.failure {
            Failure::Property(property) if property.is_liveness() => Kind::Liveness,
            Failure::Panic(_) => Kind::Panic,
            Failure::Difference => Kind::Nondeterminism,
            Failure::Property(_) | _ => Kind::Invariant,
        }
    }

    /// What was seen, and the network at the end.
    pub(crate) fn story(&self) -> String {
        format!("{}\n{}", self.what, self.picture)
    }

    /// Writes down the world, and remembers where.
    pub(crate) fn save(&mut self, directory: &Path, scenario: &Scenario) -> io::Result<()> {
        let file = directory.join(format!("seed-{}.json", scenario.seed));
        self.repro(scenario).write(&file)?;
        self.file = Some(file);
        Ok(())
    }

    pub(crate) fn repro(&self, scenario: &Scenario) -> Repro {
        Repro::new(scenario.clone(), self.failure.clone(), &self.what)
    }
}
