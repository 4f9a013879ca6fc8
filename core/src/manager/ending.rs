//! Ends the machine: flushes all peers, ends all sessions, reports the end. Removes single peers.

use std::{collections::BTreeMap, mem, time::Instant};

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
use crate::{Event, Losses, PeerId, Undeliverable, peer::PeerKey};

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
        losses: unreported(peers),
    };
    let at = now + shared.config.close_timeout;
    shared.timers.set(Timer::Close, Some(at));
}

/// Losses that no flush has reported.
fn unreported(peers: &Peers) -> BTreeMap<PeerId, Losses> {
    let of = |key| {
        let peer = peers.get(key)?;
        let losses = peer.flushes.as_ref()?.unreported()?;
        Some((peer.id, losses.clone()))
    };
    peers.keys().into_iter().filter_map(of).collect()
}

/// Goes on with closing, where nothing else is left to do. Returns whether it did.
///
/// Handshakes are waited for, since a connection that is not confirmed is closed without an
/// acknowledgement.
pub(super) fn go_on(parts: &mut Parts<'_>) -> bool {
    match &mut parts.shared.closing {
        Closing::No | Closing::Done => return false,
        Closing::Flushing { owing, .. } => {
            while let Some(key) = owing.last() {
                let holds_up = |peer: &Peer| peer.is_owed() || peer.is_about_to_learn();
                if parts.peers.get(*key).is_some_and(holds_up) {
                    return false;
                }
                owing.pop();
            }
            *owing = parts.peers.keys();
            owing.retain(|key| parts.peers.get(*key).is_some_and(Peer::is_about_to_learn));
            if !owing.is_empty() {
                return false;
            }
            end_all(parts);
        }
        Closing::Ending {
            undelivered_before,
            losses,
        } => {
            let before = *undelivered_before;
            let losses = mem::take(losses).into_iter().collect();
            let undelivered = parts.shared.report.counters.messages_undelivered - before;
            parts.shared.closing = Closing::Done;
            parts.shared.report.event(Event::Closed {
                undelivered,
                losses,
            });
        }
    }
    true
}

/// Ends every session, now.
pub(super) fn end_all(parts: &mut Parts<'_>) {
    let shared = &mut *parts.shared;
    let (undelivered_before, losses) = match &mut shared.closing {
        Closing::No => (
            shared.report.counters.messages_undelivered,
            unreported(parts.peers),
        ),
        Closing::Flushing {
            undelivered_before,
            losses,
            ..
        } => (*undelivered_before, mem::take(losses)),
        Closing::Ending { .. } | Closing::Done => return,
    };
    shared.closing = Closing::Ending {
        undelivered_before,
        losses,
    };
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
