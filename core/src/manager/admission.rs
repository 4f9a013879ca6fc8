//! Admits peers that dial us: handshakes from their first packet to our hello.

use std::time::Instant;

use super::{
    context::{Context, Parts},
    pairing::{
        close::{self, Close},
        greeting, processes, rules,
    },
    peer::{Peer, Standing},
    pressure,
    shared::Shared,
    slot_taking,
    timers::Timer,
};
use crate::{
    Accept, Datagram, PeerId, Reason,
    peer::{LinkId, PeerKey, chooser::Dialler, lifecycle::Cause},
    slots::Claim,
    transport::{Arrival, Incoming, Stage, Transport},
    wire::code::{self, CloseCode},
};

/// Routes a datagram, and decides about the handshake that it may begin.
pub(super) fn handle_datagram(
    now: Instant,
    transport: &mut Transport,
    shared: &mut Shared,
    datagram: Datagram,
) {
    let arrival = match transport.handle_datagram(now, datagram) {
        Arrival::Handshake(incoming) => admit_handshake(now, transport, shared, incoming),
        arrival @ (Arrival::Routed | Arrival::Ignored | Arrival::ReplyDropped) => arrival,
    };
    match arrival {
        Arrival::Routed | Arrival::Handshake(_) => {}
        Arrival::Ignored => shared.report.counters.datagrams_ignored += 1,
        Arrival::ReplyDropped => shared.report.counters.replies_dropped += 1,
    }
}

fn admit_handshake(
    now: Instant,
    transport: &mut Transport,
    shared: &mut Shared,
    incoming: Incoming,
) -> Arrival {
    let max = shared.config.handshakes_max;
    if shared.handshakes >= max || !shared.closing.accepts() {
        shared.report.counters.handshakes_refused += 1;
        return transport.refuse(incoming);
    }
    // Half of the places are for addresses that have proved themselves.
    if shared.handshakes * 2 >= max && !incoming.is_address_validated() {
        return transport.retry(incoming);
    }
    if let Some(link) = transport.accept(now, incoming) {
        shared.handshakes += 1;
        let at = now + shared.config.handshake_timeout;
        shared.timers.set(Timer::Handshake(link), Some(at));
    } else {
        shared.report.counters.handshakes_failed += 1;
    }
    Arrival::Routed
}

/// Closes a connection whose hello has not come in time.
pub(super) fn handshake_timed_out(parts: &mut Parts<'_>, id: LinkId) {
    let Some(link) = parts.transport.link(id) else {
        return;
    };
    let close = Close::new(CloseCode::HandshakeTimeout, Reason::HandshakeTimeout);
    match (&link.stage, link.owner) {
        (Stage::Handshaking | Stage::Greeted(_), None) => {
            close::close_unowned(parts.now, id, parts.transport, parts.shared, close);
        }
        (Stage::Handshaking | Stage::Greeted(_), Some(key)) => {
            close::close(&mut parts.at(key), id, close);
        }
        (Stage::Waiting(_), Some(key)) => processes::waited_in_vain(&mut parts.at(key), id),
        (Stage::Waiting(_), None) | (Stage::Confirmed(_) | Stage::Closed, _) => {}
    }
}

/// Greets the other end of a connection whose TLS handshake is done, if it is the peer that was dialled or
/// may come in.
pub(super) fn established(parts: &mut Parts<'_>, id: LinkId, found: Option<PeerId>) {
    // A process that stood still finds the end of a handshake and its deadline at once. If the deadline
    // came first, the connection is closed already.
    let handshaking = |stage: &Stage| matches!(stage, Stage::Handshaking);
    let link = parts.transport.link(id);
    let Some(link) = link.filter(|link| handshaking(&link.stage)) else {
        return;
    };
    match (link.dialler, link.owner) {
        (Dialler::Us, Some(key)) => {
            let cx = &mut parts.at(key);
            if found == Some(cx.peer.id) {
                return greet(cx, id);
            }
            cx.shared.report.counters.wrong_peers += 1;
            let reason = Reason::WrongPeer { found };
            close::close(cx, id, Close::new(CloseCode::WrongPeer, reason));
        }
        (Dialler::Us, None) => {
            let close = Close::new(CloseCode::CalledOff, Reason::CalledOff);
            close::close_unowned(parts.now, id, parts.transport, parts.shared, close);
        }
        (Dialler::Them, _) => {
            close::leave_handshake(id, parts.transport, parts.shared);
            match admit(parts, found) {
                Ok(key) => {
                    let cx = &mut parts.at(key);
                    arrived(cx, id);
                    greet(cx, id);
                }
                Err(refusal) => {
                    parts.shared.report.counters.handshakes_refused += 1;
                    close::close_unowned(parts.now, id, parts.transport, parts.shared, refusal);
                }
            }
        }
    }
}

