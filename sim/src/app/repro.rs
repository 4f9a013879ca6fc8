//! A run that failed, in the file that plays it again.

use std::{
    env,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{EnvironmentError, Failure, Options, Plan};
use crate::{
    duration,
    repro::{self, Playable},
};

/// The mark that cargo leaves in the directory that it builds in.
const TARGET_MARK: &str = "CACHEDIR.TAG";

/// The valid values of the variable.
const FILE: &str = "the path of a file that a failure has left in target/sim";

/// A run of an application that has failed.
pub(super) type Repro = repro::Repro<Broken, Run>;

/// The property that did not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Broken {
    property: String,
    #[serde(with = "duration")]
    at: Duration,
    /// The hash of the run, in hexadecimal digits.
    hash: String,
}

/// All that a run follows from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    check: String,
    pub(super) seed: u64,
    nodes: usize,
    pub(super) plan: Plan,
}

impl Playable for Run {
    fn check_playable(&self) -> Result<(), String> {
        match self.seed < u64::MAX {
            true => self.plan.check(),
            false => Err(format!("the seed is not below {}", u64::MAX)),
        }
    }
}

impl Repro {
    pub(super) fn of(failure: &Failure) -> Self {
        let run = Run {
            check: failure.name.clone(),
            seed: failure.seed,
            nodes: failure.nodes,
            plan: failure.plan.clone(),
        };
        let broken = Broken {
            property: failure.property.clone(),
            at: failure.at,
            hash: digits(failure.hash),
        };
        Self::new(run, broken, &failure.what)
    }

    /// Reads a file that belongs to this check.
    pub(super) fn read_of(
        path: &Path,
        name: &str,
        options: &Options,
    ) -> Result<Self, EnvironmentError> {
        let shown = path.display().to_string();
        let bad = |allowed: String| EnvironmentError::repro(&shown, &allowed);
        let repro = Self::read(path).map_err(|error| bad(format!("{FILE}: {error}")))?;
        let Run { check, nodes, .. } = &repro.scenario;
        if check != name {
            return Err(bad(format!(
                "a run of {name:?}, and this is one of {check:?}: test that alone"
            )));
        }
        if *nodes != options.nodes {
            let expected = options.nodes;
            return Err(bad(format!(
                "a run of {expected} nodes, and this is one of {nodes}"
            )));
        }
        Ok(repro)
    }

    /// Writes it to `sim` in the target directory of cargo, and returns its path.
    pub(super) fn save(&self) -> io::Result<PathBuf> {
        let tame = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let Run { check, seed, .. } = &self.scenario;
        let name: String = check.chars().map(tame).collect();
        let path = target_directory()?.join("sim");
        let path = path.join(format!("{name}-{seed}.json"));
        self.write(&path)?;
        Ok(path)
    }

    /// Compares a failure with the one in this file, in words.
    pub(super) fn compare(&self, failure: &Failure) -> String {
        let Broken { property, at, hash } = &self.failure;
        if *hash == digits(failure.hash) {
            return "this is the run that was recorded, to the last byte".to_owned();
        }
        format!(
            "this is not quite the run that was recorded, which failed in {property:?} at {at:?}: \
             the code has changed"
        )
    }
}

fn digits(hash: u128) -> String {
    format!("{hash:032x}")
}

/// Where cargo has built this program; elsewhere `target` in the current directory.
fn target_directory() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let marked = program
        .ancestors()
        .find(|path| path.join(TARGET_MARK).is_file());
    match marked {
        Some(path) => Ok(path.to_owned()),
        None => Ok(env::current_dir()
            .map_err(|error| io::Error::new(ErrorKind::NotFound, error))?
            .join("target")),
    }
}
