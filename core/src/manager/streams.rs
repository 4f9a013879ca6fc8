//! Handles what a connection delivers: events, control frames, records.

use std::time::Instant;

use super::{
    admission, datagrams, liveness,
    pairing::{
        close::{self, Close},
        hello,
        lost::{self, End},
        processes,
    },
    peer::{Peer, Peers},
    session::{self, acknowledging},
    shared::Shared,
};
use crate::{
    Event, Reason, Undeliverable,
    peer::LinkId,
    slots::Slots,
    transport::{Ending, Link, LinkEvent, Stage, Transport},
    wire::{
        code::CloseCode,
        frame::{Frame, LineId},
    },
};

/// Handles everything that has arrived on a connection.
pub(super) fn handle_news(
    now: Instant,
    id: LinkId,
    peers: &mut Peers,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    let has_ended = |link: &Link| link.ending.is_some();
    if transport.link(id).is_some_and(has_ended) {
        return;
    }
    while let Some(event) = transport.poll_event(id) {
        match event {
            LinkEvent::Established { peer } => {
                admission::established(now, id, peer, peers, transport, slots, shared);
            }
            LinkEvent::Ended(ending) => {
                // Kept until all others have delivered what has arrived on them.
                transport.owned(id).ending = Some(ending);
                return shared.work.mark_ended(id);
            }
        }
    }
    match transport.link(id).and_then(|link| link.owner) {
        Some(key) => deliver(now, id, peers.owner(key), transport, slots, shared),
        None => datagrams::read(id, None, transport, shared),
    }
}

fn deliver(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    processes::admit_waiting(now, id, peer, transport, slots, shared);
    let read = hello::read_waiting(now, id, peer, transport, slots, shared)
        .and_then(|()| read_frames(now, id, peer, transport, slots, shared))
        .and_then(|()| read_records(now, id, peer, transport, shared));
    if let Err(code) = read {
        shared.report.counters.violations += u64::from(code.is_violation());
        tracing::warn!(?id, code = code.name(), "the other end broke the protocol");
        let refused = Close::new(code, refusal(code));
        close::close(now, id, peer, transport, slots, shared, refused);
    }
    processes::refuse_waiting(now, id, peer, transport, slots, shared);
    // After the hello that may have come with them.
    datagrams::read(id, Some(peer), transport, shared);
    if shared.config.datagram_queue_bytes_max > 0 {
        datagrams::report_limit(peer, transport, shared);
    }
    let worn_out = |link: &Link| link.is_exhausted() && link.owner.is_some();
    if transport.link(id).is_some_and(worn_out) {
        let replaced = Close::with_ack(peer, CloseCode::Replaced, Reason::Replaced);
        close::close(now, id, peer, transport, slots, shared, replaced);
    }
}

fn read_frames(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) -> Result<(), CloseCode> {
    loop {
        let link = transport.owned(id);
        let is_greeted = match link.stage {
            Stage::Greeted => true,
            Stage::Confirmed(_) => false,
            Stage::Handshaking | Stage::Waiting(_) | Stage::Closed => return Ok(()),
        };
        match (link.read_frame()?, is_greeted) {
            (None, _) => return Ok(()),
            (Some(Frame::Hello(hello)), true) => {
                hello::read(now, id, peer, transport, slots, shared, hello)?;
            }
            (Some(Frame::Ack(ack)), false) => {
                acknowledging::acknowledged(now, peer, transport, shared, ack)?;
            }
            (Some(Frame::Ack(_)), true) | (Some(Frame::Hello(_)), false) => {
                return Err(CloseCode::UnexpectedHello);
            }
        }
    }
}

fn read_records(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
) -> Result<(), CloseCode> {
    let Some(line) = confirmed_line(transport.owned(id)) else {
        return Ok(());
    };
    let mut has_read = false;
    let read = loop {
        if !shared.budget.may_read(peer) {
            shared.budget.hold_back(peer);
            break Ok(());
        }
        let record = match transport.owned(id).read_record(line) {
            Ok(Some(record)) => record,
            Ok(None) => break Ok(()),
            Err(code) => break Err(code),
        };
        has_read = true;
        let (header, body) = record;
        let new = match peer.session.inbox.accept(line, &header, body) {
            Ok(new) => new,
            Err(code) => break Err(code),
        };
        if new == 0 {
            continue;
        }
        peer.last_used = now;
        shared.report.received(peer, new);
        if !std::mem::replace(&mut peer.is_readable_reported, true) {
            shared.report.event(Event::Readable { peer: peer.id });
        }
        shared.budget.count(peer);
    };
    if has_read && read.is_ok() {
        acknowledging::schedule(now, peer, transport, shared);
        shared.changed(peer);
    }
    read
}

