//! Whether both ends of a pair share one connection, and the same.

use std::time::Duration;

use quicpool_core::{ConnectionName, ConnectionStatus::Disconnected, Event, PeerId, Reason};

use crate::{
    secs,
    swarm::marks::{Log, always, never, sometimes},
};

/// How long an end may take to learn what the other has done, where nothing is lost: a few round
/// trips.
const NEWS_DELAY: Duration = secs(2);

/// The confirmed connections of two processes to each other, as each of them names them.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    ends: [Vec<ConnectionName>; 2],
    dials: [Dials; 2],
    /// Since when they have had several, or not the same.
    apart_since: Option<Duration>,
}

/// The dials of one process to the other.
#[derive(Debug, Default, Clone, Copy)]
struct Dials {
    count: u64,
    /// The number of the last one, at least.
    last: u64,
}

impl Agreement {
    /// An end has dialled the other so often, the last time with this number, or a later one.
    pub(super) const fn dial(&mut self, end: usize, count: u64, number: u64) {
        if count > self.dials[end].count {
            self.dials[end] = Dials {
                count,
                last: number,
            };
        }
    }

    /// An end has nothing more to do, and has these connections.
    pub(super) fn see(
        &mut self,
        log: &mut Log,
        end: usize,
        names: impl Iterator<Item = ConnectionName>,
    ) {
        let names: Vec<ConnectionName> = names.collect();
        let before = std::mem::replace(&mut self.ends[end], names);
        let names = &self.ends[end];
        let is_newer = |(old, new): (&ConnectionName, &ConnectionName)| {
            (old.dialler, old.incarnation) == (new.dialler, new.incarnation) && old.dial < new.dial
        };
        let is_renewed = before.len() == 1 && before.iter().zip(names).any(is_newer);
        sometimes!(log, is_renewed, "a dial took the place of an older one");
        let is_one_gone = before.len() == 2 && names.len() == 1 && before.contains(&names[0]);
        sometimes!(log, is_one_gone, "of two connections of a pair one stayed");
        let is_together = self.is_together();
        if is_together {
            self.apart_since = None;
        } else {
            self.apart_since.get_or_insert(log.at);
        }
    }

    /// The process of an end is gone, with all that it knew.
    pub(super) fn lose(&mut self, end: usize) {
        self.ends[end].clear();
        self.dials[end] = Dials::default();
        self.apart_since = None;
    }

    /// Whether they do not share one connection, or none, at this moment.
    pub(super) const fn is_apart(&self) -> bool {
        self.apart_since.is_some()
    }

    /// Whether they share one connection at this moment.
    pub(super) fn is_shared(&self) -> bool {
        self.is_together() && !self.ends[0].is_empty()
    }

    fn is_together(&self) -> bool {
        let [ours, theirs] = &self.ends;
        ours == theirs && ours.len() <= 1
    }

    /// Both are up. They agree as soon as each has heard of the other, or has been silent for too
    /// long: `silence_max` is how long that takes, and `calm_since` when anything last kept them
    /// from hearing each other.
    pub(super) fn pass(
        &mut self,
        log: &mut Log,
        silence_max: Duration,
        calm_since: impl FnOnce() -> Option<Duration>,
    ) {
        let max = silence_max + NEWS_DELAY;
        let late = |since: &Duration| log.at.saturating_sub(*since) > max;
        let Some(since) = self.apart_since.filter(late) else {
            return;
        };
        let since = since.max(calm_since().unwrap_or_default());
        self.apart_since = Some(since);
        let time = log.at.saturating_sub(since);
        always!(
            log,
            time <= max,
            OneConnection,
            "one end has {:?} and the other {:?}, for {time:?}",
            self.ends[0],
            self.ends[1]
        );
    }

