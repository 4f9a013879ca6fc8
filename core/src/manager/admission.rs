//! Who may come in: handshakes from their first packet to our hello.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    Manager, Timer,
    peer::{Peer, Standing},
};
use crate::{
    Accept, Datagram, PeerId, Reason,
    peer::{LinkId, PeerKey, chooser::Dialler, lifecycle::Cause},
    slots::{Claim, Decision},
    transport::{Arrival, Incoming, Link, Stage},
    wire::{
        code::{self, CloseCode},
        frame::{Frame, Hello, Sealed},
    },
};

/// Why somebody may not come in: the code, the bytes that go with it, and what we call it.
type Refusal = (CloseCode, Bytes, Reason);

impl Manager {
    pub(super) fn admit(&mut self, now: Instant, datagram: Datagram) {
        match self.transport.handle_datagram(now, datagram) {
            Arrival::Handshake(incoming) => {
                let answer = self.admit_handshake(now, incoming);
                self.count_arrival(&answer);
            }
            arrival @ (Arrival::Routed | Arrival::Ignored | Arrival::ReplyDropped) => {
                self.count_arrival(&arrival);
            }
        }
    }

    fn count_arrival(&mut self, arrival: &Arrival) {
        match arrival {
            Arrival::Routed | Arrival::Handshake(_) => {}
            Arrival::Ignored => self.counters.datagrams_ignored += 1,
            Arrival::ReplyDropped => self.counters.replies_dropped += 1,
        }
    }

    fn admit_handshake(&mut self, now: Instant, incoming: Incoming) -> Arrival {
        let max = self.config.handshakes_max;
        if self.handshakes >= max || !self.closing.accepts() {
            self.counters.handshakes_refused += 1;
            return self.transport.refuse(incoming);
        }
        // Half of the places are for addresses that have proved themselves.
        if self.handshakes * 2 >= max && !incoming.is_address_validated() {
            return self.transport.retry(incoming);
        }
        if let Some(link) = self.transport.accept(now, incoming) {
            self.handshakes += 1;
            let at = now + self.config.handshake_timeout;
            self.deadlines.set(Timer::Handshake(link), Some(at));
        } else {
            self.counters.handshakes_failed += 1;
        }
        Arrival::Routed
    }

    pub(super) fn handshake_timed_out(&mut self, now: Instant, id: LinkId) {
        match self.transport.link(id).map(|link| &link.stage) {
            Some(Stage::Handshaking | Stage::Greeted) => {
                let code = CloseCode::HandshakeTimeout;
                self.close_link(now, id, code, Bytes::new(), Reason::HandshakeTimeout);
            }
            Some(Stage::Waiting(_)) => self.waited_in_vain(now, id),
            Some(Stage::Confirmed(_) | Stage::Closed) | None => {}
        }
    }

    pub(super) fn established(&mut self, now: Instant, id: LinkId, found: Option<PeerId>) {
        // A process that stood still finds the end of a handshake and its deadline at once. If the
        // deadline came first, the connection is closed and its place is given back already.
        let handshaking = |link: &&Link| matches!(link.stage, Stage::Handshaking);
        let Some(link) = self.transport.link(id).filter(handshaking) else {
            return;
        };
        let admitted = match (link.dialler, link.owner) {
            (Dialler::Us, Some(key)) => self.check_answer(key, found).map(|()| key),
            (Dialler::Us, None) => Err((CloseCode::CalledOff, Bytes::new(), Reason::CalledOff)),
            (Dialler::Them, _) => {
                self.handshakes -= 1;
                self.admit_peer(now, found)
            }
        };
        let key = match admitted {
            Ok(key) => key,
            Err((code, bytes, reason)) => {
                // Its place among the handshakes is given back already.
                if let Some(link) = self.transport.link_mut(id) {
                    link.stage = Stage::Greeted;
                }
                return self.close_link(now, id, code, bytes, reason);
            }
        };
        let Some(link) = self.transport.link_mut(id) else {
            return;
        };
        link.stage = Stage::Greeted;
        link.owner = Some(key);
        let dial = link.dial;
        if link.dialler == Dialler::Them {
            self.arrived(now, key, id);
        }
        let mesh_key = self.config.mesh_key.as_ref();
        let link = self.transport.link_mut(id);
        match link.map_or(Err(CloseCode::CalledOff), |link| link.establish(mesh_key)) {
            Ok(sealed) => self.say_hello(key, id, dial, sealed),
            Err(code) => self.close_link(now, id, code, Bytes::new(), Reason::VersionMismatch),
        }
    }

