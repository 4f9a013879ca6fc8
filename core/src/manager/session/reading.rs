//! Hands a peer's messages to the application, and counts those that it has taken.

use std::time::Instant;

use super::acknowledging;
use crate::{
    Event, Message,
    driver::TakenMessages,
    manager::{peer::Peer, shared::Shared},
    transport::Transport,
};

/// Appends up to `max` messages of a peer to `out` without taking them. Returns how many.
pub(in crate::manager) fn read(
    peer: &mut Peer,
    shared: &mut Shared,
    max: usize,
    out: &mut Vec<Message>,
) -> usize {
    let room = shared.budget.handed_room(peer);
    let inbox = &mut peer.session.inbox;
    let count = inbox.read(peer.id, max.min(room), out);
    // What there was no room for is reported again once some of it is taken.
    peer.is_readable_reported &= inbox.is_readable() && room > count;
    shared.budget.count(peer);
    count
}

/// Takes messages that were read.
pub(in crate::manager) fn mark_taken(
    now: Instant,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
    taken: &TakenMessages,
) {
    let inbox = &mut peer.session.inbox;
    let count = inbox.mark_taken(taken.half(), &taken.numbers());
    if count == 0 {
        return;
    }
    // What was not handed out before for want of room.
    if inbox.is_readable() && !std::mem::replace(&mut peer.is_readable_reported, true) {
        shared.report.event(Event::Readable { peer: peer.id });
    }
    shared.report.taken(now, peer, count);
    shared.changed(peer);
    acknowledging::grant_all(peer, transport, shared);
    acknowledging::schedule(now, peer, transport, shared);
}
