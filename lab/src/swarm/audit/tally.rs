//! Everything that a machine counts and that can be counted from outside, counted again.

use quicpool_core::{
    ConnectionStatus::{Connected, Connecting, Failed},
    Counters, Event, PeerId, Reason, Undeliverable,
};
use std::{collections::BTreeSet, mem, time::Duration};

use super::{handed::Handed, lifecycle::Lifecycle, sample::Sample};
use crate::swarm::marks::{Log, always, sometimes};

/// What one process has done, as others have seen it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    accepted: u64,
    hits: u64,
    misses: u64,
    /// Peers that were used since the machine had nothing more to do.
    used: BTreeSet<PeerId>,
    /// Hits since then. A use of another peer may have taken the slot before.
    recent_hits: u64,
    lost: u64,
    reconnects: u64,
    undelivered: u64,
    withdrawn: u64,
    /// Messages that the application has looked at.
    taken: u64,
    handed: Handed,
    /// Peers that were connected at any time.
    met: BTreeSet<PeerId>,
    /// Connections that have ended in this instant for being idle, and for want of a slot.
    expired: u64,
    evicted: u64,
    seen: Sample,
}

impl Tally {
    /// An application has sent a message, which was accepted.
    pub(super) fn accept(&mut self) {
        self.accepted += 1;
    }

    /// An application has taken a message back.
    pub(super) fn withdraw(&mut self) {
        self.withdrawn += 1;
    }

    /// An application has sent a message or asked for a connection.
    pub(super) fn use_peer(&mut self, log: &mut Log, model: &Lifecycle, peer: PeerId) {
        let status = model.status(peer);
        let is_hit = status == Connected;
        self.hits += u64::from(is_hit);
        self.misses += u64::from(!is_hit);
        self.used.insert(peer);
        self.recent_hits += u64::from(is_hit);
        sometimes!(log, is_hit, "a connection was live when it was asked for");
        sometimes!(
            log,
            !is_hit,
            "a connection was missing when it was asked for"
        );
        sometimes!(log, status == Connecting, "a dial was joined");
    }

    /// An application has taken messages.
    pub(super) fn take(&mut self, messages: u64) {
        self.taken += messages;
    }

    /// An application was given messages. The machine counts them as taken after `delay` at the latest.
    pub(super) fn hand_out(&mut self, log: &Log, messages: u64, delay: Duration) {
        self.handed.hand_out(log.at, messages, delay);
    }

    /// The process cannot act.
    pub(super) fn hold_up(&mut self, log: &Log) {
        self.handed.hold_up(log.at);
    }

    pub(super) fn hear(&mut self, log: &mut Log, event: &Event) {
        if let Event::Undelivered {
            messages, reason, ..
        } = event
        {
            self.undelivered += messages.end - messages.start;
            notice_verdict(log, *reason);
        }
        let is_restart = matches!(event, Event::PeerRestarted { .. });
        sometimes!(log, is_restart, "the restart of a peer was noticed");
        let Event::StatusChanged {
            peer,
            from,
            to,
            reason,
        } = event
        else {
            return;
        };
        if *to == Connected {
            let is_met = !self.met.insert(*peer);
            self.reconnects += u64::from(is_met);
            sometimes!(log, is_met, "a peer was connected again");
        }
        if *from == Connected {
            self.lost += u64::from(*to == Failed);
            self.expired += u64::from(*reason == Reason::Idle);
        }
        // A stranger whose greeting has not come was not connected.
        self.evicted += u64::from(*reason == Reason::Evicted);
        notice_reason(log, reason);
    }

    /// Connections that have ended in this instant for being idle, whichever end has closed them.
    pub(super) const fn idle_ends(&self) -> u64 {
        self.expired
    }

