//! Admits peers that dial us: handshakes from their first packet to our hello.

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
    admission::Source,
    peer::{LinkId, PeerKey, chooser::Dialler, lifecycle::Cause},
    slots::Claim,
    transport::{Arrival, Incoming, Stage},
    wire::code::{self, CloseCode},
};

/// Passes a datagram to its connection, and decides about the handshake that it may begin.
pub(super) fn handle_datagram(parts: &mut Parts<'_>, datagram: Datagram) {
    let Parts {
        now,
        transport,
        shared,
        ..
    } = parts;
    let source = Source::from(datagram.remote.ip());
    let is_ours = |id: &[u8]| transport.has_chosen(id);
    let passes = shared.gate.admits(*now, source, &datagram.payload, is_ours);
    if !passes {
        shared.report.counters.first_packets_dropped += 1;
        return;
    }
    let arrival = match transport.handle_datagram(*now, datagram) {
        Arrival::Handshake(incoming) => admit_handshake(parts, source, incoming),
        arrival @ (Arrival::Routed
        | Arrival::Ignored
        | Arrival::ReplyDropped
        | Arrival::Overrun
        | Arrival::PathRefused) => arrival,
    };
    let counters = &mut parts.shared.report.counters;
    match arrival {
        Arrival::Routed | Arrival::Handshake(_) => {}
        Arrival::Ignored => counters.datagrams_ignored += 1,
        Arrival::ReplyDropped => counters.replies_dropped += 1,
        Arrival::PathRefused => counters.path_changes_refused += 1,
        Arrival::Overrun => counters.datagrams_overrun += 1,
    }
}

fn admit_handshake(parts: &mut Parts<'_>, source: Source, incoming: Incoming) -> Arrival {
    let now = parts.now;
    let is_full = parts.shared.half_open.is_full();
    if !parts.shared.closing.accepts() {
        return refuse(parts, incoming);
    }
    // Half of the places are for addresses that have proved themselves.
    if parts.shared.half_open.is_half_full() && !incoming.is_address_validated() {
        return parts.transport.retry(incoming);
    }
    if is_full {
        match parts.shared.half_open.makes_way(now, source) {
            Some(slow) => close_half_open(parts, slow),
            None => return refuse(parts, incoming),
        }
    }
    let Parts {
        transport, shared, ..
    } = parts;
    if let Some(link) = transport.accept(now, incoming) {
        shared.half_open.take(now, link, source);
        let at = now + shared.config.handshake_timeout;
        shared.timers.set(Timer::Handshake(link), Some(at));
    } else {
        shared.report.counters.handshakes_failed += 1;
    }
    Arrival::Routed
}

fn refuse(parts: &mut Parts<'_>, incoming: Incoming) -> Arrival {
    parts.shared.report.counters.handshakes_refused += 1;
    parts.transport.refuse(incoming)
}

/// Closes a connection whose greeting has not come, in time or in the time that there is for it.
fn close_half_open(parts: &mut Parts<'_>, id: LinkId) {
    let close = Close::new(CloseCode::HandshakeTimeout, Reason::HandshakeTimeout);
    match parts.transport.owned(id).owner {
        None => close::close_unowned(parts.now, id, parts.transport, parts.shared, close),
        Some(key) => close::close(&mut parts.at(key), id, close),
    }
}

/// Closes a connection whose hello has not come in time.
pub(super) fn handshake_timed_out(parts: &mut Parts<'_>, id: LinkId) {
    let Some(link) = parts.transport.link(id) else {
        return;
    };
    match (&link.stage, link.owner) {
        (Stage::Handshaking | Stage::Greeted(_), _) => close_half_open(parts, id),
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
            parts.shared.half_open.progress(parts.now, id);
            match admit(parts, found) {
                Ok(key) => {
                    let cx = &mut parts.at(key);
                    arrived(cx, id);
                    greet(cx, id);
                }
                Err(refusal) => {
                    parts.shared.half_open.release(id);
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
    let is_accepted = match (known.map(|peer| peer.standing), &shared.config.accept) {
        (Some(Standing::Blocked), _) => false,
        (_, Accept::Only(peers)) => peers.contains(&id),
        (Some(Standing::Added), _) | (_, Accept::Anyone) => true,
        (Some(Standing::Stranger) | None, Accept::Known) => false,
    };
    if !is_accepted || !shared.closing.accepts() {
        return Err(not_accepted());
    }
    // Peers that the application waits for may come: an answer may be what it waits for.
    let is_ours = known.is_some_and(|peer| peer.standing == Standing::Added || peer.is_owed());
    let max = shared.config.peers_max;
    // One stranger at least.
    let strangers_max = max - (max - 1) / 4;
    let is_full = known.is_none() && (peers.len() >= max || peers.strangers() >= strangers_max);
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
