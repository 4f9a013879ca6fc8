//! What was sent, taken, withdrawn and reported, and whether it adds up.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use quicpool_core::Undeliverable;

/// What one process has sent to a node: its messages are numbered from 0.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Bytes of each message that was sent.
    lengths: Vec<usize>,
    /// When messages are worth nothing any more.
    lifetimes: BTreeMap<u64, Duration>,
    /// The fates of messages, but for those that were only taken.
    fates: BTreeMap<u64, Fate>,
    /// How often what the receiver may have taken was sent again, as it had lost its state.
    repeats: usize,
    /// What each process of the receiver has taken, in the order in which it did.
    taken: BTreeMap<u32, Vec<u64>>,
}

/// The fate of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was reported, and may have been taken all the same.
    GivenUp,
    /// It was taken back.
    Withdrawn,
    /// It was reported since its lifetime had ended.
    Expired,
    /// It was reported since its receiver accepts none so long.
    TooLong,
}

impl Line {
    /// Messages that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.lengths.len() as u64
    }

    /// Sends a message.
    pub(super) fn send(&mut self, len: usize) {
        self.lengths.push(len);
    }

    /// Sends a message that is worth nothing after this time.
    pub(super) fn send_until(&mut self, len: usize, until: Duration) {
        self.lifetimes.insert(self.sent(), until);
        self.send(len);
    }

    /// Bytes of a message.
    pub(super) fn len_of(&self, number: u64) -> usize {
        self.lengths.get(number as usize).copied().unwrap_or(0)
    }

    /// A report of messages; the receiver accepts so many bytes. Returns what is wrong with it.
    pub(super) fn report(
        &mut self,
        at: Duration,
        messages: Range<u64>,
        why: Undeliverable,
        accepts: usize,
    ) -> Option<String> {
        let mut wrong = None;
        for number in messages {
            let (fate, is_so) = match why {
                Undeliverable::Expired => {
                    let until = self.lifetimes.get(&number);
                    (Fate::Expired, until.is_some_and(|until| *until <= at))
                }
                Undeliverable::TooLarge { size, max } => {
                    let is_so = size == self.len_of(number) && max == accepts && size > max;
                    (Fate::TooLong, is_so)
                }
                Undeliverable::Disconnected
                | Undeliverable::Goodbye
                | Undeliverable::PeerRestarted
                | Undeliverable::IdentityInUse
                | Undeliverable::SessionExpired
                | Undeliverable::Closed
                | _ => (Fate::GivenUp, true),
            };
            let other = self.end(number, fate);
            if !is_so {
                wrong = Some(format!("message {number} is reported, and not {why}"));
            }
            wrong = other.or(wrong);
        }
        wrong
    }

    /// A message was taken back. Returns what is wrong with that.
    pub(super) fn withdraw(&mut self, number: u64) -> Option<String> {
        self.end(number, Fate::Withdrawn)
    }

    fn end(&mut self, number: u64, fate: Fate) -> Option<String> {
        if number >= self.sent() {
            return Some(format!("message {number} is {fate:?}, and was never sent"));
        }
        if let Some(before) = self.fates.insert(number, fate) {
            return Some(format!("message {number} is {fate:?}, and was {before:?}"));
        }
        let mut taken = self.taken.values().flatten();
        let is_wrong = fate != Fate::GivenUp && taken.any(|taken| *taken == number);
        is_wrong.then(|| format!("message {number} is {fate:?}, and was taken"))
    }

    /// A message was taken. Returns what is wrong with that, beside its order.
    pub(super) fn take(&mut self, life: u32, number: u64) -> Option<String> {
        self.taken.entry(life).or_default().push(number);
        match self.fates.get(&number) {
            None | Some(Fate::GivenUp) => None,
            Some(fate) => Some(format!("message {number} is taken, and was {fate:?}")),
        }
    }

    /// The sender is notified of a resend of messages which may have been taken before.
    pub(super) fn repeat(&mut self) {
        self.repeats += 1;
    }

    /// The first pair of messages that one process has taken in the wrong order, or twice, beyond
    /// the resends that the sender was notified of.
    pub(super) fn disorder(&self) -> Option<(u64, u64)> {
        self.taken.values().find_map(|taken| {
            let pairs = taken.windows(2).map(|pair| (pair[0], pair[1]));
            pairs.filter(|(a, b)| a >= b).nth(self.repeats)
        })
    }

    /// A message that was taken and never sent.
    pub(super) fn invented(&self) -> Option<u64> {
        let mut taken = self.taken.values().flatten();
        taken.find(|number| **number >= self.sent()).copied()
    }

    /// Messages neither taken nor withdrawn nor reported.
    pub(super) fn missing(&self) -> Vec<u64> {
        let taken: BTreeSet<u64> = self.taken.values().flatten().copied().collect();
        (0..self.sent())
            .filter(|number| !taken.contains(number) && !self.fates.contains_key(number))
            .collect()
    }

    /// Messages that were given up.
    pub(super) fn given_up(&self) -> Vec<u64> {
        let given_up = self
            .fates
            .iter()
            .filter(|(_, fate)| **fate == Fate::GivenUp);
        given_up.map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secs;
    use Undeliverable::{Expired, Goodbye, TooLarge};

    #[test]
    fn every_kind_of_wrong_is_noticed() {
        let mut line = five();
        for number in [0, 1, 3] {
            assert_eq!(line.take(0, number), None);
        }
        assert_eq!((line.disorder(), line.invented()), (None, None));
        assert_eq!(line.missing(), [2, 4]);
        assert_eq!(line.report(secs(1), 4..5, Goodbye, 100), None);
        assert_eq!(line.missing(), [2]);
        assert_eq!(line.given_up(), [4]);
        assert_eq!(line.take(1, 0), None);
        assert_eq!(line.disorder(), None, "another process knows nothing of it");
        line.take(0, 3);
        assert_eq!(line.disorder(), Some((3, 3)));
        line.repeat();
        assert_eq!(line.disorder(), None, "the sender knows of it");
        line.take(0, 1);
        assert_eq!(line.disorder(), Some((3, 1)), "it was told of one only");
        line.take(1, 5);
        assert_eq!(line.invented(), Some(5));
    }

    #[test]
    fn what_is_withdrawn_is_neither_taken_nor_reported() {
        let mut line = five();
        assert_eq!(line.withdraw(2), None);
        assert_eq!(line.missing(), [0, 1, 3, 4]);
        assert!(line.given_up().is_empty());
        assert!(line.take(0, 2).is_some());
        assert!(line.withdraw(2).is_some(), "twice");
        assert!(line.withdraw(5).is_some(), "it was never sent");
        line.take(0, 3);
        assert!(line.withdraw(3).is_some(), "it was taken");
        let mut line = five();
        assert_eq!(line.withdraw(2), None);
        assert!(line.report(secs(1), 1..4, Goodbye, 100).is_some());
    }

    #[test]
    fn what_has_expired_is_reported_once_and_not_before() {
        let report = |at, messages: Range<u64>| five().report(secs(at), messages, Expired, 100);
        assert_eq!(report(4, 4..5), None);
        assert!(report(3, 4..5).is_some(), "too early");
        assert!(report(9, 3..4).is_some(), "it has no lifetime");
        let mut line = five();
        assert_eq!(line.report(secs(4), 4..5, Expired, 100), None);
        assert!(line.given_up().is_empty());
        assert!(line.report(secs(4), 4..5, Expired, 100).is_some(), "twice");
        assert!(line.take(0, 4).is_some());
    }

    #[test]
    fn what_is_too_long_is_longer_than_its_receiver_accepts() {
        let report = |size, max, accepts| {
            let why = TooLarge { size, max };
            five().report(secs(1), 1..2, why, accepts)
        };
        assert_eq!(report(20, 19, 19), None);
        assert!(report(20, 20, 20).is_some());
        assert!(report(20, 19, 18).is_some());
        assert!(report(21, 19, 19).is_some());
    }

    /// Five messages, of which the last lives until four seconds have passed.
    fn five() -> Line {
        let mut line = Line::default();
        (0..4).for_each(|_| line.send(20));
        line.send_until(20, secs(4));
        line
    }
}
