//! What goes into packets: batches and acknowledgements.

use std::{time::Duration, time::Instant};

use super::{Manager, Timer};
use crate::{
    Event, Flush as FlushPolicy, Transmit,
    peer::{LinkId, PeerKey, outbox::Acknowledged},
    transport::Transport,
    wire::{
        code::CloseCode,
        frame::{Ack, Frame},
        varint,
    },
};

/// How long an acknowledgement may wait for company. Short beside a human's patience with
/// `flush`, long beside the time between two packets.
const ACK_DELAY: Duration = Duration::from_millis(5);

/// Bytes received or taken after which an acknowledgement goes at once, so that a sender's outbox
/// of the default size never runs full for want of one.
const ACK_BYTES: usize = 128 * 1024;

impl Manager {
    /// Derives from a peer's state everything that depends on it: what it is told, which of its
    /// deadlines are armed, whether to dial.
    pub(super) fn refresh(&mut self, now: Instant, key: PeerKey) {
        self.count_queued(key);
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let idle_since = (peer.is_live() && peer.is_idle()).then_some(peer.last_used);
        self.slots.set_idle(key, idle_since);
        let live = peer.links.live();
        self.tell_of_room(key);
        self.end_flushes(key);
        match live {
            Some(link) => self.refresh_live(now, key, link),
            None => self.refresh_absent(now, key),
        }
    }

