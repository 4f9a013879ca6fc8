//! Decides what the loss of a connection means for its peer.

use std::time::Instant;

use super::reconnect;
use crate::{
    Reason,
    manager::{
        context::Context,
        datagrams, dialling, liveness,
        peer::{Peer, Redial},
        session::{acknowledging, credit},
        shared::Shared,
    },
    peer::{LinkId, backoff::Kind, lifecycle::Cause, links::Loss},
    slots::Purpose,
    transport::Transport,
};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum End {
    /// As intended, by either end.
    Deliberate,
    /// By an error.
    Error,
}

/// Removes a connection from its peer, and draws the consequences.
pub(in crate::manager) fn lost(cx: &mut Context<'_>, id: LinkId, end: End, reason: Reason) {
    cx.peer.processes.leave(id);
    match (cx.peer.links.lost(id), end) {
        (Loss::Dial, End::Error) => dialling::dial_failed(cx, reason),
        (Loss::Dial, End::Deliberate) => dial_called_off(cx, reason),
        (Loss::Arrival, End::Error) => lost_attempt(cx, Cause::AttemptFailed, reason),
        (Loss::Arrival, End::Deliberate) => lost_attempt(cx, Cause::CalledOff, reason),
        (Loss::Live, _) => live_changed(cx.now, cx.peer, cx.transport, cx.shared),
        // Its last words may have been an acknowledgement.
        (Loss::Spare, _) => {}
        (Loss::Last, _) => disconnected(cx, end, reason),
    }
    credit::count(cx.peer, cx.transport, cx.shared);
    cx.shared.changed(cx.peer);
}

fn dial_called_off(cx: &mut Context<'_>, reason: Reason) {
    if reason != Reason::CalledOff && !cx.peer.has_links() {
        // The other end has closed what we had just begun: it knows better for a while.
        dialling::stay_away(cx.now, cx.peer, cx.shared);
    }
    cx.peer.addresses.end_attempt();
    lost_attempt(cx, Cause::CalledOff, reason);
}

/// Ends the attempt if the connection, which was not confirmed, was the peer's only one.
fn lost_attempt(cx: &mut Context<'_>, cause: Cause, reason: Reason) {
    if !cx.peer.has_links() {
        cx.shared.report.moved(cx.peer, cause, reason);
        cx.slots.release(cx.peer.key);
    }
}

/// Goes on with another connection, which is the one to send on from here.
pub(in crate::manager) fn live_changed(
    now: Instant,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    peer.session.outbox.start();
    // What was written to another connection after our greeting on this one may be lost.
    peer.session.inbox.report_again();
    peer.session.held_reported = peer.session.held_reported.max(1);
    liveness::watch(now, peer, transport, shared);
    datagrams::report_limit(peer, transport, shared);
    acknowledging::schedule(now, peer, transport, shared);
    shared.changed(peer);
}

/// Goes on without a confirmed connection.
fn disconnected(cx: &mut Context<'_>, end: End, reason: Reason) {
    let Context {
        now,
        peer,
        transport,
        slots,
        shared,
    } = cx;
    let now = *now;
    liveness::leave(now, peer, shared, &reason);
    shared.timers.disconnected(peer.key);
    let cause = match end {
        End::Deliberate => Cause::Closed,
        End::Error => Cause::Lost,
    };
    if end == End::Error {
        shared.report.counters.connections_lost += 1;
        if reason == Reason::Unresponsive {
            path_has_failed(peer);
        }
        dialling::back_off(now, peer, shared, reason.clone(), Kind::of(&reason));
    } else if reason == Reason::Idle && peer.session.their_held > 0 && !peer.is_owed() {
        // An end that holds messages for us is not idle: each dial would end like this one.
        dialling::back_off(now, peer, shared, reason.clone(), Kind::Error);
    }
    let forgotten = reason == Reason::Forgotten;
    let sent_away = forgotten || matches!(reason, Reason::Evicted | Reason::Replaced);
    let evicted = reason == Reason::Evicted;
    shared.report.moved(peer, cause, reason);
    datagrams::drop_unsent(peer, shared);
    datagrams::report_limit(peer, transport, shared);
    if evicted {
        peer.hold_time.ended(peer.hold());
    }
    if peer.redial == Redial::Wanted && end == End::Deliberate && !forgotten {
        // What the user asked for was given, and is over.
        peer.redial = Redial::OnDemand;
    }
    if sent_away {
        dialling::stay_away(now, peer, shared);
    }
    if peer.has_links() {
        let purpose = match peer.is_dialling() {
            true => Purpose::Dial,
            false => Purpose::Arrival,
        };
        slots.keep_for(peer.key, purpose);
        shared.report.moved(peer, Cause::Begun, Reason::Dialling);
    } else {
        slots.release(peer.key);
    }
    call_waiting(peer, transport);
    reconnect::schedule(now, peer, shared);
}

/// Forgets earlier failures where the path has failed: messages have passed on the connection, and the peer
/// was left alone for `liveness_timeout` already. A path that is cut now and then would keep it away for
/// minutes otherwise.
fn path_has_failed(peer: &mut Peer) {
    if peer.passed() != peer.passed_before {
        peer.failures.reset();
    }
}

/// Has the processes that wait looked at again: the place is free, or has got another holder.
pub(in crate::manager) fn call_waiting(peer: &Peer, transport: &mut Transport) {
    for link in peer.processes.waiting() {
        transport.mark_dirty(link);
    }
}
