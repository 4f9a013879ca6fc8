//! A run that failed, as a file that plays it again: plans of applications and worlds of the
//! laboratory alike.

use std::{
    fmt, fs,
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The format that is written and read. It changes when files of before mean something else.
const FORMAT: u32 = 1;

/// How long a file may be, in bytes: a thousand times as long as those of drawn worlds.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// How long a line of a file may be, in bytes: what is shorter is not broken.
const LINE_MAX: usize = 96;

/// A run that has failed, and all that it follows from, even once seeds draw other runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repro<F, S> {
    format: u32,
    /// The version of this package that has written it.
    pub version: String,
    /// The failure.
    pub failure: F,
    /// What was seen.
    pub what: String,
    /// The run, its seed included.
    pub scenario: S,
}

/// A run as data.
pub trait Playable {
    /// Checks that the run can be played, with each number in its range.
    ///
    /// # Errors
    ///
    /// The first that is not, and what is allowed.
    fn check_playable(&self) -> Result<(), String>;
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
        /// The error.
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
    /// Its run cannot be played.
    #[error("scenario: {0}")]
    Scenario(String),
}

/// All that is read of a file before its format is known.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

impl<F, S> Repro<F, S> {
    /// A run, and how it has failed.
    #[must_use]
    pub fn new(scenario: S, failure: F, what: impl Into<String>) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            failure,
            what: what.into(),
            scenario,
        }
    }
}

impl<F: DeserializeOwned, S: DeserializeOwned + Playable> Repro<F, S> {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not valid, with the place.
    pub fn read(path: &Path) -> Result<Self, ReproError> {
        let read = read_whole(path).map_err(ReproError::Io);
        read.and_then(|text| text.parse())
            .map_err(|error| ReproError::File {
                path: path.to_owned(),
                error: Box::new(error),
            })
    }
}

impl<F: Serialize, S: Serialize> Repro<F, S> {
    /// Writes a file, and the directories above it.
    ///
    /// # Errors
    ///
    /// The file system's error.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, self.to_string())
    }
}

/// Reads a file whole, unless it has no end.
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

impl<F: DeserializeOwned, S: DeserializeOwned + Playable> std::str::FromStr for Repro<F, S> {
    type Err = ReproError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Header { format } = serde_json::from_str(text)?;
        if format != FORMAT {
            return Err(ReproError::Format(format));
        }
        let repro: Self = serde_json::from_str(text)?;
        let playable = repro.scenario.check_playable();
        playable.map_err(ReproError::Scenario)?;
        Ok(repro)
    }
}

/// JSON, for machines and for people: a step or a fault is a line.
impl<F: Serialize, S: Serialize> fmt::Display for Repro<F, S> {
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
