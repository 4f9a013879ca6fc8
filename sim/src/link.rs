//! One direction between two nodes, and what goes wrong on it.

use std::time::Duration;

use bytes::BytesMut;

use crate::dice::{Dice, Domain};

/// How a link treats datagrams. Probabilities are from 0 to 1.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Faults {
    /// How long a datagram travels. Default 10 ms.
    pub latency: Duration,
    /// The longest datagram that passes, in bytes. Default 1,472: Ethernet with IPv4.
    pub mtu: usize,
    /// How often a datagram is lost.
    pub loss: f64,
    /// How often a datagram arrives twice.
    pub duplicate: f64,
    /// How often a datagram travels for longer, so that others overtake it.
    pub reorder: f64,
    /// How much longer at most.
    pub reorder_extra: Duration,
    /// How often a datagram arrives with a flipped bit, or cut short.
    pub corrupt: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(10),
            mtu: 1_472,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_extra: Duration::ZERO,
            corrupt: 0.0,
        }
    }
}

/// What has become of the datagrams offered to a link.
///
/// None goes missing: `offered + duplicated = lost + too_long + cut + arrived + in_flight`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkCounts {
    /// Datagrams that have left the sender.
    pub offered: u64,
    /// Copies made of them.
    pub duplicated: u64,
    /// Lost at random.
    pub lost: u64,
    /// Lost because they are longer than [`Faults::mtu`].
    pub too_long: u64,
    /// Lost because the link is cut.
    pub cut: u64,
    /// Arrived, damaged or not.
    pub arrived: u64,
    /// Under way.
    pub in_flight: u64,
    /// Damaged, among those arrived and in flight.
    pub corrupted: u64,
}

/// A copy of a datagram on its way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) travel: Duration,
    pub(crate) payload: BytesMut,
}

/// One direction of the path between two nodes.
#[derive(Debug)]
pub(crate) struct Link {
    dice: Dice,
    /// Under which name this link draws.
    entity: u64,
    pub(crate) faults: Faults,
    pub(crate) is_cut: bool,
    counts: LinkCounts,
}

impl Link {
    pub(crate) fn new(dice: Dice, entity: u64, faults: Faults) -> Self {
        Self {
            dice,
            entity,
            faults,
            is_cut: false,
            counts: LinkCounts::default(),
        }
    }

    pub(crate) fn counts(&self) -> LinkCounts {
        self.counts
    }

    /// Takes a datagram, and gives the copies of it that will arrive: none, one or two.
    pub(crate) fn carry(&mut self, datagram: BytesMut) -> impl Iterator<Item = Parcel> + use<> {
        let number = self.counts.offered;
        self.counts.offered += 1;
        let parcels = match self.loses(number, &datagram) {
            true => [None, None],
            false => self.copies(number, datagram),
        };
        parcels.into_iter().flatten()
    }

    /// A parcel has come to the end of the link; says whether it gets out.
    ///
    /// A cut takes what is in flight as well.
    pub(crate) fn arrive(&mut self) -> bool {
        self.counts.in_flight -= 1;
        match self.is_cut {
            true => self.counts.cut += 1,
            false => self.counts.arrived += 1,
        }
        !self.is_cut
    }

    fn loses(&mut self, number: u64, datagram: &[u8]) -> bool {
        let count = if self.is_cut {
            &mut self.counts.cut
        } else if datagram.len() > self.faults.mtu {
            &mut self.counts.too_long
        } else if self.happens(Domain::Loss, number, self.faults.loss) {
            &mut self.counts.lost
        } else {
            return false;
        };
        *count += 1;
        true
    }

    fn copies(&mut self, number: u64, datagram: BytesMut) -> [Option<Parcel>; 2] {
        // Each copy has a number of its own, since each meets its own fate.
        let (first, second) = (number * 2, number * 2 + 1);
        if !self.happens(Domain::Duplicate, number, self.faults.duplicate) {
            return [Some(self.dispatch(first, datagram)), None];
        }
        self.counts.duplicated += 1;
        let copy = self.dispatch(second, datagram.clone());
        [Some(self.dispatch(first, datagram)), Some(copy)]
    }

    fn dispatch(&mut self, copy: u64, mut payload: BytesMut) -> Parcel {
        if self.happens(Domain::Corrupt, copy, self.faults.corrupt) {
            self.counts.corrupted += 1;
            corrupt(&mut payload, self.roll(Domain::CorruptHow, copy));
        }
        self.counts.in_flight += 1;
        let travel = self.travel(copy);
        Parcel { travel, payload }
    }

