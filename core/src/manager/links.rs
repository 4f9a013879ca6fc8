//! What happens to connections: from the first packet of a handshake to the last record.

use std::time::Instant;

use bytes::Bytes;

use super::{
    Manager, Timer,
    dialling::Urgency,
    peer::{Announced, Dialling, Expiry, Peer, Redial, Standing},
};
use crate::Datagram;
use crate::{
    Accept, Event, PeerId, Reason, Undeliverable,
    peer::{
        LinkId, PeerKey,
        chooser::{Candidate, Dialler},
        lifecycle::Cause,
        outbox::{Continuity, Memory},
        pool::{Evictable, Purpose},
    },
    transport::{self, Arrival, Ending, Link, LinkEvent, Stage},
    wire::{
        code::{self, CloseCode},
        frame::{Frame, Hello, Sealed},
        record::Header,
    },
};

/// How a connection left a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// As intended, by either end.
    Deliberate,
    /// By an error.
    Error,
}

impl Manager {
    // Handshakes of others

    pub(super) fn admit(&mut self, now: Instant, datagram: Datagram) {
        let arrival = match self.transport.handle_datagram(now, datagram) {
            Arrival::Handshake(incoming) => self.admit_handshake(now, *incoming),
            other => other,
        };
        match arrival {
            Arrival::Routed | Arrival::Handshake(_) => {}
            Arrival::Ignored => self.counters.datagrams_ignored += 1,
            Arrival::ReplyDropped => self.counters.replies_dropped += 1,
        }
    }

    fn admit_handshake(&mut self, now: Instant, incoming: quinn_proto::Incoming) -> Arrival {
        let max = self.config.handshakes_max;
        if self.handshakes >= max || !self.closing.accepts() {
            self.counters.handshakes_refused += 1;
            return self.transport.refuse(incoming);
        }
        // Half of the places are for addresses that have proved themselves.
        if self.handshakes * 2 >= max && !incoming.remote_address_validated() {
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
        let waits = |link: &Link| matches!(link.stage, Stage::Handshaking | Stage::Greeted);
        if self.transport.link(id).is_some_and(waits) {
            let code = CloseCode::HandshakeTimeout;
            self.close_link(now, id, code, Bytes::new(), Reason::HandshakeTimeout);
        }
    }

    // Events

    pub(super) fn settle_link(&mut self, now: Instant, id: LinkId) {
        while let Some(event) = self.transport.poll_event(id) {
            match event {
                LinkEvent::Established { peer } => self.established(now, id, peer),
                LinkEvent::Ended(ending) => self.ended(now, id, ending),
            }
        }
        if let Err(code) = self.read_streams(now, id) {
            self.counters.violations += u64::from(code.is_violation());
            let reason = match code {
                CloseCode::VersionMismatch => Reason::VersionMismatch,
                CloseCode::SealingMismatch => Reason::SealingMismatch,
                _ => Reason::Violation(code.name()),
            };
            tracing::warn!(?id, code = code.name(), "the other end broke the protocol");
            self.close_link(now, id, code, Bytes::new(), reason);
        }
    }

    fn established(&mut self, now: Instant, id: LinkId, found: Option<PeerId>) {
        let Some(link) = self.transport.link(id) else {
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
                if let Some(link) = self.transport.link_mut(id) {
                    link.stage = Stage::Greeted;
                }
                return self.close_link(now, id, code, bytes, reason);
            }
        };
        let mesh_key = self.config.mesh_key.as_ref();
        let Some(link) = self.transport.link_mut(id) else {
            return;
        };
        link.stage = Stage::Greeted;
        let arrived = link.dialler == Dialler::Them;
        let dial = link.dial;
        match link.establish(mesh_key) {
            Ok(sealed) => {
                let hello = self.hello(key, dial, sealed);
                if let (Some(hello), Some(link)) = (hello, self.transport.link_mut(id)) {
                    link.owner = Some(key);
                    link.write_frame(&Frame::Hello(hello));
                }
                if arrived {
                    self.arrived(key, id);
                }
            }
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
            return Err(self.busy());
        }
        let key = known.unwrap_or_else(|| self.add_peer(now, id, Standing::Stranger));
        if self.slot_for_arrival(now, key) {
            return Ok(key);
        }
        if known.is_none() {
            self.peers.remove(key);
        }
        Err(self.busy())
    }

    fn busy(&mut self) -> Refusal {
        self.counters.handshakes_refused += 1;
        let retry_after = transport::retry_after(&mut self.rng);
        (
            CloseCode::Busy,
            code::busy_reason(retry_after),
            Reason::Busy { retry_after: None },
        )
    }

