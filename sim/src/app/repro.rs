//! A run that failed, in a file that plays it again.

use std::{
    env, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{EnvironmentError, Failure, Options, Plan};
use crate::duration;

/// What these files are called by. Another number is another format.
const FORMAT: &str = "quicpool-sim app 1";
/// The mark that cargo leaves in the directory that it builds in.
const TARGET_MARK: &str = "CACHEDIR.TAG";

/// All that a run follows from, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Repro {
    format: String,
    check: String,
    pub(super) seed: u64,
    nodes: usize,
    property: String,
    #[serde(with = "duration")]
    at: Duration,
    /// The hash of the run, in hexadecimal digits.
    hash: String,
    pub(super) plan: Plan,
}

impl Repro {
    pub(super) fn of(failure: &Failure) -> Self {
        Self {
            format: FORMAT.to_owned(),
            check: failure.name.clone(),
            seed: failure.seed,
            nodes: failure.nodes,
            property: failure.property.clone(),
            at: failure.at,
            hash: digits(failure.hash),
            plan: failure.plan.clone(),
        }
    }

    /// Reads a file that belongs to this check.
    pub(super) fn read(
        path: &Path,
        name: &str,
        options: &Options,
    ) -> Result<Self, EnvironmentError> {
        let shown = path.display().to_string();
        let bad = |allowed: String| EnvironmentError::repro(&shown, &allowed);
        let text = fs::read_to_string(path).map_err(|error| bad(format!("{FILE}: {error}")))?;
        let repro: Self =
            serde_json::from_str(&text).map_err(|error| bad(format!("{FILE}: {error}")))?;
        if repro.format != FORMAT {
            return Err(bad(format!(
                "a file of the format {FORMAT:?}, and this is {:?}",
                repro.format
            )));
        }
        if repro.check != name {
            let of = &repro.check;
            return Err(bad(format!(
                "a run of {name:?}, and this is one of {of:?}: test that alone"
            )));
        }
        if repro.seed == u64::MAX {
            return Err(bad(format!("a seed below {}", u64::MAX)));
        }
        repro
            .plan
            .check()
            .map_err(|error| bad(format!("{FILE}: {error}")))?;
        if repro.nodes != options.nodes {
            let (nodes, found) = (options.nodes, repro.nodes);
            return Err(bad(format!(
                "a run of {nodes} nodes, and this is one of {found}"
            )));
        }
        Ok(repro)
    }

    /// Writes it where cargo builds, and says where that is.
    pub(super) fn save(&self) -> io::Result<PathBuf> {
        let directory = target_directory()?.join("sim");
        fs::create_dir_all(&directory)?;
        let tame = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = self.check.chars().map(tame).collect();
        let path = directory.join(format!("{name}-{}.json", self.seed));
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        fs::write(&path, text + "\n")?;
        Ok(path)
    }

    /// What to say of a run of this file that has failed, too.
    pub(super) fn compare(&self, failure: &Failure) -> String {
        if self.hash == digits(failure.hash) {
            return "this is the run that was recorded, to the last byte".to_owned();
        }
        format!(
            "this is not quite the run that was recorded, which failed in {:?} at {:?}: the code \
             has changed",
            self.property, self.at
        )
    }
}

/// What a value of the variable has to be.
const FILE: &str = "the path of a file that a failure has left in target/sim";

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
