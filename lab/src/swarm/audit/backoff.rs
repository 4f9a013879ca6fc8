//! Dials of one peer: not too soon after a failure, not too late, and never a storm.

use std::time::Duration;

use quicpool_core::{
    Config,
    ConnectionStatus::{self, Connected, Disconnected, Failed, New},
    Event, Reason,
};

use super::sample::{PeerSample, Sample};
use crate::{
    ms,
    swarm::marks::{Log, always, sometimes},
};

/// Waits that are so short together that chance makes them once in 10^20 runs are no chance.
const LN_CHANCE_MIN: f64 = -46.0;
/// What rounding may cost.
const SLACK: Duration = ms(1);

/// What one process has done to reach one peer.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    seen: PeerSample,
    /// When the last failure was that no dial has followed.
    failed_at: Option<Duration>,
    /// Failures since there was a connection: those for which the peer had no room, and others.
    refusals: i32,
    errors: i32,
    /// Why the peer was lost in this instant.
    lost: Option<Lost>,
    /// When the peer was last sent away, by either end, to make room for others.
    sent_away_at: Option<Duration>,
    /// The longest wait after the last failure.
    ceiling: Duration,
    waits: Waits,
    /// The peer has asked not to be dialled before.
    not_before: Option<Duration>,
    /// Since when it waits with nothing that it waits for but the backoff.
    waits_since: Option<Duration>,
    /// Trying again would not help: it waits for its user.
    is_barred: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    NoRoom,
    Error,
}

/// Waits between failures and dials, each of which is a random part of its ceiling.
#[derive(Debug, Default)]
struct Waits {
    count: f64,
    sum: Duration,
    /// The logarithm of the chance that `count` waits take less than a second together, or more
    /// than that: by Irwin and Hall it is at most `sum^count / (count! * ceilings)`.
    ln_unit: f64,
}

impl Waits {
    fn add(&mut self, wait: Duration, ceiling: Duration) {
        self.count += 1.0;
        self.sum += wait;
        self.ln_unit -= self.count.ln() + ceiling.as_secs_f64().ln();
    }

    /// The logarithm of the chance of waits as short as these, or of something greater.
    fn ln_chance(&self) -> f64 {
        self.count * self.sum.as_secs_f64().ln() + self.ln_unit
    }
}

impl Backoff {
    /// An event about the peer.
    pub(super) fn hear(&mut self, log: &mut Log, config: &Config, event: &Event) {
        let Event::StatusChanged { to, reason, .. } = event else {
            return;
        };
        match to {
            Connected => {
                *self = Self {
                    seen: self.seen,
                    ..Self::default()
                };
            }
            Failed => {
                let asked = reason.retry_after();
                let at = log.at;
                self.not_before = asked.map(|asked| at + asked.min(config.backoff.max));
                self.is_barred = reason.is_lasting();
                let is_busy = matches!(reason, Reason::Busy { .. });
                self.lost = Some(if is_busy { Lost::NoRoom } else { Lost::Error });
                sometimes!(log, is_busy, "a peer was busy");
            }
            Disconnected if matches!(reason, Reason::Evicted | Reason::Replaced) => {
                self.sent_away_at = Some(log.at);
            }
            ConnectionStatus::New | ConnectionStatus::Connecting | Disconnected => {}
        }
    }

    /// The application wants the peer: what barred it is forgotten.
    pub(super) fn use_it(&mut self) {
        self.is_barred = false;
    }

    /// The machine has nothing more to do.
    pub(super) fn settle(
        &mut self,
        log: &mut Log,
        config: &Config,
        sample: &Sample,
        peer: PeerSample,
    ) {
        // A further address is tried at once: it is the same attempt, which may have begun beside a
        // connection that is lost in this instant.
        let has_dialled = peer.dials > self.seen.dials && sample.continued_dials == 0;
        let failures = peer.failures.saturating_sub(self.seen.failures);
        self.seen = peer;
        let lost = self.lost.take();
        if has_dialled && self.failed_at.is_some() {
            self.dialled(log);
        }
        if failures > 0 {
            self.failed(config, lost);
            self.failed_at = Some(log.at);
            self.waits_since = None;
            let at_cap = self.ceiling == config.backoff.max;
            sometimes!(log, at_cap, "a backoff reached its cap");
            // What was dialled in the same instant had not waited at all, unless that is the dial
            // that failed.
            if has_dialled && peer.status == ConnectionStatus::Connecting {
                self.dialled(log);
            }
        }
        self.wait(log, config, sample, peer);
    }