    fn slot_for_arrival(&mut self, now: Instant, key: PeerKey) -> bool {
        let evictable = self
            .peers
            .get(key)
            .map_or(Evictable::Yes, |peer| peer.evictable);
        loop {
            if self
                .pool
                .acquire(now, key, Purpose::Peer, evictable)
                .is_ok()
            {
                return true;
            }
            let Some(victim) = self.pool.idle_victim() else {
                return false;
            };
            self.evict(now, victim);
        }
    }

    fn arrived(&mut self, key: PeerKey, id: LinkId) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.arrivals.push(id);
            if !peer.is_dialling() {
                peer.dialling = Dialling::Idle;
            }
        }
        self.moved(key, Cause::Begun, Reason::Arriving);
    }

    fn hello(&self, key: PeerKey, dial: u64, sealed: Sealed) -> Option<Hello> {
        let session = &self.peers.get(key)?.session;
        Some(Hello {
            incarnation: self.incarnation,
            dial,
            sealed,
            session_timeout: self.config.session_timeout,
            mine: session.outbox.line(),
            yours: session.inbox.known(),
        })
    }

    // Streams

    fn read_streams(&mut self, now: Instant, id: LinkId) -> Result<(), CloseCode> {
        while let Some(frame) = self.next_frame(id)? {
            self.read_frame(now, id, frame)?;
        }
        let Some(line) = self.confirmed_line(id) else {
            return Ok(());
        };
        let mut key = None;
        while let Some((owner, header, body)) = self.next_record(id, line)? {
            key = Some(owner);
            self.read_record(now, owner, line, header, body)?;
        }
        if let Some(key) = key {
            self.schedule_acknowledgement(now, key);
            self.refresh(now, key);
        }
        Ok(())
    }

    fn next_frame(&mut self, id: LinkId) -> Result<Option<Frame>, CloseCode> {
        let Some(link) = self.transport.link_mut(id) else {
            return Ok(None);
        };
        match link.stage {
            Stage::Greeted | Stage::Confirmed(_) => link.read_frame(),
            Stage::Handshaking | Stage::Closed => Ok(None),
        }
    }

    fn read_frame(&mut self, now: Instant, id: LinkId, frame: Frame) -> Result<(), CloseCode> {
        let Some(link) = self.transport.link(id) else {
            return Ok(());
        };
        let Some(key) = link.owner else {
            return Ok(());
        };
        match (&link.stage, frame) {
            (Stage::Greeted, Frame::Hello(hello)) => self.greeted(now, id, key, hello),
            (Stage::Confirmed(_), Frame::Ack(ack)) => {
                self.acknowledged(now, key, ack)?;
                self.refresh(now, key);
                Ok(())
            }
            (Stage::Greeted, Frame::Ack(_)) | (Stage::Confirmed(_), Frame::Hello(_)) => {
                Err(CloseCode::UnexpectedHello)
            }
            (Stage::Handshaking | Stage::Closed, _) => Ok(()),
        }
    }

    fn confirmed_line(&self, id: LinkId) -> Option<crate::wire::frame::LineId> {
        match &self.transport.link(id)?.stage {
            Stage::Confirmed(hello) => Some(hello.mine.id),
            Stage::Handshaking | Stage::Greeted | Stage::Closed => None,
        }
    }

    fn next_record(
        &mut self,
        id: LinkId,
        line: crate::wire::frame::LineId,
    ) -> Result<Option<(PeerKey, Header, Bytes)>, CloseCode> {
        let Some(link) = self.transport.link_mut(id) else {
            return Ok(None);
        };
        let Some(key) = link.owner else {
            return Ok(None);
        };
        let has_room = |peer: &Peer| peer.session.inbox.has_room();
        if !self.peers.get(key).is_some_and(has_room) {
            return Ok(None);
        }
        let record = link.read_record(line)?;
        Ok(record.map(|(header, body)| (key, header, body)))
    }

    fn read_record(
        &mut self,
        now: Instant,
        key: PeerKey,
        line: crate::wire::frame::LineId,
        header: Header,
        body: Bytes,
    ) -> Result<(), CloseCode> {
        let Some(peer) = self.peers.get_mut(key) else {
            return Ok(());
        };
        let new = peer.session.inbox.accept(line, &header, body)?;
        if new == 0 {
            return Ok(());
        }
        peer.last_used = now;
        peer.counts.messages_received += new;
        self.counters.messages_received += new;
        if std::mem::replace(&mut peer.readable, Announced::Yes) == Announced::No {
            self.events.push_back(Event::Readable { peer: peer.id });
        }
        Ok(())
    }

    // Hello

    fn greeted(
        &mut self,
        now: Instant,
        id: LinkId,
        key: PeerKey,
        hello: Hello,
    ) -> Result<(), CloseCode> {
        self.check_sealed(id, key, &hello)?;
        if !self.check_incarnation(now, id, key, &hello) {
            return Ok(());
        }
        self.continue_session(now, id, key, &hello)?;
        self.confirmed(now, id, key, hello);
        Ok(())
    }

    fn check_sealed(&self, id: LinkId, key: PeerKey, hello: &Hello) -> Result<(), CloseCode> {
        use subtle::ConstantTimeEq;
        let _ = key;
        let ours = self.transport.link(id).and_then(Link::sealed);
        let equal = ours.is_some_and(|ours| {
            ours.mode == hello.sealed.mode && bool::from(ours.check.ct_eq(&hello.sealed.check))
        });
        if equal {
            Ok(())
        } else {
            Err(CloseCode::SealingMismatch)
        }
    }

    /// Whether the process that says hello is the one to talk to. If it is a later one, the
    /// connections of the earlier one end here; if it is an earlier one, it ends.
    fn check_incarnation(&mut self, now: Instant, id: LinkId, key: PeerKey, hello: &Hello) -> bool {
        let Some(peer) = self.peers.get(key) else {
            return false;
        };
        let Some(known) = peer.session.incarnation else {
            return true;
        };
        if known == hello.incarnation {
            return true;
        }
        let Some(live) = peer.chooser.live() else {
            return true;
        };
        let links: Vec<LinkId> = peer.chooser.links().collect();
        if (hello.incarnation.started_ms, hello.incarnation.random)
            > (known.started_ms, known.random)
        {
            for link in links {
                let code = CloseCode::IdentityInUse;
                self.close_link(now, link, code, Bytes::new(), Reason::Replaced);
            }
            return true;
        }
        // Its clock may have stepped back, and the other may be dead: whether it is alive shows
        // within liveness_timeout, or at once if its successor resets our packet. Until then the
        // newcomer has to wait.
        if let Some(link) = self.transport.link_mut(live) {
            link.connection.ping();
            self.transport.mark_ready(live);
        }
        let retry_after = transport::retry_after(&mut self.rng);
        let reason = Reason::Busy {
            retry_after: Some(retry_after),
        };
        let bytes = code::busy_reason(retry_after);
        self.close_link(now, id, CloseCode::Busy, bytes, reason);
        false
    }

    /// Picks up both lines where the hello says that they are.
    fn continue_session(
        &mut self,
        now: Instant,
        id: LinkId,
        key: PeerKey,
        hello: &Hello,
    ) -> Result<(), CloseCode> {
        let timeout = self.config.session_timeout.min(hello.session_timeout);
        let Some(peer) = self.peers.get_mut(key) else {
            return Ok(());
        };
        let session = &mut peer.session;
        let same_process = session.incarnation == Some(hello.incarnation);
        let same_line = session.their_line == Some(hello.mine.id);
        let memory = if same_process && same_line {
            Memory::Kept
        } else {
            Memory::Unknown
        };
        session.inbox.check(&hello.mine)?;
        let before = session.outbox.outstanding().start;
        let continuity = session.outbox.greeted(now, hello.yours, memory)?;
        let taken = session.outbox.outstanding().start - before;
        let restarted = session.incarnation.is_some() && !same_process;
        session.incarnation = Some(hello.incarnation);
        session.their_line = Some(hello.mine.id);
        session.their_held = hello.mine.next - hello.mine.first;
        session.timeout = timeout;
        peer.counts.messages_delivered += taken;
        self.counters.messages_delivered += taken;
        self.rate.add(now, taken);
        if restarted || continuity == Continuity::Lost {
            self.peer_restarted(now, id, key, continuity);
        }
        Ok(())
    }

    fn peer_restarted(&mut self, now: Instant, id: LinkId, key: PeerKey, continuity: Continuity) {
        let policy = self.config.on_peer_restart;
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let others: Vec<LinkId> = peer.chooser.links().filter(|link| *link != id).collect();
        let (undelivered, resent) = match continuity {
            Continuity::Continues => (0..0, 0),
            Continuity::Lost => {
                let line = peer.session.outbox.line().id;
                let restarted = peer.session.outbox.restart(line, policy);
                (restarted.undelivered, restarted.resent)
            }
        };
        self.events.push_back(Event::PeerRestarted {
            peer: peer.id,
            resent,
            undelivered: undelivered.end - undelivered.start,
        });
        self.report_undelivered(key, undelivered, Undeliverable::PeerRestarted);
        for link in others {
            let code = CloseCode::Replaced;
            self.close_link(now, link, code, Bytes::new(), Reason::Replaced);
        }
    }

    fn confirmed(&mut self, now: Instant, id: LinkId, key: PeerKey, hello: Hello) {
        self.deadlines.set(Timer::Handshake(id), None);
        let local = self.id;
        let Some(link) = self.transport.link_mut(id) else {
            return;
        };
        let dialler = link.dialler;
        let dial = match dialler {
            Dialler::Us => link.dial,
            Dialler::Them => hello.dial,
        };
        link.stage = Stage::Confirmed(Box::new(hello));
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        peer.arrivals.retain(|link| *link != id);
        peer.dialling = match peer.dialling {
            Dialling::Running { link, .. } if link == id => Dialling::Idle,
            running @ Dialling::Running { .. } => running,
            Dialling::Idle | Dialling::Backoff | Dialling::Waiting { .. } => Dialling::Idle,
        };
        let loser = peer.chooser.confirm(
            local,
            peer.id,
            Candidate {
                link: id,
                dialler,
                dial,
            },
        );
        peer.counts.connections += 1;
        let again = peer.counts.connections > 1;
        peer.last_used = now;
        peer.session.expiry = Expiry::NotDue;
        if peer.redial == Redial::Barred {
            peer.redial = Redial::OnDemand;
        }
        let evictable = peer.evictable;
        self.counters.connections_confirmed += 1;
        self.counters.reconnects += u64::from(again);
        let _ = self.pool.acquire(now, key, Purpose::Peer, evictable);
        self.deadlines.set(Timer::Session(key), None);
        self.deadlines.set(Timer::Backoff(key), None);
        self.deadlines
            .set(Timer::Stable(key), Some(now + self.config.stable_after));
        self.deadlines
            .set_by(Timer::Idle(key), now + self.config.pool_ttl);
        self.moved(key, Cause::Confirmed, Reason::Confirmed);
        self.count_peak();
        if let Some(loser) = loser {
            self.close_with_ack(now, loser, key, CloseCode::Replaced, Reason::Replaced);
        }
        self.live_changed(now, key);
    }

    /// Another connection is the one to send on.
    fn live_changed(&mut self, now: Instant, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.session.outbox.start();
        }
        self.schedule_acknowledgement(now, key);
        self.refresh(now, key);
    }

    // Ends

    fn ended(&mut self, now: Instant, id: LinkId, ending: Ending) {
        let Some(link) = self.transport.link(id) else {
            return;
        };
        let Some(key) = link.owner else {
            return self.part(now, id, Parting::Error, ending.reason);
        };
        if let Some(ack) = ending.ack {
            // An acknowledgement of what was never sent changes nothing, and there is nothing
            // left to close.
            let _ = self.acknowledged(now, key, ack);
        }
        let parting = match ending.code {
            Some(code) if code.carries_ack() => Parting::Deliberate,
            Some(_) | None => Parting::Error,
        };
        if ending.reason == Reason::IdentityInUse
            && let Some(peer) = self.peers.get(key)
        {
            let peer = peer.id;
            self.events.push_back(Event::IdentityInUse { peer });
        }
        let goodbye = ending.code == Some(CloseCode::Goodbye);
        self.part(now, id, parting, ending.reason);
        if goodbye {
            self.said_goodbye(now, key);
        }
    }

    /// Closes a connection deliberately, and tells the other end how far we are.
    pub(super) fn close_with_ack(
        &mut self,
        now: Instant,
        id: LinkId,
        key: PeerKey,
        code: CloseCode,
        reason: Reason,
    ) {
        let ack = code::ack_reason(&self.acknowledgement(key));
        self.close_link(now, id, code, ack, reason);
    }

    /// Closes a connection from our end.
    pub(super) fn close_link(
        &mut self,
        now: Instant,
        id: LinkId,
        code: CloseCode,
        bytes: Bytes,
        reason: Reason,
    ) {
        let parting = match code {
            code if code.carries_ack() => Parting::Deliberate,
            CloseCode::CalledOff | CloseCode::IdentityInUse => Parting::Deliberate,
            _ => Parting::Error,
        };
        let was_handshaking = self.transport.link(id).map(Link::is_unproved);
        self.transport.close(now, id, code, bytes);
        self.transport.mark_ready(id);
        self.parted(now, id, was_handshaking, parting, reason);
    }

    /// A connection has ended at the other end, or by an error.
    fn part(&mut self, now: Instant, id: LinkId, parting: Parting, reason: Reason) {
        let was_handshaking = self.transport.link(id).map(Link::is_unproved);
        self.parted(now, id, was_handshaking, parting, reason);
    }

    fn parted(
        &mut self,
        now: Instant,
        id: LinkId,
        was_unproved: Option<bool>,
        parting: Parting,
        reason: Reason,
    ) {
        self.deadlines.set(Timer::Handshake(id), None);
        let Some(link) = self.transport.link_mut(id) else {
            return;
        };
        let owner = link.owner.take();
        if was_unproved == Some(true) && link.dialler == Dialler::Them && owner.is_none() {
            self.handshakes -= 1;
            self.counters.handshakes_failed += 1;
        }
        if let Some(key) = owner {
            self.lost_link(now, id, key, parting, reason);
        }
    }

    fn lost_link(
        &mut self,
        now: Instant,
        id: LinkId,
        key: PeerKey,
        parting: Parting,
        reason: Reason,
    ) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if let Dialling::Running { link, address } = peer.dialling
            && link == id
        {
            return match parting {
                Parting::Error => self.dial_failed(now, key, address, reason),
                Parting::Deliberate => self.dial_called_off(now, key, reason),
            };
        }
        let was_live = peer.chooser.live() == Some(id);
        let was_confirmed = peer.chooser.remove(id);
        peer.arrivals.retain(|link| *link != id);
        if !was_confirmed {
            return self.lost_arrival(now, key, parting, reason);
        }
        if peer.is_live() {
            if was_live {
                self.live_changed(now, key);
            }
            return;
        }
        self.disconnected(now, key, parting, reason);
    }

    fn lost_arrival(&mut self, now: Instant, key: PeerKey, parting: Parting, reason: Reason) {
        let Some(peer) = self.peers.get(key) else {
            return;
        };
        if !peer.has_links() {
            let cause = match parting {
                Parting::Deliberate => Cause::CalledOff,
                Parting::Error => Cause::AttemptFailed,
            };
            self.moved(key, cause, reason);
        }
        self.release_unused(key);
        self.refresh(now, key);
        self.pump_dials(now);
    }

    fn dial_called_off(&mut self, now: Instant, key: PeerKey, reason: Reason) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        peer.dialling = Dialling::Idle;
        if !peer.has_links() {
            self.moved(key, Cause::CalledOff, reason);
        }
        self.release_unused(key);
        self.pump_dials(now);
    }

    /// The last confirmed connection of a peer is gone.
    fn disconnected(&mut self, now: Instant, key: PeerKey, parting: Parting, reason: Reason) {
        for timer in [
            Timer::Idle(key),
            Timer::Stable(key),
            Timer::Stall(key),
            Timer::Flush(key),
            Timer::Acknowledge(key),
        ] {
            self.deadlines.set(timer, None);
        }
        let cause = match parting {
            Parting::Deliberate => Cause::Closed,
            Parting::Error => Cause::Lost,
        };
        if parting == Parting::Error {
            self.counters.connections_lost += 1;
            self.back_off(now, key, reason.clone(), None);
        }
        let evicted = reason == Reason::Evicted;
        self.moved(key, cause, reason);
        if let Some(peer) = self.peers.get_mut(key) {
            peer.redial = match (peer.redial, parting) {
                // What the user asked for was given, and is over.
                (Redial::Wanted, Parting::Deliberate) => Redial::OnDemand,
                (redial, _) => redial,
            };
            if evicted {
                // Whoever took the slot keeps it for its tenure: returning sooner is of no use.
                let tenure = self.config.tenure_min.mul_f64(self.rng.fraction());
                peer.not_before = Some(now + tenure);
            }
        }
        let still_dialling = self.peers.get(key).is_some_and(Peer::has_links);
        if still_dialling {
            self.moved(key, Cause::Begun, Reason::Dialling);
        }
        self.release_unused(key);
        self.arm_session(now, key);
        self.dial_if_wanted(now, key, Urgency::Background);
        self.pump_dials(now);
    }
}

/// Why somebody may not come in: the code, the bytes that go with it, and what we call it.
type Refusal = (CloseCode, Bytes, Reason);
