//! Dials: which address, what follows when it fails, and when the next attempt may begin.

use std::time::Instant;

use super::{
    context::Context,
    peer::{Expiry, Peer, Redial},
    session::expiry,
    shared::Shared,
    timers::Timer,
};
use crate::{
    Reason,
    peer::{backoff::Kind, lifecycle::Cause, links::Dialling},
    slots::{Priority, Slots},
};

/// Dials for the user. A dial that waits or is under way in the background moves to the foreground.
pub(super) fn dial_for_user(now: Instant, peer: &mut Peer, slots: &mut Slots, shared: &mut Shared) {
    if peer.is_live()
        || std::mem::replace(&mut peer.priority, Priority::Foreground) == Priority::Foreground
    {
        return;
    }
    match peer.links.dialling() {
        Dialling::Waiting { .. } => enqueue(now, peer, slots, shared),
        Dialling::Running { .. } => slots.set_priority(peer.key, Priority::Foreground),
        Dialling::Idle | Dialling::Backoff => {}
    }
}

/// Queues a dial, or has it wait for its backoff, if a connection would be of use and there is none.
pub(super) fn dial_if_wanted(cx: &mut Context<'_>) {
    let Context { peer, shared, .. } = cx;
    if !peer.links.may_dial() || !peer.wants_connection() || !shared.closing.accepts() {
        return;
    }
    match peer.not_before.filter(|at| *at > cx.now) {
        Some(at) => {
            peer.links.put_off();
            shared.timers.set(Timer::Backoff(peer.key), Some(at));
        }
        None => enqueue(cx.now, peer, cx.slots, shared),
    }
}

/// Queues a dial; the place that it had before, if any, is void.
fn enqueue(now: Instant, peer: &mut Peer, slots: &mut Slots, shared: &mut Shared) {
    let ticket = slots.enqueue(now, peer.key, peer.priority);
    peer.links.queued(ticket);
    expiry::pause(now, peer, shared);
    shared.timers.set(Timer::Backoff(peer.key), None);
}

/// Has a dial that waited for its backoff queued.
pub(super) fn backoff_ended(peer: &mut Peer, shared: &mut Shared) {
    if peer.links.dialling() == Dialling::Backoff {
        peer.links.stop_waiting();
        shared.changed(peer);
    }
}

/// Queues a dial without waiting for the backoff: the session is about to expire.
pub(super) fn dial_last(cx: &mut Context<'_>) {
    match cx.peer.links.dialling() {
        Dialling::Idle | Dialling::Backoff if !cx.peer.links.has_arrivals() => {
            // What the user has queued depends on it.
            cx.peer.priority = Priority::Foreground;
            enqueue(cx.now, cx.peer, cx.slots, cx.shared);
        }
        Dialling::Idle
        | Dialling::Backoff
        | Dialling::Waiting { .. }
        | Dialling::Running { .. } => {}
    }
}

/// Begins an attempt: dials the peer's addresses one after the other.
pub(super) fn begin(cx: &mut Context<'_>) {
    cx.peer.addresses.begin_attempt();
    if let Some(reason) = dial_next(cx) {
        attempt_failed(cx, reason.unwrap_or(Reason::CalledOff));
    }
    expiry::arm(cx.now, cx.peer, cx.shared);
}

/// Dials the next address of an attempt that can be dialled. If there is none, returns why the last one
/// could not be, if any was left.
fn dial_next(cx: &mut Context<'_>) -> Option<Option<Reason>> {
    let Context {
        now,
        peer,
        transport,
        shared,
        ..
    } = cx;
    let now = *now;
    let mut failure = None;
    while let Some(to) = peer.addresses.next_untried() {
        peer.counts.dials += 1;
        shared.report.counters.dials += 1;
        // One count for all peers: it goes on when a peer is forgotten and comes back, while the other
        // end may still hold its earlier connection.
        let number = shared.report.counters.dials;
        let mut rng = shared.stream_of_dial(peer.id, number);
        shared.report.moved(peer, Cause::Begun, Reason::Dialling);
        match transport.dial(now, peer.id, to, number, &mut rng) {
            Ok(link) => {
                transport.owned(link).owner = Some(peer.key);
                peer.links.begun(link, to);
                let at = now + shared.config.handshake_timeout;
                shared.timers.set(Timer::Handshake(link), Some(at));
                return None;
            }
            Err(reason) => {
                shared.report.counters.dials_failed += 1;
                failure = Some(reason);
            }
        }
    }
    Some(failure)
}

/// A dial has failed: dials the next address, or ends the attempt.
pub(super) fn dial_failed(cx: &mut Context<'_>, reason: Reason) {
    cx.shared.report.counters.dials_failed += 1;
    if cx.peer.has_links() || !reason.concerns_address() {
        return attempt_failed(cx, reason);
    }
    match dial_next(cx) {
        // Not delayed by the dial rate, since the attempt has its slot; later dials are.
        None => cx.slots.count_dial(cx.now, cx.peer.priority),
        Some(later) => attempt_failed(cx, later.unwrap_or(reason)),
    }
}

/// Ends an attempt: every address has failed.
fn attempt_failed(cx: &mut Context<'_>, reason: Reason) {
    let Context { peer, shared, .. } = cx;
    let kind = Kind::of(&reason);
    back_off(cx.now, peer, shared, reason.clone(), kind);
    peer.addresses.end_attempt();
    peer.has_given_way = false;
    // The caller was answered; from here on the machine tries by itself.
    peer.priority = Priority::Background;
    if !peer.has_links() {
        shared.report.moved(peer, Cause::AttemptFailed, reason);
        cx.slots.release(peer.key);
        if peer.session.expiry == Expiry::LastDial {
            expiry::expire(cx.now, peer, shared);
        }
    }
    shared.changed(peer);
}

/// Counts a failure, and delays the next dial.
pub(super) fn back_off(
    now: Instant,
    peer: &mut Peer,
    shared: &mut Shared,
    reason: Reason,
    kind: Kind,
) {
    peer.counts.failures += 1;
    peer.links.stop_waiting();
    let asked = reason.retry_after();
    let mut rng = shared.stream(peer, "backoff");
    let backoff = &shared.config.backoff;
    let at = peer.failures.failed(now, backoff, kind, asked, &mut rng);
    peer.not_before = Some(at);
    if reason.is_lasting() {
        peer.redial = Redial::Barred;
    }
    peer.last_failure = Some(Box::new(reason));
}

/// Delays the next dial by a random part of the new holder's minimum hold time.
pub(super) fn stay_away(now: Instant, peer: &mut Peer, shared: &mut Shared) {
    let fraction = shared.fraction(peer, "stay away");
    let hold = peer
        .hold_time
        .shortest()
        .max(shared.config.tuning.hold_time_min);
    let at = now + hold.mul_f64(fraction);
    peer.not_before = peer.not_before.max(Some(at));
}

/// Forgets failures: the connection has lasted.
pub(super) fn proved_stable(peer: &mut Peer) {
    if peer.is_live() {
        peer.failures.reset();
        peer.not_before = None;
        peer.last_failure = None;
    }
}
