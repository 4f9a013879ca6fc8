//! Ends connections and sessions whose time is up.

use super::{
    context::Context,
    dialling,
    pairing::{close::Close, rules},
    peer::{Expiry, Reachability, Redial},
    session::expiry,
    timers::Timer,
};
use crate::{Reason, wire::code::CloseCode};

/// Closes a pooled connection that has reached its time to live.
pub(super) fn idle_is_due(cx: &mut Context<'_>) {
    let Context {
        now, peer, shared, ..
    } = cx;
    let now = *now;
    if !peer.is_live() {
        return;
    }
    let timer = Timer::Idle(peer.key);
    let at = peer.last_used + shared.config.pool_ttl;
    if at > now {
        shared.timers.set(timer, Some(at));
    } else if !peer.is_idle() || peer.session.reachability == Reachability::CannotDialUs {
        // Messages wait at an end: the connection is in use until they are taken. Or the other end could
        // not get back to us if it had some.
        shared.timers.set(timer, Some(now + shared.config.pool_ttl));
    } else {
        shared.report.counters.expirations += 1;
        rules::close_keeping_session(cx, CloseCode::Idle, Reason::Idle);
    }
}

/// Dials a peer a last time whose session is about to expire, or ends the session.
pub(super) fn session_is_due(cx: &mut Context<'_>) {
    let Context {
        now, peer, shared, ..
    } = cx;
    let now = *now;
    if peer.is_live() {
        return;
    }
    // A caller may wait for a connection that was asked for: the last dial answers.
    let wanted = peer.is_owed() || peer.redial == Redial::Wanted;
    let hopeless = !wanted || peer.addresses.is_empty();
    // A dial that waits for its turn at this end has not had its chance.
    let had_its_dial = peer.session.expiry == Expiry::LastDial && !peer.awaits_dial();
    if hopeless || had_its_dial {
        expiry::expire(now, peer, shared);
        let called_off = Close::new(CloseCode::CalledOff, Reason::CalledOff);
        return rules::close_all(cx, &called_off);
    }
    peer.session.expiry = Expiry::LastDial;
    dialling::dial_last(cx);
    // The last dial decides; if it cannot even begin, so does its time.
    let at = now + 2 * cx.shared.config.handshake_timeout;
    cx.shared.timers.set(Timer::Session(cx.peer.key), Some(at));
}
