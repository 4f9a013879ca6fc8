//! A deterministic simulator for quicpool: whole networks of peers in one thread.
//!
//! The machine in `quicpool-core` is pure, so a run of many machines is pure too once the network
//! between them, the clock and the cryptography are. This crate supplies those three:
//!
//! - [`Checksum`] is an implementation of [`quicpool_core::Credentials`] with the flights and the
//!   sizes of TLS 1.3, and keyed checksums in place of encryption. The same seed gives the same
//!   bytes, and a handshake costs microseconds.
//! - `SeededTls` is the TLS 1.3 of production, with randomness from the seed, for whom real
//!   handshakes matter: it costs ten times as much, and repeats as exactly (feature `tls`).
//! - [`app`] runs an application of your own on simulated nodes, over many seeds, each with its own
//!   faults: begin there to test what you have built on quicpool.
//! - [`trace`] keeps a record of a run, to look at in a browser or a terminal.
//! - [`Net`] is a network of machines in discrete time, with links that lose, duplicate, delay and
//!   damage datagrams as the seed decides, and nodes that crash and restart.
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
//! Nothing here protects anything: whoever reads the wire reads the messages.

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
#[cfg(feature = "tls")]
mod tls;
pub mod trace;

/// What `quicpool-lab`, in the same repository, needs and no user does. It changes with it.
#[doc(hidden)]
pub mod lab {
    pub use crate::{
        dice::{Dice, Domain},
        duration,
        hash::Hasher,
        link::Kinds,
        net::{machine, watch},
    };
}

pub use checksum::{Checksum, Flights, HandshakeData};
pub use clock::WallClock;
pub use crypto::{Crypto, ParseCryptoError};
pub use link::{
    BlackHole, Burst, Delay, Faults, FirstLost, LinkCounts, Order, Path, Queue, Rate, StageCounts,
};
pub use net::{Astray, Difference, Net, NewProcess, NodeId, Sent, Trail, ms, secs};
#[cfg(feature = "tls")]
pub use tls::{Handshake, HandshakeKind, HandshakeLog, SeededTls};
