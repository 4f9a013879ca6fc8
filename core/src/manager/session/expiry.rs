//! Ends sessions that have been without a connection for `session_timeout`.

use std::time::Instant;

use crate::{
    Undeliverable,
    manager::{
        peer::{Expiry, Peer, Standing},
        session,
        shared::Shared,
        timers::Timer,
    },
};

/// Arms the deadline of a session without connection, unless it is armed, or its dial waits for its turn
/// at this end: that is no fault of the peer.
pub(in crate::manager) fn arm(now: Instant, peer: &mut Peer, shared: &mut Shared) {
    // Voids that wait to be written go with their session, too.
    let matters = !peer.session.outbox.outstanding().is_empty()
        || peer.processes.present().is_some()
        || peer.standing == Standing::Stranger;
    let timer = Timer::Session(peer.key);
    let is_armed = shared.timers.get(timer).is_some();
    if !matters || peer.is_live() || is_armed || !shared.closing.accepts() {
        return;
    }
    let left = match peer.session.expiry {
        Expiry::Paused { left } => left,
        Expiry::NotDue | Expiry::LastDial => peer.session.timeout,
    };
    if peer.awaits_dial() {
        peer.session.expiry = Expiry::Paused { left };
    } else {
        peer.session.expiry = Expiry::NotDue;
        shared.timers.set(timer, Some(now + left));
    }
}

/// Stops the clock of a session whose dial waits for its turn, but for the last dial.
pub(in crate::manager) fn pause(now: Instant, peer: &mut Peer, shared: &mut Shared) {
    let timer = Timer::Session(peer.key);
    if peer.session.expiry == Expiry::NotDue
        && let Some(at) = shared.timers.get(timer)
    {
        let left = at.saturating_duration_since(now);
        peer.session.expiry = Expiry::Paused { left };
        shared.timers.set(timer, None);
    }
}

/// Ends a session whose time is up. A peer that was not added by the user is removed once nothing of it is
/// unread. Connections are the caller's.
pub(in crate::manager) fn expire(now: Instant, peer: &mut Peer, shared: &mut Shared) {
    session::end(peer, shared, Undeliverable::SessionExpired);
    peer.processes.expire();
    if peer.standing != Standing::Stranger {
        return;
    }
    if peer.session.inbox.bytes() > 0 {
        // What it sent may still be taken; then it is removed.
        arm(now, peer, shared);
    } else {
        shared.budget.give_up_room(peer, &mut shared.report);
        shared.work.mark_leaving(peer);
    }
}
