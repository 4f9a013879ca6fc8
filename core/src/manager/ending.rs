//! Ends the machine: flushes all peers, ends all sessions, reports the end. Removes single peers.

use std::time::Instant;

use super::{
    closing::Closing,
    context::Parts,
    datagrams,
    pairing::rules,
    peer::{Peer, Peers},
    room,
    shared::Shared,
    timers::Timer,
};
use crate::{Event, Undeliverable, peer::PeerKey};

/// Begins to close: what is queued for all peers is to be taken, within `close_timeout`.
pub(super) fn flush_all(now: Instant, peers: &mut Peers, shared: &mut Shared) {
    if !shared.closing.is_open() {
        return;
    }
    let mut owing = peers.keys();
    owing.retain(|key| {
        let peer = peers.owner(*key);
        let is_owed = peer.is_owed();
        if is_owed {
            peer.session.outbox.close_tail();
            shared.changed(peer);
        }
        is_owed
    });
    shared.closing = Closing::Flushing {
        owing,
        undelivered_before: shared.report.counters.messages_undelivered,
    };
    let at = now + shared.config.close_timeout;
    shared.timers.set(Timer::Close, Some(at));
}

/// Goes on with closing, where nothing else is left to do. Returns whether it did.
pub(super) fn go_on(parts: &mut Parts<'_>) -> bool {
    match &mut parts.shared.closing {
        Closing::No | Closing::Done => return false,
        Closing::Flushing { owing, .. } => {
            while let Some(key) = owing.last() {
                if parts.peers.get(*key).is_some_and(Peer::is_owed) {
                    return false;
                }
                owing.pop();
            }
            end_all(parts);
        }
        Closing::Ending { undelivered_before } => {
            let before = *undelivered_before;
            let undelivered = parts.shared.report.counters.messages_undelivered - before;
            parts.shared.closing = Closing::Done;
            parts.shared.report.event(Event::Closed { undelivered });
        }
    }
    true
}

/// Ends every session, now.
pub(super) fn end_all(parts: &mut Parts<'_>) {
    let shared = &mut *parts.shared;
    let undelivered_before = match shared.closing {
        Closing::No => shared.report.counters.messages_undelivered,
        Closing::Flushing {
            undelivered_before, ..
        } => undelivered_before,
        Closing::Ending { .. } | Closing::Done => return,
    };
    shared.closing = Closing::Ending { undelivered_before };
    shared.timers.set(Timer::Close, None);
    for key in parts.peers.keys() {
        rules::end_session(&mut parts.at(key), Undeliverable::Closed);
    }
    room::give_up(parts.peers, parts.shared);
}

/// Removes a peer of which no connection is open.
pub(super) fn remove(parts: &mut Parts<'_>, key: PeerKey) {
    let Some(peer) = parts.peers.get_mut(key) else {
        return;
    };
    debug_assert!(!peer.has_links(), "connections are closed first");
    datagrams::drop_unread(peer, parts.shared);
    parts.shared.timers.disarm(key);
    parts.slots.release(key);
    parts.shared.budget.forget(peer);
    parts.peers.remove(key);
}
