//! Passes measurements of a peer's connections to its [`Monitor`], and carries out the orders.

use std::time::Instant;

use super::{Manager, Timer};
use crate::{
    Event, Reason,
    peer::{
        LinkId, PeerKey,
        health::{Change, Monitor, Sample},
    },
    transport::{Ending, Transport},
};

/// Judges a peer while it is connected.
pub(super) struct Watched {
    pub(super) monitor: Monitor,
}

impl Manager {
    /// Watches the connection that is sent on, if it is not watched yet.
    pub(super) fn watch_health(&mut self, now: Instant, key: PeerKey) {
        let limit = self.config.liveness_timeout;
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Some(link) = peer.links.live() else {
            return;
        };
        let Some(sample) = self.transport.sample(link) else {
            return;
        };
        let watched = peer.watched.get_or_insert_with(|| {
            let monitor = Monitor::new(now, limit);
            Box::new(Watched { monitor })
        });
        let change = watched.monitor.begin(now, link, &sample);
        let due = watched.monitor.due();
        self.deadlines.set(Timer::Health(key), Some(due));
        self.tell_health(key, change);
    }

    /// Looks at all connections of a peer when its monitor is due. Asks for answers, ends connections and
    /// reports changes of health.
    pub(super) fn look_at_health(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let (Some(watched), Some(live)) = (&mut peer.watched, peer.links.live()) else {
            return;
        };
        let confirmed = peer.links.confirmed();
        let samples: Vec<(LinkId, Sample)> = confirmed
            .filter_map(|link| Some((link, sample_of_open(&self.transport, link)?)))
            .collect();
        let orders = watched.monitor.look(now, live, &samples);
        let due = watched.monitor.due();
        let is_changed = orders.prefers.is_some_and(|link| peer.links.prefer(link));
        self.deadlines.set(Timer::Health(key), Some(due));
        self.tell_health(key, orders.change);
        for link in orders.asks {
            self.transport.ask(link);
        }
        if is_changed {
            self.live_changed(now, key);
        }
        for link in orders.ends {
            self.transport.time_out(now, link);
        }
    }

    /// Notes that a connection of a peer has ended. The peer was heard if it has closed the connection after
    /// the handshake, or reset it: neither can come from somebody else, and a timeout comes from here.
    pub(super) fn note_end(&mut self, now: Instant, key: PeerKey, ending: &Ending) {
        if ending.code.is_none() && ending.reason != Reason::Reset {
            return;
        }
        let peer = self.peers.get_mut(key);
        if let Some(watched) = peer.and_then(|peer| peer.watched.as_mut()) {
            watched.monitor.note_heard(now);
        }
    }

    /// Forgets the monitor of a peer of which the last connection has ended.
    pub(super) fn leave_health(&mut self, now: Instant, key: PeerKey, reason: &Reason) {
        self.deadlines.set(Timer::Health(key), None);
        let watched = self.peers.get_mut(key).and_then(|peer| peer.watched.take());
        let Some(mut watched) = watched.filter(|_| *reason == Reason::Unresponsive) else {
            return;
        };
        let change = watched.monitor.lost(now);
        self.tell_health(key, change);
    }

    fn tell_health(&mut self, key: PeerKey, change: Option<Change>) {
        let Some(Change { from, to, reason }) = change else {
            return;
        };
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        let peer = peer.id;
        tracing::info!(?peer, %from, %to, %reason, "health");
        self.events.push_back(Event::HealthChanged {
            peer,
            from,
            to,
            reason,
        });
    }
}

/// Measures a connection, unless it has ended and its peer is yet to learn of it.
fn sample_of_open(transport: &Transport, link: LinkId) -> Option<Sample> {
    let is_open = transport.link(link)?.ending.is_none();
    is_open.then(|| transport.sample(link))?
}
