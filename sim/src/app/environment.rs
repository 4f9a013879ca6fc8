//! Settings of a run from the environment, so that nothing has to be compiled again.

use std::{ops::Range, path::PathBuf, time::Duration};

use super::plan::STORM_MAX;
use crate::duration;

const SEED: &str = "SIM_SEED";
const SEEDS: &str = "SIM_SEEDS";
const TIME: &str = "SIM_TIME";
const REPRO: &str = "SIM_REPRO";

/// Settings from the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) seeds: Option<Range<u64>>,
    pub(super) storm: Option<Duration>,
    pub(super) repro: Option<PathBuf>,
}

/// A variable has a value that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is {value:?}; allowed is {allowed}")]
pub struct EnvironmentError {
    variable: &'static str,
    value: String,
    allowed: String,
}

impl EnvironmentError {
    fn new(variable: &'static str, value: &str, allowed: &str) -> Self {
        Self {
            variable,
            value: value.to_owned(),
            allowed: allowed.to_owned(),
        }
    }

    pub(super) fn repro(value: &str, allowed: &str) -> Self {
        Self::new(REPRO, value, allowed)
    }
}

impl Environment {
    /// Reads all variables; `var` gives the value of one, if it is set.
    pub(super) fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let [seed, seeds, storm, repro] = [SEED, SEEDS, TIME, REPRO].map(var);
        if let Some(path) = repro {
            // The file holds everything.
            for (name, other) in [(SEED, seed), (SEEDS, seeds), (TIME, storm)] {
                let allowed = "nothing while SIM_REPRO is set, which holds the whole run";
                other.map_or(Ok(()), |value| {
                    Err(EnvironmentError::new(name, &value, allowed))
                })?;
            }
            return Ok(Self {
                repro: Some(path.into()),
                ..Self::default()
            });
        }
        let seeds = match (seed, seeds) {
            (None, None) => None,
            (Some(seed), None) => Some(one_seed(&seed)?),
            (None, Some(seeds)) => Some(many_seeds(&seeds)?),
            (Some(_), Some(seeds)) => {
                let allowed = "nothing while SIM_SEED is set, which is one seed";
                return Err(EnvironmentError::new(SEEDS, &seeds, allowed));
            }
        };
        Ok(Self {
            seeds,
            storm: storm.as_deref().map(time).transpose()?,
            repro: None,
        })
    }
}

fn one_seed(value: &str) -> Result<Range<u64>, EnvironmentError> {
    let seed = value.parse::<u64>().ok().filter(|seed| *seed < u64::MAX);
    let allowed = "a number from 0 to 18446744073709551614";
    let seed = seed.ok_or_else(|| EnvironmentError::new(SEED, value, allowed))?;
    Ok(seed..seed + 1)
}

fn many_seeds(value: &str) -> Result<Range<u64>, EnvironmentError> {
    let range = match value.split_once("..") {
        Some((from, to)) => from.parse().ok().zip(to.parse().ok()),
        None => value.parse().ok().map(|count| (0, count)),
    };
    let range = range.filter(|(from, to)| from < to);
    let allowed = "a count such as 200, which is 0..200, or a range such as 100..200 that holds at \
                   least one seed";
    let (from, to) = range.ok_or_else(|| EnvironmentError::new(SEEDS, value, allowed))?;
    Ok(from..to)
}

fn time(value: &str) -> Result<Duration, EnvironmentError> {
    let time = duration::parse(value).filter(|time| *time <= STORM_MAX);
    let allowed = "a whole number of simulated s, ms, us or ns, such as 30s, up to 86400s";
    time.ok_or_else(|| EnvironmentError::new(TIME, value, allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ms, secs};

    #[test]
    fn without_variables_nothing_is_asked_for() {
        assert_eq!(read(&[]), Ok(Environment::default()));
    }

    #[test]
    fn seeds_are_one_or_a_count_or_a_range() {
        for (name, value, seeds) in [
            ("SIM_SEED", "17", 17..18),
            ("SIM_SEEDS", "200", 0..200),
            ("SIM_SEEDS", "100..200", 100..200),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap().seeds, Some(seeds));
        }
    }

    #[test]
    fn a_time_has_a_unit() {
        for (value, time) in [("30s", secs(30)), ("1500ms", ms(1_500)), ("0s", secs(0))] {
            assert_eq!(read(&[("SIM_TIME", value)]).unwrap().storm, Some(time));
        }
    }

    #[test]
    fn a_bad_value_is_named_with_what_is_allowed() {
        for (name, value, allowed) in [
            ("SIM_SEED", "x", "a number"),
            ("SIM_SEED", "-1", "a number"),
            ("SIM_SEED", "18446744073709551615", "a number"),
            ("SIM_SEEDS", "0", "a count such as 200"),
            ("SIM_SEEDS", "5..5", "at least one seed"),
            ("SIM_SEEDS", "9..3", "a range such as"),
            ("SIM_SEEDS", "..3", "a range such as"),
            ("SIM_TIME", "30", "such as 30s"),
            ("SIM_TIME", "86401s", "up to 86400s"),
            ("SIM_TIME", "1.5s", "a whole number"),
            ("SIM_TIME", "", "such as 30s"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!(error.variable, name);
            let text = error.to_string();
            let begin = format!("{name} is {value:?}; allowed is ");
            assert!(text.starts_with(&begin) && text.contains(allowed), "{text}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_an_error() {
        let error = read(&[("SIM_SEED", "1"), ("SIM_SEEDS", "5")]).unwrap_err();
        assert_eq!(error.variable, "SIM_SEEDS");
        for (name, value) in [("SIM_SEED", "1"), ("SIM_SEEDS", "5"), ("SIM_TIME", "5s")] {
            let error = read(&[("SIM_REPRO", "file"), (name, value)]).unwrap_err();
            assert_eq!(error.variable, name);
        }
    }

    fn read(set: &[(&str, &str)]) -> Result<Environment, EnvironmentError> {
        Environment::read(|name| {
            let found = set.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }
}
