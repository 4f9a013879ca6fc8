//! Credit and passage: the limits on what the other end may write on one connection.
//!
//! Both are absolute counts of bytes that only grow. Credit limits the stream of one line: it is a window beyond
//! what was read, which doubles when half of it was used and the inbox has room for twice as much, so that idle
//! connections reserve little. Passage limits the streams of all lines together, and follows what was read. A half
//! has one line in this version of the wire.

use crate::wire::code::CloseCode;

/// The part of the most that is granted which is worth an acknowledgement of its own.
const WORTH: u64 = 4;

/// The limits that this end grants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grants {
    /// Bytes of the line's stream that were read.
    read: u64,
    granted: Limits,
    /// The limits that were written to the other end.
    told: Limits,
    /// The passage beyond what was read, in bytes.
    passage_ahead: u64,
    first_credit: u64,
    /// The credit beyond what was read, in bytes.
    credit_ahead: u64,
    credit_ahead_max: u64,
    /// What was read when that was last doubled.
    doubled_at: u64,
}

/// What a connection grants, in bytes beyond what was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead {
    pub(crate) passage: usize,
    /// Credit at first, and at most.
    pub(crate) credit: usize,
    pub(crate) credit_max: usize,
}

/// Bytes that may come beyond what is held, those that were granted included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// In the inbox of the peer.
    pub(crate) inbox: usize,
    /// In all inboxes together.
    pub(crate) budget: usize,
}

/// The limits on what may be written, from the first byte of the connection on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Limits {
    pub(crate) credit: u64,
    pub(crate) passage: u64,
}

impl Grants {
    /// Grants nothing but passage.
    pub(crate) const fn new(ahead: Ahead) -> Self {
        let passage_ahead = ahead.passage as u64;
        Self {
            read: 0,
            granted: Limits {
                credit: 0,
                passage: passage_ahead,
            },
            told: Limits {
                credit: 0,
                passage: 0,
            },
            passage_ahead,
            first_credit: ahead.credit as u64,
            credit_ahead: ahead.credit as u64,
            credit_ahead_max: ahead.credit_max as u64,
            doubled_at: 0,
        }
    }

    /// Counts bytes of the line's stream that were read. Those beyond the limits are a violation.
    pub(crate) const fn read(&mut self, bytes: usize) -> Result<(), CloseCode> {
        self.read += bytes as u64;
        if self.read > self.told.credit || self.read > self.told.passage {
            return Err(CloseCode::OverCredit);
        }
        Ok(())
    }

    /// Raises both limits; there is no room while no more may come. The record that has begun, or the header of
    /// the next one, lacks `wanted` bytes: as many of these as the budget has are granted whatever the room in the
    /// inbox, so that each record gets through.
    pub(crate) fn raise(&mut self, room: Option<Room>, wanted: usize) {
        self.granted.passage = self.read + self.passage_ahead;
        if let Some(Room { inbox, budget }) = room {
            self.double(inbox as u64);
            let piece = (budget as u64).min(wanted as u64);
            let ahead = self.credit_ahead.min(inbox as u64).max(piece);
            self.granted.credit = self.granted.credit.max(self.read + ahead);
        }
    }

    fn double(&mut self, room: u64) {
        let double = (2 * self.credit_ahead).min(self.credit_ahead_max);
        let used = self.read - self.doubled_at;
        if double > self.credit_ahead && room >= double && used >= self.credit_ahead / 2 {
            self.credit_ahead = double;
            self.doubled_at = self.read;
        }
    }

    /// Bytes that were granted and not read: as many may arrive at any time.
    pub(crate) const fn outstanding(&self) -> usize {
        self.granted.credit.saturating_sub(self.read) as usize
    }

    /// The credit that the other end has, from the first byte of the connection on.
    pub(crate) const fn stated(&self) -> u64 {
        self.told.credit
    }

    /// Whether the other end needs the limits before the next acknowledgement that leaves for another reason: it
    /// cannot write a first credit of the `wanted` bytes without them, or a quarter of the most is due.
    pub(crate) fn are_due(&self, wanted: usize) -> bool {
        let needed = self.first_credit.min(wanted as u64);
        let is_due = |told: u64, granted: u64, most: u64| {
            let left = told.saturating_sub(self.read);
            granted > told && (left < needed || granted - told >= most / WORTH)
        };
        is_due(self.told.credit, self.granted.credit, self.credit_ahead)
            || is_due(self.told.passage, self.granted.passage, self.passage_ahead)
    }

    /// Returns the limits for a frame to the other end, which counts as written.
    pub(crate) const fn tell(&mut self) -> Limits {
        self.told = self.granted;
        self.told
    }
}

impl Limits {
    /// Takes limits of the other end. Smaller ones change nothing: they were overtaken.
    pub(crate) fn raise(&mut self, limits: Self) {
        self.credit = self.credit.max(limits.credit);
        self.passage = self.passage.max(limits.passage);
    }

    /// The bytes that may be written on the line's stream, from its first one on.
    pub(crate) fn bytes(&self) -> u64 {
        self.credit.min(self.passage)
    }
}

#[cfg(test)]
mod check;
