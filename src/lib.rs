//! Keeps one process connected to many peers over QUIC.
//!
//! You send messages to *peers*; quicpool dials, pools, batches, encrypts, reconnects, and reports what
//! happened. Peers are permanent and connections are a cache: a message that was accepted arrives exactly once
//! and in order, however many connections that takes, or it is reported.
//!
//! ```
//! use quicpool::{Config, ConnectionManager, Identity, TokioRuntime};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), quicpool::Error> {
//!     let alice = ConnectionManager::bind(TokioRuntime, "127.0.0.1:0", Identity::generate(), Config::default()).await?;
//!     let bob = ConnectionManager::bind(TokioRuntime, "127.0.0.1:0", Identity::generate(), Config::default()).await?;
//!     alice.peer(bob.peer_addr())?.send(b"hello").await?; // dials, pools, batches, encrypts
//!     let message = bob.recv().await?;
//!     println!("{} says {:?}", message.from, message.payload);
//!     alice.close().await?; // nothing accepted is lost
//!     bob.close().await?;
//!     Ok(())
//! }
//! ```
//!
//! # Where to begin
//!
//! [`ConnectionManager`] is the handle to everything, and [`Peer`] the one to keep for each peer.
//! [`Config`] has every limit and delay, with its default. [`Identity`] is your key; [`IdentityFile`] keeps it
//! on disk. [`ConnectionManager::subscribe`] reports what happens, as [`Event`]s.
//!
//! # Features
//!
//! - `tokio` (default): `TokioRuntime`.
//! - `async-std`: `AsyncStdRuntime`. async-std is no longer developed
//!   ([RUSTSEC-2025-0052](https://rustsec.org/advisories/RUSTSEC-2025-0052)).
//! - `smol`: `SmolRuntime`.
//! - `system` (default, and implied by the three above): sockets of the operating system, for a
//!   [`runtime::SystemRuntime`] of your own.
//! - `ring` (default) or `aws-lc-rs`: the library that does the cryptography of TLS and of
//!   sealing. The latter adds post-quantum key exchange.
//!
//! # Without a runtime
//!
//! Every decision is taken by a pure machine without clock, socket or thread, in [`machine`]. The
//! handle is one way to drive it.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "async-std")]
#[cfg_attr(docsrs, doc(cfg(feature = "async-std")))]
pub use quicpool_async_std::AsyncStdRuntime;
#[cfg(feature = "smol")]
#[cfg_attr(docsrs, doc(cfg(feature = "smol")))]
pub use quicpool_async_std::SmolRuntime;
pub use quicpool_core as machine;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "ring", feature = "aws-lc-rs"))))]
pub use quicpool_core::Identity;
pub use quicpool_core::{
    Accept, Backoff, Cancelled, Config, ConfigError, ConnectionStatus, Counters, Credentials,
    Event, Explanation, Flush, Health, HealthReason, Losses, MeshKey, Message, MessageKey,
    MessageNumber, NetworkMetrics, NextAttempt, OnPeerRestart, ParsePeerAddrError,
    ParsePeerIdError, PeerAddr, PeerError, PeerId, PeerMetrics, Reason, Sealing, Tuning,
    Undeliverable, UnreliableCounters, WaitingFor,
};
pub use quicpool_driver::{
    BindError, CloseError, CloseReason, CloseReport, Closed, ConfirmError, ConnectError,
    ConnectionManager, Error, Events, EventsError, FlushError, Held, Peer, PeerRef, Rejected,
    SendDatagramError, SendError, SocketMetrics, runtime,
};
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "ring", feature = "aws-lc-rs"))))]
pub use quicpool_driver::{Damage, IdentityFile, IdentityFileError};
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use quicpool_tokio::TokioRuntime;

/// The programs in the documents are tested as those in the documentation are.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/promises.md")]
    mod promises {}
    #[doc = include_str!("../docs/runtimes.md")]
    mod runtimes {}
    #[doc = include_str!("../docs/event-loop.md")]
    mod event_loop {}
    #[doc = include_str!("../docs/simulation.md")]
    mod simulation {}
}
