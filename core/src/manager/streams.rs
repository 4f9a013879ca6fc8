//! Handles what a connection delivers: events, control frames, records.

use std::time::Instant;

use super::{
    admission,
    context::{Context, Parts},
    datagrams, liveness,
    pairing::{
        close::{self, Close},
        greeting,
        lost::{self, End},
        processes, rules,
    },
    peer::Peer,
    session::{acknowledging, credit},
    shared::Shared,
};
use crate::{
    Event, Reason,
    peer::LinkId,
    transport::{Ending, Link, LinkEvent, Stage, Transport},
    wire::{code::CloseCode, frame::Frame, hello::HalfId},
};

/// Handles everything that has arrived on a connection.
pub(super) fn handle_news(parts: &mut Parts<'_>, id: LinkId) {
    let has_ended = |link: &Link| link.ending.is_some();
    if parts.transport.link(id).is_some_and(has_ended) {
        return;
    }
    while let Some(event) = parts.transport.poll_event(parts.now, id) {
        match event {
            LinkEvent::Established { peer } => admission::established(parts, id, peer),
            LinkEvent::Ended(ending) => {
                // Kept until all others have delivered what has arrived on them.
                parts.transport.owned(id).ending = Some(ending);
                return parts.shared.work.mark_ended(id);
            }
        }
    }
    match parts.transport.link(id).and_then(|link| link.owner) {
        Some(key) => deliver(&mut parts.at(key), id),
        None => datagrams::read(id, None, parts.transport, parts.shared),
    }
}

fn deliver(cx: &mut Context<'_>, id: LinkId) {
    processes::admit_waiting(cx, id);
    let read = greeting::read_waiting(cx, id)
        .and_then(|()| read_frames(cx, id))
        .and_then(|()| read_records(cx.now, id, cx.peer, cx.transport, cx.shared));
    if let Err(code) = read {
        cx.shared.report.counters.violations += u64::from(code.is_violation());
        tracing::warn!(?id, code = code.name(), "the other end broke the protocol");
        close::close(cx, id, Close::new(code, refusal(code)));
    }
    let (frames, streams) = cx.transport.owned(id).take_skipped();
    cx.shared.report.counters.frames_skipped += frames;
    cx.shared.report.counters.streams_dropped += streams;
    processes::refuse_waiting(cx, id);
    // After the greeting that may have come with them.
    datagrams::read(id, Some(cx.peer), cx.transport, cx.shared);
    if cx.shared.config.datagram_queue_bytes_max > 0 {
        datagrams::report_limit(cx.peer, cx.transport, cx.shared);
    }
    let worn_out = |link: &Link| link.is_exhausted() && link.owner.is_some();
    if cx.transport.link(id).is_some_and(worn_out) {
        let replaced = Close::with_ack(cx.peer, CloseCode::Replaced, Reason::Replaced);
        close::close(cx, id, replaced);
    }
}

fn read_frames(cx: &mut Context<'_>, id: LinkId) -> Result<(), CloseCode> {
    loop {
        let link = cx.transport.owned(id);
        if !matches!(link.stage, Stage::Greeted(_) | Stage::Confirmed(_)) {
            return Ok(());
        }
        let Some(frame) = link.read_frame()? else {
            return Ok(());
        };
        match (&link.stage, frame) {
            (Stage::Greeted(None), Frame::Hello(hello)) => greeting::read_hello(link, hello)?,
            (Stage::Greeted(Some(hello)), Frame::Lines(lines)) => {
                let hello = **hello;
                greeting::read(cx, id, &hello, &lines)?;
            }
            (Stage::Confirmed(_), Frame::Lines(lines)) => {
                acknowledging::lines_repeated(
                    cx.now,
                    id,
                    cx.peer,
                    cx.transport,
                    cx.shared,
                    &lines,
                )?;
            }
            (Stage::Confirmed(_), Frame::Ack(ack)) => {
                link.take_limits(credit::limits_of_ack(&ack));
                acknowledging::acknowledged(cx.now, cx.peer, cx.transport, cx.shared, ack)?;
            }
            (_, Frame::Hello(_) | Frame::Lines(_) | Frame::Ack(_)) => {
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
    let Some(line) = confirmed_half(transport.owned(id)) else {
        return Ok(());
    };
    let mut has_read = false;
    let read = loop {
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
    read?;
    acknowledging::grant(id, peer, transport, shared);
    if has_read {
        acknowledging::schedule(now, peer, transport, shared);
        shared.changed(peer);
    }
    Ok(())
}

fn confirmed_half(link: &Link) -> Option<HalfId> {
    match &link.stage {
        Stage::Confirmed(greeting) => Some(greeting.mine.id),
        Stage::Handshaking | Stage::Greeted(_) | Stage::Waiting(_) | Stage::Closed => None,
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
pub(super) fn handle_end(parts: &mut Parts<'_>, id: LinkId) {
    let link = parts.transport.owned(id);
    let ending = link.ending.take();
    let ending = ending.expect("invariant: a connection stays until its end is handled");
    match link.owner {
        Some(key) => ended(&mut parts.at(key), id, ending),
        None => close::closed(id, parts.transport, parts.shared),
    }
    parts.transport.mark_dirty(id);
}

fn ended(cx: &mut Context<'_>, id: LinkId, ending: Ending) {
    liveness::note_end(cx.now, cx.peer, &ending);
    if let Some(ack) = ending.ack {
        // An acknowledgement of what was never sent changes nothing, and there is nothing left to close.
        let _ = acknowledging::acknowledged(cx.now, cx.peer, cx.transport, cx.shared, ack);
    }
    let end = match ending.code {
        Some(code) if code.is_deliberate() => End::Deliberate,
        Some(_) | None => End::Error,
    };
    rules::closed(cx, id, ending.code, |cx| {
        close::closed(id, cx.transport, cx.shared);
        lost::lost(cx, id, end, ending.reason);
    });
}
