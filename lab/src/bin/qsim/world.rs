//! A world as the command line names it: a seed, or a file.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use quicpool_lab::swarm::{Repro, ReproError, Scenario};
use quicpool_sim::Crypto;

/// A seed, or a file.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Seed(u64),
    File(PathBuf),
}

impl FromStr for Source {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seed = text.parse().map(Self::Seed);
        Ok(seed.unwrap_or_else(|_| Self::File(PathBuf::from(text))))
    }
}

impl Source {
    /// The world, and for a file its recorded failure. The file has the cryptography, too.
    pub(crate) fn load(&self, crypto: Crypto) -> Result<(Scenario, Option<Repro>), ReproError> {
        match self {
            Self::Seed(seed) => Ok((Scenario::draw(*seed).crypto(crypto), None)),
            Self::File(path) => {
                let repro = Repro::read(path)?;
                Ok((repro.scenario.clone(), Some(repro)))
            }
        }
    }

    /// A name for files that come of it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Seed(seed) => format!("seed-{seed}"),
            Self::File(path) => {
                let stem = path.file_stem().unwrap_or(path.as_os_str());
                Path::new(stem).display().to_string()
            }
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seed(seed) => write!(f, "seed {seed}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}
