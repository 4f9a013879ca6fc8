//! Datagrams, whose fates at one end are all counted.

use quicpool_core::{Config, SendDatagramError, UnreliableCounters};

use super::sample::Sample;
use crate::swarm::marks::{Log, always, sometimes};

/// What one waiting datagram counts for, at least.
const COST: u64 = 64;

/// The datagrams of one process, as its application knows them.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    accepted: u64,
    taken: u64,
    seen: UnreliableCounters,
}

impl Datagrams {
    /// The application has sent one.
    pub(super) fn ask(&mut self, log: &mut Log, result: &Result<(), SendDatagramError>) {
        self.accepted += u64::from(result.is_ok());
        sometimes!(
            log,
            matches!(result, Err(SendDatagramError::NotConnected(_))),
            "a datagram found nobody connected"
        );
        sometimes!(
            log,
            matches!(result, Err(SendDatagramError::TooLarge { .. })),
            "a datagram was too long for its path"
        );
    }

    /// The application was given some.
    pub(super) fn take(&mut self, datagrams: u64) {
        self.taken += datagrams;
    }

    /// The machine has nothing more to do.
    pub(super) fn settle(&mut self, log: &mut Log, config: &Config, sample: &Sample) {
        let counted = &sample.counters.unreliable;
        self.notice(log, counted);
        self.seen = *counted;
        always!(
            log,
            counted.accepted == self.accepted && counted.taken >= self.taken,
            CountersAgree,
            "{counted:?}, but {} accepted and {} taken were seen",
            self.accepted,
            self.taken
        );
        // No node here forges datagrams, and QUIC lets no packet in twice.
        always!(
            log,
            (counted.forged, counted.replayed) == (0, 0) || !sample.strangers.is_empty(),
            CountersAgree,
            "{counted:?}"
        );
        let unsent = counted.sent + counted.crowded_out + counted.abandoned;
        let unread = counted.taken + counted.overrun + counted.discarded;
        let waits = sample.sum(|peer| peer.datagram_bytes as u64);
        always!(
            log,
            unsent <= counted.accepted
                && unread <= counted.received
                && (counted.received - unread) * COST <= waits,
            CountersAgree,
            "{counted:?}, and {waits} bytes wait"
        );
        always!(
            log,
            sample.connections > 0 || unsent == counted.accepted,
            CountersAgree,
            "{counted:?}, and nobody is connected"
        );
        for peer in &sample.peers {
            always!(
                log,
                peer.datagram_bytes <= 2 * config.datagram_queue_bytes_max,
                QueuesWithinLimit,
                "datagrams hold {} bytes",
                peer.datagram_bytes
            );
        }
    }

    fn notice(&self, log: &mut Log, now: &UnreliableCounters) {
        let before = &self.seen;
        sometimes!(log, now.sent > before.sent, "a datagram was sent");
        sometimes!(log, now.received > before.received, "a datagram arrived");
        sometimes!(
            log,
            now.crowded_out > before.crowded_out,
            "a datagram gave way to a newer one unsent"
        );
        sometimes!(
            log,
            now.overrun > before.overrun,
            "a datagram gave way to a newer one unread"
        );
        sometimes!(
            log,
            now.abandoned > before.abandoned,
            "a datagram ended with its connection"
        );
        sometimes!(
            log,
            now.discarded > before.discarded,
            "a datagram was discarded unread"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::Property::{CountersAgree, QueuesWithinLimit};
    use crate::swarm::audit::sample::PeerSample;

    fn settled(change: impl FnOnce(&mut Sample)) -> Vec<crate::swarm::Property> {
        let mut sample = Sample {
            connections: 1,
            peers: vec![PeerSample::default()],
            ..Sample::default()
        };
        change(&mut sample);
        let (mut log, mut datagrams) = (Log::new(), Datagrams::default());
        datagrams.ask(&mut log, &Ok(()));
        datagrams.take(1);
        datagrams.settle(&mut log, &Config::default(), &sample);
        log.broken()
    }

    fn sound(sample: &mut Sample) {
        let counted = &mut sample.counters.unreliable;
        (counted.accepted, counted.received, counted.taken) = (1, 1, 1);
    }

    #[test]
    fn a_sum_that_adds_up_is_sound() {
        assert_eq!(settled(sound), []);
    }

    #[test]
    fn one_that_is_counted_twice_is_noticed() {
        let twice = |sample: &mut Sample| {
            sound(sample);
            let counted = &mut sample.counters.unreliable;
            (counted.sent, counted.abandoned) = (1, 1);
        };
        assert_eq!(settled(twice), [CountersAgree]);
    }

    #[test]
    fn one_that_is_dropped_and_not_counted_is_noticed() {
        let dropped = |sample: &mut Sample| {
            sound(sample);
            sample.counters.unreliable.received = 2;
        };
        assert_eq!(settled(dropped), [CountersAgree]);
        let forgotten = |sample: &mut Sample| {
            sound(sample);
            sample.connections = 0;
        };
        assert_eq!(settled(forgotten), [CountersAgree]);
    }

    #[test]
    fn a_queue_beyond_its_bound_is_noticed() {
        let long = |sample: &mut Sample| {
            sound(sample);
            sample.peers[0].datagram_bytes = 1 << 20;
        };
        assert_eq!(settled(long), [QueuesWithinLimit]);
    }
}
