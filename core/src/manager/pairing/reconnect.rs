//! Polls peers that cannot dial us, as behind a NAT there is no address to give: what waits for us there
//! waits until we dial.
//!
//! Each hello states whether its sender could dial the other end. Where it could not, the end that can keeps
//! an idle connection, and reconnects after a while when it has lost one or its slot was needed. The other
//! end counts on that: it accepts messages for such a peer while it is away.

use std::time::Instant;

use crate::manager::{
    peer::{Peer, Reachability, Redial},
    shared::Shared,
    timers::Timer,
};

/// How much earlier than `reconnect_poll` a reconnect may come.
const JITTER: f64 = 0.25;

/// Schedules a reconnect after the last connection of a peer has ended.
pub(in crate::manager) fn schedule(now: Instant, peer: &mut Peer, shared: &mut Shared) {
    if peer.session.reachability != Reachability::CannotDialUs {
        return;
    }
    // The session has to be there still, at both ends.
    let longest = shared.config.reconnect_poll.min(peer.session.timeout / 2);
    let fraction = shared.fraction(peer, "reconnect");
    let delay = longest.mul_f64(1.0 - JITTER * fraction);
    let timer = Timer::Reconnect(peer.key);
    shared.timers.set(timer, Some(now + delay));
}

/// Reconnects, to see whether the peer has something for us.
pub(in crate::manager) fn is_due(peer: &mut Peer, shared: &mut Shared) {
    if peer.redial == Redial::OnDemand {
        peer.redial = Redial::Wanted;
    }
    shared.changed(peer);
}
