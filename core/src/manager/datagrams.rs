//! Datagrams: what is sent once, outside of any session.
//!
//! They go out on a live connection and on no other, dial nobody, are not repeated, and are no use
//! of a connection: one that carries nothing else expires.

use std::time::Instant;

use bytes::Bytes;

use super::{Manager, ending::Closing};
use crate::{
    DatagramQueue, Event, Message, PeerId, SendDatagramError,
    peer::{LinkId, PeerKey, datagrams},
    transport::{Link, Stage, Unwritten},
    wire::datagram::Refused,
};

/// The part of `memory_max` that the datagrams of all peers together may take: one to so many. A
/// peer's own limit alone would not bound those of peers that come, send and go.
const MEMORY_PART: usize = 16;

/// Up to so many times that part, each queue may hold its newest one all the same: what nobody reads
/// of a few peers must not keep everybody else's from passing.
const SPARED: usize = 2;

impl Manager {
    /// Sends a datagram: at most once, in no order, and only if the peer is connected. It is for
    /// what is worthless when it is late, as the position of a player or the sample of a sensor.
    ///
    /// It waits here until control frames are in packets. When more wait than
    /// `datagram_queue_bytes_max` allows, the oldest are dropped; when the connection ends, all of
    /// them are. [`UnreliableCounters`](crate::UnreliableCounters) count what was dropped at this end.
    ///
    /// # Errors
    ///
    /// See [`SendDatagramError`]. The datagram was not accepted then.
    pub fn send_datagram(
        &mut self,
        now: Instant,
        peer: PeerId,
        payload: &[u8],
    ) -> Result<(), SendDatagramError> {
        self.now = now;
        let (key, link, max) = self.datagram_path(peer)?;
        let size = payload.len();
        if size > max {
            return Err(SendDatagramError::TooLarge { size, max });
        }
        self.queue_datagram(key, link, Bytes::copy_from_slice(payload));
        Ok(())
    }

    /// Takes over datagrams that other threads have sent to a peer.
    ///
    /// They count as accepted when they were staged: those that cannot be sent any more, since the
    /// peer is connected no longer or its path carries none so long, count as dropped unsent.
    pub fn handle_staged_datagrams(
        &mut self,
        now: Instant,
        peer: PeerId,
        staged: &mut DatagramQueue,
    ) {
        self.now = now;
        let crowded_out = staged.take_crowded_out();
        self.counters.unreliable.accepted += crowded_out;
        self.counters.unreliable.crowded_out += crowded_out;
        let path = self.datagram_path(peer);
        while let Some(payload) = staged.pop() {
            match path {
                Ok((key, link, max)) if payload.len() <= max => {
                    self.queue_datagram(key, link, payload);
                }
                Ok(_) | Err(_) => {
                    self.counters.unreliable.accepted += 1;
                    self.counters.unreliable.abandoned += 1;
                }
            }
        }
    }

    /// Where datagrams to a peer go at this moment, and how long they may be.
    fn datagram_path(
        &mut self,
        peer: PeerId,
    ) -> Result<(PeerKey, LinkId, usize), SendDatagramError> {
        if self.closing != Closing::No {
            return Err(SendDatagramError::Closed);
        }
        let key = self.peers.key(peer);
        let live = key.and_then(|key| self.peers.get(key)?.links.live());
        let (Some(key), Some(link)) = (key, live) else {
            return Err(SendDatagramError::NotConnected(peer));
        };
        let max = self.datagram_max_on(link);
        let max = max.ok_or(SendDatagramError::Unsupported(peer))?;
        Ok((key, link, max))
    }

    fn queue_datagram(&mut self, key: PeerKey, link: LinkId, payload: Bytes) {
        let room = self.datagram_room(&payload);
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let unsent = &mut peer.datagrams.get_or_insert_default().unsent;
        let bytes_max = room.of_queue(unsent);
        unsent.push(payload, bytes_max);
        self.counters.unreliable.accepted += 1;
        self.counters.unreliable.crowded_out += unsent.take_crowded_out();
        self.recount(key);
        self.transport.mark_ready(link);
    }

