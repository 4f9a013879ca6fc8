//! What only event loops need: batches that other threads fill, messages that are read before they are
//! taken, turns between peers.
//!
//! An application that calls the machine on one thread needs nothing of it: [`Manager`](crate::Manager) has
//! all verbs. This module is for the loop around a machine whose users are on other threads, as
//! the crate `quicpool` has one, and for sockets with segmentation offload.
//!
//! Threads stage messages in an [`OpenBatch`] under a small lock, within the [`credit`](Driver::credit) that
//! the loop has lent. What was staged is accepted: the loop hands it over at its next turn
//! ([`handle_staged`](Driver::handle_staged)), and lends what is free then. In the other direction the loop
//! [hands out](crate::Manager::receive_held) messages for other threads, and acknowledges them once their application
//! has taken them ([`mark_taken`](Driver::mark_taken)): until then they count, and the sender keeps them.
//!
//! ```
//! use std::{sync::Mutex, thread, time::Instant};
//!
//! use quicpool_core::driver::{BatchLimits, OpenBatch};
//! # use quicpool_core::{Config, Identity, Incarnation, Manager, PeerAddr};
//!
//! /// What the threads and the loop share about a peer.
//! struct Staging {
//!     batch: OpenBatch,
//!     credit: usize,
//! }
//!
//! impl Staging {
//!     /// Called by any thread: false if the peer's outbox has no room.
//!     fn send(&mut self, message: &[u8]) -> bool {
//!         let Some(left) = self.credit.checked_sub(OpenBatch::cost(message.len())) else {
//!             return false;
//!         };
//!         self.credit = left;
//!         self.batch.append(Instant::now(), message);
//!         true
//!     }
//! }
//!
//! # let now = Instant::now();
//! # let credentials = Identity::generate().credentials();
//! # let run = Incarnation { started_ms: 0, random: 1 };
//! # let mut manager = Manager::new(Config::default(), credentials, run, [1; 32], now)?;
//! # let bob = Identity::generate().peer_id();
//! # manager.add_address(now, PeerAddr::new(bob, "192.0.2.1:4433".parse()?))?;
//! let staging = Mutex::new(Staging {
//!     batch: OpenBatch::new(BatchLimits::of(manager.config())),
//!     credit: manager.driver().credit(bob),
//! });
//! thread::scope(|threads| {
//!     for _ in 0..4 {
//!         threads.spawn(|| assert!(staging.lock().unwrap().send(b"hello")));
//!     }
//! });
//!
//! // In each turn of the loop:
//! let mut staged = staging.lock().unwrap();
//! manager.driver().handle_staged(Instant::now(), bob, &mut staged.batch);
//! staged.credit = manager.driver().credit(bob);
//! assert_eq!(manager.metrics(Instant::now()).counters.messages_accepted, 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use crate::{
    manager::Driver,
    message::TakenMessages,
    peer::{
        batch::{BatchLimits, OpenBatch},
        datagrams::DatagramQueue,
        round_robin::DeficitRoundRobin,
    },
};
