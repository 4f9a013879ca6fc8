//! Writes and reads greetings. What follows from them is in `rules`.

use subtle::ConstantTimeEq;

use super::rules;
use crate::{
    manager::{
        context::Context,
        peer::Peer,
        session::{self, acknowledging, credit},
        shared::Shared,
    },
    peer::{LinkId, chooser::Dialler, credit::Limits},
    transport::{Checks, Link, Stage, Transport},
    wire::{code::CloseCode, grease::Grease, greeting::Greeting, hello::Hello, lines::Lines},
};

/// Writes our greeting.
pub(in crate::manager) fn write(
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
    checks: Checks,
) {
    let grease = Grease::draw(&mut shared.stream(peer, "grease"));
    let room = shared.budget.inbox_room(peer, 0);
    let can_dial = !peer.addresses.is_empty();
    let session = &mut peer.session;
    session.held_reported = session.outbox.bytes() as u64;
    let session = &*session;
    let ours = session.ours.as_deref().copied();
    let incarnation = ours.unwrap_or(shared.incarnation);
    let link = transport.owned(id);
    link.grant(room);
    let limits = link.tell_limits();
    let hello = Hello {
        incarnation,
        dial: (link.dialler == Dialler::Us).then_some(link.dial),
        check: checks.ours,
        can_dial,
        session_timeout: shared.config.session_timeout,
        half: session.outbox.half(),
        known: session.inbox.known().map(|known| known.id),
        accepts: shared.config.accepts(),
        passage: limits.passage,
        credit: limits.credit,
    };
    let lines = acknowledging::lines(session, limits);
    link.said = Some(incarnation);
    link.write_greeting(hello, lines, &grease);
}

/// Reads the peer's hello, which proves that both ends have the same keys.
pub(in crate::manager) fn read_hello(link: &mut Link, hello: Hello) -> Result<(), CloseCode> {
    let theirs = link.checks().theirs;
    let is_proved = match (theirs, hello.check) {
        (Some(theirs), Some(check)) => bool::from(theirs.ct_eq(&check)),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if !is_proved {
        return Err(CloseCode::SealingMismatch);
    }
    link.take_limits(Limits {
        credit: hello.credit,
        passage: hello.passage,
    });
    link.stage = Stage::Greeted(Some(Box::new(hello)));
    Ok(())
}

/// Acts upon the peer's hello and its first LINES.
pub(in crate::manager) fn read(
    cx: &mut Context<'_>,
    id: LinkId,
    hello: &Hello,
    lines: &Lines,
) -> Result<(), CloseCode> {
    let greeting = Greeting::new(hello, lines)?;
    cx.shared.half_open.release(id);
    let link = cx.transport.owned(id);
    link.take_limits(credit::limits_of(lines));
    link.stage = Stage::Greeted(None);
    act(cx, id, greeting)
}

/// Acts upon the greeting of a process that waits, once the place is free, or its own.
pub(in crate::manager) fn read_waiting(cx: &mut Context<'_>, id: LinkId) -> Result<(), CloseCode> {
    let Stage::Waiting(greeting) = &cx.transport.owned(id).stage else {
        return Ok(());
    };
    let greeting = **greeting;
    if !rules::is_let_in(cx, id) {
        return Ok(());
    }
    cx.transport.owned(id).stage = Stage::Greeted(None);
    act(cx, id, greeting)
}

fn act(cx: &mut Context<'_>, id: LinkId, greeting: Greeting) -> Result<(), CloseCode> {
    rules::greeted(cx, id, greeting)?;
    if cx.peer.is_live() {
        session::void_too_large(cx.peer, cx.shared);
    }
    Ok(())
}
