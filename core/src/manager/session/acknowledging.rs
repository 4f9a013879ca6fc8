//! Writes our acknowledgements, and reads those of the peer.

use std::time::{Duration, Instant};

use crate::{
    Event,
    manager::{peer::Peer, shared::Shared, timers::Timer},
    peer::outbox::Acknowledged,
    transport::Transport,
    wire::{
        code::CloseCode,
        frame::{Ack, Frame},
        varint,
    },
};

/// How long an acknowledgement waits for others: short beside a human's patience with `flush`, long beside
/// the time between two packets.
pub(in crate::manager) const ACK_DELAY: Duration = Duration::from_millis(5);

/// Bytes received or taken after which an acknowledgement leaves at once, so that a sender's outbox of the
/// default size never runs full for want of one.
const ACK_BYTES: usize = 128 * 1024;

/// Acknowledges messages whose acknowledgement is outstanding, at once or within `ACK_DELAY`.
pub(in crate::manager) fn schedule(
    now: Instant,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    let inbox = &peer.session.inbox;
    if !peer.is_live() || !inbox.is_unreported() {
        return;
    }
    if inbox.unreported_bytes() >= ACK_BYTES {
        acknowledge(peer, transport, shared);
    } else {
        let timer = Timer::Acknowledge(peer.key);
        shared.timers.set_by(timer, now + ACK_DELAY);
    }
}

/// Writes an acknowledgement, if the peer is connected.
pub(in crate::manager) fn acknowledge(
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    shared.timers.set(Timer::Acknowledge(peer.key), None);
    let Some(id) = peer.links.live() else {
        return;
    };
    let ack = acknowledgement(peer);
    peer.session.inbox.reported();
    peer.session.held_reported = ack.held;
    transport.owned(id).write_frame(&Frame::Ack(ack));
    transport.mark_ready(id);
}

/// How far we are with a peer's stream.
pub(in crate::manager) fn acknowledgement(peer: &Peer) -> Ack {
    let held = peer.session.outbox.bytes() as u64;
    let ack = peer.session.inbox.acknowledgement(held);
    ack.unwrap_or(Ack {
        received: 0,
        taken: 0,
        held: held.min(varint::MAX),
    })
}

/// Reads an acknowledgement of the peer.
pub(in crate::manager) fn acknowledged(
    now: Instant,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
    ack: Ack,
) -> Result<(), CloseCode> {
    let outbox = &mut peer.session.outbox;
    let Acknowledged { taken, latency } = outbox.acknowledge(now, ack.received, ack.taken)?;
    peer.session.their_held = ack.held;
    shared.report.delivered(now, peer, taken);
    if let Some(latency) = latency {
        shared.report.measured(peer, latency);
    }
    if let Some(id) = peer.links.live() {
        transport.owned(id).received(ack.received);
        // What waited for this to leave may go on.
        transport.mark_ready(id);
    }
    shared.changed(peer);
    Ok(())
}

// Stalls

/// Has a peer that takes nothing reported after `stall_timeout`.
pub(in crate::manager) fn watch_for_stall(now: Instant, peer: &mut Peer, shared: &mut Shared) {
    peer.stalled_at = Some(peer.session.outbox.outstanding().start);
    let at = now + shared.config.stall_timeout;
    shared.timers.set(Timer::Stall(peer.key), Some(at));
}

/// Reports a peer whose application has taken nothing since the deadline was armed.
pub(in crate::manager) fn stall_is_due(now: Instant, peer: &mut Peer, shared: &mut Shared) {
    if !peer.is_live() || !peer.is_owed() {
        return;
    }
    if peer.stalled_at == Some(peer.session.outbox.outstanding().start) {
        shared.report.event(Event::Stalled { peer: peer.id });
    }
    watch_for_stall(now, peer, shared);
}
