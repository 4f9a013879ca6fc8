//! Whether the reported health of peers is right: in order, in time, and `Unresponsive` only for
//! peers that are not heard.

use std::time::Duration;

use quicpool_core::{
    Config,
    ConnectionStatus::Connected,
    Event,
    Health::{self, Degraded, Healthy, Unresponsive},
    HealthReason, Reason,
};

use crate::swarm::marks::{Log, always, never, sometimes};

/// The health of one peer that one process reports.
#[derive(Debug, Default)]
pub(super) struct HealthTold {
    /// `None` while it is not connected.
    health: Option<Health>,
    /// When it was connected, or last became anything but healthy.
    since: Duration,
    /// When the peer was last certainly heard: it has acknowledged messages.
    heard: Option<Duration>,
    delivered: u64,
    /// When anything last came from where it is, or the process could not act.
    company: Duration,
    /// How long ago it was heard when it was called unresponsive in this instant, if that is not long.
    accused: Option<Duration>,
}

impl HealthTold {
    /// Something has arrived from the peer, or the process could not act.
    pub(super) fn disturb(&mut self, at: Duration) {
        self.company = at;
    }

    /// An event about the peer, whose `liveness_timeout` is `theirs`.
    pub(super) fn hear(&mut self, log: &mut Log, config: &Config, theirs: Duration, event: &Event) {
        if let Event::StatusChanged {
            from, to, reason, ..
        } = event
        {
            let was_told = self.health == Some(Unresponsive);
            always!(
                log,
                *from != Connected || *reason != Reason::Unresponsive || was_told,
                HealthTold,
                "a peer is lost to silence that was {:?}",
                self.health
            );
            if *reason == Reason::Unresponsive {
                // Its last connection is one that was silent; it was heard on another.
                self.accused = None;
            }
            self.health = (*to == Connected).then_some(Healthy);
            self.since = log.at;
            self.heard = None;
            self.disturb(log.at);
        }
        if let Event::HealthChanged {
            from, to, reason, ..
        } = *event
        {
            self.change(log, config, theirs, (from, to, reason));
        }
    }

    fn change(
        &mut self,
        log: &mut Log,
        config: &Config,
        theirs: Duration,
        (from, to, reason): (Health, Health, HealthReason),
    ) {
        let limit = config.liveness_timeout;
        let known = self.health.replace(to);
        always!(
            log,
            known == Some(from) && is_edge(from, to, reason),
            HealthTold,
            "health was {known:?} and moved {from:?} -> {to:?}: {reason}"
        );
        let ailed = log.at.saturating_sub(self.since);
        always!(
            log,
            reason != HealthReason::Recovered || ailed >= limit / 3,
            HealthTold,
            "a peer is healthy again that was {from:?} until {ailed:?} ago"
        );
        // A peer is silent after half of `liveness_timeout`; QUIC's idle timeout is 4/3 of the shorter one.
        let silence = self.heard.map(|at| log.at - at);
        let is_short = |silence: &Duration| *silence < limit.min(theirs) / 2;
        let is_accused = matches!(reason, HealthReason::Silent { .. });
        self.accused = silence.filter(|silence| is_accused && is_short(silence));
        if from != to {
            self.since = log.at;
        }
        let is_slow = matches!(reason, HealthReason::Slow { .. });
        sometimes!(log, is_slow, "a peer was degraded by delay");
        let is_deaf = matches!(reason, HealthReason::Unacknowledged { .. });
        sometimes!(log, is_deaf, "a peer was heard and did not hear");
        let is_lossy = matches!(reason, HealthReason::Lossy { .. });
        sometimes!(log, is_lossy, "a peer was degraded by loss");
        sometimes!(log, to == Unresponsive, "a peer was unresponsive");
        sometimes!(
            log,
            reason == HealthReason::Heard,
            "a peer that was unresponsive was heard again"
        );
        sometimes!(
            log,
            reason == HealthReason::Recovered,
            "a peer was healthy again"
        );
    }

    /// Nothing more happens at this instant: so many messages are acknowledged, and the machine
    /// reports this health.
    pub(super) fn settle(
        &mut self,
        log: &mut Log,
        config: &Config,
        delivered: u64,
        health: Option<Health>,
    ) {
        if let Some(silence) = self.accused.take() {
            log.violated(
                crate::swarm::Property::HealthTold,
                format!("a peer is called unresponsive that was heard {silence:?} ago"),
            );
        }
        always!(
            log,
            health == self.health,
            HealthTold,
            "a peer is {health:?} and was told to be {:?}",
            self.health
        );
        if delivered > self.delivered {
            self.heard = Some(log.at);
        }
        self.delivered = delivered;
        let silence = log.at.saturating_sub(self.company);
        // Five sixths at most. A process that was late probes first, for a sixth.
        never!(
            log,
            silence > config.liveness_timeout * 5 / 6
                && matches!(self.health, Some(Healthy | Degraded)),
            HealthTold,
            "a peer is {:?} of which nothing was heard for {silence:?}",
            self.health
        );
    }
}

