//! Writes and reads hello. What follows from it is in `rules`.

use subtle::ConstantTimeEq;

use super::rules;
use crate::{
    Undeliverable,
    manager::{context::Context, peer::Peer, shared::Shared},
    peer::LinkId,
    transport::{Link, Stage, Transport},
    wire::{
        code::CloseCode,
        frame::{Frame, Hello, Sealed},
    },
};

/// Writes our hello.
pub(in crate::manager) fn write(
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &Shared,
    (dial, sealed): (u64, Sealed),
) {
    let can_dial = !peer.addresses.is_empty();
    let session = &mut peer.session;
    session.held_reported = session.outbox.bytes() as u64;
    let ours = session.ours.as_deref().copied();
    let incarnation = ours.unwrap_or(shared.incarnation);
    let hello = Hello {
        incarnation,
        dial,
        sealed,
        session_timeout: shared.config.session_timeout,
        accepts: shared.config.accepts(),
        mine: session.outbox.line(),
        yours: session.inbox.known(),
        can_dial,
    };
    let link = transport.owned(id);
    link.said = Some(incarnation);
    link.write_frame(&Frame::Hello(hello));
}

/// Acts upon the peer's hello.
pub(in crate::manager) fn read(
    cx: &mut Context<'_>,
    id: LinkId,
    hello: Hello,
) -> Result<(), CloseCode> {
    check_sealed(cx.transport.owned(id), &hello)?;
    rules::greeted(cx, id, hello)?;
    end_if_too_large(cx);
    Ok(())
}

/// Acts upon the hello of a process that waits, once the place is free, or its own.
pub(in crate::manager) fn read_waiting(cx: &mut Context<'_>, id: LinkId) -> Result<(), CloseCode> {
    let Stage::Waiting(hello) = &cx.transport.owned(id).stage else {
        return Ok(());
    };
    let hello = **hello;
    if !rules::is_let_in(cx, id) {
        return Ok(());
    }
    cx.transport.owned(id).stage = Stage::Greeted;
    read(cx, id, hello)
}

fn check_sealed(link: &Link, hello: &Hello) -> Result<(), CloseCode> {
    let is_equal = link.sealed().is_some_and(|ours| {
        ours.mode == hello.sealed.mode && bool::from(ours.check.ct_eq(&hello.sealed.check))
    });
    match is_equal {
        true => Ok(()),
        false => Err(CloseCode::SealingMismatch),
    }
}

/// Ends the session of a peer that will never take what waits for it: a message is longer than the peer
/// accepts, which shows only in its hello, and those after it must not overtake.
pub(in crate::manager) fn end_if_too_large(cx: &mut Context<'_>) {
    let max = cx.peer.message_bytes_max(&cx.shared.config);
    let size = cx.peer.session.outbox.longest_message();
    if cx.peer.is_live() && size > max {
        rules::end_session(cx, Undeliverable::TooLarge { size, max });
    }
}
