//! Peers that are no nodes: raw QUIC with a valid handshake, and any bytes in it.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::Scenario;
use crate::{Crypto, Domain, Draw};

/// Strangers in a world, at most: each has an address and an identity of its own.
pub(super) const STRANGERS_MAX: usize = 16;

/// The entity of draws about strangers: that of no part of a world.
const ENTITY: u64 = u64::MAX;

/// A peer outside of the network that dials a node, as long as the world lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stranger {
    /// The node that it dials.
    pub dials: usize,
    /// What it does there.
    pub conduct: Conduct,
}

/// What a stranger does once its handshake is done. Each dials again when its connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Conduct {
    /// It never sends hello, and comes again and again.
    Silence,
    /// Drawn frames on the control stream: reserved ones, any bytes, limits and lengths that are absurd.
    Frames,
    /// Acknowledgements of drawn numbers.
    Acknowledgements,
    /// Drawn records: good ones, parts, gaps, bodies that are not what their headers announce.
    Records,
    /// Streams of unknown types, ends and resets of any.
    Streams,
    /// Datagrams of drawn bytes.
    Datagrams,
    /// It closes with drawn codes and reasons.
    Closes,
}

impl Conduct {
    /// All kinds.
    pub(super) const ALL: [Self; 7] = [
        Self::Silence,
        Self::Frames,
        Self::Acknowledgements,
        Self::Records,
        Self::Streams,
        Self::Datagrams,
        Self::Closes,
    ];
}

impl Scenario {
    /// The same world with one to four strangers, for which it has no more slots than without them, and at least one
    /// place for a handshake more than there are strangers. A world with the TLS of production has none: their
    /// handshakes are of checksums.
    ///
    /// ```
    /// use quicpool_lab::swarm::Scenario;
    ///
    /// let world = Scenario::draw(7).with_strangers();
    /// assert!(!world.strangers.is_empty());
    /// let outcome = world.run();
    /// assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    /// ```
    #[must_use]
    pub fn with_strangers(mut self) -> Self {
        if self.crypto != Crypto::Checksum {
            return self;
        }
        let mut draw = Draw::new(self.seed, Domain::Scenario, ENTITY);
        let count = draw.between((1, 4));
        // As many strangers as places leave one to a peer by chance alone, and the audits expect that it gets one.
        self.limits.handshakes_max = self.limits.handshakes_max.max(count as usize + 1);
        self.strangers = (0..count)
            .map(|_| Stranger {
                dials: draw.below(self.nodes as u64) as usize,
                conduct: Conduct::ALL[draw.below(Conduct::ALL.len() as u64) as usize],
            })
            .collect();
        self
    }
}

impl Display for Stranger {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let what = match self.conduct {
            Conduct::Silence => "never says hello",
            Conduct::Frames => "sends drawn frames",
            Conduct::Acknowledgements => "acknowledges drawn numbers",
            Conduct::Records => "sends drawn records",
            Conduct::Streams => "opens and ends drawn streams",
            Conduct::Datagrams => "sends drawn datagrams",
            Conduct::Closes => "closes with drawn codes",
        };
        write!(f, "a stranger dials n{} and {what}", self.dials)
    }
}
