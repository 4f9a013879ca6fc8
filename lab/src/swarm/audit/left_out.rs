//! Messages that are withdrawn or expire: what was never written can be taken back, and is reported in
//! time when its lifetime ends.
//!
//! From outside that can be demanded of messages for whose peer there was no connection since they were
//! accepted: they cannot have been written.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use quicpool_core::{
    ConnectionStatus::{self, Connected},
    Event, Undeliverable,
};

use crate::swarm::marks::{Log, always, sometimes};

/// What one process has sent to one peer.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    accepted: u64,
    /// The first message that cannot have been written.
    unwritten: u64,
    /// Messages that their callers wait for, by token, which cannot be taken back.
    awaited: BTreeMap<u64, u64>,
    /// Those whose callers wait no longer. A call that is dropped later than that still counts.
    left: BTreeSet<u64>,
    /// Messages that were withdrawn or reported.
    gone: BTreeSet<u64>,
    /// When the lifetimes end that have not ended.
    lifetimes: BTreeMap<u64, Duration>,
    /// Messages that were not taken back at this instant.
    refused: Vec<u64>,
}

impl LeftOut {
    /// A message was accepted, perhaps with a lifetime.
    pub(super) fn accept(&mut self, status: ConnectionStatus, until: Option<Duration>) {
        self.lifetimes
            .extend(until.map(|until| (self.accepted, until)));
        self.accepted += 1;
        if status == Connected {
            self.unwritten = self.accepted;
        }
    }

    /// The message that was accepted last is to be confirmed.
    pub(super) fn confirm(&mut self, token: u64) {
        let last = self.accepted.checked_sub(1);
        self.awaited.extend(last.map(|number| (token, number)));
    }

    /// The caller of a flush, or of a message to be confirmed, waits no longer.
    pub(super) fn leave(&mut self, token: u64) {
        self.left.extend(self.awaited.remove(&token));
    }

    /// A message was taken back.
    pub(super) fn withdraw(&mut self, log: &mut Log, number: u64) {
        let is_there = number < self.accepted && !self.is_awaited(number);
        always!(
            log,
            self.gone.insert(number) && is_there,
            LeftOut,
            "message {number} is withdrawn, which cannot be"
        );
        sometimes!(log, true, "a message was withdrawn before it was written");
    }

    /// A message was not taken back.
    pub(super) fn refuse(&mut self, log: &mut Log, number: u64) {
        sometimes!(log, true, "a message was withdrawn too late");
        self.refused.push(number);
    }

    /// An event about the peer.
    pub(super) fn hear(&mut self, log: &mut Log, event: &Event) {
        if let Event::Undelivered {
            messages, reason, ..
        } = event
        {
            self.lose(log, messages, *reason);
        }
        if let Event::StatusChanged { to: Connected, .. } = event {
            self.unwritten = self.accepted;
        }
    }

    fn lose(&mut self, log: &mut Log, messages: &Range<u64>, why: Undeliverable) {
        self.gone.extend(messages.clone());
        let is_expired = why == Undeliverable::Expired;
        sometimes!(log, is_expired, "a message expired unwritten");
    }

    /// The process cannot act.
    pub(super) fn hold_up(&mut self, at: Duration) {
        for until in self.lifetimes.values_mut() {
            *until = at.max(*until);
        }
    }

    /// The process has nothing more to do. `written` is the number after the last one that is known to
    /// have been written.
    pub(super) fn settle(&mut self, log: &mut Log, written: u64) {
        for number in std::mem::take(&mut self.refused) {
            let may_be_awaited = self.is_awaited(number) || self.left.contains(&number);
            let can_be = self.is_unwritten(number) && !may_be_awaited;
            always!(
                log,
                !can_be,
                LeftOut,
                "message {number} was never written, and is not withdrawn"
            );
        }
        self.pass(log);
        let at = log.at;
        let gone = &self.gone;
        self.lifetimes.retain(|number, until| {
            let is_over = *until < at || gone.contains(number);
            let goes_on = is_over && !gone.contains(number) && *number < written;
            sometimes!(log, goes_on, "a message outlived its lifetime once written");
            !is_over
        });
    }