    /// Failures with and without room are counted apart. If no event came with a failure, its kind
    /// is not known, and the shorter wait is right.
    fn failed(&mut self, config: &Config, lost: Option<Lost>) {
        let before = match lost {
            Some(Lost::NoRoom) => &mut self.refusals,
            Some(Lost::Error) => &mut self.errors,
            None => {
                self.ceiling = ceiling(config, self.refusals.min(self.errors));
                return;
            }
        };
        self.ceiling = ceiling(config, *before);
        *before += 1;
    }

    fn dialled(&mut self, log: &mut Log) {
        let at = log.at;
        if let Some(not_before) = self.not_before.take() {
            sometimes!(
                log,
                true,
                "a peer that was busy was dialled again after its delay"
            );
            always!(
                log,
                at >= not_before,
                BackoffKept,
                "it dials {:?} before the peer said",
                not_before.saturating_sub(at)
            );
        }
        let Some(failed_at) = self.failed_at.take() else {
            return;
        };
        sometimes!(log, true, "a dial that failed was tried again");
        self.waits.add(at - failed_at, self.ceiling);
        let Waits { count, sum, .. } = self.waits;
        always!(
            log,
            self.waits.ln_chance() > LN_CHANCE_MIN,
            BackoffKept,
            "{count} dials have waited {sum:?} together"
        );
    }

    /// A peer with messages to send and no dial waits for a slot, or for the end of a backoff.
    fn wait(&mut self, log: &mut Log, config: &Config, sample: &Sample, peer: PeerSample) {
        let waits = matches!(peer.status, New | Failed | Disconnected)
            && peer.outbox_messages > 0
            && sample.waiting_dials == 0
            && !self.is_barred;
        if !waits {
            self.waits_since = None;
            return;
        }
        self.waits_since.get_or_insert(log.at);
        self.pass(log, config);
    }

    /// Time has passed.
    pub(super) fn pass(&mut self, log: &mut Log, config: &Config) {
        // A refused peer stays away for a turn of the others, which grows up to `stall_timeout`.
        // A dial may have failed before, beside the connection.
        let has_failed_since = self.failed_at > self.sent_away_at;
        let max = match has_failed_since {
            true => config.backoff.max,
            false => config.backoff.max.max(config.stall_timeout),
        };
        let max = max + SLACK;
        let at = log.at;
        let waited = self.waits_since.map_or(Duration::ZERO, |since| at - since);
        if waited > max {
            self.waits_since = None;
        }
        always!(
            log,
            waited <= max,
            BackoffKept,
            "a peer is owed messages and was not dialled for {waited:?}"
        );
    }

    /// The process cannot act.
    pub(super) fn hold_up(&mut self) {
        self.waits_since = None;
    }
}