    /// The machine has nothing more to do. With `is_alone` no datagram has reached it since it last
    /// had nothing to do; `dials` is how many connections were seen to begin.
    pub(super) fn settle(
        &mut self,
        log: &mut Log,
        model: &Lifecycle,
        sample: &Sample,
        is_alone: bool,
        dials: u64,
    ) {
        let counters = &sample.counters;
        self.settle_uses(counters);
        let before = &self.seen.counters;
        let expired = counters.expirations - before.expirations;
        let evicted = counters.evictions - before.evictions;
        sometimes!(log, evicted > 0, "a peer gave up its slot for another");
        // Both ends call it the same, whichever has closed.
        let own_ends_agree = match is_alone {
            true => (expired, evicted) == (self.expired, self.evicted),
            false => expired <= self.expired && evicted <= self.evicted,
        };
        let pairs = [
            ("accepted", counters.messages_accepted, self.accepted),
            (
                "undelivered",
                counters.messages_undelivered,
                self.undelivered,
            ),
            ("withdrawn", counters.messages_withdrawn, self.withdrawn),
            ("hits", counters.pool_hits, self.hits),
            ("misses", counters.pool_misses, self.misses),
            ("lost", counters.connections_lost, self.lost),
            ("reconnects", counters.reconnects, self.reconnects),
            (
                "connected",
                sample.connections as u64,
                model.connected() as u64,
            ),
            (
                "accepted, by peer",
                counters.messages_accepted,
                sample.sum(|peer| peer.accepted),
            ),
            (
                "delivered, by peer",
                counters.messages_delivered,
                sample.sum(|peer| peer.delivered),
            ),
            (
                "received, by peer",
                counters.messages_received,
                sample.sum(|peer| peer.received),
            ),
            (
                "taken, by peer",
                counters.messages_taken,
                sample.sum(|peer| peer.taken),
            ),
            (
                "dials, by peer",
                counters.dials,
                sample.sum(|peer| peer.dials),
            ),
            (
                "confirmed, by peer",
                counters.connections_confirmed,
                sample.sum(|peer| peer.connections),
            ),
            (
                "uses, by peer",
                counters.pool_hits + counters.pool_misses,
                sample.sum(|peer| peer.uses),
            ),
            // No node here breaks the protocol, or has another identity than expected.
            (
                "violations",
                match sample.strangers.is_empty() {
                    true => counters.violations,
                    false => 0,
                },
                0,
            ),
            ("wrong peers", counters.wrong_peers, 0),
        ];
        for (what, counted, seen) in pairs {
            always!(
                log,
                counted == seen,
                CountersAgree,
                "{what}: {counted} counted and {seen} seen"
            );
        }
        always!(
            log,
            own_ends_agree,
            CountersAgree,
            "{expired} expired and {evicted} evicted, but {} and {} seen",
            self.expired,
            self.evicted
        );
        self.expired = 0;
        self.evicted = 0;
        self.handed.mark(log, counters.messages_taken);
        self.balance(log, sample, dials);
        notice_readers(log, &self.seen, sample);
        self.seen.counters = sample.counters;
        self.seen.peers.clone_from(&sample.peers);
    }

    /// Believes the machine where it cannot be known from outside what a use has found.
    fn settle_uses(&mut self, counters: &Counters) {
        let recent_hits = mem::take(&mut self.recent_hits);
        let used = mem::take(&mut self.used);
        if used.len() > 1 {
            let missed = self.hits.saturating_sub(counters.pool_hits);
            let missed = missed.min(recent_hits);
            self.hits -= missed;
            self.misses += missed;
        }
    }

    /// What was accepted is delivered, reported or held; and so on.
    fn balance(&self, log: &mut Log, sample: &Sample, dials: u64) {
        let counters = &sample.counters;
        let outboxes = sample.sum(|peer| peer.outbox_bytes as u64);
        let inboxes = sample.sum(|peer| peer.inbox_bytes as u64);
        let gone = counters.messages_delivered
            + counters.messages_undelivered
            + counters.messages_withdrawn;
        always!(
            log,
            gone <= counters.messages_accepted
                && (outboxes > 0 || gone == counters.messages_accepted),
            CountersAgree,
            "{gone} of {} messages are delivered or reported, and {outboxes} bytes are held",
            counters.messages_accepted
        );
        let (received, taken) = (counters.messages_received, counters.messages_taken);
        always!(
            log,
            taken <= received && (inboxes > 0 || taken == received),
            CountersAgree,
            "{taken} of {received} messages are taken, and {inboxes} bytes are held"
        );
        let confirmed = counters.connections_confirmed;
        let connects = self.met.len() as u64 + self.reconnects;
        always!(
            log,
            confirmed >= connects
                && counters.dials >= dials
                && counters.dials_failed <= counters.dials,
            CountersAgree,
            "{confirmed} connections of {connects} seen, {} dials of {dials} seen",
            counters.dials
        );
        let peak = counters.connections_peak;
        always!(
            log,
            peak >= sample.connections as u64 && peak >= self.seen.counters.connections_peak,
            CountersAgree,
            "the peak is {peak}"
        );
    }

    /// Time has passed, and every message that was handed out has been looked at.
    pub(super) fn look(&self, log: &mut Log) {
        always!(
            log,
            self.handed.messages == self.taken,
            CountersAgree,
            "taken: {} handed out and {} seen",
            self.handed.messages,
            self.taken
        );
        self.handed.pass(log);
    }
}

/// Whether messages of a peer were taken, and others were left that it had sent.
fn notice_readers(log: &mut Log, seen: &Sample, sample: &Sample) {
    for (before, peer) in seen.peers.iter().zip(&sample.peers) {
        let is_in_part = peer.taken > before.taken && peer.inbox_bytes > 0;
        sometimes!(log, is_in_part, "an application read in part");
    }
}

