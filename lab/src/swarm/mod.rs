//! Worlds drawn from a seed: nodes, operations and faults, and the properties that must hold all the same.
//!
//! A [`Scenario`] is plain data, [`Scenario::draw`] makes one from a seed, and [`Scenario::run`]
//! plays it: a storm of operations and faults, then a core of nodes is healed, and within
//! [`Scenario::convergence_max`] every message between them has to be taken or reported, whatever
//! becomes of the others.
//!
//! Some nodes are bare machines, and some run in the event loop of the driver with an application that
//! calls its handle ([`Scenario::driven`]): the way of a message there is its way in production.
//!
//! ```
//! use quicpool_lab::swarm::Scenario;
//!
//! let scenario = Scenario::draw(7);
//! let outcome = scenario.run();
//! assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
//! assert_eq!(outcome.hash, scenario.run().hash);
//! ```

mod audit;
mod check;
mod convergence;
mod draw;
mod ledger;
mod limits;
mod marks;
mod operation;
mod own_limits;
mod repro;
mod scenario;
mod shrink;
mod simplify;
mod stranger;
mod text;
mod twice;
mod watch;
mod world;

use std::{collections::BTreeMap, fmt, time::Duration};

pub use check::ScenarioError;
pub use limits::Limits;
pub use marks::MARKS;
pub use operation::{Operation, When, Where, Withdrawal};
pub use own_limits::OwnLimits;
pub use quicpool_sim::{LinkFault, lab::ReproError};
pub use repro::{Failure, Repro, play_all};
pub use scenario::{Condition, LinkProfile, Outsider, Scenario, Step};
use serde::{Deserialize, Serialize};
pub use shrink::{End, Shrink, Shrunk};
pub use stranger::{Conduct, Stranger};
pub use twice::Divergence;
pub use watch::{Effect, Phase, Watch};

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Violations, in the order in which they were noticed.
    pub violations: Vec<Violation>,
    /// The hash of every datagram that was sent: when, whence, whither, bytes.
    pub hash: u128,
    /// How long the run took in its own time.
    pub simulated: Duration,
    /// How often each operation and fault was carried out.
    pub injected: BTreeMap<&'static str, u64>,
    /// How often each mark was hit, those that were not included: what must happen in some world.
    pub marks: BTreeMap<&'static str, u64>,
    /// Messages that were accepted.
    pub messages: u64,
    /// How long the core took after the storm until everything was settled, if it ever was.
    pub converged_in: Option<Duration>,
    /// A picture of the network at the end, if anything did not hold.
    pub picture: String,
}

/// Something that must hold and did not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Which property.
    pub property: Property,
    /// When it was noticed, in the run's own time.
    pub at: Duration,
    /// What was seen.
    pub what: String,
}

/// The properties that must hold in every world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Property {
    /// No message is taken twice by one process, and none after a later one, unless its sender was
    /// notified of the resend to a peer that has lost its state.
    OnceAndInOrder,
    /// No message is taken that was not sent.
    NothingInvented,
    /// Datagrams are taken as they were sent, once at most, and from no connection that has ended.
    DatagramsOnce,
    /// Between processes that live throughout and stay in touch nothing is given up.
    NothingGivenUp,
    /// A status moves along the edges of the lifecycle, from where it was.
    LegalMoves,
    /// Health moves along its edges; a peer that is heard is not reported as unresponsive, and a silent one
    /// is, in time and before its connection is lost.
    HealthTold,
    /// Slots never exceed `connections_max`.
    SlotsWithinLimit,
    /// Queues and handshakes in progress never exceed their limits.
    QueuesWithinLimit,
    /// No connection expires that was used within `pool_ttl`, or on which anything waits.
    NotExpiredEarly,
    /// No connection lives on that was not used for longer than `pool_ttl` allows.
    NotUsedAfterTtl,
    /// A batch leaves `batch_delay_max` after its first message at the latest, if it can.
    BatchesInTime,
    /// Dials after failures wait for the backoff, no longer and no less.
    BackoffKept,
    /// No record is sealed with a key and a nonce that were used before.
    NonceUsedOnce,
    /// Nothing that is sealed can be read on the wire.
    NothingInClear,
    /// No early data is sent: it could be replayed.
    NoEarlyData,
    /// Records on the wire hold what was accepted, within the limits of a batch.
    RecordsAddUp,
    /// Counters agree with what was seen to happen.
    CountersAgree,
    /// Two processes that hear each other share one connection, the same at both ends, or none.
    OneConnection,
    /// No connection is lost to an error on a path where nothing happens to datagrams.
    KeptAlive,
    /// A node that cannot be dialled dials again by itself when its connection was closed as idle.
    LooksIn,
    /// Once every peer has forgotten the others, every map and queue is empty.
    NothingLeftBehind,
    /// A message that was withdrawn, has expired or is too long for its receiver is written on no
    /// connection and taken by no process. What could be withdrawn is, what has expired is reported in
    /// time, and no message is reported twice.
    LeftOut,
    /// Each loss fails all flushes that wait for it, or else the next one, and none after; what no flush
    /// has reported the end of the manager does, in time.
    LossesReported,
    /// Every message between nodes that are well again is taken or reported within a bounded time.
    Converges,
    /// Whatever is taken is acknowledged to its sender within that time, and every flush is answered,
    /// once, and with the truth.
    Acknowledged,
}

impl Property {
    /// Whether a violation means that something never happens, rather than that it happens wrong.
    #[must_use]
    pub const fn is_liveness(self) -> bool {
        matches!(self, Self::Converges | Self::Acknowledged)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?}: {}", self.property, self.at, self.what)
    }
}
