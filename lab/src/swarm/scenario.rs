//! A world as plain data: its nodes, the steps, and the nodes that stay ill.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Limits, Operation, Outcome, OwnLimits, Stranger, Watch, world::World};
use crate::{Crypto, Delay, Faults, Path, Recorder, duration};

/// A world: its nodes, what they do, and what is done to them.
///
/// [`Display`](std::fmt::Display) lists it for readers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Decides everything that is random in the network and in the machines.
    pub seed: u64,
    /// The cryptography of sessions. [`draw`](Self::draw) always sets `Checksum`.
    #[serde(default, with = "crypto_text")]
    pub crypto: Crypto,
    /// How many nodes there are, which all know each other, but for those that are hidden.
    pub nodes: usize,
    /// Nodes of which the others have no address, as behind NAT: they dial the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<usize>,
    /// Nodes that run in the event loop of the driver, with an application that calls its handle. The
    /// others are bare machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub driven: Vec<usize>,
    /// The configuration of every node, but for what nodes have of their own.
    pub limits: Limits,
    /// The own limits of some nodes, each of them named once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_limits: Vec<OwnLimits>,
    /// The links between any two nodes before the first fault, and after the last.
    pub links: LinkProfile,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// Nodes that are not well again after the storm. All others are: the core.
    pub outsiders: Vec<Outsider>,
    /// Peers outside of the network that dial nodes and send what no machine would.
    /// [`draw`](Self::draw) draws none, [`with_strangers`](Self::with_strangers) some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<Stranger>,
}

/// One thing that happens, and how long nothing else does after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What.
    pub operation: Operation,
    /// The pause behind it.
    #[serde(with = "duration")]
    pub pause: Duration,
}

/// The settings of links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkProfile {
    /// They hold datagrams for this long, and do nothing else to them.
    Delay(Delay),
    /// [`Path::lan`].
    Lan,
    /// [`Path::dsl`].
    Dsl,
    /// [`Path::lte`].
    Lte,
    /// [`Path::satellite`].
    Satellite,
    /// [`Path::wifi_fade`].
    WifiFade,
    /// [`Path::datacenter`].
    Datacenter,
}

/// A node that is not well again, and never will be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outsider {
    /// Which.
    pub node: usize,
    /// Its lasting fault.
    pub condition: Condition,
}

/// A lasting fault of a node.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Condition {
    /// Whatever the storm has left: cuts, links that lose, a process that is down.
    Unhealed,
    /// Its process is down.
    Crashed,
    /// Its process stands still.
    Frozen,
    /// Nothing reaches it, and nothing of it reaches others.
    CutOff,
    /// Nothing reaches it.
    Deaf,
    /// Nothing of it reaches others.
    Mute,
    /// Datagrams from and to it are lost with this probability.
    Lossy(f64),
}

impl LinkProfile {
    /// Both directions of a link.
    #[must_use]
    pub fn path(self) -> Path {
        match self {
            Self::Delay(delay) => {
                let mut faults = Faults::default();
                faults.delay = delay;
                Path::symmetric(faults)
            }
            Self::Lan => Path::lan(),
            Self::Dsl => Path::dsl(),
            Self::Lte => Path::lte(),
            Self::Satellite => Path::satellite(),
            Self::WifiFade => Path::wifi_fade(),
            Self::Datacenter => Path::datacenter(),
        }
    }
}

impl Scenario {
    /// The nodes that are well after the storm.
    pub fn core(&self) -> impl Iterator<Item = usize> + '_ {
        let is_well = |node: &usize| self.outsiders.iter().all(|o| o.node != *node);
        (0..self.nodes).filter(is_well)
    }

    /// The limits of a node.
    #[must_use]
    pub fn limits_of(&self, node: usize) -> Limits {
        let own = self.own_limits.iter().find(|own| own.node == node);
        own.map_or_else(|| self.limits.clone(), |own| own.beside(&self.limits))
    }

    /// The same world with another cryptography.
    #[must_use]
    pub fn crypto(mut self, crypto: Crypto) -> Self {
        self.crypto = crypto;
        self
    }

    /// Plays the world to its end.
    ///
    /// # Panics
    ///
    /// If [`check`](Self::check) finds something, and where the machine breaks its contract.
    #[must_use]
    pub fn run(&self) -> Outcome {
        self.play(&mut (), None)
    }

    /// Plays the world with a watch, to its end or until some time, counted from its beginning.
    /// What has to hold in the end is not checked in a world that is left early.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    #[must_use]
    pub fn play(&self, watch: &mut dyn Watch, until: Option<Duration>) -> Outcome {
        World::new(self, watch, until).run(self)
    }

    /// Plays the world to its end, and keeps a record. It goes the same way as without.
    ///
    /// The recorder has the record of a world that panics, too.
    #[must_use]
    pub fn run_recorded(&self, recorder: &Recorder) -> Outcome {
        let mut nobody = ();
        let mut world = World::new(self, &mut nobody, None);
        world.record(recorder);
        world.run(self)
    }
}

mod crypto_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::Crypto;

    pub(super) fn serialize<S: Serializer>(crypto: &Crypto, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(crypto)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Crypto, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
