//! A world that has failed, as a file.

use std::{
    any::Any,
    fmt, fs,
    io::{self, ErrorKind, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Outcome, Property, Scenario, ScenarioError};

/// The format that is written and read. It changes when files of before mean something else.
const FORMAT: u32 = 1;

/// How long a file may be, in bytes: a thousand times as long as those of drawn worlds.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// How long a line of a file may be: what is shorter is not broken.
const LINE_MAX: usize = 96;

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repro {
    format: u32,
    /// The version of this package that has written it.
    pub version: String,
    /// What has failed.
    pub failure: Failure,
    /// What was seen.
    pub what: String,
    /// The world, its seed included.
    pub scenario: Scenario,
}

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

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReproError {
    /// A file of this name is wrong.
    #[error("{}: {error}", path.display())]
    File {
        /// Its name.
        path: PathBuf,
        /// What is wrong.
        error: Box<ReproError>,
    },
    /// It cannot be read at all.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It is of another format.
    #[error("format is {0}, allowed is {FORMAT}")]
    Format(u32),
    /// Its world cannot be played.
    #[error("scenario: {0}")]
    Scenario(#[from] ScenarioError),
}

/// All that is read of a file before its format is known.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

impl Repro {
    /// A world, and how it has failed.
    #[must_use]
    pub fn new(scenario: Scenario, failure: Failure, what: impl Into<String>) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            failure,
            what: what.into(),
            scenario,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and where.
    pub fn read(path: &Path) -> Result<Self, ReproError> {
        let read = read_whole(path).map_err(ReproError::Io);
        read.and_then(|text| text.parse())
            .map_err(|error| ReproError::File {
                path: path.to_owned(),
                error: Box::new(error),
            })
    }

    /// Writes a file, and the directories above it.
    ///
    /// # Errors
    ///
    /// As the file system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, self.to_string())
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
            let repro = Self::read(&file).unwrap_or_else(|error| panic!("{error}"));
            if let Some((failure, what)) = Failure::of(&repro.scenario) {
                panic!("{}: {failure}: {what}", file.display());
            }
        }
    }
}

/// What is in a file, unless it has no end.
fn read_whole(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = fs::File::open(path)?.take(FILE_BYTES_MAX + 1);
    match file.read_to_string(&mut text)? as u64 > FILE_BYTES_MAX {
        false => Ok(text),
        true => Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it is longer than {FILE_BYTES_MAX} bytes"),
        )),
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

impl std::str::FromStr for Repro {
    type Err = ReproError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Header { format } = serde_json::from_str(text)?;
        if format != FORMAT {
            return Err(ReproError::Format(format));
        }
        let repro: Self = serde_json::from_str(text)?;
        repro.scenario.check()?;
        Ok(repro)
    }
}

/// JSON, for machines and for people: a step is a line.
impl fmt::Display for Repro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = serde_json::to_value(self).map_err(|_| fmt::Error)?;
        write_pretty(f, &value, 0)?;
        f.write_str("\n")
    }
}

/// What fits into a line is written in one, and so is a row of numbers.
fn write_pretty(f: &mut fmt::Formatter<'_>, value: &Value, indent: usize) -> fmt::Result {
    let line = value.to_string();
    let numbers = value
        .as_array()
        .is_some_and(|items| items.iter().all(Value::is_number));
    if numbers || indent + line.len() <= LINE_MAX {
        return f.write_str(&line);
    }
    let inner = indent + 2;
    match value {
        Value::Array(items) => write_items(f, ['[', ']'], indent, items, |f, item| {
            write_pretty(f, item, inner)
        }),
        Value::Object(fields) => write_items(f, ['{', '}'], indent, fields, |f, (name, field)| {
            write!(f, "{}: ", Value::from(name.as_str()))?;
            write_pretty(f, field, inner)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => f.write_str(&line),
    }
}

fn write_items<'a, T>(
    f: &mut fmt::Formatter<'a>,
    [open, close]: [char; 2],
    indent: usize,
    items: impl IntoIterator<Item = T>,
    write_item: impl Fn(&mut fmt::Formatter<'a>, T) -> fmt::Result,
) -> fmt::Result {
    let mut between = open;
    for item in items {
        write!(f, "{between}\n{:1$}", "", indent + 2)?;
        write_item(f, item)?;
        between = ',';
    }
    write!(f, "\n{:indent$}{close}", "")
}

impl Failure {
    /// Plays a world, and says how it fails and what was seen, if it does.
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

    /// What a panic says.
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
