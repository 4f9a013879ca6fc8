//! Whether a connection lasts where nothing happens to it.

use std::time::Duration;

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Connecting, Disconnected, Failed},
    Event, Reason,
};

use crate::swarm::marks::{Log, never, sometimes};

/// The way between two nodes: when anything has last befallen it, or either of them.
#[derive(Debug, Default)]
pub(super) struct Calm {
    faults: u64,
    since: Option<Duration>,
}

impl Calm {
    /// So many faults have befallen it by now. When a new one did is not known better.
    pub(super) fn look(&mut self, at: Duration, faults: u64) -> Option<Duration> {
        if faults != self.faults {
            self.faults = faults;
            self.since = Some(at);
        }
        self.since
    }

    /// One of the nodes cannot act, or is another process than before. What follows at this instant
    /// follows from it.
    pub(super) fn disturb(&mut self, log: &Log) {
        self.since = Some(log.at + Duration::from_nanos(1));
    }
}

/// One process's connection to one peer.
#[derive(Debug, Default)]
pub(super) struct KeptAlive {
    /// When it was begun.
    begun: Duration,
}

impl KeptAlive {
    /// An event about the peer. `calm_since` is when anything last befell the way to it.
    pub(super) fn hear(
        &mut self,
        log: &mut Log,
        config: &Config,
        event: &Event,
        calm_since: Option<Duration>,
    ) {
        let Event::StatusChanged {
            from, to, reason, ..
        } = event
        else {
            return;
        };
        if *to == Connecting {
            self.begun = log.at;
        }
        // What arrives may have been dialled before.
        let dialled = self.begun.checked_sub(config.handshake_timeout);
        let is_calm = calm_since.is_none_or(|since| dialled.is_some_and(|at| since <= at));
        if *from != Connected || !is_calm {
            return;
        }
        // Either end closes it after `pool_ttl` without use.
        let was_silent = config.pool_ttl > config.liveness_timeout;
        sometimes!(
            log,
            was_silent && (*to, reason) == (Disconnected, &Reason::Idle),
            "nothing was said for long where nothing is lost"
        );
        // That the handshake took too long is the end of a dial, at the end that has not confirmed it.
        let was_dialled = *reason == Reason::HandshakeTimeout;
        never!(
            log,
            *to == Failed && !was_dialled,
            KeptAlive,
            "a connection that nothing has befallen since {:?} is lost: {reason}",
            self.begun
        );
    }
}

#[cfg(test)]
mod tests {
    use quicpool_core::ConnectionStatus::New;

    use super::*;
    use crate::{
        secs,
        swarm::{
            Property::{self, KeptAlive as Kept},
            audit::testing::{ended, lost, moved},
        },
    };

    const MARK: &str = "nothing was said for long where nothing is lost";

    #[test]
    fn a_connection_that_is_lost_on_a_calm_path_is_noticed() {
        assert_eq!(lose(None, Reason::Unresponsive), [Kept]);
        assert_eq!(lose(Some(secs(5)), Reason::Reset), [Kept], "long before");
        assert_eq!(
            lose(Some(secs(6)), Reason::Reset),
            [],
            "it was dialled then"
        );
        assert_eq!(lose(None, Reason::HandshakeTimeout), [], "a dial too slow");
    }

    #[test]
    fn a_connection_that_outlives_its_idle_timeout_is_a_mark() {
        let end = |pool_ttl, reason| {
            let (mut log, mut config, mut kept_alive) = begun();
            (config.pool_ttl, config.liveness_timeout) = (pool_ttl, secs(5));
            kept_alive.hear(&mut log, &config, &ended(reason), None);
            assert_eq!(log.broken(), []);
            log.marks()[MARK]
        };
        assert_eq!(end(secs(6), Reason::Idle), 1);
        assert_eq!(end(secs(6), Reason::Evicted), 0);
        assert_eq!(end(secs(4), Reason::Idle), 0);
    }

    #[test]
    fn faults_and_standstills_end_the_calm() {
        let (mut log, mut calm) = (Log::new(), Calm::default());
        assert_eq!(calm.look(log.at, 0), None);
        log.at = secs(1);
        assert_eq!(calm.look(log.at, 1), Some(log.at));
        assert_eq!(calm.look(secs(2), 1), Some(log.at));
        log.at = secs(3);
        calm.disturb(&log);
        assert!(calm.look(secs(4), 1) > Some(log.at));
    }

    /// A connection that was begun at ten seconds is lost.
    fn lose(calm_since: Option<Duration>, reason: Reason) -> Vec<Property> {
        let (mut log, config, mut kept_alive) = begun();
        kept_alive.hear(&mut log, &config, &lost(reason), calm_since);
        log.broken()
    }

    fn begun() -> (Log, Config, KeptAlive) {
        let (mut log, config, mut kept_alive) =
            (Log::new(), Config::default(), KeptAlive::default());
        log.at = secs(10);
        kept_alive.hear(&mut log, &config, &moved(New, Connecting), None);
        kept_alive.hear(&mut log, &config, &moved(Connecting, Connected), None);
        log.at = secs(19);
        (log, config, kept_alive)
    }
}
