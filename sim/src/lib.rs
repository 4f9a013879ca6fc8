//! A deterministic simulator for quicpool: whole networks of peers in one thread.
//!
//! The machine in `quicpool-core` is pure, so a run of many machines is pure too once the network
//! between them, the clock and the cryptography are. This crate supplies those three:
//!
//! - [`Checksum`] is an implementation of [`quicpool_core::Credentials`] with the flights and the
//!   sizes of TLS 1.3, and keyed checksums in place of encryption. The same seed gives the same
//!   bytes, and a handshake costs microseconds.
//! - [`Net`] is a network of machines in discrete time, with links that lose, duplicate, delay and
//!   damage datagrams as the seed decides, and nodes that crash and restart.
//!
//! Nothing here protects anything: whoever reads the wire reads the messages.

mod checksum;
mod clock;
mod dice;
mod hash;
mod link;
mod net;

pub use checksum::{Checksum, HandshakeData};
pub use link::{Faults, LinkCounts};
pub use net::{Astray, Net, NodeId, ms, secs};
