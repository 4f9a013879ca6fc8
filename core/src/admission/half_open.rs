//! Places for handshakes of others: `handshakes_max` of them, from the first packet to the hello.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::Source;
use crate::{index::LookUp, peer::LinkId};

/// A handshake that has not come further for this long makes way while all places are taken. A flight and its answer
/// take less within a continent.
const PROGRESS_TIME: Duration = Duration::from_millis(100);

/// One that has not come further for this long makes way for any source with fewer places: a reply that was lost is sent
/// again after a second (RFC 9002 section 6.2.2), and is answered within another on any path on Earth.
const STANDSTILL: Duration = Duration::from_secs(2);

/// Sources, and handshakes that stand still, that are looked at for one that makes way.
const SEEN: usize = 8;

/// The places that are taken, by source.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    max: usize,
    /// Nothing has happened before.
    start: Instant,
    places: LookUp<LinkId, Place>,
    /// By source, then by how long it has made no progress.
    order: BTreeSet<(Source, Instant, LinkId)>,
    /// By how long they have stood still.
    ages: BTreeSet<(Instant, LinkId)>,
    counts: LookUp<Source, usize>,
    /// Sources by their number of places.
    ranks: BTreeSet<(usize, Source)>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    source: Source,
    progress: Instant,
    /// From when on its standstill is counted.
    since: Instant,
}

impl HalfOpen {
    pub(crate) fn new(max: usize, seed: u64, now: Instant) -> Self {
        Self {
            max,
            start: now,
            places: LookUp::new(seed),
            order: BTreeSet::new(),
            ages: BTreeSet::new(),
            counts: LookUp::new(seed),
            ranks: BTreeSet::new(),
        }
    }