/// The longest wait after this many failures before.
fn ceiling(config: &Config, failures: i32) -> Duration {
    let backoff = &config.backoff;
    let seconds = backoff.initial.as_secs_f64() * backoff.factor.powi(failures.max(0));
    Duration::from_secs_f64(seconds.min(backoff.max.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secs,
        swarm::{
            Property::BackoffKept,
            audit::testing::{ended, lost},
        },
    };

    #[test]
    fn dials_that_do_not_wait_are_a_storm() {
        for (wait, expected) in [
            (secs(0), vec![BackoffKept]),
            (ms(20), vec![BackoffKept]),
            (ms(500), vec![]),
        ] {
            let mut scene = Scene::new();
            for _ in 0..12 {
                scene.dial_after(wait);
                scene.fail_after(ms(50));
            }
            let mut broken = scene.log.broken();
            broken.truncate(1);
            assert_eq!(broken, expected, "{wait:?}");
        }
    }

    #[test]
    fn a_further_address_is_no_storm_even_as_a_connection_is_lost() {
        for (continued_dials, expected) in [(0, vec![BackoffKept]), (1, vec![])] {
            let mut scene = Scene::new();
            scene.dial_after(secs(0));
            scene.sample.continued_dials = continued_dials;
            scene.lose_and_dial_after(secs(1));
            assert_eq!(scene.log.broken(), expected);
        }
    }

    #[test]
    fn a_further_address_is_not_the_dial_that_waits_for_the_end_of_the_backoff() {
        let mut scene = Scene::new();
        scene.dial_after(secs(0));
        scene.lose_after(
            secs(1),
            Reason::Busy {
                retry_after: Some(secs(9)),
            },
        );
        scene.sample.continued_dials = 1;
        scene.dial_after(secs(1));
        assert_eq!(scene.log.broken(), []);
        scene.sample.continued_dials = 0;
        scene.dial_after(secs(1));
        assert_eq!(scene.log.broken(), [BackoffKept]);
    }

    #[test]
    fn a_dial_before_the_peer_wants_it_is_noticed() {
        for (wait, expected) in [(ms(999), vec![BackoffKept]), (ms(1_000), vec![])] {
            let mut scene = Scene::new();
            scene.dial_after(secs(0));
            let retry_after = Some(secs(1));
            scene.lose_after(secs(1), Reason::Busy { retry_after });
            scene.dial_after(wait);
            assert_eq!(scene.log.broken(), expected);
        }
    }

    #[test]
    fn a_peer_that_is_owed_and_not_dialled_is_noticed() {
        let mut scene = Scene::new();
        scene.config.backoff.max = secs(2);
        scene.sample.peers[0].outbox_messages = 5;
        scene.dial_after(secs(0));
        scene.fail_after(secs(1));
        scene.pass(secs(2));
        assert_eq!(scene.log.broken(), []);
        scene.pass(secs(1));
        assert_eq!(scene.log.broken(), [BackoffKept]);
    }

    #[test]
    fn whoever_waits_for_a_slot_may_wait_longer() {
        let mut scene = Scene::new();
        scene.sample.peers[0].outbox_messages = 5;
        scene.sample.waiting_dials = 1;
        scene.dial_after(secs(0));
        scene.fail_after(secs(1));
        scene.pass(secs(1_000));
        assert_eq!(scene.log.broken(), []);
    }

    #[test]
    fn whoever_was_sent_away_may_wait_longer_though_a_dial_beside_the_connection_had_failed() {
        for (reason, expected) in [(Reason::Evicted, vec![]), (Reason::Idle, vec![BackoffKept])] {
            let mut scene = Scene::new();
            scene.config.backoff.max = secs(2);
            scene.sample.peers[0].outbox_messages = 5;
            scene.dial_after(secs(0));
            scene.sample.peers[0].status = Connected;
            scene.sample.peers[0].failures += 1;
            scene.settle_after(secs(1));
            scene.end_after(secs(1), reason);
            scene.pass(secs(3));
            assert_eq!(scene.log.broken(), expected);
        }
    }

    /// One process and its only peer.
    struct Scene {
        log: Log,
        config: Config,
        sample: Sample,
        backoff: Backoff,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                log: Log::new(),
                config: Config::default(),
                sample: Sample {
                    peers: vec![PeerSample::default()],
                    ..Sample::default()
                },
                backoff: Backoff::default(),
            }
        }

        fn dial_after(&mut self, wait: Duration) {
            self.sample.peers[0].dials += 1;
            self.sample.peers[0].status = ConnectionStatus::Connecting;
            self.settle_after(wait);
        }

        fn fail_after(&mut self, wait: Duration) {
            self.lose_after(wait, Reason::HandshakeTimeout);
        }

        fn lose_after(&mut self, wait: Duration, reason: Reason) {
            self.log.at += wait;
            self.backoff
                .hear(&mut self.log, &self.config, &lost(reason));
            self.sample.peers[0].failures += 1;
            self.sample.peers[0].status = Failed;
            self.settle_after(secs(0));
        }

        fn lose_and_dial_after(&mut self, wait: Duration) {
            self.log.at += wait;
            let lost = lost(Reason::Unresponsive);
            self.backoff.hear(&mut self.log, &self.config, &lost);
            self.sample.peers[0].failures += 1;
            self.dial_after(secs(0));
        }

        fn end_after(&mut self, wait: Duration, reason: Reason) {
            self.log.at += wait;
            self.backoff
                .hear(&mut self.log, &self.config, &ended(reason));
            self.sample.peers[0].status = Disconnected;
            self.settle_after(secs(0));
        }

        fn settle_after(&mut self, wait: Duration) {
            self.log.at += wait;
            let (sample, peer) = (&self.sample, self.sample.peers[0]);
            self.backoff
                .settle(&mut self.log, &self.config, sample, peer);
        }

        fn pass(&mut self, time: Duration) {
            self.log.at += time;
            self.backoff.pass(&mut self.log, &self.config);
        }
    }
}
