//! Datagrams: messages that are sent once, outside of any session.
//!
//! They leave on a live connection and on no other, dial no peer, are not repeated, and are no use of a
//! connection: one that carries nothing else expires.

use bytes::Bytes;

use super::{peer::Peer, shared::Shared};
use crate::{
    Event, Message, SendDatagramError,
    driver::DatagramQueue,
    peer::{LinkId, datagrams},
    transport::{Link, Stage, Transport, Unwritten},
    wire::datagram::Refused,
};

/// The part of `memory_max` that the datagrams of all peers together may take: one to so many. A
/// peer's own limit alone would not bound those of peers that come, send and go.
const MEMORY_PART: usize = 16;

/// Up to so many times that part, each queue may hold its newest one all the same: what is not read
/// of a few peers must not keep the others' from passing.
const SPARED: usize = 2;

// The application's

/// Queues a datagram for the connection that messages to the peer leave on.
pub(super) fn send(
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
    payload: Bytes,
) -> Result<(), SendDatagramError> {
    let live = peer.links.live();
    let link = live.ok_or(SendDatagramError::NotConnected(peer.id))?;
    let max = max_on(link, transport, shared);
    let max = max.ok_or(SendDatagramError::Unsupported(peer.id))?;
    let size = payload.len();
    if size > max {
        return Err(SendDatagramError::TooLarge { size, max });
    }
    let room = room(shared, &payload);
    let unsent = &mut peer.datagrams.get_or_insert_default().unsent;
    let bytes_max = room.of_queue(unsent);
    unsent.push(payload, bytes_max);
    let unreliable = &mut shared.report.counters.unreliable;
    unreliable.accepted += 1;
    unreliable.crowded_out += unsent.take_crowded_out();
    count(peer, shared);
    transport.mark_ready(link);
    Ok(())
}

/// Takes up to `max` datagrams of a peer.
pub(super) fn receive(
    peer: &mut Peer,
    shared: &mut Shared,
    max: usize,
    out: &mut Vec<Message>,
) -> usize {
    let Some(datagrams) = &mut peer.datagrams else {
        return 0;
    };
    let unread = &mut datagrams.unread;
    let before = out.len();
    while out.len() - before < max
        && let Some(payload) = unread.pop()
    {
        out.push(Message::new(peer.id, payload));
    }
    if unread.is_empty() {
        datagrams.is_announced = false;
    }
    let taken = out.len() - before;
    shared.report.counters.unreliable.taken += taken as u64;
    count(peer, shared);
    taken
}

/// The room that there is for a datagram.
fn room(shared: &Shared, newest: &Bytes) -> Room {
    let all_max = shared.config.memory_max / MEMORY_PART;
    let held = shared.budget.datagram_bytes;
    let is_spared = held < SPARED * all_max;
    Room {
        queue_max: shared.config.datagram_queue_bytes_max,
        left: all_max.saturating_sub(held),
        spared: match is_spared {
            true => datagrams::cost(newest),
            false => 0,
        },
    }
}

fn max_on(link: LinkId, transport: &mut Transport, shared: &Shared) -> Option<usize> {
    let queue_max = shared.config.datagram_queue_bytes_max;
    if queue_max == 0 {
        return None;
    }
    let max = transport.link_mut(link)?.datagram_payload_max()?;
    Some(max.min(queue_max - datagrams::COST))
}

// Into packets

/// Gives QUIC as many datagrams as should be in the next packet of a live connection, and returns
/// whether it gave any.
pub(super) fn fill(
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &mut Shared,
) -> bool {
    let is_live = peer.links.live() == Some(id);
    let Some(datagrams) = peer.datagrams.as_mut().filter(|_| is_live) else {
        return false;
    };
    let unsent = &mut datagrams.unsent;
    if unsent.is_empty() {
        return false;
    }
    let link = transport.owned(id);
    let mut room = link.datagram_room();
    let mut gave = false;
    while let Some(next) = unsent.front() {
        let cost = link.datagram_cost(next);
        // The first one goes whatever its length: one that is too long by now is dropped.
        if room == 0 || gave && cost > room {
            break;
        }
        let Some(payload) = unsent.pop() else {
            break;
        };
        match link.write_datagram(payload) {
            Ok(()) => {
                gave = true;
                room = room.saturating_sub(cost);
            }
            Err(Unwritten::TooLong | Unwritten::NoKey) => {
                shared.report.counters.unreliable.abandoned += 1;
            }
        }
    }
    count(peer, shared);
    gave
}

/// Counts what was put into packets, and what was dropped.
pub(super) fn count_fates(id: LinkId, transport: &mut Transport, shared: &mut Shared) {
    if let Some(link) = transport.link_mut(id) {
        let fates = link.take_datagram_fates();
        shared.report.counters.unreliable.sent += fates.sent;
        shared.report.counters.unreliable.abandoned += fates.dropped;
    }
}

