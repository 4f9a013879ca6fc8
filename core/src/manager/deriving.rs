//! Derives from a peer's state what depends on it: its slot, reports, deadlines, and whether to dial.

use std::time::Instant;

use super::{
    context::Context,
    dialling,
    peer::Peer,
    session::{acknowledging, expiry},
    shared::Shared,
    timers::Timer,
};
use crate::{Event, peer::LinkId, transport::Transport};

/// Derives everything that depends on a peer's state.
pub(super) fn derive(cx: &mut Context<'_>) {
    let Context {
        now, peer, shared, ..
    } = cx;
    let now = *now;
    peer.is_stale = false;
    shared.budget.count(peer);
    let idle_since = (peer.is_live() && peer.is_idle()).then_some(peer.last_used);
    cx.slots.set_idle(peer.key, idle_since);
    shared.budget.report_room(peer, &mut shared.report);
    while let Some(token) = peer.next_flushed() {
        shared.report.event(Event::Flushed {
            peer: peer.id,
            token,
            result: Ok(()),
        });
    }
    match peer.links.live() {
        Some(link) => derive_live(now, peer, link, cx.transport, shared),
        None => {
            peer.rest();
            shared.budget.count(peer);
            expiry::arm(now, peer, shared);
            dialling::dial_if_wanted(cx);
        }
    }
}

fn derive_live(
    now: Instant,
    peer: &mut Peer,
    link: LinkId,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    let outbox = &mut peer.session.outbox;
    if outbox.has_unsent() {
        transport.mark_ready(link);
    }
    if let Some(queued_at) = outbox.tail_queued_at() {
        let at = queued_at + shared.config.batch_delay_max;
        match at <= now {
            // Due already, as with no delay at all: a deadline that has come would be armed for nothing.
            true => outbox.close_tail(),
            false => shared.timers.set_by(Timer::Flush(peer.key), at),
        }
    }
    let owed = peer.is_owed();
    if owed && shared.timers.get(Timer::Stall(peer.key)).is_none() {
        acknowledging::watch_for_stall(now, peer, shared);
    }
    if !owed && peer.session.held_reported > 0 {
        // The peer still believes that messages are held for it.
        let at = now + acknowledging::ACK_DELAY;
        shared.timers.set_by(Timer::Acknowledge(peer.key), at);
    }
}
