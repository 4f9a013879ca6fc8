//! Distinguishes several processes with one identity: lets them wait, refuses them, gives them the place.

use std::time::{Duration, Instant};

use super::close::{self, Close};
use crate::{
    Event, Incarnation, Reason, Undeliverable,
    manager::{peer::Peer, session, shared::Shared},
    peer::{LinkId, outbox::Continuity, processes::Claim},
    slots::Slots,
    transport::{Stage, Transport},
    wire::{
        code::{self, CloseCode},
        frame::Hello,
    },
};

/// Whether a hello is acted upon at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Admission {
    Admitted,
    /// It waits, or its connection is closed.
    NotNow,
}

/// Checks whether the process that sends a hello is the one to talk to. While another one is present it
/// waits.
pub(in crate::manager) fn check(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
    hello: &Hello,
) -> Admission {
    let presence = peer.links.presence();
    match peer.processes.judge(hello.incarnation, presence) {
        Claim::Same | Claim::Next => Admission::Admitted,
        Claim::Waits => {
            let_wait(now, id, peer, transport, hello);
            Admission::NotNow
        }
        Claim::Forgotten => {
            let forgotten = Close::new(CloseCode::Forgotten, Reason::Replaced);
            close::close(now, id, peer, transport, slots, shared, forgotten);
            Admission::NotNow
        }
    }
}

/// Has the newcomer wait until one of the two processes has proved to be alive. The present one may be
/// dead: that shows within a round trip, or within `liveness_timeout`, or at once if its successor resets
/// our packet. So may the newcomer, if its hello is late.
fn let_wait(now: Instant, id: LinkId, peer: &mut Peer, transport: &mut Transport, hello: &Hello) {
    transport.owned(id).stage = Stage::Waiting(Box::new(*hello));
    peer.processes.wait(now, id, hello.incarnation);
    transport.probe(id);
    probe_present(peer, transport);
}

/// Probes the present process, if others wait for its place.
pub(in crate::manager) fn probe_present(peer: &Peer, transport: &mut Transport) {
    let live = peer.links.live();
    if let Some(live) = live.filter(|_| peer.processes.is_contested()) {
        transport.probe(live);
    }
}

/// Refuses the processes that wait, if a connection of the present one has proved it to be alive.
pub(in crate::manager) fn refuse_waiting(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    if !peer.processes.is_contested() {
        return;
    }
    let link = transport.owned(id);
    if !matches!(link.stage, Stage::Confirmed(_)) {
        return;
    }
    let refused = link.answered().map(|at| peer.processes.refused(at));
    for link in refused.unwrap_or_default() {
        let close = Close::new(CloseCode::IdentityInUse, Reason::Replaced);
        close::close(now, link, peer, transport, slots, shared, close);
    }
}

/// Gives a waiting process the place of the present one, if it has proved to be alive and started later.
pub(in crate::manager) fn admit_waiting(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    let link = transport.owned(id);
    if !matches!(link.stage, Stage::Waiting(_)) {
        return;
    }
    let answered = link.answered();
    if !answered.is_some_and(|at| peer.processes.prevails(id, at)) {
        return;
    }
    for link in peer.links.confirmed().collect::<Vec<_>>() {
        let close = Close::new(CloseCode::IdentityInUse, Reason::Replaced);
        close::close(now, link, peer, transport, slots, shared, close);
    }
}

/// Closes the connection of a process that has waited for as long as a handshake may take: it may come
/// again.
pub(in crate::manager) fn waited_in_vain(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    let retry_after = retry_after(shared.fraction(peer, "retry after"));
    let close = Close {
        code: CloseCode::Busy,
        bytes: code::busy_reason(retry_after),
        reason: Reason::Busy {
            retry_after: Some(retry_after),
        },
    };
    close::close(now, id, peer, transport, slots, shared, close);
}

/// How long a peer is asked to stay away for which there is no room: a second, with jitter, so that peers
/// that were refused together do not return together.
pub(in crate::manager) fn retry_after(fraction: f64) -> Duration {
    Duration::from_secs(1).mul_f64(0.5 + fraction)
}

// Closes that concern our own process

/// Goes on as a process that is new to the peer: another one with our identity has had our place there,
/// and what the peer knew of us is gone.
pub(in crate::manager) fn forgotten(
    now: Instant,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    begin_anew(peer, shared);
    session::forget_theirs(peer);
    session::restart(peer, shared, Continuity::Lost);
    let replaced = (CloseCode::Replaced, Reason::Replaced);
    close::close_keeping_session(now, peer, transport, slots, shared, replaced);
}

/// Gives up what is queued: another process with our identity is alive and has our place at the peer.
pub(in crate::manager) fn superseded(peer: &mut Peer, shared: &mut Shared) {
    begin_anew(peer, shared);
    tracing::warn!(peer = ?peer.id, "another process uses our identity");
    shared.report.event(Event::IdentityInUse { peer: peer.id });
    session::give_up(peer, shared, Undeliverable::IdentityInUse);
}

/// Takes another incarnation for this peer, which has forgotten the one that we were.
fn begin_anew(peer: &mut Peer, shared: &mut Shared) {
    let random = u64::from_be_bytes(shared.stream(peer, "incarnation").bytes());
    peer.session.ours = Some(Box::new(Incarnation {
        random,
        ..shared.incarnation
    }));
}