    /// Counts what is queued for a peer and from it anew.
    pub(super) fn count_queued(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key) {
            let after = peer.queued();
            let before = std::mem::replace(&mut peer.counted, after);
            self.queued.replace(before, after);
        }
    }

    fn refresh_live(&mut self, now: Instant, key: PeerKey, link: LinkId) {
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        let outbox = &peer.session.outbox;
        if outbox.has_unsent() {
            self.transport.mark_ready(link);
        }
        if let Some(at) = outbox.tail_queued_at() {
            let at = at + self.config.batch_delay_max;
            self.deadlines.set_by(Timer::Flush(key), at);
        }
        let owed = peer.is_owed();
        let held_is_old = !owed && peer.session.held_reported > 0;
        if owed && self.deadlines.get(Timer::Stall(key)).is_none() {
            self.watch_for_stall(now, key);
        }
        if held_is_old {
            self.deadlines
                .set_by(Timer::Acknowledge(key), now + ACK_DELAY);
        }
    }

    fn refresh_absent(&mut self, now: Instant, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.rest();
        }
        self.count_queued(key);
        self.arm_session(now, key);
        self.dial_if_wanted(now, key);
    }

    /// The open batch of a peer has waited long enough.
    pub(super) fn batch_is_due(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if let Some(at) = peer.session.outbox.tail_queued_at()
            && at + self.config.batch_delay_max <= now
        {
            peer.session.outbox.close_tail();
        }
        self.refresh(now, key);
    }

    /// The connection's next packets: control and data, and datagrams when it is their turn.
    pub(super) fn next_packets(
        &mut self,
        now: Instant,
        id: LinkId,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        self.fill(now, id);
        self.fill_datagrams(id);
        let transmit = self.transport.poll_transmit(now, id, buf);
        // Streams have nothing to say, so datagrams have the connection's next turn.
        if transmit.is_none() && self.fill_datagrams(id) {
            self.transport.mark_ready(id);
        }
        self.count_datagrams(id);
        transmit
    }

    /// Hands the connection as much data as it should have before its next packets are built.
    pub(super) fn fill(&mut self, now: Instant, id: LinkId) {
        let in_flight_max = Transport::in_flight_max(&self.config);
        let Some(link) = self.transport.link_mut(id) else {
            return;
        };
        let Some(key) = link.owner else {
            return;
        };
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if peer.links.live() != Some(id) {
            return;
        }
        let accepts = peer.session.accepts;
        let body_bytes_max = accepts.map_or(0, |accepts| accepts.body_bytes as usize);
        let outbox = &mut peer.session.outbox;
        let line = outbox.line().id;
        let before = self.counters.batches_sent;
        while link.wants_data(in_flight_max) {
            let gathers = self.config.flush == FlushPolicy::Adaptive && link.is_dry();
            if gathers && !outbox.has_batch() {
                outbox.close_tail();
            }
            let Some(outgoing) = outbox.next_batch(body_bytes_max) else {
                break;
            };
            link.write_record(line, &outgoing);
            self.counters.batches_sent += 1;
            self.counters.messages_resent += outgoing.again;
            let delay = now.saturating_duration_since(outgoing.queued_at);
            self.queue_delay.add(delay);
        }
        if self.counters.batches_sent == before {
            return;
        }
        let is_unreported = peer.session.inbox.is_unreported();
        self.count_queued(key);
        if is_unreported {
            self.acknowledge(key);
        }
    }

    // Acknowledgements of ours

    /// Sees to it that the peer learns how far we are.
    pub(super) fn schedule_acknowledgement(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        let inbox = &peer.session.inbox;
        if !peer.is_live() || !inbox.is_unreported() {
            return;
        }
        if inbox.unreported_bytes() >= ACK_BYTES {
            self.acknowledge(key);
        } else {
            self.deadlines
                .set_by(Timer::Acknowledge(key), now + ACK_DELAY);
        }
    }

    /// Writes an acknowledgement.
    pub(super) fn acknowledge(&mut self, key: PeerKey) {
        self.deadlines.set(Timer::Acknowledge(key), None);
        let ack = self.acknowledgement(key);
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let Some(id) = peer.links.live() else {
            return;
        };
        peer.session.inbox.reported();
        peer.session.held_reported = ack.held;
        if let Some(link) = self.transport.link_mut(id) {
            link.write_frame(&Frame::Ack(ack));
            self.transport.mark_ready(id);
        }
    }

    /// How far we are with a peer's line at this moment.
    pub(super) fn acknowledgement(&self, key: PeerKey) -> Ack {
        let session = self.peers.get(key).map(|peer| &peer.session);
        let held = session.map_or(0, |session| session.outbox.bytes() as u64);
        session
            .and_then(|session| session.inbox.acknowledgement(held))
            .unwrap_or(Ack {
                received: 0,
                taken: 0,
                held: held.min(varint::MAX),
            })
    }

    // Acknowledgements of theirs

    pub(super) fn acknowledged(
        &mut self,
        now: Instant,
        key: PeerKey,
        ack: Ack,
    ) -> Result<(), CloseCode> {
        let Some(peer) = self.peers.get_mut(key) else {
            return Ok(());
        };
        let outbox = &mut peer.session.outbox;
        let Acknowledged { taken, latency } = outbox.acknowledge(now, ack.received, ack.taken)?;
        peer.session.their_held = ack.held;
        peer.counts.messages_delivered += taken;
        self.counters.messages_delivered += taken;
        self.rate.add(now, taken);
        if let Some(latency) = latency {
            peer.latency.add(latency);
            self.latency.add(latency);
        }
        if let Some(link) = peer.links.live() {
            if let Some(link) = self.transport.link_mut(link) {
                link.received(ack.received);
            }
            // What waited for this to leave may go on.
            self.transport.mark_ready(link);
        }
        Ok(())
    }

    // Stalls

    fn watch_for_stall(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        peer.stalled_at = Some(peer.session.outbox.outstanding().start);
        let at = now + self.config.stall_timeout;
        self.deadlines.set(Timer::Stall(key), Some(at));
    }

    pub(super) fn stall_is_due(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if !peer.is_live() || !peer.is_owed() {
            return;
        }
        if peer.stalled_at == Some(peer.session.outbox.outstanding().start) {
            self.events.push_back(Event::Stalled { peer: peer.id });
        }
        self.watch_for_stall(now, key);
    }
}
