//! Ends the machine: flushes all peers, ends all sessions, reports the end. Removes single peers.

use std::{collections::BTreeMap, mem, time::Instant};

use super::{
    closing::Closing,
    datagrams,
    pairing::close,
    peer::{Peer, Peers},
    room,
    shared::Shared,
    timers::Timer,
};
use crate::{
    Event, Losses, PeerId, Undeliverable, peer::PeerKey, slots::Slots, transport::Transport,
};

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
pub(super) fn go_on(
    now: Instant,
    peers: &mut Peers,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) -> bool {
    match &mut shared.closing {
        Closing::No | Closing::Done => return false,
        Closing::Flushing { owing, .. } => {
            while let Some(key) = owing.last() {
                let holds_up = |peer: &Peer| peer.is_owed() || peer.is_about_to_learn();
                if peers.get(*key).is_some_and(holds_up) {
                    return false;
                }
                owing.pop();
            }
            *owing = peers.keys();
            owing.retain(|key| peers.get(*key).is_some_and(Peer::is_about_to_learn));
            if !owing.is_empty() {
                return false;
            }
            end_all(now, peers, transport, slots, shared);
        }
        Closing::Ending {
            undelivered_before,
            losses,
        } => {
            let undelivered = shared.report.counters.messages_undelivered - *undelivered_before;
            let losses = mem::take(losses).into_iter().collect();
            shared.closing = Closing::Done;
            shared.report.event(Event::Closed {
                undelivered,
                losses,
            });
        }
    }
    true
}

/// Ends every session, now.
pub(super) fn end_all(
    now: Instant,
    peers: &mut Peers,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    let (undelivered_before, losses) = match &mut shared.closing {
        Closing::No => (
            shared.report.counters.messages_undelivered,
            unreported(peers),
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
    for key in peers.keys() {
        let why = Undeliverable::Closed;
        close::end_session(now, peers.owner(key), transport, slots, shared, why);
    }
    room::give_up(peers, shared);
}

/// Removes a peer of which no connection is open.
pub(super) fn remove(key: PeerKey, peers: &mut Peers, slots: &mut Slots, shared: &mut Shared) {
    let Some(peer) = peers.get_mut(key) else {
        return;
    };
    debug_assert!(!peer.has_links(), "connections are closed first");
    datagrams::drop_unread(peer, shared);
    shared.timers.disarm(key);
    slots.release(key);
    shared.budget.forget(peer);
    peers.remove(key);
}
