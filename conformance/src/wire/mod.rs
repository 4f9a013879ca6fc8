//! Checks whether a program keeps what the wire of quicpool promises, on real sockets over loopback.
//!
//! The program under test is anything that can start, send, receive and stop: a [`Program`]. The kit
//! is the other end: machines of `quicpool-core` on sockets behind paths that lose, copy, delay and
//! silence datagrams. What has to hold are [`rules`], each with a name; [`check`] asks a program for
//! all of them, and its [`Report`] has a line for each. Faults are drawn from a fixed seed. Sockets
//! and the order of threads do not repeat, so a run may differ from the next.
//!
//! ```no_run
//! use quicpool_conformance::wire::{Failure, Program, Settings, check};
//! # use quicpool_core::{PeerAddr, PeerId};
//! # use std::time::Duration;
//! # fn later<T>() -> Result<T, Failure> { Err(Failure::Unable("it is not written".to_owned())) }
//!
//! struct Mine; // holds the program under test while it runs
//!
//! impl Program for Mine {
//!     fn start(&mut self, settings: &Settings) -> Result<PeerAddr, Failure> { later() }
//!     fn send(&mut self, to: PeerAddr, message: &[u8]) -> Result<(), Failure> { later() }
//!     fn receive(&mut self, patience: Duration) -> Result<Option<(PeerId, Vec<u8>)>, Failure> { later() }
//!     fn stop(&mut self) -> Result<(), Failure> { later() }
//! }
//!
//! let report = check("mine", || Mine);
//! println!("{report}");
//! assert!(report.is_kept());
//! ```
//!
//! A program in another language is a child process that reads commands and writes answers, a line
//! each: [`Command`].

mod command;
mod dice;
mod end;
mod path;
mod rules;
#[cfg(test)]
mod tests;
mod trial;

use std::{fmt, time::Duration};

use quicpool_core::{PeerAddr, PeerId};

pub use command::Command;
pub use rules::{Rule, rules};

use crate::{Line, Outcome, Report};
use trial::Trial;

/// A program under test: one peer, driven from one thread.
///
/// A method blocks until it is done. Between two calls the program goes on answering its peers. One
/// that is dropped while it runs ends at once, whatever it holds.
pub trait Program {
    /// Binds a port of loopback, and returns where others reach the program.
    ///
    /// # Errors
    ///
    /// [`Failure::Unable`] if the program has no such settings: the rule does not apply.
    fn start(&mut self, settings: &Settings) -> Result<PeerAddr, Failure>;

    /// Accepts a message. It waits for room, and for nothing else: not for a connection, and not
    /// until the peer has the message. The program has room for at least 1 MiB for each peer.
    ///
    /// # Errors
    ///
    /// An error if the message is not accepted.
    fn send(&mut self, to: PeerAddr, message: &[u8]) -> Result<(), Failure>;

    /// Returns the next message and its sender, or `None` if there is none until `patience` ends.
    ///
    /// # Errors
    ///
    /// An error if the program can receive no more.
    fn receive(&mut self, patience: Duration) -> Result<Option<(PeerId, Vec<u8>)>, Failure>;

    /// Ends the program as it ends in earnest: accepted messages have arrived first, and peers that
    /// are connected hear that it goes.
    ///
    /// # Errors
    ///
    /// An error if the program could not deliver everything, or did not end.
    fn stop(&mut self) -> Result<(), Failure>;
}

/// The settings with which a program is started.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The identity of the program.
    pub identity: Identity,
    /// The silence after which a connection counts as dead. Short, so that a check is.
    pub liveness_timeout: Duration,
    /// The longest message that the program sends and accepts, in bytes.
    pub message_bytes_max: usize,
}

/// The identity that a program is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// One that no peer has met.
    Fresh,
    /// That of the last start.
    Same,
}

/// The shortest that `Config` allows.
const LIVENESS_TIMEOUT: Duration = Duration::from_secs(1);

/// More than a batch and not a multiple of anything, and soon sent.
const MESSAGE_BYTES_MAX: usize = 100_003;

impl Default for Settings {
    fn default() -> Self {
        Self {
            identity: Identity::Fresh,
            liveness_timeout: LIVENESS_TIMEOUT,
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

/// Why a program did not do as it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The program has no such thing, for this reason: the rule does not apply to it.
    Unable(String),
    /// It went wrong, in this way: the rule is broken.
    Wrong(String),
}

impl Failure {
    /// Something has gone wrong, as `error` describes.
    pub fn wrong(error: impl fmt::Display) -> Self {
        Self::Wrong(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unable(reason) => write!(f, "unable: {reason}"),
            Self::Wrong(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Failure {}

/// Asks a program for every rule. Each rule has a program of its own from `program`.
pub fn check<P: Program>(name: &str, program: impl Fn() -> P) -> Report {
    check_rules(name, rules(), program)
}

/// Asks a program for some rules.
pub fn check_rules<P: Program>(name: &str, rules: &[Rule], program: impl Fn() -> P) -> Report {
    let line = |rule: &Rule| {
        let mut program = program();
        let outcome = match rule.ask(&mut Trial::new(&mut program)) {
            Ok(()) => Outcome::Held,
            Err(Failure::Wrong(what)) => Outcome::Broken(what),
            Err(Failure::Unable(reason)) => Outcome::NotApplicable(reason),
        };
        Line::new(rule.name, rule.must, outcome)
    };
    Report::new(name, rules.iter().map(line).collect())
}