    fn travel(&self, copy: u64) -> Duration {
        let latency = self.faults.latency;
        if !self.happens(Domain::Reorder, copy, self.faults.reorder) {
            return latency;
        }
        let part = self.dice.fraction(Domain::ReorderBy, self.entity, copy);
        latency + self.faults.reorder_extra.mul_f64(part)
    }

    fn happens(&self, domain: Domain, n: u64, probability: f64) -> bool {
        self.dice.happens(domain, self.entity, n, probability)
    }

    fn roll(&self, domain: Domain, n: u64) -> u64 {
        self.dice.roll(domain, self.entity, n)
    }
}

/// Cuts one in four short, and flips a bit of the others.
fn corrupt(payload: &mut BytesMut, roll: u64) {
    if payload.is_empty() {
        return;
    }
    let at = (roll >> 8) as usize % payload.len();
    match roll % 4 {
        0 => payload.truncate(at),
        _ => payload[at] ^= 1 << (roll >> 2 & 7),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_calm_link_delivers_each_datagram_once_and_in_time() {
        let mut link = link(Faults::default());
        for n in 0..100 {
            let parcel = Parcel {
                travel: Duration::from_millis(10),
                payload: datagram(n),
            };
            assert_eq!(carry(&mut link, n), [parcel]);
        }
    }

    #[test]
    fn a_cut_link_delivers_nothing_that_is_offered_or_in_flight() {
        let mut link = link(Faults::default());
        assert_eq!(carry(&mut link, 0).len(), 1);
        link.is_cut = true;
        assert_eq!(carry(&mut link, 1).len(), 0);
        assert!(!link.arrive());
        link.is_cut = false;
        assert_eq!(carry(&mut link, 2).len(), 1);
        assert!(link.arrive());
        assert_eq!((link.counts().cut, link.counts().arrived), (2, 1));
    }

    #[test]
    fn a_datagram_longer_than_the_mtu_is_lost() {
        let mtu = 1_200;
        let mut link = link(Faults {
            mtu,
            ..Faults::default()
        });
        assert_eq!(link.carry(BytesMut::zeroed(1_200)).count(), 1);
        assert_eq!(link.carry(BytesMut::zeroed(1_201)).count(), 0);
        assert_eq!(link.counts().too_long, 1);
    }

    #[test]
    fn damaged_datagrams_differ_and_never_grow() {
        let mut link = link(Faults {
            corrupt: 1.0,
            ..Faults::default()
        });
        for n in 0..1_000 {
            let parcels = carry(&mut link, n);
            assert_ne!(parcels[0].payload, datagram(n));
            assert!(parcels[0].payload.len() <= datagram(n).len());
        }
    }

    #[test]
    fn reordered_datagrams_travel_longer_but_not_too_long() {
        let mut link = link(Faults {
            reorder: 0.5,
            reorder_extra: Duration::from_millis(30),
            ..Faults::default()
        });
        let travels: Vec<u128> = (0..1_000)
            .map(|n| carry(&mut link, n)[0].travel.as_millis())
            .collect();
        assert!(travels.iter().all(|travel| (10..40).contains(travel)));
        let late = travels.iter().filter(|&&travel| travel > 10).count();
        assert!((400..600).contains(&late), "{late} were late");
    }

    #[test]
    fn a_fault_more_leaves_the_other_decisions_in_place() {
        let lossy = Faults {
            loss: 0.3,
            ..Faults::default()
        };
        let worse = Faults {
            duplicate: 0.3,
            corrupt: 0.3,
            ..lossy.clone()
        };
        let fates = |faults| {
            let mut link = link(faults);
            let arrives = |n| !carry(&mut link, n).is_empty();
            (0..1_000).map(arrives).collect::<Vec<bool>>()
        };
        assert_eq!(fates(lossy), fates(worse));
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(
            loss in 0.0..1.0,
            duplicate in 0.0..1.0,
            corrupt in 0.0..1.0,
            cuts in prop::collection::vec(any::<bool>(), 1..200),
        ) {
            let faults = Faults { loss, duplicate, corrupt, ..Faults::default() };
            let mut link = link(faults);
            for (n, is_cut) in cuts.into_iter().enumerate() {
                link.is_cut = is_cut;
                let carried = carry(&mut link, n as u64).len();
                (1..carried).for_each(|_| _ = link.arrive());
            }
            let counts = link.counts();
            prop_assert_eq!(
                counts.offered + counts.duplicated,
                counts.lost + counts.cut + counts.arrived + counts.in_flight
            );
        }
    }

    fn link(faults: Faults) -> Link {
        Link::new(Dice::new(1), 0, faults)
    }

    fn carry(link: &mut Link, number: u64) -> Vec<Parcel> {
        link.carry(datagram(number)).collect()
    }

    fn datagram(number: u64) -> BytesMut {
        BytesMut::from(&[number as u8; 100][..])
    }
}
