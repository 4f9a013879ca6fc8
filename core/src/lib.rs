//! The pure machine of quicpool: every decision, and nothing else.
//!
//! [`Manager`] keeps the sessions with many peers and the QUIC connections that carry them. Facts
//! and time go in, actions come out. There is no clock, socket, thread, lock, async or global in
//! it, and no randomness but its seed, so that any event loop can drive it and any run can be
//! repeated. Most users want the crate `quicpool`, which drives it for them.
//!
//! # The face
//!
//! `now` comes first in every call that may change something, and never goes back.
//!
//! - **Facts**: [`handle_datagram`](Manager::handle_datagram),
//!   [`handle_timeout`](Manager::handle_timeout), and [`handle_staged`](Manager::handle_staged) for
//!   messages that other threads have gathered in an [`OpenBatch`], and
//!   [`handle_staged_datagrams`](Manager::handle_staged_datagrams).
//! - **Verbs** of the application: [`add_address`](Manager::add_address),
//!   [`connect`](Manager::connect), [`send`](Manager::send), [`flush`](Manager::flush),
//!   [`receive`](Manager::receive), [`send_datagram`](Manager::send_datagram),
//!   [`receive_datagrams`](Manager::receive_datagrams), [`disconnect`](Manager::disconnect), [`block`](Manager::block),
//!   [`close`](Manager::close), and their kin.
//! - **Ways out**: [`poll_action`](Manager::poll_action) and
//!   [`poll_timeout`](Manager::poll_timeout). There is no other: nothing calls back.
//! - **Getters**: [`status`](Manager::status), [`health`](Manager::health), [`metrics`](Manager::metrics),
//!   [`peer_metrics`](Manager::peer_metrics), [`connections`](Manager::connections),
//!   [`room`](Manager::room), [`verdict`](Manager::verdict), [`occupancy`](Manager::occupancy).
//!
//! # What the driver does
//!
//! Again and again: pass on what has come, drain [`poll_action`](Manager::poll_action) until it has
//! nothing, wait until [`poll_timeout`](Manager::poll_timeout) or the next fact, and call
//! [`handle_timeout`](Manager::handle_timeout) when it is time.
//!
//! ```
//! use quicpool_core::{Action, Config, Datagram, Event, Identity, Incarnation, Manager, PeerAddr};
//! use std::{net::SocketAddr, time::Instant};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut now = Instant::now(); // a test may make up its time
//! let addresses: [SocketAddr; 2] = ["10.0.0.1:4433".parse()?, "10.0.0.2:4433".parse()?];
//! let machine = |number: u8| {
//!     let credentials = Identity::from_seed(&[number; 32]).credentials();
//!     let incarnation = Incarnation { started_ms: 0, random: number.into() };
//!     Manager::new(Config::default(), credentials, incarnation, [number; 32], now)
//! };
//! let mut machines = [machine(1)?, machine(2)?];
//! let bob = machines[1].local_id();
//! machines[0].add_address(now, PeerAddr::new(bob, addresses[1]))?;
//! machines[0].send(now, bob, b"hello")?;
//!
//! let (mut packets, mut messages) = (Vec::new(), Vec::new());
//! while messages.is_empty() {
//!     for this in 0..2 {
//!         while let Some(action) = machines[this].poll_action(now, &mut packets) {
//!             match action {
//!                 // This network is perfect: what one sends has reached the other.
//!                 Action::Transmit(transmit) => {
//!                     let size = transmit.segment_size.unwrap_or(transmit.size);
//!                     for payload in packets[..transmit.size].chunks(size) {
//!                         let (remote, payload) = (addresses[this], payload.into());
//!                         let datagram = Datagram { remote, local_ip: None, ecn: None, payload };
//!                         machines[1 - this].handle_datagram(now, datagram);
//!                     }
//!                 }
//!                 Action::Notify(Event::Readable { peer }) => {
//!                     machines[this].receive(now, peer, usize::MAX, &mut messages);
//!                 }
//!                 Action::Notify(event) => println!("{event:?}"),
//!             }
//!         }
//!     }
//!     let deadlines = machines.iter().filter_map(Manager::poll_timeout);
//!     now = deadlines.map(|deadline| deadline.at).min().expect("something is due").max(now);
//!     machines.iter_mut().for_each(|machine| machine.handle_timeout(now));
//! }
//! assert_eq!(messages[0].payload, &b"hello"[..]);
//! # Ok(())
//! # }
//! ```
//!
//! # Contract
//!
//! - All [`Notify`](Action::Notify) of a drain come before its first
//!   [`Transmit`](Action::Transmit), and events of one peer are in order. Packets are built when
//!   they are polled and never queued; connections take turns.
//! - Messages are never actions. [`Readable`](Event::Readable) says that some wait, and is said
//!   again only after all of them were read. Whoever reads slowly holds up the peer that sends to
//!   it, and nobody else.
//! - While anything is undrained, `poll_timeout` is not later than the last `now`. After
//!   `handle_timeout(t)` and a full drain it is later than `t`.
//! - Datagrams stand outside of sessions: see [`send_datagram`](Manager::send_datagram).
//! - An early `handle_timeout` is harmless. Bad datagrams are counted, and never an error.
//! - Work per call does not grow with idle peers: deadlines are in an ordered index.
//! - The same seed, the same deterministic [`Credentials`] and the same facts at the same times give
//!   the same actions, byte for byte. The TLS of [`Identity`] is not deterministic, since it draws
//!   from the operating system; with [`TlsSources`] that are, it is.
//! - After [`Event::Closed`], send the packets of the same drain and drop the machine: they tell the
//!   peers.
//!
//! # Features
//!
//! `ring` (default) or `aws-lc-rs`: the library that does the cryptography of [`Identity`] and of
//! sealing. With both it is aws-lc-rs. Without either there is no `Identity`, [`Credentials`] come
//! from elsewhere, as in the simulator, and sealing is slower.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod config;
mod credentials;
mod error;
mod event;
mod explanation;
mod health;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod identity;
mod incarnation;
mod index;
#[cfg(all(test, target_os = "linux"))]
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
pub use error::{PeerError, SendDatagramError, SendError};
pub use event::{
    Action, ConnectionStatus, Datagram, Deadline, DeadlineReason, EcnCodepoint, Event, Message,
    Reason, Transmit, Undeliverable,
};
pub use explanation::{Explanation, Lack, Outlook};
pub use health::{Health, HealthReason};
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub use identity::{Identity, TlsSources};
pub use incarnation::Incarnation;
pub use manager::Manager;
pub use metrics::{
    ConnectionName, Counters, NetworkMetrics, Occupancy, PeerMetrics, UnreliableCounters,
};
pub use peer::{
    batch::{BatchLimits, OpenBatch},
    datagrams::DatagramQueue,
    turns::Turns,
};
pub use peer_id::{ParsePeerAddrError, ParsePeerIdError, PeerAddr, PeerId};
