//! Decides which flush of a peer reports which loss: each that waits for it, or else the next one.

use std::{collections::VecDeque, ops::Range};

use crate::{Losses, Undeliverable};

/// Flushes that wait, and losses that no flush has reported.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    /// In the order of the numbers that they wait for.
    waiting: VecDeque<Waiting>,
    unreported: Option<Losses>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    token: u64,
    kind: Kind,
    /// The number after the last one that it covers.
    end: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Covers all messages before.
    Flush,
    /// Covers one message, whose loss is reported to its own caller alone.
    Confirm,
}

/// A flush that has failed, and the messages that it reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) token: u64,
    pub(crate) losses: Losses,
}

impl Flushes {
    /// Begins a flush of everything before `end`. Returns the losses that it reports at once, if
    /// there are any.
    pub(crate) fn flush(&mut self, token: u64, end: u64) -> Option<Losses> {
        let unreported = self.unreported.take();
        if unreported.is_none() {
            self.wait(token, Kind::Flush, end);
        }
        unreported
    }

    /// Waits for one message.
    pub(crate) fn confirm(&mut self, token: u64, number: u64) {
        self.wait(token, Kind::Confirm, number + 1);
    }

    /// Whether a caller waits for one message alone.
    pub(crate) fn is_awaited(&self, number: u64) -> bool {
        let awaits = |waiting: &Waiting| waiting.kind == Kind::Confirm && waiting.end == number + 1;
        self.waiting.iter().any(awaits)
    }

    fn wait(&mut self, token: u64, kind: Kind, end: u64) {
        debug_assert!(self.waiting.back().is_none_or(|last| last.end <= end));
        self.waiting.push_back(Waiting { token, kind, end });
    }

    /// Takes the first flush of which everything before `taken` is all.
    pub(crate) fn next_taken(&mut self, taken: u64) -> Option<u64> {
        let first = self.waiting.front()?;
        let is_taken = first.end <= taken;
        is_taken
            .then(|| self.waiting.pop_front())
            .flatten()?
            .token
            .into()
    }

    /// Messages are lost. Returns the flushes that fail.
    pub(crate) fn lost(&mut self, messages: &Range<u64>, why: Undeliverable) -> Lost {
        let mut lost = Lost::default();
        self.waiting.retain(|waiting| {
            let number = waiting.end.wrapping_sub(1);
            let is_of_it = waiting.kind == Kind::Confirm && messages.contains(&number);
            if is_of_it {
                let losses = Losses::new(number..number + 1, why);
                lost.failed.push(Failed {
                    token: waiting.token,
                    losses,
                });
            }
            !is_of_it
        });
        let mut next = messages.start;
        for failed in &lost.failed {
            let confirmed = failed.losses.ranges()[0].clone();
            add(&mut lost.rest, next..confirmed.start, why);
            next = confirmed.end;
        }
        add(&mut lost.rest, next..messages.end, why);
        if let Some(rest) = lost.rest.clone() {
            lost.failed.extend(self.report(&rest));
        }
        lost
    }

    /// Has losses reported by the flushes that wait for them, or else by the next one. Returns the
    /// flushes that fail.
    pub(crate) fn report(&mut self, losses: &Losses) -> Vec<Failed> {
        let mut failed = Vec::new();
        let mut reported = 0;
        self.waiting.retain(|waiting| {
            let covered = match waiting.kind {
                Kind::Flush => part(losses, 0..waiting.end),
                Kind::Confirm => None,
            };
            let Some(losses) = covered else {
                return true;
            };
            reported = waiting.end;
            failed.push(Failed {
                token: waiting.token,
                losses,
            });
            false
        });
        if let Some(rest) = part(losses, reported..u64::MAX) {
            match &mut self.unreported {
                Some(unreported) => unreported.merge(&rest),
                None => self.unreported = Some(rest),
            }
        }
        failed
    }

    /// Forgets a flush whose caller waits no longer.
    pub(crate) fn cancel(&mut self, token: u64) {
        self.waiting.retain(|waiting| waiting.token != token);
    }

    /// The losses that no flush has reported.
    pub(crate) const fn unreported(&self) -> Option<&Losses> {
        self.unreported.as_ref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.unreported.is_none()
    }

