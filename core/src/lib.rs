//! The pure machine of quicpool.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod config;
mod credentials;
mod error;
mod event;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod identity;
mod incarnation;
mod index;
#[cfg(all(
    test,
    target_os = "linux",
    any(feature = "ring", feature = "aws-lc-rs")
))]
mod keys_in_memory;
mod manager;
mod metrics;
mod peer;
mod peer_id;
mod rng;
#[cfg(test)]
mod testing;
mod transport;
mod wire;

pub use config::{Accept, Backoff, Config, ConfigError, Flush, MeshKey, OnPeerRestart, Sealing};
pub use credentials::Credentials;
pub use error::{PeerError, SendError};
pub use event::{
    Action, ConnectionStatus, Datagram, Deadline, DeadlineReason, EcnCodepoint, Event, Message,
    Reason, Transmit, Undeliverable,
};
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub use identity::Identity;
pub use incarnation::Incarnation;
pub use manager::Manager;
pub use metrics::{Counters, NetworkMetrics, Occupancy, PeerMetrics};
pub use peer::batch::{BatchLimits, OpenBatch};
pub use peer_id::{ParsePeerAddrError, ParsePeerIdError, PeerAddr, PeerId};