fn confirmed_line(link: &Link) -> Option<LineId> {
    match &link.stage {
        Stage::Confirmed(hello) => Some(hello.mine.id),
        Stage::Handshaking | Stage::Greeted | Stage::Waiting(_) | Stage::Closed => None,
    }
}

/// Names a rule that the other end has broken.
const fn refusal(code: CloseCode) -> Reason {
    if code.is_violation() {
        return Reason::Violation(code.name());
    }
    if matches!(code, CloseCode::SealingMismatch) {
        return Reason::SealingMismatch;
    }
    Reason::VersionMismatch
}

// Ends

/// Handles the end of a connection that the other end has closed, or an error.
pub(super) fn handle_end(
    now: Instant,
    id: LinkId,
    peers: &mut Peers,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    let link = transport.owned(id);
    let ending = link.ending.take();
    let ending = ending.expect("invariant: a connection stays until its end is handled");
    match link.owner {
        Some(key) => ended(now, id, ending, peers.owner(key), transport, slots, shared),
        None => close::closed(id, transport, shared),
    }
    transport.mark_dirty(id);
}

fn ended(
    now: Instant,
    id: LinkId,
    ending: Ending,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    let link = transport.owned(id);
    let stale = is_stale(link, peer);
    let ours = peer.session.ours.as_deref().copied();
    let is_former = link.said != Some(ours.unwrap_or(shared.incarnation));
    liveness::note_end(now, peer, &ending);
    if let Some(ack) = ending.ack {
        // An acknowledgement of what was never sent changes nothing, and there is nothing left to close.
        let _ = acknowledging::acknowledged(now, peer, transport, shared, ack);
    }
    let end = match ending.code {
        Some(code) if code.is_deliberate() => End::Deliberate,
        Some(_) | None => End::Error,
    };
    // A close that concerns an incarnation which we have given up does not concern the present one.
    let current = |code: &CloseCode| {
        let is_about_us = *code == CloseCode::Forgotten || *code == CloseCode::IdentityInUse;
        let is_about_session = *code != CloseCode::Forgotten;
        !(is_about_us && is_former || is_about_session && stale)
    };
    let code = ending.code.filter(current);
    // First, so that nothing is left to dial for.
    match code {
        Some(CloseCode::Goodbye) => session::give_up(peer, shared, Undeliverable::Goodbye),
        Some(CloseCode::IdentityInUse) => processes::superseded(peer, shared),
        Some(_) | None => {}
    }
    close::closed(id, transport, shared);
    lost::lost(
        now,
        id,
        peer,
        transport,
        slots,
        shared,
        (end, ending.reason),
    );
    match code {
        Some(CloseCode::Goodbye) => {
            let why = Undeliverable::Goodbye;
            close::end_session(now, peer, transport, slots, shared, why);
        }
        Some(CloseCode::Forgotten) => {
            processes::forgotten(now, peer, transport, slots, shared);
        }
        Some(CloseCode::IdentityInUse) => {
            let replaced = (CloseCode::Replaced, Reason::Replaced);
            close::close_keeping_session(now, peer, transport, slots, shared, replaced);
        }
        Some(_) | None => {}
    }
}

/// Whether a connection is about a stream that the peer has given up since, or that is not the peer's:
/// another process with its identity has begun it.
fn is_stale(link: &Link, peer: &Peer) -> bool {
    match &link.stage {
        Stage::Confirmed(hello) => Some(hello.mine.id) != peer.session.their_line,
        Stage::Waiting(_) => true,
        // An end that ends its session closes the connection that is confirmed, too.
        Stage::Handshaking | Stage::Greeted => peer.is_live(),
        Stage::Closed => false,
    }
}
