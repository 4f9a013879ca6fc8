//! The event loop and the handle of quicpool.
//!
//! `quicpool-core` decides everything and touches nothing. This crate brings it its facts and carries out its
//! orders: one task owns the machine and the UDP socket, and any number of threads talk to it through
//! [`ConnectionManager`] and [`Peer`]. It works on every async runtime that has the few lines of an
//! implementation of [`Runtime`](runtime::Runtime).
//!
//! Most users want the crate `quicpool`, which brings this one and a runtime together.
//!
//! # How the two sides meet
//!
//! A message that is sent is copied once, into the *staging* of its peer, under a lock that is held
//! for the time of the copy. The event loop picks up what all threads have staged at its next turn,
//! as batches. How much may be staged is lent by the machine in advance, so that what was accepted
//! is never refused later, and neither side waits for the other.
//!
//! A message that arrives goes into one inbox for all tasks, and is acknowledged to its sender as taken once
//! [`recv`](ConnectionManager::recv) has returned it.
//!
//! # The event loop
//!
//! Each turn takes in orders, datagrams and deadlines, and passes on the machine's events and packets. Every
//! step has a budget, so that neither a flood of datagrams nor one busy peer keeps the others waiting. Errors
//! of the socket that pass (ICMP messages, full buffers) are counted in [`SocketMetrics`]; one that does not
//! ends the manager, and every pending call returns it as [`CloseReason::Socket`].
//!
//! # Another runtime
//!
//! Implement `runtime::SystemRuntime` for an async runtime that watches sockets of the operating
//! system (feature `system`), or [`Runtime`](runtime::Runtime) for one that has its own network, as a
//! simulation, and pass it to [`ConnectionManager::bind`]. The crate `quicpool-tokio` is an example.
//! The crate `quicpool-conformance` has the rules that a runtime must keep, as tests.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bind;
mod clock;
mod datagrams;
mod doorbell;
mod error;
mod event_loop;
mod events;
mod held;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod identity_file;
mod inbox;
mod mailboxes;
mod manager;
mod metrics;
mod mirror;
mod order;
mod peer;
mod receive;
mod reply;
pub mod runtime;
mod shared;
mod socket_errors;
mod staging;
mod switchboard;

/// What `quicpool-lab` and `fuzz`, in the same repository, need and no user does: the one polls the event loop of a
/// simulated node by itself, and looks into the machine inside; the other parses identity files. It changes with them.
#[doc(hidden)]
pub mod lab {
    pub use crate::event_loop::EventLoop;
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub use crate::identity_file::parse as parse_identity;
}

pub use error::{
    BindError, CloseError, CloseReason, CloseReport, Closed, ConfirmError, ConnectError, Error,
    EventsError, FlushError, Rejected, SendDatagramError, SendError,
};
pub use events::Events;
pub use held::Held;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub use identity_file::{Damage, IdentityFile, IdentityFileError};
pub use manager::ConnectionManager;
pub use metrics::SocketMetrics;
pub use peer::{Peer, PeerRef};
