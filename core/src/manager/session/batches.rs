//! Fills connections with batches of messages.

use std::time::Instant;

use super::acknowledging;
use crate::{
    Flush,
    manager::{peer::Peer, shared::Shared},
    peer::LinkId,
    transport::Transport,
};

/// Closes the open batch of a peer that has waited for `batch_delay_max`.
pub(in crate::manager) fn batch_is_due(now: Instant, peer: &mut Peer, shared: &mut Shared) {
    if let Some(at) = peer.session.outbox.tail_queued_at()
        && at + shared.config.batch_delay_max <= now
    {
        peer.session.outbox.close_tail();
    }
    shared.changed(peer);
}

/// Hands a live connection as much data as it should have before its next packets are built.
pub(in crate::manager) fn fill(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    if peer.links.live() != Some(id) {
        return;
    }
    let in_flight_max = Transport::in_flight_max(&shared.config);
    let link = transport.owned(id);
    let accepts = peer.session.accepts;
    let body_bytes_max = accepts.map_or(0, |accepts| accepts.body_bytes as usize);
    let outbox = &mut peer.session.outbox;
    let half = outbox.half();
    let before = shared.report.counters.batches_sent;
    while link.wants_data(in_flight_max) {
        let gathers = shared.config.flush == Flush::Adaptive && link.is_dry();
        if gathers && !outbox.has_batch() {
            outbox.close_tail();
        }
        let Some(outgoing) = outbox.next_batch(body_bytes_max) else {
            break;
        };
        link.write_record(half, &outgoing);
        shared.report.counters.batches_sent += 1;
        shared.report.counters.messages_resent += outgoing.again;
        let delay = now.saturating_duration_since(outgoing.queued_at);
        shared.report.waited(delay);
    }
    if shared.report.counters.batches_sent == before {
        return;
    }
    shared.budget.count(peer);
    if peer.session.inbox.is_unreported() {
        acknowledging::acknowledge(peer, transport, shared);
    }
}
