//! Grants credit: how much the other end may write before the application has taken more.

use crate::{
    manager::{peer::Peer, shared::Shared},
    peer::{LinkId, credit::Limits},
    transport::{Link, Transport},
    wire::lines::{Ack, Lines},
};

/// Raises the limits on a connection. Returns whether the other end waits for them.
pub(in crate::manager) fn raise(
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
) -> bool {
    count(peer, transport, shared);
    let link = transport.owned(id);
    let room = shared
        .budget
        .room_for_record(id, peer, link.begun(), link.wanted());
    let before = link.outstanding_credit();
    let is_due = link.grant(room);
    let more = link.outstanding_credit() - before;
    if more > 0 {
        peer.session.granted = peer.session.granted.saturating_add(to_u32(more));
        shared.budget.count(peer);
    }
    is_due
}

/// Counts what the peer may send at any time.
pub(in crate::manager) fn count(peer: &mut Peer, transport: &Transport, shared: &mut Shared) {
    let links = peer.links.confirmed().filter_map(|id| transport.link(id));
    let granted = to_u32(links.map(Link::outstanding_credit).sum());
    if std::mem::replace(&mut peer.session.granted, granted) != granted {
        shared.budget.count(peer);
    }
}

/// Credit is a part of `memory_max`, which is below 4 GiB in any process that counts on it.
fn to_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The limits in LINES.
pub(in crate::manager) fn limits_of(lines: &Lines) -> Limits {
    Limits {
        credit: lines.yours.map_or(0, |line| line.credit),
        passage: lines.passage,
    }
}

/// The limits in an acknowledgement.
pub(in crate::manager) const fn limits_of_ack(ack: &Ack) -> Limits {
    Limits {
        credit: ack.line.credit,
        passage: ack.passage,
    }
}
