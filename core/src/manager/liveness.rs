//! Whether the other end of a confirmed connection is alive, and how well it can be reached.

use std::time::Instant;

use super::{Manager, Timer};
use crate::{
    Event, Health, HealthReason, Reason,
    peer::{
        LinkId, PeerKey,
        health::{Change, Look, Monitor},
    },
    transport::{Stage, Verdict},
};

/// The connection by which a peer's health is judged: the one that is sent on.
pub(super) struct Watched {
    link: LinkId,
    pub(super) monitor: Monitor,
}

impl Manager {
    /// Sees to it that a confirmed connection does not outlive the other end by more than
    /// `liveness_timeout`.
    pub(super) fn watch_for_silence(&mut self, now: Instant, id: LinkId) {
        let limit = self.config.liveness_timeout;
        let due = self.transport.begin_silence(now, id, limit);
        self.deadlines.set(Timer::Silence(id), due);
    }

    pub(super) fn silence_is_due(&mut self, now: Instant, id: LinkId) {
        let confirmed = |stage: &Stage| matches!(stage, Stage::Confirmed(_));
        let link = self.transport.link(id);
        if !link.is_some_and(|link| confirmed(&link.stage) && link.ending.is_none()) {
            return;
        }
        let limit = self.config.liveness_timeout;
        let next = match self.transport.judge_silence(now, id, limit) {
            Verdict::Alive(at) => at,
            Verdict::Silent(at) => {
                self.transport.ask(id);
                at
            }
            Verdict::Dead => return self.transport.time_out(now, id),
        };
        self.deadlines.set(Timer::Silence(id), Some(next));
    }

    /// Judges a peer from now on by the connection that is sent on, which begins healthy.
    pub(super) fn watch_health(&mut self, now: Instant, key: PeerKey) {
        let limit = self.config.liveness_timeout;
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Some(link) = peer.links.live() else {
            return;
        };
        if peer.watched.as_ref().is_some_and(|old| old.link == link) {
            return;
        }
        let Some(sample) = self.transport.sample(link) else {
            return;
        };
        let monitor = Monitor::new(now, limit, &sample);
        self.deadlines.set(Timer::Health(key), Some(monitor.due()));
        let before = peer.health();
        peer.watched = Some(Box::new(Watched { link, monitor }));
        if let Some(from) = before.filter(|from| *from != Health::Healthy) {
            let change = Change {
                from,
                to: Health::Healthy,
                reason: HealthReason::NewConnection,
            };
            self.tell_health(key, change);
        }
    }

    pub(super) fn look_at_health(&mut self, now: Instant, key: PeerKey) {
        let Some(watched) = self
            .peers
            .get_mut(key)
            .and_then(|peer| peer.watched.as_mut())
        else {
            return;
        };
        let Some(sample) = self.transport.sample(watched.link) else {
            return;
        };
        let look = watched.monitor.look(now, &sample);
        self.deadlines
            .set(Timer::Health(key), Some(watched.monitor.due()));
        match look {
            Look::Same => {}
            Look::Ask => self.transport.ask(watched.link),
            Look::Changed(change) => self.tell_health(key, change),
        }
    }

    /// The last connection of a peer has ended.
    pub(super) fn leave_health(&mut self, now: Instant, key: PeerKey, reason: &Reason) {
        self.deadlines.set(Timer::Health(key), None);
        let watched = self.peers.get_mut(key).and_then(|peer| peer.watched.take());
        let Some(mut watched) = watched.filter(|_| *reason == Reason::Unresponsive) else {
            return;
        };
        if let Look::Changed(change) = watched.monitor.lost(now) {
            self.tell_health(key, change);
        }
    }

    fn tell_health(&mut self, key: PeerKey, change: Change) {
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        let peer = peer.id;
        let Change { from, to, reason } = change;
        tracing::info!(?peer, %from, %to, %reason, "health");
        self.events.push_back(Event::HealthChanged {
            peer,
            from,
            to,
            reason,
        });
    }
}