    /// Bytes of memory, its own included.
    pub(crate) fn memory(&self) -> usize {
        let losses = self.unreported.as_ref().map_or(0, Losses::memory);
        size_of::<Self>() + self.waiting.capacity() * size_of::<Waiting>() + losses
    }
}

/// What a loss has come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// The flushes that fail, those of single messages first.
    pub(crate) failed: Vec<Failed>,
    /// The messages that no caller waited for alone.
    pub(crate) rest: Option<Losses>,
}

/// The losses with numbers in this range.
fn part(losses: &Losses, within: Range<u64>) -> Option<Losses> {
    let mut part = None;
    for range in losses.ranges() {
        let common = range.start.max(within.start)..range.end.min(within.end);
        add(&mut part, common, losses.reason());
    }
    // A range may cover more messages than are lost.
    if let Some(part) = &mut part {
        part.bound_messages(losses.messages());
    }
    part
}

fn add(losses: &mut Option<Losses>, messages: Range<u64>, why: Undeliverable) {
    if messages.is_empty() {
        return;
    }
    match losses {
        Some(losses) => losses.add(messages, why),
        None => *losses = Some(Losses::new(messages, why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: Undeliverable = Undeliverable::PeerRestarted;

    fn failed(token: u64, messages: Range<u64>) -> Failed {
        let losses = Losses::new(messages, WHY);
        Failed { token, losses }
    }

    #[test]
    fn a_loss_fails_all_that_wait_for_it_and_none_after() {
        let mut flushes = Flushes::default();
        assert_eq!(flushes.flush(1, 5), None);
        assert_eq!(flushes.flush(2, 7), None);
        let lost = flushes.lost(&(3..7), WHY);
        assert_eq!(lost.failed, [failed(1, 3..5), failed(2, 3..7)]);
        assert_eq!(flushes.flush(3, 9), None);
    }

    #[test]
    fn what_no_flush_waited_for_fails_the_next_one_only() {
        let mut flushes = Flushes::default();
        assert_eq!(flushes.flush(1, 5), None);
        assert_eq!(flushes.lost(&(3..7), WHY).failed, [failed(1, 3..5)]);
        assert_eq!(flushes.lost(&(8..9), WHY).failed, []);
        let losses = flushes.flush(2, 9).expect("two losses");
        assert_eq!(losses.ranges(), [5..7, 8..9]);
        assert_eq!(flushes.flush(3, 9), None);
        assert_eq!(flushes.next_taken(9), Some(3));
        assert!(flushes.is_empty());
    }

    #[test]
    fn what_its_own_caller_hears_of_is_no_loss_to_a_flush() {
        let mut flushes = Flushes::default();
        flushes.confirm(1, 3);
        assert_eq!(flushes.flush(2, 4), None);
        let lost = flushes.lost(&(3..4), WHY);
        assert_eq!((lost.failed, lost.rest), (vec![failed(1, 3..4)], None));
        assert_eq!(flushes.next_taken(4), Some(2));
        flushes.confirm(3, 5);
        let rest = flushes.lost(&(4..7), WHY).rest.expect("its neighbours");
        assert_eq!(rest.ranges(), [4..5, 6..7]);
        assert_eq!(flushes.flush(4, 7), Some(rest));
    }

    #[test]
    fn a_caller_that_has_gone_hears_of_nothing() {
        let mut flushes = Flushes::default();
        flushes.confirm(1, 0);
        assert_eq!(flushes.flush(2, 1), None);
        flushes.cancel(1);
        flushes.cancel(2);
        assert_eq!(flushes.lost(&(0..1), WHY).failed, []);
        let losses = flushes.flush(3, 1).expect("it was not reported");
        // Its answer was dropped unread.
        assert_eq!(flushes.report(&losses), []);
        assert_eq!(flushes.flush(4, 1), Some(losses));
    }
    #[test]
    fn losses_that_come_back_keep_their_count() {
        let mut flushes = Flushes::default();
        for number in 0..40 {
            assert_eq!(flushes.lost(&(2 * number..2 * number + 1), WHY).failed, []);
        }
        let losses = flushes.flush(1, 80).expect("many losses");
        assert_eq!(losses.messages(), 40);
        assert!(losses.ranges().len() <= Losses::RANGES_MAX);
        assert_eq!(flushes.report(&losses), []);
        assert_eq!(flushes.flush(2, 80), Some(losses));
    }
}
