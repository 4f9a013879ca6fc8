//! Watches whether the other end of a confirmed connection is alive, and how well it can be reached.

use std::time::Instant;

use super::{peer::Peer, shared::Shared, timers::Timer};
use crate::{
    Event, Health, HealthReason, Reason,
    peer::{
        LinkId,
        health::{Change, Look, Monitor},
    },
    transport::{Stage, Transport, Verdict},
};

/// The connection by which a peer's health is judged: the one that is sent on.
pub(super) struct Watched {
    link: LinkId,
    pub(super) monitor: Monitor,
}

/// Arms the deadline after which a confirmed connection does not outlive the other end: `liveness_timeout`.
pub(super) fn watch_for_silence(
    now: Instant,
    id: LinkId,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    let limit = shared.config.liveness_timeout;
    let due = transport.begin_silence(now, id, limit);
    shared.timers.set(Timer::Silence(id), due);
}

/// Judges a connection that should have been heard from.
pub(super) fn silence_is_due(
    now: Instant,
    id: LinkId,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    let confirmed = |stage: &Stage| matches!(stage, Stage::Confirmed(_));
    let link = transport.link(id);
    if !link.is_some_and(|link| confirmed(&link.stage) && link.ending.is_none()) {
        return;
    }
    let limit = shared.config.liveness_timeout;
    let next = match transport.judge_silence(now, id, limit) {
        Verdict::Alive(at) => at,
        Verdict::Silent(at) => {
            transport.ask(id);
            at
        }
        Verdict::Dead => return transport.time_out(now, id),
    };
    shared.timers.set(Timer::Silence(id), Some(next));
}

/// Judges a peer from now on by the connection that is sent on, which begins healthy.
pub(super) fn watch_health(
    now: Instant,
    peer: &mut Peer,
    transport: &Transport,
    shared: &mut Shared,
) {
    let Some(link) = peer.links.live() else {
        return;
    };
    if peer.watched.as_ref().is_some_and(|old| old.link == link) {
        return;
    }
    let Some(sample) = transport.sample(link) else {
        return;
    };
    let monitor = Monitor::new(now, shared.config.liveness_timeout, &sample);
    let timer = Timer::Health(peer.key);
    shared.timers.set(timer, Some(monitor.due()));
    let before = peer.health();
    peer.watched = Some(Box::new(Watched { link, monitor }));
    if let Some(from) = before.filter(|from| *from != Health::Healthy) {
        let change = Change {
            from,
            to: Health::Healthy,
            reason: HealthReason::NewConnection,
        };
        report(peer, shared, change);
    }
}

/// Judges a peer's health anew.
pub(super) fn look_at_health(
    now: Instant,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    let Some(watched) = peer.watched.as_mut() else {
        return;
    };
    let Some(sample) = transport.sample(watched.link) else {
        return;
    };
    let look = watched.monitor.look(now, &sample);
    let timer = Timer::Health(peer.key);
    shared.timers.set(timer, Some(watched.monitor.due()));
    match look {
        Look::Same => {}
        Look::Ask => transport.ask(watched.link),
        Look::Changed(change) => report(peer, shared, change),
    }
}

/// Stops judging a peer whose last connection has ended. One that was lost to silence is reported as
/// unresponsive first.
pub(super) fn leave_health(now: Instant, peer: &mut Peer, shared: &mut Shared, reason: &Reason) {
    shared.timers.set(Timer::Health(peer.key), None);
    let watched = peer.watched.take();
    let Some(mut watched) = watched.filter(|_| *reason == Reason::Unresponsive) else {
        return;
    };
    if let Look::Changed(change) = watched.monitor.lost(now) {
        report(peer, shared, change);
    }
}

fn report(peer: &Peer, shared: &mut Shared, change: Change) {
    let peer = peer.id;
    let Change { from, to, reason } = change;
    tracing::info!(?peer, %from, %to, %reason, "health");
    shared.report.event(Event::HealthChanged {
        peer,
        from,
        to,
        reason,
    });
}
