//! Simulates whole networks of quicpool nodes in one thread, in virtual time, deterministically.
//!
//! The machine in `quicpool-core` is pure: time and facts go in, actions come out. This crate supplies
//! the rest, so that a run follows from a seed: the network between machines, the clock and the
//! cryptography. The same seed gives the same run, byte for byte.
//!
//! - [`app`] runs your own application on simulated nodes, over many seeds, each with its own faults.
//!   Begin there to test what you have built on quicpool.
//! - [`Net`] is a network of nodes. Its links lose, duplicate, delay, reorder and damage datagrams as
//!   [`Faults`] say, or behave like a known [`Path`]; its nodes crash, restart, pause and move.
//!   [`Net::machine`] and [`Net::with`] reach everything in a node's machine for which there is no
//!   shorthand.
//! - [`trace`] records a run, to look at in a browser or a terminal.
//! - [`Crypto`] selects keyed checksums, with which a handshake costs microseconds, or the TLS 1.3 of
//!   production with randomness from the seed (feature `tls`), ten times as expensive.
//!
//! ```
//! use quicpool_core::{Config, ConnectionStatus::Connected};
//! use quicpool_sim::{Net, ms, secs};
//!
//! let run = |seed| {
//!     let mut net = Net::new(seed).latency(ms(40));
//!     let nodes = net.nodes(3, &Config::default());
//!     net.introduce_all();
//!     net.loss(0.1);
//!     net.send(nodes[0], nodes[2], b"through the rain");
//!     net.run_until(secs(30), |net| net.status(nodes[2], nodes[0]) == Some(Connected));
//!     net.advance(secs(30));
//!     assert_eq!(net.received(nodes[2])[0].payload, &b"through the rain"[..]);
//!     net.hash() // of every byte that was sent, and when
//! };
//! assert_eq!(run(7), run(7));
//! assert_ne!(run(7), run(8));
//! ```
//!
//! A test that fails prints the network: how each node sees the others, and its last events.
//!
//! Nothing here protects anything: randomness is known, and checksums hide nothing.

mod agenda;
pub mod app;
mod checksum;
mod clock;
mod crypto;
mod dice;
#[doc(hidden)]
pub mod duration;
mod hash;
mod link;
mod net;
mod repro;
#[cfg(feature = "tls")]
mod tls;
pub mod trace;

/// Internals for `quicpool-lab`, in the same repository, and not for users. They change with it.
#[doc(hidden)]
pub mod lab {
    pub use crate::{
        dice::{Dice, Domain, Draw},
        duration,
        hash::Hasher,
        link::{Deed, Kinds, Note, Parcel},
        net::{machine, watch},
        repro::{Playable, Repro, ReproError},
    };
}

pub use crypto::Crypto;
pub use link::{BlackHole, Burst, Delay, Faults, FirstLost, LinkFault, Order, Path, Queue, Rate};
pub use net::{Net, NodeId, ms, secs};
// For tests and benchmarks of this repository.
#[cfg(feature = "tls")]
#[doc(hidden)]
pub use tls::{Handshake, HandshakeKind, HandshakeLog, SeededTls};
#[doc(hidden)]
pub use {
    checksum::{Checksum, Flights, HandshakeData},
    clock::WallClock,
    crypto::ParseCryptoError,
    link::{LinkCounts, OutOfRange, StageCounts},
    net::{Astray, Difference, NewProcess, Sent, Trail},
};