// Out of packets

/// Takes what has arrived on a connection: for its peer once that is confirmed.
pub(super) fn read(
    id: LinkId,
    owner: Option<&mut Peer>,
    transport: &mut Transport,
    shared: &mut Shared,
) {
    let Some(link) = transport.link_mut(id) else {
        return;
    };
    if !link.has_datagrams() {
        return;
    }
    let mut owner = match &link.stage {
        Stage::Confirmed(_) => owner,
        Stage::Handshaking | Stage::Greeted(_) | Stage::Waiting(_) => None,
        Stage::Closed => {
            // It was closed in the very moment in which they came, and its keys are gone.
            let unread = link.drop_datagrams();
            let unreliable = &mut shared.report.counters.unreliable;
            unreliable.received += unread;
            unreliable.discarded += unread;
            return;
        }
    };
    while let Some(datagram) = link.read_datagram() {
        let unreliable = &mut shared.report.counters.unreliable;
        match (datagram, owner.as_deref_mut()) {
            (Err(Refused::Forged), _) => {
                unreliable.forged += 1;
                link.charge(1);
            }
            (Err(Refused::Replayed), _) => unreliable.replayed += 1,
            (Err(Refused::UnknownFlow), _) => {
                unreliable.unknown_flow += 1;
                link.charge(1);
            }
            (Ok(_), None) => unreliable.early += 1,
            (Ok(payload), Some(peer)) => arrived(peer, shared, payload),
        }
    }
    let overrun = Link::take_datagram_overrun(link);
    shared.report.counters.unreliable.received += overrun;
    shared.report.counters.unreliable.overrun += overrun;
}

fn arrived(peer: &mut Peer, shared: &mut Shared, payload: Bytes) {
    let room = room(shared, &payload);
    let datagrams = peer.datagrams.get_or_insert_default();
    let unread = &mut datagrams.unread;
    let bytes_max = room.of_queue(unread);
    unread.push(payload, bytes_max);
    let dropped = unread.take_crowded_out();
    if !unread.is_empty() && !std::mem::replace(&mut datagrams.is_announced, true) {
        shared
            .report
            .event(Event::DatagramsReadable { peer: peer.id });
    }
    shared.report.counters.unreliable.received += 1;
    shared.report.counters.unreliable.overrun += dropped;
    count(peer, shared);
}

// The limit

/// Reports how long a datagram may be, if that has changed.
pub(super) fn report_limit(peer: &mut Peer, transport: &mut Transport, shared: &mut Shared) {
    let live = peer.links.live();
    let max = live.and_then(|link| max_on(link, transport, shared));
    let reported = peer.datagrams.as_ref().and_then(|known| known.told_max);
    if reported != max {
        peer.datagrams.get_or_insert_default().told_max = max;
        let limit = Event::DatagramLimit { peer: peer.id, max };
        shared.report.event(limit);
        count(peer, shared);
    }
}

// The end

/// Drops what waits to be sent: the last connection of a peer is gone.
pub(super) fn drop_unsent(peer: &mut Peer, shared: &mut Shared) {
    if let Some(datagrams) = &mut peer.datagrams {
        shared.report.counters.unreliable.abandoned += datagrams.unsent.clear();
        count(peer, shared);
    }
}

/// Drops what waits to be read: the application wants nothing more of a peer.
pub(super) fn drop_unread(peer: &mut Peer, shared: &mut Shared) {
    if let Some(datagrams) = &mut peer.datagrams {
        shared.report.counters.unreliable.discarded += datagrams.unread.clear();
        datagrams.is_announced = false;
        count(peer, shared);
    }
}

/// Counts what a peer's datagrams take, after any change to them.
fn count(peer: &mut Peer, shared: &mut Shared) {
    let Some(datagrams) = &mut peer.datagrams else {
        return;
    };
    let bytes = datagrams.bytes();
    let before = std::mem::replace(&mut datagrams.counted_bytes, bytes);
    let all = &mut shared.budget.datagram_bytes;
    *all = *all - before + bytes;
    if datagrams.are_unused() {
        peer.datagrams = None;
    }
}

/// Bytes that queues may hold.
struct Room {
    /// One queue, whatever others hold.
    queue_max: usize,
    /// All of them, beyond what they hold.
    left: usize,
    /// One queue, though others have left nothing.
    spared: usize,
}

impl Room {
    fn of_queue(&self, queue: &DatagramQueue) -> usize {
        let shared = queue.bytes() + self.left;
        self.queue_max.min(shared.max(self.spared))
    }
}