    /// An event of one end about the other.
    ///
    /// A process dials a peer to which it has no connection: of its dials the last one counts, and
    /// is never closed in favour of another.
    pub(super) fn hear(&self, log: &mut Log, end: usize, us: PeerId, event: &Event) {
        let Event::StatusChanged { to, reason, .. } = event else {
            return;
        };
        if (*to, reason) != (Disconnected, &Reason::Replaced) {
            return;
        }
        let (last, theirs) = (self.dials[end].last, &self.ends[1 - end]);
        let is_older = |name: &ConnectionName| name.dialler == us && name.dial < last;
        never!(
            log,
            !theirs.is_empty() && theirs.iter().all(is_older),
            OneConnection,
            "dial {last} made way for an older one: {theirs:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use quicpool_core::Incarnation;

    use super::*;
    use crate::swarm::{
        Property::{self, OneConnection},
        audit::testing::ended,
    };

    const US: PeerId = PeerId::from_bytes([1; 32]);
    const THEM: PeerId = PeerId::from_bytes([2; 32]);

    #[test]
    fn two_connections_that_stay_are_noticed_and_so_are_different_ones() {
        let (one, two) = (name(US, 1), name(THEM, 1));
        assert_eq!(last(&[one], &[one], secs(9)), []);
        assert_eq!(last(&[], &[], secs(9)), []);
        assert_eq!(last(&[one, two], &[one, two], secs(9)), [OneConnection]);
        assert_eq!(last(&[one], &[two], secs(9)), [OneConnection]);
        assert_eq!(last(&[one], &[], secs(9)), [OneConnection]);
        assert_eq!(last(&[one], &[], secs(3)), [], "news may be on their way");
    }

    #[test]
    fn whoever_cannot_hear_the_other_has_longer() {
        let (mut log, mut agreement) = (Log::new(), Agreement::default());
        agreement.see(&mut log, 0, [name(US, 1)].into_iter());
        for (at, calm_since, expected) in [
            (secs(9), Some(secs(8)), vec![]),
            (secs(13), None, vec![]),
            (secs(15), Some(secs(8)), vec![OneConnection]),
        ] {
            log.at = at;
            agreement.pass(&mut log, secs(4), || calm_since);
            assert_eq!(log.broken(), expected, "at {at:?}");
        }
        agreement.lose(0);
        assert!(!agreement.is_apart());
    }

    #[test]
    fn a_dial_that_makes_way_for_an_older_one_is_noticed() {
        assert_eq!(hear(&[name(US, 1)], Reason::Replaced), [OneConnection]);
        assert_eq!(hear(&[name(US, 2)], Reason::Replaced), [], "the last one");
        assert_eq!(hear(&[name(THEM, 1)], Reason::Replaced), []);
        assert_eq!(hear(&[], Reason::Replaced), [], "it has died since");
        assert_eq!(hear(&[name(US, 1)], Reason::Evicted), []);
    }

    #[test]
    fn one_connection_in_the_place_of_another_is_a_mark() {
        let (mut log, mut agreement) = (Log::new(), Agreement::default());
        for names in [
            vec![name(US, 1)],
            vec![name(US, 2)],
            vec![name(US, 2), name(THEM, 1)],
            vec![name(THEM, 1)],
        ] {
            agreement.see(&mut log, 0, names.into_iter());
        }
        let marks = log.marks();
        assert_eq!(marks["a dial took the place of an older one"], 1);
        assert_eq!(marks["of two connections of a pair one stayed"], 1);
    }

    /// Ends that have had these connections for some time, of four seconds that silence may take.
    fn last(ours: &[ConnectionName], theirs: &[ConnectionName], time: Duration) -> Vec<Property> {
        let (mut log, mut agreement) = (Log::new(), Agreement::default());
        for (end, names) in [ours, theirs].into_iter().enumerate() {
            agreement.see(&mut log, end, names.iter().copied());
        }
        log.at = time;
        agreement.pass(&mut log, secs(4), || None);
        log.broken()
    }

    /// Our second dial ends while they have these.
    fn hear(theirs: &[ConnectionName], reason: Reason) -> Vec<Property> {
        let (mut log, mut agreement) = (Log::new(), Agreement::default());
        agreement.see(&mut log, 1, theirs.iter().copied());
        agreement.dial(0, 1, 2);
        agreement.hear(&mut log, 0, US, &ended(reason));
        log.broken()
    }

    fn name(dialler: PeerId, dial: u64) -> ConnectionName {
        let incarnation = Incarnation {
            started_ms: 0,
            random: 7,
        };
        ConnectionName {
            dialler,
            incarnation,
            dial,
        }
    }
}
