//! The time to live of connections in the pool: none expires before it, and none is used after it.

use std::time::Duration;

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Disconnected},
    Event, Reason,
};

use super::sample::PeerSample;
use crate::{
    secs,
    swarm::marks::{Log, always, never, sometimes},
};

/// How long an end may take to learn that nothing waits at the other any more, where nothing is
/// lost: a few round trips.
const NEWS_DELAY: Duration = secs(2);

/// One process's connection to one peer.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    seen: PeerSample,
    /// When it was used last: a message, in either direction, or a wish for it.
    used: Duration,
    /// When anything waited at either end, or the connection was used.
    busy: Duration,
    /// When it was used last, if it has ended in this instant for being idle. Another one may have come since.
    expired: Option<Duration>,
}

impl Expiry {
    /// The application wants the connection.
    pub(super) fn use_it(&mut self, log: &Log) {
        self.used = log.at;
        self.busy = log.at;
    }

    /// An event about the peer.
    pub(super) fn hear(&mut self, log: &Log, event: &Event) {
        let Event::StatusChanged { to, reason, .. } = event else {
            return;
        };
        match to {
            Connected => self.use_it(log),
            Disconnected => self.expired = (*reason == Reason::Idle).then_some(self.used),
            quicpool_core::ConnectionStatus::New
            | quicpool_core::ConnectionStatus::Connecting
            | quicpool_core::ConnectionStatus::Failed => {}
        }
    }

    /// Whether it has ended in this instant for being idle, closed by either end.
    pub(super) const fn has_expired(&self) -> bool {
        self.expired.is_some()
    }

    /// The machine has nothing more to do. With `is_own` the connections that have expired were
    /// closed by this end; `their_outbox_bytes` is what the peer holds for it.
    pub(super) fn settle(
        &mut self,
        log: &mut Log,
        config: &Config,
        peer: PeerSample,
        is_own: bool,
        their_outbox_bytes: usize,
    ) {
        if let Some(used) = self.expired.take() {
            sometimes!(log, is_own, "a connection expired");
            if is_own {
                Self::judge(log, config, peer, log.at - used);
            }
        }
        if peer.received > self.seen.received || peer.connections != self.seen.connections {
            self.use_it(log);
        }
        let waits = peer.outbox_bytes + peer.inbox_bytes + their_outbox_bytes > 0;
        if waits || peer.status != Connected || peer.delivered > self.seen.delivered {
            self.busy = log.at;
        }
        self.seen = peer;
    }

    fn judge(log: &mut Log, config: &Config, peer: PeerSample, idle: Duration) {
        always!(
            log,
            idle >= config.pool_ttl,
            NotExpiredEarly,
            "a connection that was used {idle:?} ago has expired"
        );
        let (unsent, unread) = (peer.outbox_messages, peer.inbox_bytes);
        always!(
            log,
            (unsent, unread) == (0, 0) || peer.status == Connected,
            NotExpiredEarly,
            "a connection has expired while {unsent} messages and {unread} unread bytes wait"
        );
    }

    /// The process cannot be dialled, and has closed so many connections for being idle.
    pub(super) fn keep(&self, log: &mut Log, expired: u64) {
        never!(
            log,
            expired > 0,
            NotExpiredEarly,
            "a process that nobody can dial has closed a connection"
        );
    }

    /// Time has passed. The machine looks every `pool_ttl` whether anything waits, so that a
    /// connection may last twice that; and for as long as it takes to learn that nothing waits at
    /// the other end, which depends on losses and on whether it is up, unless the way is clear.
    pub(super) fn pass(&self, log: &mut Log, config: &Config, is_clear: impl FnOnce() -> bool) {
        let idle = log.at.saturating_sub(self.busy);
        let max = 2 * config.pool_ttl + NEWS_DELAY;
        let is_late = self.seen.status == Connected
            && idle > max
            && (idle > max + 3 * config.liveness_timeout || is_clear());
        never!(
            log,
            is_late,
            NotUsedAfterTtl,
            "a connection lives that nothing has happened on for {idle:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::{
        Property::{self, NotExpiredEarly, NotUsedAfterTtl},
        audit::testing::{ended, moved},
    };

    #[test]
    fn a_connection_that_expires_early_is_noticed() {
        assert_eq!(expire(secs(3), 0), []);
        assert_eq!(expire(secs(2), 0), [NotExpiredEarly]);
        assert_eq!(expire(secs(3), 5), [NotExpiredEarly]);
    }

    #[test]
    fn the_next_connection_does_not_make_it_early() {
        let then = |idle: Duration| {
            let (mut log, config, mut expiry) = connected();
            log.at += idle;
            expiry.hear(&log, &ended(Reason::Idle));
            let moved = moved(quicpool_core::ConnectionStatus::Connecting, Connected);
            expiry.hear(&log, &moved);
            let peer = PeerSample {
                status: Connected,
                connections: 2,
                inbox_bytes: 5,
                ..PeerSample::default()
            };
            expiry.settle(&mut log, &config, peer, true, 0);
            log.broken()
        };
        assert_eq!(then(secs(3)), []);
        assert_eq!(then(secs(2)), [NotExpiredEarly]);
    }

    #[test]
    fn a_connection_that_lives_too_long_is_noticed() {
        assert_eq!(live(secs(7), true), []);
        assert_eq!(live(secs(9), true), [NotUsedAfterTtl]);
        assert_eq!(live(secs(9), false), [], "news may be on their way");
        assert_eq!(live(secs(60), false), [NotUsedAfterTtl]);
    }

    /// Connected at one second, and expired this much later.
    fn expire(after: Duration, outbox_messages: u64) -> Vec<Property> {
        let (mut log, config, mut expiry) = connected();
        log.at += after;
        expiry.hear(&log, &ended(Reason::Idle));
        assert!(expiry.has_expired());
        let peer = PeerSample {
            outbox_messages,
            ..PeerSample::default()
        };
        expiry.settle(&mut log, &config, peer, true, 0);
        log.broken()
    }

    /// Connected at one second, and still this much later.
    fn live(after: Duration, is_clear: bool) -> Vec<Property> {
        let (mut log, config, expiry) = connected();
        log.at += after;
        expiry.pass(&mut log, &config, || is_clear);
        log.broken()
    }

    fn connected() -> (Log, Config, Expiry) {
        let (mut log, mut config, mut expiry) = (Log::new(), Config::default(), Expiry::default());
        config.pool_ttl = secs(3);
        log.at = secs(1);
        expiry.hear(
            &log,
            &moved(quicpool_core::ConnectionStatus::Connecting, Connected),
        );
        let peer = PeerSample {
            status: Connected,
            connections: 1,
            ..PeerSample::default()
        };
        expiry.settle(&mut log, &config, peer, false, 0);
        (log, config, expiry)
    }
}