/// Decides whether a peer that has dialled us and proved its identity may come in.
fn admit(parts: &mut Parts<'_>, found: Option<PeerId>) -> Result<PeerKey, Close> {
    let is_tight = pressure::keeps_strangers_out(parts);
    let Parts {
        now, peers, shared, ..
    } = parts;
    let not_accepted = || Close::new(CloseCode::NotAccepted, Reason::NotAccepted);
    let id = found
        .filter(|id| *id != shared.id)
        .ok_or_else(not_accepted)?;
    let known = peers.find(id);
    let is_accepted = match (known.map(|peer| peer.standing), shared.config.accept) {
        (Some(Standing::Blocked), _) => false,
        (Some(Standing::Added), _) | (_, Accept::Anyone) => true,
        (Some(Standing::Stranger) | None, Accept::Known) => false,
    };
    if !is_accepted || !shared.closing.accepts() {
        return Err(not_accepted());
    }
    // Peers that the application waits for may come: an answer may be what it waits for.
    let is_ours = known.is_some_and(|peer| peer.standing == Standing::Added || peer.is_owed());
    let is_full = known.is_none() && peers.len() >= shared.config.peers_max;
    let is_tight = is_tight || shared.budget.are_inboxes_overfull();
    if is_full || is_tight && !is_ours {
        return Err(busy(id, shared));
    }
    let claim = Claim::Arrival {
        waits_since: known
            .and_then(|peer| peer.refused_since)
            .filter(|_| is_ours),
    };
    let known = known.map(|peer| peer.key);
    let key = known.unwrap_or_else(|| {
        let line = shared.new_line(id);
        let peer = Peer::new(id, Standing::Stranger, line, &shared.config, *now);
        peers.insert(peer).key
    });
    match slot_taking::claim(parts, key, claim) {
        Ok(()) => return Ok(key),
        Err(_) if known.is_none() => {
            parts.peers.remove(key);
        }
        Err(_) => {
            let peer = parts.peers.owner(key);
            peer.refused_since.get_or_insert(parts.now);
        }
    }
    Err(busy(id, parts.shared))
}

fn busy(id: PeerId, shared: &Shared) -> Close {
    // The same each time: the peer adds its own jitter to it.
    let fraction = shared.fraction_for(id, "retry after");
    Close {
        code: CloseCode::Busy,
        bytes: code::busy_reason(processes::retry_after(fraction)),
        reason: Reason::Busy { retry_after: None },
    }
}

/// Gives a connection that a peer has begun to the peer.
fn arrived(cx: &mut Context<'_>, id: LinkId) {
    cx.transport.owned(id).owner = Some(cx.peer.key);
    cx.shared
        .report
        .moved(cx.peer, Cause::Begun, Reason::Arriving);
    rules::arrived(cx, id);
}

/// Writes our greeting on a connection whose keys are there.
fn greet(cx: &mut Context<'_>, id: LinkId) {
    let link = cx.transport.owned(id);
    link.stage = Stage::Greeted(None);
    match link.establish(cx.shared.config.mesh_key.as_ref()) {
        Ok(checks) => greeting::write(id, cx.peer, cx.transport, cx.shared, checks),
        Err(code) => close::close(cx, id, Close::new(code, Reason::VersionMismatch)),
    }
}