    /// Places that are taken.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether all places are taken.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.max
    }

    /// Whether half of the places are taken: the other half is for addresses that were proved.
    pub(crate) fn is_half_full(&self) -> bool {
        self.len() * 2 >= self.max
    }

    /// Bytes of memory, roughly: places in a tree are two thirds full.
    pub(crate) fn memory(&self) -> usize {
        let in_trees = self.order.len() * size_of::<(Source, Instant, LinkId)>()
            + self.ages.len() * size_of::<(Instant, LinkId)>()
            + self.ranks.len() * size_of::<(usize, Source)>();
        in_trees * 3 / 2 + self.places.memory() + self.counts.memory()
    }

    /// Takes a place.
    pub(crate) fn take(&mut self, now: Instant, id: LinkId, source: Source) {
        let place = Place {
            source,
            progress: now,
            since: now,
        };
        self.places.insert(id, place);
        self.order.insert((source, now, id));
        self.ages.insert((now, id));
        let count = self.count(source);
        self.set_count(source, count + 1);
    }

    /// Notes that TLS is done. The greeting follows at once: an end that says nothing then stands still soon.
    pub(crate) fn progress(&mut self, now: Instant, id: LinkId) {
        let Some(place) = self.places.get(&id) else {
            return;
        };
        self.order.remove(&(place.source, place.progress, id));
        self.order.insert((place.source, now, id));
        self.ages.remove(&(place.since, id));
        let since = now.checked_sub(STANDSTILL - PROGRESS_TIME);
        let since = since.map_or(self.start, |since| since.max(self.start));
        self.ages.insert((since, id));
        let place = Place {
            progress: now,
            since,
            ..place
        };
        self.places.insert(id, place);
    }

    /// Gives a place back. Returns whether the handshake had one.
    pub(crate) fn release(&mut self, id: LinkId) -> bool {
        let Some(place) = self.places.remove(&id) else {
            return false;
        };
        self.order.remove(&(place.source, place.progress, id));
        self.ages.remove(&(place.since, id));
        let count = self.count(place.source);
        self.set_count(place.source, count - 1);
        true
    }

    /// Finds the handshake that makes way for one of this source.
    ///
    /// It is of the source with the most places, and at least two more than this one has, and has made no progress for
    /// the longest time. So no source takes places of others beyond an equal share, and one that has them all, as many
    /// hosts behind one address may, does not call off its own handshakes. Where each has its share, only a
    /// handshake that stands still makes way: peers behind slow paths do not call off each other's, and as many
    /// strangers as there are places keep no peer out.
    pub(crate) fn makes_way(&self, now: Instant, source: Source) -> Option<LinkId> {
        let own = self.count(source);
        let ranks = self.ranks.iter().rev().take(SEEN);
        let others = ranks.take_while(|(count, _)| *count > own + 1);
        others
            .filter_map(|(_, source)| self.slowest(*source))
            .find(|(progress, _)| *progress + PROGRESS_TIME <= now)
            .map(|(_, id)| id)
            .or_else(|| self.stands_still(now, own))
    }

    /// The handshake that stands still for the longest time, of sources that have more places than so many.
    fn stands_still(&self, now: Instant, own: usize) -> Option<LinkId> {
        let still = self.ages.iter().take(SEEN);
        let still = still.take_while(|(progress, _)| *progress + STANDSTILL <= now);
        let has_more = |id: &LinkId| {
            let place = self.places.get(id);
            place.is_some_and(|place| self.count(place.source) > own)
        };
        still.map(|(_, id)| *id).find(has_more)
    }

    /// The handshake of a source that has made no progress for the longest time.
    fn slowest(&self, source: Source) -> Option<(Instant, LinkId)> {
        let from = (source, self.start, LinkId::new(0, 0));
        let (found, progress, id) = *self.order.range(from..).next()?;
        (found == source).then_some((progress, id))
    }

    fn count(&self, source: Source) -> usize {
        self.counts.get(&source).unwrap_or_default()
    }

    fn set_count(&mut self, source: Source, count: usize) {
        let before = match count {
            0 => self.counts.remove(&source),
            _ => self.counts.insert(source, count),
        };
        if let Some(before) = before {
            self.ranks.remove(&(before, source));
        }
        if count > 0 {
            self.ranks.insert((count, source));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;
    use proptest::prelude::*;

    fn source(number: u8) -> Source {
        Source::from(std::net::IpAddr::from([192, 0, 2, number]))
    }

    fn link(number: usize) -> LinkId {
        LinkId::new(number as u32, 0)
    }

    #[test]
    fn the_source_with_most_makes_way_and_only_what_stands_still() {
        let mut table = HalfOpen::new(8, 1, epoch());
        for number in 0..6 {
            table.take(epoch(), link(number), source(1));
        }
        table.take(epoch(), link(6), source(2));
        table.take(epoch(), link(7), source(3));
        assert!(table.is_full());
        assert_eq!(table.makes_way(epoch(), source(9)), None, "all are young");
        let later = epoch() + PROGRESS_TIME;
        table.progress(later, link(0));
        assert_eq!(table.makes_way(later, source(9)), Some(link(1)));
        assert_eq!(
            table.makes_way(later, source(1)),
            None,
            "it has the most itself"
        );
        for number in 1..6 {
            table.progress(later, link(number));
        }
        assert_eq!(table.makes_way(later, source(9)), None, "one each is fair");
        table.release(link(0));
        table.take(epoch(), link(8), source(2));
        assert_eq!(
            table.makes_way(later, source(9)),
            Some(link(6)),
            "the next source"
        );
        assert_eq!(
            table.makes_way(later, source(3)),
            None,
            "an equal share, but for one"
        );
    }

    #[test]
    fn as_many_sources_as_there_are_places_keep_no_other_out() {
        let mut table = HalfOpen::new(2, 1, epoch());
        table.take(epoch(), link(0), source(1));
        table.take(epoch() + PROGRESS_TIME, link(1), source(2));
        let still = epoch() + STANDSTILL;
        let before = still - Duration::from_millis(1);
        assert_eq!(table.makes_way(before, source(9)), None, "one each is fair");
        assert_eq!(table.makes_way(still, source(9)), Some(link(0)));
        assert_eq!(table.makes_way(still, source(2)), None, "it has its share");
        table.progress(still, link(0));
        assert_eq!(table.makes_way(still, source(9)), None, "it came further");
        let later = still + PROGRESS_TIME;
        assert_eq!(table.makes_way(later, source(9)), Some(link(1)));
    }

    #[test]
    fn an_end_that_does_not_greet_after_tls_makes_way_soon_however_many_sources_there_are() {
        let start = epoch();
        let mut table = HalfOpen::new(8, 1, start);
        let begun = start + 2 * STANDSTILL;
        for number in 0..8 {
            table.take(begun, link(number), source(number as u8));
        }
        table.progress(begun, link(3));
        let later = begun + PROGRESS_TIME;
        assert_eq!(
            table.makes_way(later - Duration::from_millis(1), source(9)),
            None
        );
        assert_eq!(table.makes_way(later, source(9)), Some(link(3)));
        assert_eq!(
            table.makes_way(later, source(5)),
            None,
            "no more than an equal share"
        );
        table.release(link(3));
        assert_eq!(
            table.makes_way(later, source(9)),
            None,
            "their TLS may go on"
        );
        assert!(table.makes_way(begun + STANDSTILL, source(9)).is_some());
    }

    proptest! {
        /// Against a list that is looked through.
        #[test]
        fn it_is_as_a_list_would_be(
            steps in prop::collection::vec((0..4u8, 0..12usize, 0..5u8, 0..400u64), 1..200),
        ) {
            let mut table = HalfOpen::new(8, 1, epoch());
            let mut now = epoch() + 2 * STANDSTILL;
            // With when it came further, and when it is to stand still.
            let mut list: Vec<(LinkId, Source, Instant, Instant)> = Vec::new();
            for (what, number, from, wait) in steps {
                now += Duration::from_millis(wait);
                let (id, from) = (link(number), source(from));
                let at = list.iter().position(|(other, ..)| *other == id);
                match (what, at) {
                    (0 | 1, None) => {
                        table.take(now, id, from);
                        list.push((id, from, now, now + STANDSTILL));
                    }
                    (2, _) => {
                        table.progress(now, id);
                        if let Some(at) = at {
                            list[at].2 = now;
                            list[at].3 = now + PROGRESS_TIME;
                        }
                    }
                    (3, _) => {
                        prop_assert_eq!(table.release(id), at.is_some());
                        if let Some(at) = at {
                            list.swap_remove(at);
                        }
                    }
                    (_, Some(_)) => {}
                    _ => unreachable!("four kinds of steps"),
                }
                let count = |source| list.iter().filter(|(_, other, ..)| *other == source).count();
                prop_assert_eq!(table.len(), list.len());
                let waits = |since: &Instant| *since + PROGRESS_TIME <= now;
                let most = list
                    .iter()
                    .filter(|(_, other, since, _)| waits(since) && count(*other) > count(from) + 1)
                    .map(|(_, other, ..)| count(*other))
                    .max();
                let mut oldest = list.clone();
                oldest.sort_by_key(|(id, _, _, still)| (*still, *id));
                let mut still = oldest
                    .into_iter()
                    .take(SEEN)
                    .filter(|(_, other, _, still)| *still <= now && count(*other) > count(from))
                    .map(|(id, ..)| id);
                let id = table.makes_way(now, from);
                match id.map(|id| list.iter().find(|(other, ..)| *other == id)) {
                    found if most.is_none() => {
                        prop_assert_eq!(id, still.next());
                        prop_assert_eq!(found.is_some(), id.is_some());
                    }
                    None => prop_assert_eq!(most, None),
                    Some(found) => {
                        let (_, other, since, _) = found.expect("it has a place");
                        prop_assert_eq!(Some(count(*other)), most);
                        prop_assert!(waits(since));
                        let of_source = list.iter().filter(|(_, source, ..)| source == other);
                        prop_assert!(of_source.into_iter().all(|(_, _, at, _)| at >= since));
                    }
                }
            }
            list.into_iter().for_each(|(id, ..)| assert!(table.release(id)));
            prop_assert!(table.order.is_empty() && table.ranks.is_empty() && table.ages.is_empty());
            prop_assert_eq!((table.len(), table.counts.len()), (0, 0));
        }
    }
}