    /// The longest datagram that can be sent to a peer at this moment, in bytes. `None` if it is not
    /// connected, or if either end has no datagrams.
    ///
    /// It follows from the path: a little over a kilobyte at first, and more when QUIC has found that
    /// longer packets get through (RFC 9000 section 14.3). [`Event::DatagramLimit`] tells of changes.
    pub fn datagram_bytes_max(&self, peer: PeerId) -> Option<usize> {
        self.peer(peer)?.datagrams.as_ref()?.told_max
    }

    /// Takes up to `max` datagrams of a peer, and says how many it appended to `out`.
    pub fn receive_datagrams(
        &mut self,
        now: Instant,
        peer: PeerId,
        max: usize,
        out: &mut Vec<Message>,
    ) -> usize {
        self.now = now;
        let Some(key) = self.peers.key(peer) else {
            return 0;
        };
        let Some(known) = self.peers.get_mut(key) else {
            return 0;
        };
        let Some(datagrams) = &mut known.datagrams else {
            return 0;
        };
        let unread = &mut datagrams.unread;
        let before = out.len();
        while out.len() - before < max
            && let Some(payload) = unread.pop()
        {
            out.push(Message {
                from: peer,
                payload,
            });
        }
        if unread.is_empty() {
            datagrams.is_announced = false;
        }
        let count = out.len() - before;
        self.counters.unreliable.taken += count as u64;
        self.recount(key);
        count
    }

    /// The room that there is for a datagram.
    fn datagram_room(&self, newest: &Bytes) -> Room {
        let all_max = self.config.memory_max / MEMORY_PART;
        let is_spared = self.datagram_bytes < SPARED * all_max;
        Room {
            queue_max: self.config.datagram_queue_bytes_max,
            left: all_max.saturating_sub(self.datagram_bytes),
            spared: match is_spared {
                true => datagrams::cost(newest),
                false => 0,
            },
        }
    }

    fn datagram_max_on(&mut self, link: LinkId) -> Option<usize> {
        if self.config.datagram_queue_bytes_max == 0 {
            return None;
        }
        let fitting = self.config.datagram_queue_bytes_max - datagrams::COST;
        let max = self.transport.link_mut(link)?.datagram_payload_max()?;
        Some(max.min(fitting))
    }

    /// The driver has dropped this many datagrams that it had taken for the application.
    pub fn note_datagrams_discarded(&mut self, count: u64) {
        self.counters.unreliable.taken = self.counters.unreliable.taken.saturating_sub(count);
        self.counters.unreliable.discarded += count;
    }

    // Into packets

