//! One connection per pair: which of several confirmed connections stays.
//!
//! Of two dials by one process the one with the greater number stays, and both ends see that.
//! Of two dials by different ends only the end with the smaller peer id closes one: the one that
//! was confirmed earlier at that end. The other end closes nothing, and sends on the one that it
//! confirmed last. So the ends never close different ones, and each sends on the one that stays.

use super::{LinkId, on_demand::Few};
use crate::PeerId;

/// Which end began a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dialler {
    Us,
    Them,
}

/// A confirmed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Candidate {
    pub(crate) link: LinkId,
    pub(crate) dialler: Dialler,
    /// The dialler's number for this dial.
    pub(crate) dial: u64,
}

/// The confirmed connections to one peer, the one to send on last.
///
/// At most one per dialler, so two at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Chooser {
    confirmed: Few<Candidate>,
}

impl Chooser {
    /// Gives back memory that nothing is in.
    pub(crate) fn rest(&mut self) {
        self.confirmed.shrink_to_fit();
    }

    /// The connection to send on.
    pub(crate) fn live(&self) -> Option<LinkId> {
        self.confirmed.last().map(|candidate| candidate.link)
    }

    /// Every confirmed connection.
    pub(crate) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.confirmed.iter().map(|candidate| candidate.link)
    }

    /// A connection is confirmed; answers which one to close, if any.
    #[must_use]
    pub(crate) fn confirm(
        &mut self,
        ours: PeerId,
        theirs: PeerId,
        candidate: Candidate,
    ) -> Option<LinkId> {
        let rival = self
            .confirmed
            .iter()
            .position(|other| other.dialler == candidate.dialler);
        if let Some(index) = rival {
            if self.confirmed[index].dial > candidate.dial {
                return Some(candidate.link);
            }
            let loser = self.confirmed.remove(index);
            self.confirmed.push(candidate);
            return Some(loser.link);
        }
        let earlier = self.live();
        let closes = ours < theirs;
        if closes {
            self.confirmed.clear();
        }
        self.confirmed.push(candidate);
        earlier.filter(|_| closes)
    }

    /// Makes a confirmed connection the one to send on. Whether it was another before.
    pub(crate) fn prefer(&mut self, link: LinkId) -> bool {
        let found = self.confirmed.iter().position(|c| c.link == link);
        let Some(index) = found.filter(|index| index + 1 < self.confirmed.len()) else {
            return false;
        };
        let candidate = self.confirmed.remove(index);
        self.confirmed.push(candidate);
        true
    }

    /// A connection has ended. Whether it was among the confirmed.
    pub(crate) fn remove(&mut self, link: LinkId) -> bool {
        let before = self.confirmed.len();
        self.confirmed.retain(|candidate| candidate.link != link);
        self.confirmed.len() < before
    }

    /// Gives connections other names, and dials other numbers.
    #[cfg(test)]
    pub(crate) fn rename(
        &mut self,
        mut name: impl FnMut(&mut LinkId),
        mut dial: impl FnMut(LinkId) -> u64,
    ) {
        for candidate in self.confirmed.iter_mut() {
            name(&mut candidate.link);
            candidate.dial = dial(candidate.link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: PeerId = PeerId::from_bytes([1; 32]);
    const GREAT: PeerId = PeerId::from_bytes([2; 32]);

    fn candidate(number: u32, dialler: Dialler, dial: u64) -> Candidate {
        Candidate {
            link: LinkId::new(number, 0),
            dialler,
            dial,
        }
    }

    fn mirrored(candidate: Candidate) -> Candidate {
        let dialler = match candidate.dialler {
            Dialler::Us => Dialler::Them,
            Dialler::Them => Dialler::Us,
        };
        Candidate {
            dialler,
            ..candidate
        }
    }

    #[test]
    fn of_two_dials_by_one_process_the_greater_number_stays() {
        for order in [[1, 2], [2, 1]] {
            for dialler in [Dialler::Us, Dialler::Them] {
                let mut chooser = Chooser::default();
                let closed: Vec<_> = order
                    .iter()
                    .filter_map(|n| {
                        chooser.confirm(SMALL, GREAT, candidate(*n, dialler, u64::from(*n)))
                    })
                    .collect();
                assert_eq!(closed, [LinkId::new(1, 0)]);
                assert_eq!(chooser.live(), Some(LinkId::new(2, 0)));
            }
        }
    }

    #[test]
    fn both_ends_end_with_the_same_one_in_every_order_of_confirmation() {
        let [ours, theirs] = [candidate(1, Dialler::Us, 1), candidate(2, Dialler::Them, 1)];
        for small_order in [[ours, theirs], [theirs, ours]] {
            for great_order in [[ours, theirs], [theirs, ours]] {
                let (mut small, mut great) = (Chooser::default(), Chooser::default());
                let closed: Vec<_> = small_order
                    .iter()
                    .filter_map(|c| small.confirm(SMALL, GREAT, *c))
                    .collect();
                for c in great_order {
                    assert_eq!(great.confirm(GREAT, SMALL, mirrored(c)), None);
                }
                assert_eq!(closed, [small_order[0].link]);
                assert!(great.remove(closed[0]));
                assert_eq!(great.live(), small.live());
                assert_eq!(small.live(), Some(small_order[1].link));
            }
        }
    }

    #[test]
    fn the_survivor_carries_on_when_the_latest_dies() {
        let mut chooser = Chooser::default();
        assert_eq!(
            chooser.confirm(GREAT, SMALL, candidate(1, Dialler::Us, 1)),
            None
        );
        assert_eq!(
            chooser.confirm(GREAT, SMALL, candidate(2, Dialler::Them, 1)),
            None
        );
        assert!(chooser.remove(LinkId::new(2, 0)));
        assert_eq!(chooser.live(), Some(LinkId::new(1, 0)));
        assert!(!chooser.remove(LinkId::new(2, 0)));
    }
}
