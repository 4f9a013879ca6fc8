//! Admits peers that dial us: handshakes from their first packet to our hello.

use std::time::Instant;

use bytes::Bytes;

use super::{
    pairing::{
        close::{self, Close},
        hello, processes,
    },
    peer::{Peer, Peers, Standing},
    shared::Shared,
    slot_taking,
    timers::Timer,
};
use crate::{
    Accept, Datagram, PeerId, Reason,
    peer::{LinkId, chooser::Dialler, lifecycle::Cause},
    slots::{Claim, Slots},
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
pub(super) fn handshake_timed_out(
    now: Instant,
    id: LinkId,
    peers: &mut Peers,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    let Some(link) = transport.link(id) else {
        return;
    };
    let close = Close::new(CloseCode::HandshakeTimeout, Reason::HandshakeTimeout);
    match (&link.stage, link.owner) {
        (Stage::Handshaking | Stage::Greeted, None) => {
            close::close_unowned(now, id, transport, shared, close);
        }
        (Stage::Handshaking | Stage::Greeted, Some(key)) => {
            close::close(now, id, peers.owner(key), transport, slots, shared, close);
        }
        (Stage::Waiting(_), Some(key)) => {
            processes::waited_in_vain(now, id, peers.owner(key), transport, slots, shared);
        }
        (Stage::Waiting(_), None) | (Stage::Confirmed(_) | Stage::Closed, _) => {}
    }
}

/// Greets the other end of a connection whose TLS handshake is done, if it is the peer that was dialled or
/// may come in.
pub(super) fn established(
    now: Instant,
    id: LinkId,
    found: Option<PeerId>,
    peers: &mut Peers,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    // A process that stood still finds the end of a handshake and its deadline at once. If the deadline
    // came first, the connection is closed already.
    let handshaking = |stage: &Stage| matches!(stage, Stage::Handshaking);
    let link = transport.link(id);
    let Some(link) = link.filter(|link| handshaking(&link.stage)) else {
        return;
    };
    match (link.dialler, link.owner) {
        (Dialler::Us, Some(key)) => {
            let peer = peers.owner(key);
            if found == Some(peer.id) {
                return greet(now, id, peer, transport, slots, shared);
            }
            shared.report.counters.wrong_peers += 1;
            let close = Close::new(CloseCode::WrongPeer, Reason::WrongPeer { found });
            close::close(now, id, peer, transport, slots, shared, close);
        }
        (Dialler::Us, None) => {
            let close = Close::new(CloseCode::CalledOff, Reason::CalledOff);
            close::close_unowned(now, id, transport, shared, close);
        }
        (Dialler::Them, _) => {
            close::leave_handshake(id, transport, shared);
            match admit(now, found, peers, transport, slots, shared) {
                Ok(peer) => {
                    arrived(now, id, peer, transport, slots, shared);
                    greet(now, id, peer, transport, slots, shared);
                }
                Err(refusal) => {
                    shared.report.counters.handshakes_refused += 1;
                    close::close_unowned(now, id, transport, shared, refusal);
                }
            }
        }
    }
}

/// Decides whether a peer that has dialled us and proved its identity may come in.
fn admit<'a>(
    now: Instant,
    found: Option<PeerId>,
    peers: &'a mut Peers,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) -> Result<&'a mut Peer, Close> {
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
    if is_full || shared.budget.are_inboxes_overfull() && !is_ours {
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
        let peer = Peer::new(id, Standing::Stranger, line, &shared.config, now);
        peers.insert(peer).key
    });
    match slot_taking::claim(now, key, claim, peers, transport, slots, shared) {
        Ok(()) => return Ok(peers.owner(key)),
        Err(_) if known.is_none() => {
            peers.remove(key);
        }
        Err(_) => {
            peers.owner(key).refused_since.get_or_insert(now);
        }
    }
    Err(busy(id, shared))
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
fn arrived(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    transport.owned(id).owner = Some(peer.key);
    let surplus = peer.links.arrived(id);
    shared.report.moved(peer, Cause::Begun, Reason::Arriving);
    if let Some(oldest) = surplus {
        let close = Close::new(CloseCode::CalledOff, Reason::Replaced);
        close::close(now, oldest, peer, transport, slots, shared, close);
    }
}

/// Writes our hello on a connection whose keys are there.
fn greet(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    let link = transport.owned(id);
    link.stage = Stage::Greeted;
    let dial = link.dial;
    match link.establish(shared.config.mesh_key.as_ref()) {
        Ok(sealed) => hello::write(id, peer, transport, shared, (dial, sealed)),
        Err(code) => {
            let close = Close {
                code,
                bytes: Bytes::new(),
                reason: Reason::VersionMismatch,
            };
            close::close(now, id, peer, transport, slots, shared, close);
        }
    }
}