    /// Time has passed.
    pub(super) fn pass(&self, log: &mut Log) {
        let at = log.at;
        let over = self.lifetimes.iter().filter(|(_, until)| **until < at);
        let mut late = over.filter(|(number, _)| self.is_unwritten(**number));
        if let Some((number, until)) = late.next() {
            always!(
                log,
                false,
                LeftOut,
                "message {number} was to expire at {until:?}"
            );
        }
    }

    fn is_awaited(&self, number: u64) -> bool {
        self.awaited.values().any(|awaited| *awaited == number)
    }

    /// Whether a message cannot have been written, and is held.
    fn is_unwritten(&self, number: u64) -> bool {
        (self.unwritten..self.accepted).contains(&number) && !self.gone.contains(&number)
    }
}

#[cfg(test)]
mod tests {
    use quicpool_core::{
        ConnectionStatus::{Connecting, Disconnected},
        PeerId,
    };

    use super::*;
    use crate::{
        secs,
        swarm::{
            Property::{self, LeftOut as Broken},
            audit::testing::{PEER, moved},
        },
    };

    #[test]
    fn what_could_be_withdrawn_and_was_not_is_noticed() {
        assert_eq!(refuse(Disconnected, |_, _| ()), [Broken]);
        assert_eq!(refuse(Connected, |_, _| ()), []);
        let connect = |log: &mut Log, sent: &mut LeftOut| {
            sent.hear(log, &moved(Connecting, Connected));
        };
        assert_eq!(refuse(Disconnected, connect), []);
        assert_eq!(refuse(Disconnected, |_, sent| sent.confirm(7)), []);
        let leave = |_: &mut Log, sent: &mut LeftOut| {
            sent.confirm(7);
            sent.leave(7);
        };
        assert_eq!(refuse(Disconnected, leave), [], "it may be dropped later");
        let lose = |log: &mut Log, sent: &mut LeftOut| sent.hear(log, &expired());
        assert_eq!(refuse(Disconnected, lose), []);
    }

    #[test]
    fn what_is_withdrawn_twice_or_awaited_is_noticed() {
        let (mut log, mut sent) = sent(Disconnected);
        sent.withdraw(&mut log, 0);
        assert_eq!(log.broken(), []);
        sent.withdraw(&mut log, 0);
        assert_eq!(log.broken(), [Broken]);
        sent.accept(Disconnected, None);
        sent.confirm(7);
        sent.withdraw(&mut log, 1);
        assert_eq!(log.broken(), [Broken]);
        sent.accept(Disconnected, None);
        sent.confirm(8);
        sent.leave(8);
        sent.withdraw(&mut log, 2);
        assert_eq!(log.broken(), [], "its caller has left");
    }

    #[test]
    fn a_lifetime_that_ends_unnoticed_is_noticed() {
        let (mut log, mut sent) = sent(Disconnected);
        log.at = secs(3);
        sent.pass(&mut log);
        assert_eq!(log.broken(), []);
        log.at = secs(4);
        sent.pass(&mut log);
        assert_eq!(log.broken(), [Broken]);
        sent.hear(&mut log, &expired());
        sent.settle(&mut log, 0);
        assert_eq!(log.broken(), []);
        let (mut log, mut sent) = self::sent(Disconnected);
        sent.hold_up(secs(4));
        log.at = secs(4);
        sent.pass(&mut log);
        assert_eq!(log.broken(), []);
    }

    /// One message was sent, which lives until three seconds have passed.
    fn sent(status: ConnectionStatus) -> (Log, LeftOut) {
        let mut sent = LeftOut::default();
        sent.accept(status, Some(secs(3)));
        (Log::new(), sent)
    }

    fn refuse(status: ConnectionStatus, then: impl Fn(&mut Log, &mut LeftOut)) -> Vec<Property> {
        let (mut log, mut sent) = sent(status);
        sent.refuse(&mut log, 0);
        then(&mut log, &mut sent);
        sent.settle(&mut log, 0);
        log.broken()
    }

    fn expired() -> Event {
        Event::Undelivered {
            peer: PeerId::from_bytes(PEER),
            messages: 0..1,
            reason: Undeliverable::Expired,
        }
    }
}