/// The moves of a connection, and from one to another.
const fn is_edge(from: Health, to: Health, reason: HealthReason) -> bool {
    match reason {
        HealthReason::Slow { .. } | HealthReason::Lossy { .. } => {
            matches!((from, to), (Healthy, Degraded))
        }
        HealthReason::Silent { .. } | HealthReason::Unacknowledged { .. } => {
            matches!((from, to), (Healthy | Degraded, Unresponsive))
        }
        HealthReason::Heard => matches!((from, to), (Unresponsive, Degraded)),
        HealthReason::Recovered => matches!((from, to), (Degraded, Healthy)),
        HealthReason::NewConnection => matches!((from, to), (Degraded | Unresponsive, Healthy)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use quicpool_core::{ConnectionStatus::Connecting, PeerId};

    use super::*;
    use crate::{
        secs,
        swarm::{
            Property::{self, HealthTold as Told},
            audit::testing::{PEER, lost, moved},
        },
    };

    const SILENT: HealthReason = HealthReason::Silent { silence: secs(8) };

    #[test]
    fn a_leap_a_break_and_a_hasty_recovery_are_noticed() {
        let slow = HealthReason::Slow {
            rtt: secs(1),
            usual: secs(0),
        };
        let mut scene = Scene::connected();
        assert_eq!(scene.changes(secs(1), Healthy, Degraded, slow), []);
        let hasty = scene.changes(secs(5), Degraded, Healthy, HealthReason::Recovered);
        assert_eq!(hasty, [Told]);
        let breaks = scene.changes(secs(20), Degraded, Unresponsive, SILENT);
        assert_eq!(breaks, [Told], "it was healthy");
        let leaps = scene.changes(secs(30), Unresponsive, Healthy, HealthReason::Recovered);
        assert_eq!(leaps, [Told]);
    }

    #[test]
    fn whoever_is_heard_must_not_be_called_silent() {
        for (heard, broken) in [(secs(12), vec![]), (secs(13), vec![Told])] {
            let mut scene = Scene::connected();
            scene.log.at = heard;
            scene.model.disturb(heard);
            scene.settle(1, Some(Healthy));
            assert_eq!(scene.log.broken(), []);
            let told = scene.changes(secs(20), Healthy, Unresponsive, SILENT);
            assert_eq!(told, [], "its connection may be lost in this instant");
            scene.settle(1, Some(Unresponsive));
            assert_eq!(scene.log.broken(), broken);
        }
    }

    #[test]
    fn a_silence_that_is_not_told_is_noticed_and_so_is_a_loss_without_it() {
        let mut scene = Scene::connected();
        scene.log.at = secs(12);
        scene.settle(0, Some(Healthy));
        assert_eq!(scene.log.broken(), []);
        scene.log.at = secs(13);
        scene.settle(0, Some(Healthy));
        assert_eq!(scene.log.broken(), [Told]);
        scene.hear(&lost(Reason::Unresponsive));
        assert_eq!(scene.log.broken(), [Told]);
    }

    #[test]
    fn what_is_told_and_what_is_answered_must_agree() {
        let mut scene = Scene::connected();
        scene.settle(0, Some(Degraded));
        assert_eq!(scene.log.broken(), [Told]);
    }

    struct Scene {
        log: Log,
        model: HealthTold,
    }

    impl Scene {
        fn connected() -> Self {
            let mut scene = Self {
                log: Log::new(),
                model: HealthTold::default(),
            };
            scene.hear(&moved(Connecting, Connected));
            scene
        }

        fn hear(&mut self, event: &Event) {
            let config = Config::default();
            let theirs = config.liveness_timeout;
            self.model.hear(&mut self.log, &config, theirs, event);
        }

        fn settle(&mut self, delivered: u64, health: Option<Health>) {
            let config = Config::default();
            self.model.settle(&mut self.log, &config, delivered, health);
        }

        fn changes(
            &mut self,
            at: Duration,
            from: Health,
            to: Health,
            reason: HealthReason,
        ) -> Vec<Property> {
            self.log.at = at;
            let peer = PeerId::from_bytes(PEER);
            self.hear(&Event::HealthChanged {
                peer,
                from,
                to,
                reason,
            });
            self.log.broken()
        }
    }
}
