//! Withdraws messages: those that the caller takes back, and those whose lifetime has ended.

use std::time::Instant;

use crate::{
    Cancelled, Undeliverable,
    manager::{peer::Peer, session, shared::Shared, timers::Timer},
};

/// Takes back a message that was never written. Nothing reports it.
pub(in crate::manager) fn cancel(peer: &mut Peer, shared: &mut Shared, number: u64) -> Cancelled {
    // A void that the peer has taken would be a success to a caller that waits for the message.
    let flushes = peer.flushes.as_ref();
    let is_awaited = flushes.is_some_and(|flushes| flushes.is_awaited(number));
    if is_awaited || !peer.session.outbox.withdraw(number) {
        return Cancelled::TooLate;
    }
    shared.report.counters.messages_withdrawn += 1;
    shared.changed(peer);
    Cancelled::Withdrawn
}

/// Has a message reported as expired if it is not written by then.
pub(in crate::manager) fn expires_at(
    peer: &mut Peer,
    shared: &mut Shared,
    number: u64,
    until: Instant,
) {
    peer.session.outbox.expires_at(until, number);
    shared.timers.set_by(Timer::Lifetime(peer.key), until);
}

/// Withdraws and reports the messages whose lifetime has ended, unless they were written.
pub(in crate::manager) fn are_due(now: Instant, peer: &mut Peer, shared: &mut Shared) {
    while let Some(number) = peer.session.outbox.next_expired(now) {
        if peer.session.outbox.withdraw(number) {
            let expired = number..number + 1;
            session::lost(peer, shared, expired, Undeliverable::Expired);
        }
    }
    let next = peer.session.outbox.next_expiry();
    shared.timers.set(Timer::Lifetime(peer.key), next);
    shared.changed(peer);
}
