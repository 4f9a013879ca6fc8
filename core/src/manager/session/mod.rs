//! Sessions: what a peer's two numbered streams of messages go through, from one connection to the next.
//!
//! - `accepting`: messages of the application, and memory for them.
//! - `batches`: messages into records.
//! - `acknowledging`: how far both ends are.
//! - `reading`: messages for the application.
//! - `expiry`: sessions without a connection.
//!
//! A room of this folder touches one peer, and none touches slots or closes connections.

pub(super) mod accepting;
pub(super) mod acknowledging;
pub(super) mod batches;
pub(super) mod credit;
pub(super) mod expiry;
pub(super) mod lifetimes;
pub(super) mod reading;

use std::ops::Range;

use super::{
    datagrams,
    peer::{Expiry, Peer, Reachability, Redial},
    shared::Shared,
};
use crate::{
    Event, Losses, Undeliverable,
    peer::{flushes::Lost, outbox::Continuity},
    slots::Priority,
};

/// Ends a peer's session: reports what is queued, and starts both streams anew. Nothing dials until the
/// next `send` or `connect`. Connections are the caller's.
pub(super) fn end(peer: &mut Peer, shared: &mut Shared, why: Undeliverable) {
    peer.redial = Redial::OnDemand;
    peer.priority = Priority::Background;
    peer.links.stop_waiting();
    give_up(peer, shared, why);
    if why == Undeliverable::Disconnected {
        datagrams::drop_unread(peer, shared);
    }
    shared.timers.disarm(peer.key);
    shared.changed(peer);
}

/// Reports everything that is held for a peer, and starts both streams anew.
pub(super) fn give_up(peer: &mut Peer, shared: &mut Shared, why: Undeliverable) {
    let line = shared.new_line(peer.id);
    let given_up = peer.session.outbox.give_up(line);
    peer.processes.end_session();
    forget_theirs(peer);
    peer.session.held_reported = 0;
    peer.session.expiry = Expiry::NotDue;
    peer.session.reachability = Reachability::Unknown;
    lost_all(peer, shared, given_up, why);
}

/// Makes voids of messages that are longer than the peer accepts, which shows only in its hello, and reports
/// them. Those before and behind them go on.
pub(super) fn void_too_large(peer: &mut Peer, shared: &mut Shared) {
    let max = peer.message_bytes_max(&shared.config);
    for (number, size) in peer.session.outbox.void_longer_than(max) {
        let why = Undeliverable::TooLarge { size, max };
        lost(peer, shared, number..number + 1, why);
    }
}

/// Reports the messages of several ranges.
fn lost_all(peer: &mut Peer, shared: &mut Shared, messages: Vec<Range<u64>>, why: Undeliverable) {
    for messages in messages {
        lost(peer, shared, messages, why);
    }
}

/// Reports messages whose fate is unknown, to each flush that waits for them or else to the next one,
/// and to `close` if that waits.
pub(super) fn lost(peer: &mut Peer, shared: &mut Shared, messages: Range<u64>, why: Undeliverable) {
    let Lost { failed, rest } = peer.made_flushes().lost(&messages, why);
    shared.report.undelivered(peer.id, messages, why);
    shared.report.failed(peer.id, failed);
    if let Some(rest) = rest {
        shared.closing.lost(peer.id, &rest);
    }
}

/// Starts our stream anew where the peer has lost what it knew of it, and reports that.
pub(super) fn restart(peer: &mut Peer, shared: &mut Shared, continuity: Continuity) {
    let (undelivered, resent) = match continuity {
        Continuity::Continues => (Vec::new(), 0),
        Continuity::Lost => {
            let restarted = peer.session.outbox.restart(shared.config.on_peer_restart);
            (restarted.undelivered, restarted.resent)
        }
    };
    shared.report.event(Event::PeerRestarted {
        peer: peer.id,
        resent,
        undelivered: undelivered
            .iter()
            .map(|range| range.end - range.start)
            .sum(),
    });
    lost_all(peer, shared, undelivered, Undeliverable::PeerRestarted);
}

/// Forgets what is known of the peer's stream.
pub(super) fn forget_theirs(peer: &mut Peer) {
    peer.session.inbox.end();
    peer.session.their_half = None;
    peer.session.their_held = 0;
}

/// Takes back losses of which no caller has read: the flushes that wait for them report them, or else the
/// next one.
pub(super) fn return_losses(peer: &mut Peer, shared: &mut Shared, losses: &Losses) {
    let failed = peer.made_flushes().report(losses);
    shared.report.failed(peer.id, failed);
    shared.closing.lost(peer.id, losses);
}
