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
    peer::{LinkId, credit::Limits},
    transport::{Ending, Link, LinkEvent, Stage, Transport},
    wire::{code::CloseCode, frame::Frame, hello::HalfId, lines::Ack},
};

/// Handles what has arrived on a connection, as much of it as its turn has room for.
pub(super) fn handle_news(parts: &mut Parts<'_>, id: LinkId) {
    let has_ended = |link: &Link| link.ending.is_some();
    if parts.transport.link(id).is_some_and(has_ended) {
        return;
    }
    parts.transport.feed(id);
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
    let link = cx.transport.owned(id);
    let (frames, streams) = link.take_skipped();
    link.charge(frames + streams);
    cx.shared.report.counters.frames_skipped += frames;
    cx.shared.report.counters.streams_dropped += streams;
    if let Err(code) = read {
        violated(cx, id, code);
    }
    processes::refuse_waiting(cx, id);
    // After the greeting that may have come with them.
    datagrams::read(id, Some(cx.peer), cx.transport, cx.shared);
    if cx.shared.config.datagram_queue_bytes_max > 0 {
        datagrams::report_limit(cx.peer, cx.transport, cx.shared);
    }
    let now = cx.now;
    let link = cx.transport.link_mut(id);
    if let Some(link) = link.filter(|link| link.owner.is_some())
        && let Err(code) = link.settle_prices(now)
    {
        violated(cx, id, code);
    }
    let worn_out = |link: &Link| link.is_exhausted() && link.owner.is_some();
    if cx.transport.link(id).is_some_and(worn_out) {
        let replaced = Close::with_ack(cx.peer, CloseCode::Replaced, Reason::Replaced);
        close::close(cx, id, replaced);
    }
}

/// Closes a connection whose other end has broken a rule.
fn violated(cx: &mut Context<'_>, id: LinkId, code: CloseCode) {
    cx.shared.report.counters.violations += u64::from(code.is_violation());
    tracing::warn!(?id, code = code.name(), "the other end broke the protocol");
    close::close(cx, id, Close::new(code, refusal(code)));
}

fn read_frames(cx: &mut Context<'_>, id: LinkId) -> Result<(), CloseCode> {
    loop {
        let link = cx.transport.owned(id);
        if !matches!(link.stage, Stage::Greeted(_) | Stage::Confirmed(_)) || link.is_spent() {
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
                let limits = credit::limits_of(&lines);
                acknowledged(cx, id, limits, acknowledging::of_lines(&lines))?;
            }
            (Stage::Confirmed(_), Frame::Ack(ack)) => {
                acknowledged(cx, id, credit::limits_of_ack(&ack), ack)?;
            }
            (_, Frame::Hello(_) | Frame::Lines(_) | Frame::Ack(_)) => {
                return Err(CloseCode::UnexpectedHello);
            }
        }
    }
}

fn acknowledged(
    cx: &mut Context<'_>,
    id: LinkId,
    limits: Limits,
    ack: Ack,
) -> Result<(), CloseCode> {
    let before = cx.peer.session.outbox.acknowledged();
    let is_raised = cx.transport.owned(id).take_limits(limits);
    acknowledging::acknowledged(cx.now, cx.peer, cx.transport, cx.shared, ack)?;
    let is_news = is_raised || cx.peer.session.outbox.acknowledged() != before;
    cx.transport.owned(id).price(is_news);
    Ok(())
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
        let link = transport.owned(id);
        if link.is_spent() {
            break Ok(());
        }
        let record = match link.read_record(line) {
            Ok(Some(record)) => record,
            Ok(None) => break Ok(()),
            Err(code) => break Err(code),
        };
        has_read = true;
        let (header, body) = record;
        let known = peer.session.inbox.received();
        let new = match peer.session.inbox.accept(line, &header, body) {
            Ok(new) => new,
            Err(code) => break Err(code),
        };
        // What an end has written of a half that it has given up since is none of its present one.
        let is_of_former = peer.session.their_half != Some(line);
        let is_news = is_of_former || peer.session.inbox.received() != known;
        transport.owned(id).price(is_news);
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
