//! A world that has failed, and in which way.

use std::{
    any::Any,
    fmt, fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use quicpool_sim::lab::Playable;
use serde::{Deserialize, Serialize};

use super::{Outcome, Property, Scenario};

/// A world that has failed, and everything that is needed to see it fail again, even once seeds
/// draw other worlds.
///
/// ```
/// use quicpool_lab::swarm::{Failure, Property, Repro, Scenario};
///
/// let scenario = Scenario::draw(7);
/// let repro = Repro::new(scenario, Failure::Property(Property::Converges), "it hangs");
/// let read: Repro = repro.to_string().parse().unwrap();
/// assert_eq!(read, repro);
/// ```
pub type Repro = quicpool_sim::lab::Repro<Failure, Scenario>;

/// In which way a world fails. Two failures are the same if they are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// Something does not hold.
    Property(Property),
    /// The machine panics, or the network finds that it breaks its contract: the first line of the
    /// message, with `#` in place of numbers and names.
    Panic(String),
    /// Two runs differ.
    Difference,
}

impl Playable for Scenario {
    fn check_playable(&self) -> Result<(), String> {
        self.check().map_err(|error| error.to_string())
    }
}

/// Plays all worlds of a directory: a test in one line for worlds that have failed once.
///
/// # Panics
///
/// If one of them fails, or there is none.
pub fn play_all(directory: impl AsRef<Path>) {
    let directory = directory.as_ref();
    let files = json_files(directory);
    let files = files.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    assert!(!files.is_empty(), "{} has no files", directory.display());
    for file in files {
        let repro = Repro::read(&file).unwrap_or_else(|error| panic!("{error}"));
        if let Some((failure, what)) = Failure::of(&repro.scenario) {
            panic!("{}: {failure}: {what}", file.display());
        }
    }
}

fn json_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Failure {
    /// Plays a world, and returns its failure and what was seen, if it fails.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Option<(Self, String)> {
        match catch_unwind(AssertUnwindSafe(|| scenario.run())) {
            Ok(outcome) => Self::in_outcome(&outcome),
            Err(payload) => Some(Self::in_panic(&*payload)),
        }
    }

    /// The first failure of a world that was played to its end; what went wrong goes before what
    /// never happened.
    #[must_use]
    pub fn in_outcome(outcome: &Outcome) -> Option<(Self, String)> {
        let violations = outcome.violations.iter();
        let first = violations.min_by_key(|violation| violation.property.is_liveness())?;
        Some((Self::Property(first.property), first.to_string()))
    }

    /// Returns the failure of a panic, and its message.
    #[must_use]
    pub fn in_panic(payload: &(dyn Any + Send)) -> (Self, String) {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or(payload.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("without a word");
        (Self::Panic(without_numbers(text)), text.to_owned())
    }

    /// Whether a world fails in this way, whatever else is wrong with it.
    #[must_use]
    pub fn befalls(&self, scenario: &Scenario) -> bool {
        let befalls = || match self {
            Self::Difference => scenario.run_twice().is_err(),
            Self::Property(_) | Self::Panic(_) => {
                let outcome = scenario.run();
                let mut violations = outcome.violations.iter();
                violations.any(|violation| *self == Self::Property(violation.property))
            }
        };
        catch_unwind(AssertUnwindSafe(befalls))
            .unwrap_or_else(|payload| Self::in_panic(&*payload).0 == *self)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Property(property) => write!(f, "{property:?}"),
            Self::Panic(text) => write!(f, "panicked: {text}"),
            Self::Difference => f.write_str("two runs differ"),
        }
    }
}

/// The first line of a message, with `#` for each word that has a digit in it: numbers, times,
/// nodes and peers are others in a smaller world.
fn without_numbers(text: &str) -> String {
    let ends_word = |c: char| !c.is_alphanumeric() && c != '.';
    let line = text.lines().next().unwrap_or_default();
    let words = line.split_inclusive(ends_word).map(|word| {
        let end = word.trim_end_matches(ends_word).len();
        match word[..end].contains(|c: char| c.is_ascii_digit()) {
            true => format!("#{}", &word[end..]),
            false => word.to_owned(),
        }
    });
    words.collect()
}

#[cfg(test)]
#[path = "repro_tests.rs"]
mod tests;
