//! Reports room that other peers have made to the callers that wait for it.

use std::time::{Duration, Instant};

use super::{peer::Peers, shared::Shared, timers::Timer};

/// Time for callers to take the room that was reported to them, before the rest is reported to the next.
const TURN: Duration = Duration::from_millis(1);

/// Whether there is room for the first of those that wait, and it is its turn.
pub(super) fn is_to_report(shared: &Shared) -> bool {
    // The look-up last: hardly ever does a caller wait.
    shared.budget.has_room_for_waiting() && shared.timers.get(Timer::Room).is_none()
}

/// Reports room to as many callers as it is for.
pub(super) fn report(now: Instant, peers: &mut Peers, shared: &mut Shared) {
    if !is_to_report(shared) {
        return;
    }
    let mut free = shared.budget.free();
    while let Some(key) = shared.budget.next_waiting(free) {
        let peer = peers.owner(key);
        free = free.saturating_sub(shared.budget.give_up_room(peer, &mut shared.report));
    }
    if shared.budget.has_waiting() {
        // They may not take it.
        shared.timers.set(Timer::Room, Some(now + TURN));
    }
}

/// Has every caller that waits look again: it waits in vain from here on.
pub(super) fn give_up(peers: &mut Peers, shared: &mut Shared) {
    while let Some(key) = shared.budget.next_waiting(usize::MAX) {
        let peer = peers.owner(key);
        shared.budget.give_up_room(peer, &mut shared.report);
    }
    shared.timers.set(Timer::Room, None);
}
