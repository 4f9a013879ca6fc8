//! Tells runs apart by a hash of all inputs, and notices a run whose time hardly moves.

use std::time::Duration;

use super::{Action, Input};
use crate::hash::Hasher;

/// Inputs of all applications in a millisecond of simulated time. A run that needs more does not
/// come to its end: it answers itself, or sets timers of a nanosecond.
pub(super) const INPUTS_IN_A_MILLISECOND_MAX: u64 = 1_000_000;

/// The track that a run leaves.
#[derive(Debug)]
pub(super) struct Track {
    hasher: Hasher,
    /// Inputs so far.
    pub(super) inputs: u64,
    /// The millisecond of the last input, and how many there were before it.
    millisecond: (u128, u64),
}

/// What happens to a process, for the hash.
const CRASHED: u64 = 0;
const STARTED: u64 = 1;
const MESSAGE: u64 = 2;
const TIMER: u64 = 3;
const REFUSED: u64 = 4;
const EVENT: u64 = 5;

impl Track {
    pub(super) fn new() -> Self {
        Self {
            hasher: Hasher::new(0),
            inputs: 0,
            millisecond: (0, 0),
        }
    }

    pub(super) fn crashed(&mut self, now: Duration, place: usize) {
        self.note(now, place, CRASHED, &[]);
    }

    /// Hashes an input before it is delivered; returns false if time hardly moves.
    pub(super) fn told(&mut self, now: Duration, place: usize, input: Input<'_>) -> bool {
        match input {
            Input::Started => self.note(now, place, STARTED, &[]),
            Input::Message(message) => {
                self.note(now, place, MESSAGE, message.from.as_bytes());
                self.hasher = self.hasher.bytes(&message.payload);
            }
            Input::Timer(name) => self.note(now, place, TIMER, name.as_bytes()),
            // Not why: an open circuit names an instant, which is another in each process.
            Input::Refused(action, _) => self.note(now, place, REFUSED, kind(action)),
            Input::Event(event) => self.note(now, place, EVENT, format!("{event:?}").as_bytes()),
        }
        let millisecond = now.as_millis();
        if self.millisecond.0 != millisecond {
            self.millisecond = (millisecond, self.inputs);
        }
        self.inputs += 1;
        self.inputs - self.millisecond.1 <= INPUTS_IN_A_MILLISECOND_MAX
    }

    /// The hash of all that was noted and of the network below.
    pub(super) fn hash(&self, network: u128) -> u128 {
        let (high, low) = ((network >> 64) as u64, network as u64);
        self.hasher.word(high).word(low).finish()
    }

    fn note(&mut self, now: Duration, place: usize, what: u64, bytes: &[u8]) {
        let hasher = self.hasher.word(now.as_nanos() as u64);
        self.hasher = hasher.word(place as u64).word(what).bytes(bytes);
    }
}

const fn kind(action: &Action) -> &[u8] {
    match action {
        Action::Send { .. } => b"send",
        Action::SendExpress { .. } => b"send_express",
        Action::Connect(_) => b"connect",
        Action::Disconnect(_) => b"disconnect",
        Action::Flush { .. } => b"flush",
        Action::SetTimer { .. } => b"set_timer",
        Action::CancelTimer(_) => b"cancel_timer",
        Action::Save(_) => b"save",
    }
}
