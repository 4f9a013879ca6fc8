//! Writes our acknowledgements, and reads those of the peer.

use std::time::{Duration, Instant};

use super::credit;
use crate::{
    Event,
    manager::{
        peer::{Peer, Session},
        shared::Shared,
        timers::Timer,
    },
    peer::{LinkId, credit::Limits, outbox::Acknowledged},
    transport::{Stage, Transport},
    wire::{
        code::CloseCode,
        frame::Frame,
        lines::{Ack, LineAck, Lines},
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
    if let Some(id) = peer.links.live() {
        credit::raise(id, peer, transport, shared);
        write(id, peer, transport);
    }
}

/// Writes an acknowledgement, with the limits of its connection. The first one on a connection that has become
/// the one to send on is LINES: what was stated on the one before may be lost.
fn write(id: LinkId, peer: &mut Peer, transport: &mut Transport) {
    let session = &mut peer.session;
    let link = transport.owned(id);
    let limits = link.tell_limits();
    let is_live = peer.links.live() == Some(id);
    let frame = match is_live && session.inbox.is_to_repeat() {
        true => Frame::Lines(lines(session, limits)),
        false => Frame::Ack(ack(session, limits)),
    };
    link.write_frame(&frame);
    if is_live {
        session.inbox.reported();
        session.held_reported = session.outbox.bytes() as u64;
    }
    transport.mark_ready(id);
}

/// Raises the limits on a connection to what the inbox can hold, and writes them if the other end waits for them.
pub(in crate::manager) fn grant(
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    if credit::raise(id, peer, transport, shared) && states_half(id, peer, transport) {
        write(id, peer, transport);
    }
}

/// Whether a connection is about the peer's present half: our numbers are of no other.
fn states_half(id: LinkId, peer: &Peer, transport: &Transport) -> bool {
    let stage = transport.link(id).map(|link| &link.stage);
    matches!(stage, Some(Stage::Confirmed(theirs)) if Some(theirs.mine.id) == peer.session.their_half)
}

/// Raises the limits on all connections.
pub(in crate::manager) fn grant_all(
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    for place in 0.. {
        let id = peer.links.confirmed().nth(place);
        let Some(id) = id else {
            break;
        };
        grant(id, peer, transport, shared);
    }
}

/// How far we are with a peer's half, for a connection with these limits.
pub(in crate::manager) fn ack(session: &Session, limits: Limits) -> Ack {
    Ack {
        held: session.outbox.bytes() as u64,
        passage: limits.passage,
        line: line_ack(session, limits).unwrap_or(LineAck {
            credit: limits.credit,
            ..LineAck::default()
        }),
    }
}

/// How far both ends are, for a connection with these limits.
pub(in crate::manager) fn lines(session: &Session, limits: Limits) -> Lines {
    let yours = line_ack(session, limits);
    Lines {
        held: session.outbox.bytes() as u64,
        first: session.outbox.outstanding().start,
        passage: limits.passage,
        has_seen: yours.is_some(),
        yours,
    }
}

fn line_ack(session: &Session, limits: Limits) -> Option<LineAck> {
    session.inbox.known().map(|known| LineAck {
        received: known.received,
        taken: known.taken,
        credit: limits.credit,
    })
}

/// The acknowledgement in LINES that follow the greeting.
pub(in crate::manager) fn of_lines(lines: &Lines) -> Ack {
    Ack {
        held: lines.held,
        passage: lines.passage,
        line: lines.yours.unwrap_or_default(),
    }
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
    let Acknowledged { taken, latency } =
        outbox.acknowledge(now, ack.line.received, ack.line.taken)?;
    peer.session.their_held = ack.held;
    shared.report.delivered(now, peer, taken);
    if let Some(latency) = latency {
        shared.report.measured(peer, latency);
    }
    if let Some(id) = peer.links.live() {
        transport.owned(id).received(ack.line.received);
        // What waited for this to leave may go on.
        transport.mark_ready(id);
    }
    shared.changed(peer);
    Ok(())
}

// Stalls

/// Has a peer that takes nothing reported after `stall_timeout`.
pub(in crate::manager) fn watch_for_stall(now: Instant, peer: &mut Peer, shared: &mut Shared) {
    peer.stalled_at = peer.session.outbox.outstanding().start;
    let at = now + shared.config.stall_timeout;
    shared.timers.set(Timer::Stall(peer.key), Some(at));
}

/// Reports a peer whose application has taken nothing since the deadline was armed.
pub(in crate::manager) fn stall_is_due(now: Instant, peer: &mut Peer, shared: &mut Shared) {
    if !peer.is_live() || !peer.is_owed() {
        return;
    }
    if peer.stalled_at == peer.session.outbox.outstanding().start {
        shared.report.event(Event::Stalled { peer: peer.id });
    }
    watch_for_stall(now, peer, shared);
}