    /// Gives QUIC as many datagrams as should be in its next packet, and says whether it gave any.
    pub(super) fn fill_datagrams(&mut self, id: LinkId) -> bool {
        let Some(link) = self.transport.link_mut(id) else {
            return false;
        };
        let Some(key) = link.owner else {
            return false;
        };
        let Some(peer) = self.peers.get_mut(key) else {
            return false;
        };
        let is_live = peer.links.live() == Some(id);
        let Some(datagrams) = peer.datagrams.as_mut().filter(|_| is_live) else {
            return false;
        };
        let unsent = &mut datagrams.unsent;
        if unsent.is_empty() {
            return false;
        }
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
                    self.counters.unreliable.abandoned += 1;
                }
            }
        }
        self.recount(key);
        gave
    }

    /// Counts what was put into packets.
    pub(super) fn count_datagrams(&mut self, id: LinkId) {
        if let Some(link) = self.transport.link_mut(id) {
            let fates = link.take_datagram_fates();
            self.counters.unreliable.sent += fates.sent;
            self.counters.unreliable.abandoned += fates.dropped;
        }
    }

    // Out of packets

    /// Takes what has arrived on a connection.
    pub(super) fn read_datagrams(&mut self, id: LinkId) {
        let Some(link) = self.transport.link_mut(id) else {
            return;
        };
        if !link.has_datagrams() {
            return;
        }
        if matches!(link.stage, Stage::Closed) {
            // It was closed in the very moment in which they came, and its keys are gone.
            let unread = link.drop_datagrams();
            self.counters.unreliable.received += unread;
            self.counters.unreliable.discarded += unread;
            return;
        }
        let owner = match &link.stage {
            Stage::Confirmed(_) => link.owner,
            Stage::Handshaking | Stage::Greeted | Stage::Waiting(_) | Stage::Closed => None,
        };
        while let Some(datagram) = self.transport.link_mut(id).and_then(Link::read_datagram) {
            let unreliable = &mut self.counters.unreliable;
            match (datagram, owner) {
                (Err(Refused::Forged), _) => unreliable.forged += 1,
                (Err(Refused::Replayed), _) => unreliable.replayed += 1,
                (Ok(_), None) => unreliable.early += 1,
                (Ok(payload), Some(key)) => self.datagram_arrived(key, payload),
            }
        }
        let link = self.transport.link_mut(id);
        let overrun = link.map_or(0, Link::take_datagram_overrun);
        self.counters.unreliable.received += overrun;
        self.counters.unreliable.overrun += overrun;
    }

    fn datagram_arrived(&mut self, key: PeerKey, payload: Bytes) {
        let room = self.datagram_room(&payload);
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let datagrams = peer.datagrams.get_or_insert_default();
        let unread = &mut datagrams.unread;
        let bytes_max = room.of_queue(unread);
        unread.push(payload, bytes_max);
        let dropped = unread.take_crowded_out();
        let is_news = !unread.is_empty() && !datagrams.is_announced;
        if is_news {
            datagrams.is_announced = true;
            let peer = peer.id;
            self.events.push_back(Event::DatagramsReadable { peer });
        }
        self.counters.unreliable.received += 1;
        self.counters.unreliable.overrun += dropped;
        self.recount(key);
    }

    // The limit

    /// Says how long a datagram may be, if that has changed.
    pub(super) fn tell_datagram_limit(&mut self, key: PeerKey) {
        let live = self.peers.get(key).and_then(|peer| peer.links.live());
        let max = live.and_then(|link| self.datagram_max_on(link));
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let told = peer.datagrams.as_ref().and_then(|told| told.told_max);
        if told != max {
            peer.datagrams.get_or_insert_default().told_max = max;
            let peer = peer.id;
            self.events.push_back(Event::DatagramLimit { peer, max });
            self.recount(key);
        }
    }

    /// The same, for the peer that a connection belongs to.
    pub(super) fn tell_datagram_limit_on(&mut self, id: LinkId) {
        let owner = self.transport.link(id).and_then(|link| link.owner);
        if let Some(key) = owner.filter(|_| self.config.datagram_queue_bytes_max > 0) {
            self.tell_datagram_limit(key);
        }
    }

    // The end

    /// The last connection of a peer is gone, and what waited for it with it.
    pub(super) fn drop_unsent_datagrams(&mut self, key: PeerKey) {
        let peer = self.peers.get_mut(key);
        if let Some(datagrams) = peer.and_then(|peer| peer.datagrams.as_mut()) {
            self.counters.unreliable.abandoned += datagrams.unsent.clear();
            self.recount(key);
        }
    }

    /// The application wants nothing more of a peer.
    pub(super) fn drop_unread_datagrams(&mut self, key: PeerKey) {
        let peer = self.peers.get_mut(key);
        if let Some(datagrams) = peer.and_then(|peer| peer.datagrams.as_mut()) {
            self.counters.unreliable.discarded += datagrams.unread.clear();
            datagrams.is_announced = false;
            self.recount(key);
        }
    }

    /// Counts what a peer's datagrams take, after any change to them.
    fn recount(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Some(datagrams) = &mut peer.datagrams else {
            return;
        };
        let bytes = datagrams.bytes();
        let before = std::mem::replace(&mut datagrams.counted_bytes, bytes);
        self.datagram_bytes = self.datagram_bytes - before + bytes;
        if datagrams.are_unused() {
            peer.datagrams = None;
        }
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
