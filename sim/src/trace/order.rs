//! A recording in the order of time.

use std::time::Duration;

use super::{Alert, DatagramRecord, FaultRecord, Moment, Recording};

/// One line of a story.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry<'a> {
    FaultEnds(&'a FaultRecord),
    FaultBegins(&'a FaultRecord),
    Moment(&'a Moment),
    Datagram(usize, &'a DatagramRecord),
    Alert(&'a Alert),
}

impl Entry<'_> {
    pub(super) fn at(&self) -> Duration {
        match self {
            Self::FaultEnds(fault) => fault.until.unwrap_or(Duration::MAX),
            Self::FaultBegins(fault) => fault.from,
            Self::Moment(moment) => moment.at,
            Self::Datagram(_, datagram) => datagram.at,
            Self::Alert(alert) => alert.at,
        }
    }

    /// Of what is of one instant, causes come first.
    fn rank(&self) -> u8 {
        match self {
            Self::FaultEnds(_) => 0,
            Self::FaultBegins(_) => 1,
            Self::Moment(_) => 2,
            Self::Datagram(..) => 3,
            Self::Alert(_) => 4,
        }
    }
}

impl Recording {
    /// All that is recorded, in the order of time.
    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        let ends = self.faults.iter().filter(|fault| {
            // What ends after the recording does is not seen to end.
            !fault.is_instant() && fault.until.is_some_and(|until| until <= self.ended)
        });
        let mut entries: Vec<Entry<'_>> = ends.map(Entry::FaultEnds).collect();
        entries.extend(self.faults.iter().map(Entry::FaultBegins));
        entries.extend(self.moments.iter().map(Entry::Moment));
        let datagrams = self.datagrams.iter().enumerate();
        entries.extend(datagrams.map(|(n, datagram)| Entry::Datagram(n, datagram)));
        entries.extend(self.alerts.iter().map(Entry::Alert));
        entries.sort_by_key(|entry| (entry.at(), entry.rank()));
        entries
    }
}
