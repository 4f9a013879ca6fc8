//! Watches whether a connected peer is there, and how well it can be reached.

use std::time::Instant;

use super::{peer::Peer, shared::Shared, timers::Timer};
use crate::{
    Event, Reason,
    peer::health::{Change, Monitor},
    transport::{Ending, Transport},
};

/// Watches the connection that is sent on, if it is not watched yet.
pub(super) fn watch(now: Instant, peer: &mut Peer, transport: &Transport, shared: &mut Shared) {
    let Some(link) = peer.links.live() else {
        return;
    };
    let Some(sample) = transport.sample(link) else {
        return;
    };
    let limit = shared.config.liveness_timeout;
    let monitor = peer
        .monitor
        .get_or_insert_with(|| Box::new(Monitor::new(now, limit)));
    let change = monitor.begin(now, link, &sample);
    let due = monitor.due();
    shared.timers.set(Timer::Health(peer.key), Some(due));
    report(peer, shared, change);
}

/// Notes that a connection of a peer has ended. The peer was heard if it has closed the connection after the
/// handshake, or reset it: neither can come from another sender, and a timeout comes from here.
pub(super) fn note_end(now: Instant, peer: &mut Peer, ending: &Ending) {
    let is_of_peer = ending.code.is_some() || ending.reason == Reason::Reset;
    if let Some(monitor) = peer.monitor.as_mut().filter(|_| is_of_peer) {
        monitor.note_heard(now);
    }
}

/// Stops watching a peer whose last connection has ended. One that was lost to silence is reported as
/// unresponsive first.
pub(super) fn leave(now: Instant, peer: &mut Peer, shared: &mut Shared, reason: &Reason) {
    shared.timers.set(Timer::Health(peer.key), None);
    let monitor = peer.monitor.take();
    let Some(mut monitor) = monitor.filter(|_| *reason == Reason::Unresponsive) else {
        return;
    };
    let change = monitor.lost(now);
    report(peer, shared, change);
}

/// Reports a change of a peer's health, if there is any.
pub(super) fn report(peer: &Peer, shared: &mut Shared, change: Option<Change>) {
    let Some(Change { from, to, reason }) = change else {
        return;
    };
    let peer = peer.id;
    tracing::info!(?peer, %from, %to, %reason, "health");
    shared.report.event(Event::HealthChanged {
        peer,
        from,
        to,
        reason,
    });
}
