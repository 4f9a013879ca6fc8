//! The options of runs.

use std::{
    collections::BTreeSet,
    ops::{Range, RangeInclusive},
    time::Duration,
};

use quicpool_core::Config;

use super::{Family, Plan, plan::STORM_MAX};
use crate::{Crypto, Path, secs};

/// Seeds that are run unless a test or the environment sets others.
const SEEDS: Range<u64> = 0..64;
/// How long faults come and go.
const STORM: Duration = secs(30);

/// How many nodes there can be. Each knows each other, so twice as many need four times as much.
const NODES: RangeInclusive<usize> = 1..=1_000;

/// How many nodes there are, which seeds are run, and what goes wrong.
///
/// ```
/// use quicpool_sim::{Path, app::{Family, Options}, secs};
///
/// let options = Options::nodes(5)
///     .seeds(0..200)
///     .storm(secs(60))
///     .without([Family::Crash, Family::Rebind])
///     .path(Path::lte());
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Options {
    pub(super) nodes: usize,
    pub(super) seeds: Range<u64>,
    pub(super) storm: Duration,
    pub(super) families: BTreeSet<Family>,
    pub(super) config: Config,
    pub(super) path: Option<Path>,
    pub(super) plan: Option<Plan>,
    pub(super) crypto: Crypto,
}

impl Options {
    /// So many nodes, from 1 to 1,000; 64 seeds, storms of 30 simulated seconds, all families of faults, the default
    /// configuration, and links of 1 to 120 ms, as the seed decides.
    pub fn nodes(count: usize) -> Self {
        Self {
            nodes: count,
            seeds: SEEDS,
            storm: STORM,
            families: BTreeSet::from(Family::ALL),
            config: Config::default(),
            path: None,
            plan: None,
            crypto: Crypto::default(),
        }
    }

    /// Runs these seeds, one after the other. `SIM_SEED` and `SIM_SEEDS` have precedence.
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// Lets faults come and go for this long, in simulated time, at most a day. `SIM_TIME` has precedence.
    pub fn storm(mut self, time: Duration) -> Self {
        self.storm = time;
        self
    }

    /// Leaves out some families of faults. The others stay as they are, in every seed.
    pub fn without(mut self, families: impl IntoIterator<Item = Family>) -> Self {
        for family in families {
            self.families.remove(&family);
        }
        self
    }

    /// Leaves out all families of faults but these: `only([])` leaves no faults but the test's own.
    pub fn only(mut self, families: impl IntoIterator<Item = Family>) -> Self {
        self.families = families.into_iter().collect();
        self
    }

    /// The configuration of every node.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets the path between any two nodes without faults, in place of the latency that the seed
    /// draws.
    pub fn path(mut self, path: Path) -> Self {
        self.path = Some(path);
        self
    }

    /// How nodes prove their identity. By default it is [`Crypto::Checksum`].
    pub fn crypto(mut self, crypto: Crypto) -> Self {
        self.crypto = crypto;
        self
    }

    /// Lets exactly this go wrong, whatever the seed: it decides the rest.
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plan = Some(plan);
        self
    }

    /// Checks the options, or returns the one that is out of range and its allowed values.
    pub(super) fn check(&self) -> Result<(), String> {
        let (nodes, seeds, storm) = (self.nodes, &self.seeds, self.storm);
        if !NODES.contains(&nodes) {
            return Err(format!("there are {nodes} nodes, allowed is {NODES:?}"));
        }
        if seeds.is_empty() {
            let allowed = "a range that holds at least one";
            return Err(format!("the seeds are {seeds:?}, allowed is {allowed}"));
        }
        if storm > STORM_MAX {
            return Err(format!(
                "the storm lasts {storm:?}, allowed is up to {STORM_MAX:?}"
            ));
        }
        self.plan.as_ref().map_or(Ok(()), Plan::check)?;
        let config = self.config.check();
        config.map_err(|error| format!("the configuration is not valid: {error}"))
    }

    /// Returns the plan of faults of the run of a seed.
    #[must_use]
    #[doc(hidden)]
    pub fn plan_of(&self, seed: u64) -> Plan {
        let draw = || Plan::draw(seed, self.nodes, self.storm, &self.families);
        self.plan.clone().unwrap_or_else(draw)
    }
}
