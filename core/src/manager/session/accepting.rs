//! Accepts messages of the application.

use std::time::Instant;

use crate::{
    PeerError, Reason, SendError,
    driver::OpenBatch,
    manager::{
        peer::{Peer, Reachability, Redial, Standing},
        shared::Shared,
        timers::Timer,
    },
    peer::links::Dialling,
};

/// Checks whether messages can be sent to a known peer.
pub(in crate::manager) fn verdict(
    now: Instant,
    peer: &Peer,
    shared: &Shared,
) -> Result<(), PeerError> {
    if !shared.closing.is_open() {
        return Err(PeerError::Closed);
    }
    if peer.standing == Standing::Blocked {
        return Err(PeerError::Blocked(peer.id));
    }
    if peer.is_live() || peer.links.has_arrivals() {
        return Ok(());
    }
    if peer.addresses.is_empty() {
        // It polls for messages by itself: see `reconnect`.
        return match peer.session.reachability {
            Reachability::CanDialUs => Ok(()),
            Reachability::Unknown | Reachability::CannotDialUs => {
                Err(PeerError::NoAddress(peer.id))
            }
        };
    }
    // Derived from the backoff, so that there is no state that could stick: once the backoff has ended
    // the next call is the probe, and while a probe runs the others are refused.
    let open = peer.failures.count() >= shared.config.breaker_failures;
    let retry_at = match peer.links.dialling() {
        Dialling::Idle | Dialling::Backoff | Dialling::Waiting { .. } => peer.not_before,
        Dialling::Running { link, .. } => shared.timers.get(Timer::Handshake(link)),
    };
    match (retry_at, &peer.last_failure) {
        (Some(retry_at), Some(reason)) if open && retry_at > now => Err(PeerError::CircuitOpen {
            retry_at,
            reason: Reason::clone(reason),
        }),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// Accepts messages up to the first one that is too long or finds no room, and returns their number, or
/// why the first one is not accepted.
pub(in crate::manager) fn accept(
    now: Instant,
    peer: &mut Peer,
    shared: &mut Shared,
    messages: &[impl AsRef<[u8]>],
) -> Result<usize, SendError> {
    let max = peer.message_bytes_max(&shared.config);
    let mut room = None;
    for (accepted, message) in messages.iter().map(AsRef::as_ref).enumerate() {
        let size = message.len();
        if size > max {
            return match accepted {
                0 => Err(SendError::TooLarge { size, max }),
                accepted => Ok(accepted),
            };
        }
        let room = match &mut room {
            Some(room) => room,
            None => {
                verdict(now, peer, shared)?;
                room.insert(shared.budget.room_of(peer))
            }
        };
        let cost = OpenBatch::cost(size);
        if cost > *room {
            return match accepted {
                0 => Err(SendError::Full),
                accepted => Ok(accepted),
            };
        }
        *room -= cost;
        peer.session.outbox.accept(now, message);
    }
    Ok(messages.len())
}

/// Counts messages that were accepted: a use of the peer's connection.
pub(in crate::manager) fn accepted(
    now: Instant,
    peer: &mut Peer,
    shared: &mut Shared,
    messages: u64,
) {
    shared.report.counters.messages_accepted += messages;
    shared.report.used(peer, messages);
    peer.counts.messages_accepted += messages;
    peer.last_used = now;
    if peer.redial == Redial::Barred {
        peer.redial = Redial::OnDemand;
    }
}
