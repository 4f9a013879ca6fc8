//! Marks: what must always hold, what must never happen, and what must happen in some world.
//!
//! A mark that no world reaches means that the worlds have become too tame, or that a path of the
//! machine is dead. All are declared in [`MARKS`]: one that is used and not declared does not
//! compile, and one that is declared and not used is never reached.

use std::{collections::BTreeMap, time::Duration};

use super::{Property, Violation};
use crate::NodeId;

/// Limit of violations of one world that are kept: the first ones suffice.
const VIOLATIONS_MAX: usize = 100;

/// What happens in some world, by name: two thousand worlds together reach all of it.
pub const MARKS: &[&str] = &[
    // Dials and handshakes
    "a dial that failed was tried again",
    "a dial was joined",
    "a dial was called off",
    "a dial waited for a slot",
    "a handshake timed out",
    "a peer was busy",
    "a peer that was busy was dialled again after its delay",
    "a backoff reached its cap",
    "both ends dialled at once and one connection stayed",
    "of two connections of a pair one stayed",
    "a dial took the place of an older one",
    "a stranger was let in",
    "a hidden peer looked in",
    // Connections
    "a connection was live when it was asked for",
    "a connection was missing when it was asked for",
    "a peer was connected again",
    "a connection expired",
    "a peer gave up its slot for another",
    "a busy peer gave up its slot for another",
    "every slot was taken",
    "a connection was replaced by another",
    "a peer was silent for too long",
    "a connection was reset by a peer that had lost it",
    "a peer said goodbye",
    "a connection survived that its peer moved",
    "a path was validated",
    "a quiet connection was kept alive",
    "nothing was said for long where nothing is lost",
    "the restart of a peer was noticed",
    // Health
    "a peer was degraded by delay",
    "a peer was degraded by loss",
    "a peer was heard and did not hear",
    "a peer was unresponsive",
    "a peer that was unresponsive was heard again",
    "a peer was healthy again",
    // Messages
    "a batch left full",
    "a batch left because the next message did not fit",
    "a batch was cut to what its receiver accepts",
    "a batch left after its delay",
    "a batch left at once",
    "a batch kept its delay",
    "a record was sent again on another connection",
    "stream data was sent again on its connection",
    "a sender learnt that what it had sent was taken",
    "an outbox was full",
    "an outbox had room again",
    "an inbox was full",
    "an application read in part",
    "what was taken counted as taken later",
    "a flush waited for what was lost",
    "a loss was left for the next flush",
    "a message to be confirmed was lost",
    "a message was withdrawn before it was written",
    "a message was withdrawn too late",
    "a message expired unwritten",
    "a message outlived its lifetime once written",
    "a void was written amid a batch",
    "a batch was written that has voids alone",
    "a message was too long for its receiver alone",
    "an end lost nothing",
    "an end named what was lost",
    "messages were given up by our disconnect",
    "messages were given up by goodbye",
    "messages were given up by a restart",
    // Datagrams
    "a datagram was sent",
    "a datagram arrived",
    "a datagram found nobody connected",
    "a datagram was too long for its path",
    "a datagram gave way to a newer one unsent",
    "a datagram gave way to a newer one unread",
    "a datagram ended with its connection",
    "a datagram was discarded unread",
];

/// The place of a mark in [`MARKS`].
///
/// # Panics
///
/// If it is not declared, which [`sometimes`] finds when it is compiled.
pub(super) const fn place(name: &str) -> usize {
    let mut place = 0;
    while place < MARKS.len() {
        if is_equal(MARKS[place].as_bytes(), name.as_bytes()) {
            return place;
        }
        place += 1;
    }
    panic!("the mark is not declared in MARKS")
}

const fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Notes how something does not hold that must hold always.
macro_rules! always {
    ($log:expr, $holds:expr, $property:ident, $($what:tt)+) => {{
        let holds: bool = $holds;
        if !holds {
            $log.violated($crate::swarm::Property::$property, format!($($what)+));
        }
    }};
}

/// Notes how something happens that must never happen.
macro_rules! never {
    ($log:expr, $happens:expr, $property:ident, $($what:tt)+) => {
        $crate::swarm::marks::always!($log, !($happens), $property, $($what)+)
    };
}

/// Counts when something happens that must happen in some world.
macro_rules! sometimes {
    ($log:expr, $happens:expr, $name:literal) => {{
        const PLACE: usize = $crate::swarm::marks::place($name);
        $log.count(PLACE, $happens);
    }};
}

pub(super) use {always, never, sometimes};

/// What one world has shown.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) at: Duration,
    /// The node that is looked at.
    pub(super) node: Option<NodeId>,
    violations: Vec<Violation>,
    hits: [u64; MARKS.len()],
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            at: Duration::ZERO,
            node: None,
            violations: Vec::new(),
            hits: [0; MARKS.len()],
        }
    }

    pub(super) fn violated(&mut self, property: Property, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            let at = self.at;
            let what = self
                .node
                .map_or(what.clone(), |node| format!("{node}: {what}"));
            self.violations.push(Violation { property, at, what });
        }
    }

    pub(super) fn count(&mut self, place: usize, happens: bool) {
        self.hits[place] += u64::from(happens);
    }

    pub(super) fn take_violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }

    /// How often each mark was hit, those that were not included.
    pub(super) fn marks(&self) -> BTreeMap<&'static str, u64> {
        MARKS.iter().copied().zip(self.hits).collect()
    }
}

#[cfg(test)]
impl Log {
    /// The properties that did not hold, for tests of auditors.
    pub(super) fn broken(&mut self) -> Vec<Property> {
        let violations = self.take_violations();
        violations.iter().map(|v| v.property).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_counted_whether_they_are_hit_or_not() {
        let mut log = Log::new();
        for n in 0..3 {
            sometimes!(log, n > 0, "a dial was joined");
        }
        let marks = log.marks();
        assert_eq!(marks.len(), MARKS.len(), "no name is declared twice");
        assert_eq!(marks["a dial was joined"], 2);
        assert_eq!(marks["a connection expired"], 0);
    }

    #[test]
    fn what_does_not_hold_is_told() {
        let mut log = Log::new();
        log.at = Duration::from_secs(1);
        always!(log, 1 < 2, SlotsWithinLimit, "never said");
        never!(log, 1 < 2, SlotsWithinLimit, "{} is too many", 1);
        let violations = log.take_violations();
        assert_eq!(
            violations[0].to_string(),
            "SlotsWithinLimit at 1s: 1 is too many"
        );
        assert_eq!(violations.len(), 1);
    }
}
