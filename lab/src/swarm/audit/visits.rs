//! Whether processes that cannot be dialled come back by themselves.

use std::time::Duration;

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Connecting, Disconnected, Failed, New},
    Event, Reason,
};

use crate::{
    ms,
    swarm::marks::{Log, always, sometimes},
};

/// What rounding may cost.
const SLACK: Duration = ms(1);

/// One process that cannot be dialled, and one peer.
#[derive(Debug, Default)]
pub(super) struct Visits {
    /// Since when it waits, with nothing that it waits for but its time.
    away_since: Option<Duration>,
}

impl Visits {
    /// An event about the peer. Only of connections that were closed for want of use is it known that
    /// nothing else delays the next one.
    pub(super) fn hear(&mut self, log: &mut Log, event: &Event) {
        let Event::StatusChanged { to, reason, .. } = event else {
            return;
        };
        match to {
            Disconnected if *reason == Reason::Idle => self.away_since = Some(log.at),
            Connecting => {
                sometimes!(log, self.away_since.is_some(), "a hidden peer looked in");
                self.away_since = None;
            }
            Disconnected | New | Connected | Failed => self.away_since = None,
        }
    }

    /// The session is over, or the process cannot act.
    pub(super) fn end(&mut self) {
        self.away_since = None;
    }

    /// Time has passed. A backoff from before may have to end, too.
    pub(super) fn pass(&mut self, log: &mut Log, config: &Config) {
        let max = config.reconnect_poll + config.backoff.max + SLACK;
        let Some(since) = self.away_since.filter(|since| log.at > *since + max) else {
            return;
        };
        self.away_since = None;
        let away = log.at - since;
        always!(
            log,
            away <= max,
            LooksIn,
            "who cannot be dialled was away for {away:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secs,
        swarm::{
            Property::{self, LooksIn},
            audit::testing::{ended, moved},
        },
    };

    #[test]
    fn a_process_that_stays_away_is_noticed() {
        assert_eq!(away(Reason::Idle, secs(14), |_, _| ()), []);
        assert_eq!(away(Reason::Idle, secs(16), |_, _| ()), [LooksIn]);
        assert_eq!(away(Reason::Goodbye, secs(16), |_, _| ()), []);
        assert_eq!(away(Reason::Idle, secs(16), |visits, _| visits.end()), []);
    }

    #[test]
    fn a_process_that_dials_again_has_looked_in() {
        let dials = |visits: &mut Visits, log: &mut Log| {
            visits.hear(log, &moved(Disconnected, Connecting));
            assert_eq!(log.marks()["a hidden peer looked in"], 1);
        };
        assert_eq!(away(Reason::Idle, secs(16), dials), []);
    }

    /// Its connection ends, this happens, and time passes.
    fn away(
        reason: Reason,
        time: Duration,
        happens: impl FnOnce(&mut Visits, &mut Log),
    ) -> Vec<Property> {
        let (mut log, mut visits, mut config) = (Log::new(), Visits::default(), Config::default());
        config.reconnect_poll = secs(5);
        config.backoff.max = secs(10);
        visits.hear(&mut log, &ended(reason));
        happens(&mut visits, &mut log);
        log.at += time;
        visits.pass(&mut log, &config);
        log.broken()
    }
}
