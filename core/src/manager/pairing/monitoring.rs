//! Looks at all connections of a peer when its monitor is due, and carries out what follows.

use std::time::Instant;

use super::lost;
use crate::{
    manager::{liveness, peer::Peer, shared::Shared, timers::Timer},
    peer::{LinkId, health::Sample},
    transport::Transport,
};

/// Judges a peer anew: probes connections, sends on the one that is heard, ends those that are dead, and
/// reports the peer's health.
pub(in crate::manager) fn is_due(
    now: Instant,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    let (Some(monitor), Some(live)) = (&mut peer.monitor, peer.links.live()) else {
        return;
    };
    let samples: Vec<(LinkId, Sample)> = peer
        .links
        .confirmed()
        .filter_map(|link| Some((link, sample_of_open(transport, link)?)))
        .collect();
    let orders = monitor.look(now, live, &samples);
    let due = monitor.due();
    shared.timers.set(Timer::Health(peer.key), Some(due));
    liveness::report(peer, shared, orders.change);
    for link in orders.probes {
        transport.probe(link);
    }
    if orders.prefers.is_some_and(|link| peer.links.prefer(link)) {
        lost::live_changed(now, peer, transport, shared);
    }
    for link in orders.ends {
        transport.time_out(now, link);
    }
}

/// Measures a connection, unless it has ended and its peer is yet to learn of it.
fn sample_of_open(transport: &Transport, link: LinkId) -> Option<Sample> {
    let is_open = transport.link(link)?.ending.is_none();
    is_open.then(|| transport.sample(link))?
}