    /// Whether the one who answered is the one whom we dialled.
    fn check_answer(&mut self, key: PeerKey, found: Option<PeerId>) -> Result<(), Refusal> {
        let expected = self.peers.get(key).map(|peer| peer.id);
        if found.is_some() && found == expected {
            return Ok(());
        }
        self.counters.wrong_peers += 1;
        Err((
            CloseCode::WrongPeer,
            Bytes::new(),
            Reason::WrongPeer { found },
        ))
    }

    /// Whether somebody who dialled us may come in, now that we know who it is.
    fn admit_peer(&mut self, now: Instant, found: Option<PeerId>) -> Result<PeerKey, Refusal> {
        let unwanted = || (CloseCode::NotAccepted, Bytes::new(), Reason::NotAccepted);
        let id = found.filter(|id| *id != self.id).ok_or_else(unwanted)?;
        let standing = self.peer(id).map(|peer| peer.standing);
        let accepted = match (standing, self.config.accept) {
            (Some(Standing::Blocked), _) => false,
            (Some(Standing::Added), _) | (_, Accept::Anyone) => true,
            (Some(Standing::Stranger) | None, Accept::Known) => false,
        };
        if !accepted || !self.closing.accepts() {
            self.counters.handshakes_refused += 1;
            return Err(unwanted());
        }
        let known = self.peers.key(id);
        if known.is_none() && self.peers.len() >= self.config.peers_max {
            return Err(self.busy(id));
        }
        // Those whom we have something for may come: their answer may be what the application waits for.
        let is_ours = |peer: &Peer| peer.standing == Standing::Added || peer.is_owed();
        if self.are_inboxes_overfull() && !self.peer(id).is_some_and(is_ours) {
            return Err(self.busy(id));
        }
        let key = known.unwrap_or_else(|| self.add_peer(now, id, Standing::Stranger));
        if self.before_dials(|machine| machine.slot_for_arrival(now, key)) {
            return Ok(key);
        }
        if known.is_none() {
            self.peers.remove(key);
        } else if let Some(peer) = self.peers.get_mut(key) {
            peer.turned_away.get_or_insert(now);
        }
        Err(self.busy(id))
    }

    /// How long to ask a peer to stay away for which there is no room: a second, with jitter, so
    /// that those who were refused together do not return together.
    pub(super) fn retry_after(&mut self, peer: PeerId) -> Duration {
        let refused = self.counters.handshakes_refused;
        let mut rng = self.draws.stream("retry after", peer, refused);
        Duration::from_secs(1).mul_f64(0.5 + rng.fraction())
    }

    fn busy(&mut self, peer: PeerId) -> Refusal {
        self.counters.handshakes_refused += 1;
        let retry_after = self.retry_after(peer);
        (
            CloseCode::Busy,
            code::busy_reason(retry_after),
            Reason::Busy { retry_after: None },
        )
    }

    /// Takes a slot for a peer that has dialled us. One that was refused before, and that the user has
    /// added or messages are queued for, may take that of a busy peer as a dial of ours would: peers that
    /// never stop sending would keep it out for ever.
    fn slot_for_arrival(&mut self, now: Instant, key: PeerKey) -> bool {
        let Some(peer) = self.peers.get(key) else {
            return false;
        };
        let is_ours = peer.standing == Standing::Added || peer.is_owed();
        let claim = Claim::Arrival {
            waits_since: peer.turned_away.filter(|_| is_ours),
        };
        let is_protected = peer.is_protected;
        loop {
            match self.slots.claim(now, key, claim, is_protected) {
                Decision::Granted => return true,
                Decision::Take(victim, taking) => self.take_slot(now, victim, taking),
                Decision::Wait(_) => return false,
            }
        }
    }

    fn arrived(&mut self, now: Instant, key: PeerKey, id: LinkId) {
        let peer = self.peers.get_mut(key);
        let surplus = peer.and_then(|peer| peer.links.arrived(id));
        self.moved(key, Cause::Begun, Reason::Arriving);
        if let Some(oldest) = surplus {
            let code = CloseCode::CalledOff;
            self.close_link(now, oldest, code, Bytes::new(), Reason::Replaced);
        }
    }

    fn say_hello(&mut self, key: PeerKey, id: LinkId, dial: u64, sealed: Sealed) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let can_dial = !peer.addresses.is_empty();
        let session = &mut peer.session;
        session.held_reported = session.outbox.bytes() as u64;
        let incarnation = session.ours.as_deref().copied().unwrap_or(self.incarnation);
        let hello = Hello {
            incarnation,
            dial,
            sealed,
            session_timeout: self.config.session_timeout,
            accepts: self.config.accepts(),
            mine: session.outbox.line(),
            yours: session.inbox.known(),
            can_dial,
        };
        if let Some(link) = self.transport.link_mut(id) {
            link.said = Some(incarnation);
            link.write_frame(&Frame::Hello(hello));
        }
    }
}
