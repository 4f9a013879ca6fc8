//! Closes connections from this end, and counts those that either end has closed.

use std::time::Instant;

use bytes::Bytes;

use super::lost::{self, End};
use crate::{
    Reason,
    manager::{
        context::Context, datagrams, peer::Peer, session::acknowledging, shared::Shared,
        timers::Timer,
    },
    peer::{LinkId, credit::Limits},
    transport::{Stage, Transport},
    wire::code::{self, CloseCode},
};

/// How a connection is closed.
#[derive(Debug, Clone)]
pub(in crate::manager) struct Close {
    pub(in crate::manager) code: CloseCode,
    /// What goes with the code.
    pub(in crate::manager) bytes: Bytes,
    /// The reason in the event of the application.
    pub(in crate::manager) reason: Reason,
}

impl Close {
    pub(in crate::manager) const fn new(code: CloseCode, reason: Reason) -> Self {
        Self {
            code,
            bytes: Bytes::new(),
            reason,
        }
    }

    /// A deliberate close that carries an acknowledgement.
    pub(in crate::manager) fn with_ack(peer: &Peer, code: CloseCode, reason: Reason) -> Self {
        Self {
            code,
            bytes: code::ack_reason(&acknowledging::ack(&peer.session, Limits::default())),
            reason,
        }
    }
}

/// Closes a connection of a peer.
pub(in crate::manager) fn close(cx: &mut Context<'_>, id: LinkId, close: Close) {
    let end = match close.code.is_error() {
        true => End::Error,
        false => End::Deliberate,
    };
    let reason = close.reason.clone();
    close_unowned(cx.now, id, cx.transport, cx.shared, close);
    lost::lost(cx, id, end, reason);
}

/// Closes a connection that no peer has, or of which the peer learns otherwise.
pub(in crate::manager) fn close_unowned(
    now: Instant,
    id: LinkId,
    transport: &mut Transport,
    shared: &mut Shared,
    Close { code, bytes, .. }: Close,
) {
    transport.close(now, id, code, bytes);
    transport.mark_ready(id);
    closed(id, transport, shared);
}

/// Counts a connection as closed, by either end.
pub(in crate::manager) fn closed(id: LinkId, transport: &mut Transport, shared: &mut Shared) {
    shared.timers.set(Timer::Handshake(id), None);
    datagrams::count_fates(id, transport, shared);
    shared.budget.finish_record(id);
    if shared.half_open.release(id) {
        shared.report.counters.handshakes_failed += 1;
    }
    let link = transport.owned(id);
    link.stage = Stage::Closed;
    link.owner = None;
}
