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
//! - **Facts**: [`handle_datagram`](Manager::handle_datagram) and
//!   [`handle_timeout`](Manager::handle_timeout).
//! - **Verbs** of the application: [`add_address`](Manager::add_address),
//!   [`connect`](Manager::connect), [`send`](Manager::send), [`send_many`](Manager::send_many), [`flush`](Manager::flush),
//!   [`receive`](Manager::receive), [`send_datagram`](Manager::send_datagram),
//!   [`receive_datagrams`](Manager::receive_datagrams), [`disconnect`](Manager::disconnect), [`block`](Manager::block),
//!   [`close`](Manager::close), and their kin.
//! - **Ways out**: [`poll_action`](Manager::poll_action) and
//!   [`poll_timeout`](Manager::poll_timeout). There is no other: nothing calls back.
//! - **Getters**: [`status`](Manager::status), [`health`](Manager::health), [`metrics`](Manager::metrics),
//!   [`peer_metrics`](Manager::peer_metrics), [`connections`](Manager::connections),
//!   [`room`](Manager::room), [`verdict`](Manager::verdict), [`occupancy`](Manager::occupancy).
//!
//! A loop whose users are on other threads finds what it needs beyond these in [`driver`].
//!
//! # What the driver does
//!
//! Again and again: pass on what has come, let the application act, drain
//! [`poll_action`](Manager::poll_action) until it has nothing, wait until
//! [`poll_timeout`](Manager::poll_timeout) or the next fact, and call
//! [`handle_timeout`](Manager::handle_timeout) when it is time. With a socket of the standard library:
//!
//! ```
//! use std::{
//!     io::{self, ErrorKind},
//!     net::{SocketAddr, ToSocketAddrs, UdpSocket},
//!     time::{Duration, Instant, SystemTime},
//! };
//!
//! use quicpool_core::{
//!     Action, Config, Datagram, Event, Identity, Incarnation, Manager, Message, PeerAddr,
//! };
//!
//! /// Receive errors in a row after which the socket counts as broken: peers cause single ones (ICMP).
//! const RECEIVE_ERRORS_MAX: u32 = 32;
//!
//! /// The shortest wait for a datagram: the standard library takes zero for an error.
//! const WAIT_MIN: Duration = Duration::from_micros(1);
//!
//! /// A machine and its socket.
//! pub struct EventLoop {
//!     /// The machine, for what is to be done before the loop runs.
//!     pub manager: Manager,
//!     /// Datagrams that the system refused to send.
//!     pub refused: u64,
//!     socket: UdpSocket,
//!     local: SocketAddr,
//! }
//!
//! impl EventLoop {
//!     /// Binds a socket, and makes a machine for this run of the process.
//!     pub fn bind(at: impl ToSocketAddrs, identity: &Identity, config: Config) -> io::Result<Self> {
//!         let socket = UdpSocket::bind(at)?;
//!         let local = socket.local_addr()?;
//!         let mut seed = [0; 32];
//!         getrandom::fill(&mut seed)?;
//!         let run = Incarnation::new(SystemTime::now(), &seed);
//!         let manager = Manager::new(config, identity.credentials(), run, seed, Instant::now());
//!         Ok(Self {
//!             manager: manager.map_err(io::Error::other)?,
//!             refused: 0,
//!             socket,
//!             local,
//!         })
//!     }
//!
//!     /// Where others reach it.
//!     pub fn peer_addr(&self) -> PeerAddr {
//!         PeerAddr::new(self.manager.local_id(), self.local)
//!     }
//!
//!     /// Runs until the machine has closed, and returns how many messages were not delivered.
//!     ///
//!     /// Each turn calls `app` with what has happened since the last one. It may send, connect and
//!     /// close, and returns when it wants to be called again at the latest.
//!     pub fn run(
//!         &mut self,
//!         mut app: impl FnMut(Instant, &mut Manager, &[Event], &[Message]) -> Option<Instant>,
//!     ) -> io::Result<u64> {
//!         let (mut packets, mut inbound, mut errors) = (Vec::new(), vec![0; 65_536], 0);
//!         let (mut events, mut messages) = (Vec::new(), Vec::new());
//!         loop {
//!             let now = Instant::now();
//!             self.manager.handle_timeout(now);
//!             let wake = app(now, &mut self.manager, &events, &messages);
//!             events.clear();
//!             messages.clear();
//!             while let Some(action) = self.manager.poll_action(now, &mut packets) {
//!                 match action {
//!                     Action::Notify(Event::Readable { peer }) => {
//!                         // An error if the application has forgotten the peer meanwhile.
//!                         let _ = self.manager.receive(now, peer, usize::MAX, &mut messages);
//!                     }
//!                     Action::Notify(event) => events.push(event),
//!                     Action::Transmit(transmit) => {
//!                         let to = transmit.destination_from(self.local);
//!                         for datagram in transmit.datagrams(&packets) {
//!                             // An error concerns this destination: it has no route, or no port, or a
//!                             // firewall. A socket that is broken fails to receive, too.
//!                             self.refused += u64::from(self.socket.send_to(datagram, to).is_err());
//!                         }
//!                     }
//!                 }
//!             }
//!             if let Some(Event::Closed { undelivered, .. }) = events.last() {
//!                 return Ok(*undelivered);
//!             }
//!             if !events.is_empty() || !messages.is_empty() {
//!                 continue; // for the application
//!             }
//!             let due = self.manager.poll_timeout().map(|deadline| deadline.at);
//!             let due = due.into_iter().chain(wake).min();
//!             let wait = due.map(|due| due.saturating_duration_since(now).max(WAIT_MIN));
//!             self.socket.set_read_timeout(wait)?;
//!             match self.socket.recv_from(&mut inbound) {
//!                 Ok((len, remote)) => {
//!                     let datagram = Datagram::new(remote, &inbound[..len]);
//!                     self.manager.handle_datagram(Instant::now(), datagram);
//!                     errors = 0;
//!                 }
//!                 Err(error) if is_timeout(&error) => {}
//!                 Err(_) if errors < RECEIVE_ERRORS_MAX => errors += 1,
//!                 Err(error) => return Err(error),
//!             }
//!         }
//!     }
//! }
//!
//! /// Whether nothing has come in time; a signal counts as such.
//! fn is_timeout(error: &io::Error) -> bool {
//!     use ErrorKind::{Interrupted, TimedOut, WouldBlock};
//!     matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
//! }
//! ```
//!
//! Without sockets, as in a test that makes up its time:
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
//!                     for payload in transmit.datagrams(&packets) {
//!                         let datagram = Datagram::new(addresses[this], payload);
//!                         machines[1 - this].handle_datagram(now, datagram);
//!                     }
//!                 }
//!                 Action::Notify(Event::Readable { peer }) => {
//!                     machines[this].receive(now, peer, usize::MAX, &mut messages)?;
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
//! - Messages are never actions. [`Readable`](Event::Readable) reports that some wait, and comes again only
//!   after all of them were read. Slow reading of one peer's messages holds up that peer, and no other.
//! - A goodbye carries the last acknowledgement. A driver that [reads](Manager::receive_held) ahead of its
//!   application marks what that has [taken](driver::Driver::mark_taken) before it calls
//!   [`close`](Manager::close), [`abort`](Manager::abort), [`disconnect`](Manager::disconnect),
//!   [`forget`](Manager::forget) or [`block`](Manager::block), and lets it take nothing while the
//!   machine may end.
//! - While anything is undrained, `poll_timeout` is not later than the last `now`. After
//!   `handle_timeout(t)` and a full drain it is later than `t`.
//! - Input is as fair as output: in each drain a connection has a turn of so many datagrams, frames, records and
//!   messages, and what it brings beyond waits for the next one. That is due at once: `poll_timeout` is a
//!   nanosecond later than the last `now`, with the reason [`Input`](DeadlineReason::Input), and a loop
//!   that can call `handle_timeout` without sleeping does so.
//! - Datagrams stand outside of sessions: see [`send_datagram`](Manager::send_datagram).
//! - An early `handle_timeout` is harmless. Bad datagrams are counted, and never an error.
//! - Work per call does not grow with idle peers: deadlines are in an ordered index.
//! - The same seed, the same deterministic [`Credentials`] and the same facts at the same times give
//!   the same actions, byte for byte. The TLS of [`Identity`] is not deterministic, since it draws
//!   from the operating system; with [`TlsSources`] that are, it is.
//! - After [`Event::Closed`], send the packets of the same drain and drop the machine: they carry the
//!   goodbyes.
//!
//! # Features
//!
//! `ring` (default) or `aws-lc-rs`: the library that does the cryptography of [`Identity`] and of
//! sealing. With both it is aws-lc-rs. Without either there is no `Identity`, [`Credentials`] come
//! from elsewhere, as in the simulator, and sealing is slower.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod address;
mod admission;
#[cfg(feature = "bench-internals")]
#[doc(hidden)]
pub mod bench_internals;
mod bucket;
mod config;
mod credentials;
#[cfg(test)]
mod document;
pub mod driver;
mod error;
mod event;
mod explanation;
#[cfg(feature = "fuzz-internals")]
#[doc(hidden)]
pub mod fuzz_internals;
mod health;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod identity;
mod incarnation;
mod index;
#[cfg(all(test, target_os = "linux"))]
mod keys_in_memory;
mod losses;
mod manager;
mod message;
mod metrics;
mod peer;
mod peer_id;
mod recent;
mod rng;
mod slots;
#[cfg(test)]
mod testing;
mod transport;
mod wire;

pub use config::{
    Accept, Backoff, Config, ConfigError, Flush, MeshKey, OnPeerRestart, Sealing, Tuning,
};
pub use credentials::Credentials;
pub use error::{PeerError, SendDatagramError, SendError};
pub use event::{
    Action, Cancelled, ConnectionStatus, Datagram, Deadline, DeadlineReason, EcnCodepoint, Event,
    Reason, Transmit, Undeliverable,
};
pub use explanation::{Explanation, NextAttempt, WaitingFor};
pub use health::{Health, HealthReason};
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub use identity::{Identity, TlsSources};
pub use incarnation::Incarnation;
pub use losses::{Losses, MessageNumber};
pub use manager::Manager;
pub use message::{Message, MessageKey};
pub use metrics::{
    ConnectionName, Counters, NetworkMetrics, Occupancy, PeerMetrics, UnreliableCounters,
};
pub use peer_id::{ParsePeerAddrError, ParsePeerIdError, PeerAddr, PeerId};
