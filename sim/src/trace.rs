//! Records of runs: every datagram with its fate, the events and verbs of the nodes, and the faults
//! around them.
//!
//! A [`Net`](crate::Net) keeps a record when it is [asked to](crate::Net::record); nothing is paid
//! otherwise, and the run is the same with and without. A [`Recording`] can be looked at as a page
//! in a browser ([`write_html`](Recording::write_html)), as a chart in a terminal
//! ([`write_text`](Recording::write_text)), or by other programs
//! ([`write_jsonl`](Recording::write_jsonl)). `qsim trace` does it for the world of a seed.
//!
//! ```
//! use quicpool_core::Config;
//! use quicpool_sim::{Net, ms, secs, trace::Recorder};
//!
//! let recorder = Recorder::new();
//! let mut net = Net::new(7).latency(ms(40));
//! net.record(&recorder);
//! let (a, b) = (net.node(Config::default()), net.node(Config::default()));
//! net.introduce(a, b);
//! net.send(a, b, b"through the rain");
//! net.advance(secs(1));
//!
//! let mut lines = Vec::new();
//! recorder.take().write_jsonl(&mut lines)?;
//! let lines = String::from_utf8_lossy(&lines);
//! assert!(lines.contains("delivered"), "{lines}");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A recorder is a handle: a clone of it still has the record after a run has panicked.

mod bars;
mod faults;
mod frames;
mod jsonl;
mod order;
mod packets;
mod page;
mod record;
mod recorder;
mod state;
mod text;
mod words;

pub(crate) use self::packets::Legibility;
pub use self::{record::Recording, recorder::Recorder};
// For tests of this repository and its laboratory.
#[doc(hidden)]
pub use self::{
    packets::{PacketKind, PacketRecord},
    record::{
        Alert, DatagramRecord, End, Fate, FaultRecord, Flags, Moment, NodeRecord, Place, Scope,
        What,
    },
    state::{Parcelled, Reception},
};
