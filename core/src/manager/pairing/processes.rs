//! Distinguishes several processes with one identity: lets them wait, refuses them, gives them the place.

use std::time::Duration;

use super::{
    close::{self, Close},
    rules,
};
use crate::{
    Reason,
    manager::context::Context,
    peer::LinkId,
    transport::Stage,
    wire::code::{self, CloseCode},
};

/// Refuses the processes that wait, if a connection of the present one has proved it to be alive.
pub(in crate::manager) fn refuse_waiting(cx: &mut Context<'_>, id: LinkId) {
    if !cx.peer.processes.is_contested() {
        return;
    }
    let link = cx.transport.owned(id);
    let answered = link.answered();
    if let (Stage::Confirmed(_), Some(at)) = (&link.stage, answered) {
        rules::proved_alive(cx, id, at);
    }
}

/// Gives a waiting process the place of the present one, if it has proved to be alive and started later.
pub(in crate::manager) fn admit_waiting(cx: &mut Context<'_>, id: LinkId) {
    let link = cx.transport.owned(id);
    if !matches!(link.stage, Stage::Waiting(_)) {
        return;
    }
    if let Some(at) = link.answered() {
        rules::proved_alive(cx, id, at);
    }
}

/// Closes the connection of a process that has waited for as long as a handshake may take: it may come
/// again.
pub(in crate::manager) fn waited_in_vain(cx: &mut Context<'_>, id: LinkId) {
    let retry_after = retry_after(cx.shared.fraction(cx.peer, "retry after"));
    let close = Close {
        code: CloseCode::Busy,
        bytes: code::busy_reason(retry_after),
        reason: Reason::Busy {
            retry_after: Some(retry_after),
        },
    };
    close::close(cx, id, close);
}

/// How long a peer is asked to stay away for which there is no room: a second, with jitter, so that peers
/// that were refused together do not return together.
pub(in crate::manager) fn retry_after(fraction: f64) -> Duration {
    Duration::from_secs(1).mul_f64(0.5 + fraction)
}