fn notice_reason(log: &mut Log, reason: &Reason) {
    sometimes!(log, *reason == Reason::CalledOff, "a dial was called off");
    sometimes!(log, *reason == Reason::Arriving, "a stranger was let in");
    sometimes!(log, *reason == Reason::Goodbye, "a peer said goodbye");
    sometimes!(
        log,
        *reason == Reason::HandshakeTimeout,
        "a handshake timed out"
    );
    sometimes!(
        log,
        *reason == Reason::Unresponsive,
        "a peer was silent for too long"
    );
    sometimes!(
        log,
        *reason == Reason::Reset,
        "a connection was reset by a peer that had lost it"
    );
}

fn notice_verdict(log: &mut Log, reason: Undeliverable) {
    sometimes!(
        log,
        reason == Undeliverable::Disconnected,
        "messages were given up by our disconnect"
    );
    sometimes!(
        log,
        reason == Undeliverable::Goodbye,
        "messages were given up by goodbye"
    );
    sometimes!(
        log,
        reason == Undeliverable::PeerRestarted,
        "messages were given up by a restart"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::{
        Property::{self, CountersAgree},
        audit::{
            sample::PeerSample,
            testing::{PEER, ended, lost, moved},
        },
    };

    #[test]
    fn every_counter_that_is_off_by_one_is_noticed() {
        assert_eq!(settle(|_| ()), []);
        let changes: [fn(&mut Sample); 15] = [
            |sample| sample.counters.messages_accepted += 1,
            |sample| sample.counters.messages_undelivered += 1,
            |sample| sample.counters.messages_withdrawn += 1,
            |sample| sample.counters.messages_delivered += 1,
            |sample| sample.counters.messages_received += 1,
            |sample| sample.counters.messages_taken += 1,
            |sample| sample.counters.pool_hits += 1,
            |sample| sample.counters.pool_misses += 1,
            |sample| sample.counters.connections_lost += 1,
            |sample| sample.counters.reconnects += 1,
            |sample| sample.counters.connections_confirmed += 1,
            |sample| sample.counters.dials += 1,
            |sample| sample.counters.expirations += 1,
            |sample| sample.counters.evictions += 1,
            |sample| sample.connections += 1,
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut broken = settle(change);
            broken.truncate(1);
            assert_eq!(broken, [CountersAgree], "change {n}");
        }
    }

    #[test]
    fn an_expiry_that_is_not_counted_is_noticed() {
        let (mut log, mut tally, model, mut sample) = scene();
        tally.hear(&mut log, &ended(Reason::Idle));
        tally.settle(&mut log, &model, &sample, true, 0);
        assert_eq!(log.broken(), [CountersAgree]);
        tally.hear(&mut log, &ended(Reason::Idle));
        sample.counters.expirations += 1;
        tally.settle(&mut log, &model, &sample, true, 0);
        assert_eq!(log.broken(), []);
        tally.hear(&mut log, &ended(Reason::Idle));
        tally.settle(&mut log, &model, &sample, false, 0);
        assert_eq!(log.broken(), [], "the other end may have closed it");
    }

    #[test]
    fn a_message_that_nobody_was_given_is_noticed() {
        let (mut log, mut tally, model, sample) = scene();
        tally.settle(&mut log, &model, &sample, true, 0);
        tally.look(&mut log);
        assert_eq!(log.broken(), []);
        tally.take(1);
        tally.look(&mut log);
        assert_eq!(log.broken(), [CountersAgree]);
    }

    fn settle(change: impl Fn(&mut Sample)) -> Vec<Property> {
        let (mut log, mut tally, model, mut sample) = scene();
        change(&mut sample);
        tally.settle(&mut log, &model, &sample, true, 1);
        log.broken()
    }

    /// One peer, dialled, connected, sent a message, lost and connected again.
    fn scene() -> (Log, Tally, Lifecycle, Sample) {
        let (mut log, mut tally, mut model) = (Log::new(), Tally::default(), Lifecycle::default());
        let peer = PeerId::from_bytes(PEER);
        tally.use_peer(&mut log, &model, peer);
        tally.accept();
        let connected = moved(Connecting, Connected);
        for event in [connected.clone(), lost(Reason::Reset), connected] {
            tally.hear(&mut log, &event);
            model.hear(&mut log, &event);
        }
        log.broken();
        let mut sample = Sample {
            connections: 1,
            peers: vec![PeerSample {
                accepted: 1,
                delivered: 1,
                dials: 2,
                connections: 2,
                uses: 1,
                ..PeerSample::default()
            }],
            ..Sample::default()
        };
        let counters = &mut sample.counters;
        counters.messages_accepted = 1;
        counters.messages_delivered = 1;
        counters.pool_misses = 1;
        counters.dials = 2;
        counters.connections_confirmed = 2;
        counters.reconnects = 1;
        counters.connections_lost = 1;
        counters.connections_peak = 1;
        (log, tally, model, sample)
    }
}
