//! Fills packets: control and data first, and datagrams when it is their turn.

use std::time::Instant;

use super::{datagrams, peer::Peers, session::batches, shared::Shared};
use crate::{Transmit, peer::LinkId, transport::Transport};

/// The connection's next packets.
pub(super) fn poll(
    now: Instant,
    id: LinkId,
    peers: &mut Peers,
    transport: &mut Transport,
    shared: &mut Shared,
    buf: &mut Vec<u8>,
) -> Option<Transmit> {
    let owner = transport.link(id).and_then(|link| link.owner);
    let mut peer = owner.map(|key| peers.owner(key));
    if let Some(peer) = peer.as_deref_mut() {
        batches::fill(now, id, peer, transport, shared);
        datagrams::fill(id, peer, transport, shared);
    }
    let transmit = transport.poll_transmit(now, id, buf);
    if let Some(peer) = peer.filter(|_| transmit.is_none())
        && datagrams::fill(id, peer, transport, shared)
    {
        // Streams have nothing to send, so datagrams have the connection's next turn.
        transport.mark_ready(id);
    }
    datagrams::count_fates(id, transport, shared);
    transmit
}
