//! Several processes with one identity: which of them is the peer, and what they are told.

use std::time::Instant;

use bytes::Bytes;

use super::Manager;
use crate::{
    Event, Incarnation, Reason, Undeliverable,
    peer::{LinkId, PeerKey, processes::Claim},
    transport::{Link, Stage},
    wire::{
        code::{self, CloseCode},
        frame::Hello,
    },
};

/// Whether a hello is acted upon at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Admitted,
    /// It waits, or its connection is closed.
    NotNow,
}

impl Manager {
    /// Whether the process that says hello is the one to talk to. While another one has the place it
    /// waits.
    pub(super) fn check_incarnation(
        &mut self,
        now: Instant,
        id: LinkId,
        key: PeerKey,
        hello: &Hello,
    ) -> Admission {
        let Some(peer) = self.peers.get(key) else {
            return Admission::NotNow;
        };
        match peer
            .processes
            .judge(hello.incarnation, peer.links.presence())
        {
            Claim::Same | Claim::Next => Admission::Admitted,
            Claim::Waits => {
                self.let_wait(now, id, key, hello);
                Admission::NotNow
            }
            Claim::Forgotten => {
                let code = CloseCode::Forgotten;
                self.close_link(now, id, code, Bytes::new(), Reason::Replaced);
                Admission::NotNow
            }
        }
    }

    fn supersede(&mut self, now: Instant, key: PeerKey) {
        let links = |peer: &super::Peer| peer.links.confirmed().collect::<Vec<LinkId>>();
        for link in self.peers.get(key).map(links).unwrap_or_default() {
            let code = CloseCode::IdentityInUse;
            self.close_link(now, link, code, Bytes::new(), Reason::Replaced);
        }
    }

    /// The present process may be dead: whether it is alive shows within a round trip, or within
    /// `liveness_timeout`, or at once if its successor resets our packet. So may the newcomer, if its
    /// hello is late.
    fn let_wait(&mut self, now: Instant, id: LinkId, key: PeerKey, hello: &Hello) {
        if let Some(link) = self.transport.link_mut(id) {
            link.stage = Stage::Waiting(Box::new(*hello));
        }
        if let Some(peer) = self.peers.get_mut(key) {
            peer.processes.wait(now, id, hello.incarnation);
        }
        self.transport.ask(id);
        self.ask_whether_alive(key);
    }

    /// Has the present process answer, if others wait for its place.
    pub(super) fn ask_whether_alive(&mut self, key: PeerKey) {
        let contested = self.peers.get(key).filter(|p| p.processes.is_contested());
        if let Some(live) = contested.and_then(|peer| peer.links.live()) {
            self.transport.ask(live);
        }
    }

    /// A connection of a process has heard something: if that proves it to be alive, those who wait
    /// for its place are told.
    pub(super) fn refuse_waiting(&mut self, now: Instant, id: LinkId) {
        let confirmed = |link: &&Link| matches!(link.stage, Stage::Confirmed(_));
        let Some(link) = self.transport.link(id).filter(confirmed) else {
            return;
        };
        let contested = |key: &PeerKey| {
            let peer = self.peers.get(*key);
            peer.is_some_and(|peer| peer.processes.is_contested())
        };
        let Some(key) = link.owner.filter(contested) else {
            return;
        };
        let Some(answered) = link.answered() else {
            return;
        };
        let refused = self.peers.get(key).map(|p| p.processes.refused(answered));
        for link in refused.unwrap_or_default() {
            let code = CloseCode::IdentityInUse;
            self.close_link(now, link, code, Bytes::new(), Reason::Replaced);
        }
    }

    /// A connection on which a process waits has heard something: if that proves the process to be
    /// alive, and it started later, the place is its own.
    pub(super) fn admit_waiting(&mut self, now: Instant, id: LinkId) {
        let waits = |link: &&Link| matches!(link.stage, Stage::Waiting(_));
        let link = self.transport.link(id).filter(waits);
        let Some((key, answered)) = link.and_then(|link| link.owner.zip(link.answered())) else {
            return;
        };
        let prevails = |peer: &super::Peer| peer.processes.prevails(id, answered);
        if self.peers.get(key).is_some_and(prevails) {
            self.supersede(now, key);
        }
    }

    /// It has waited for as long as a handshake may take, and nothing is known: it may come again.
    pub(super) fn waited_in_vain(&mut self, now: Instant, id: LinkId) {
        let owner = self.transport.link(id).and_then(|link| link.owner);
        let peer = owner.and_then(|key| self.peers.get(key));
        let peer = peer.map_or(self.id, |peer| peer.id);
        let retry_after = self.retry_after(peer);
        let reason = Reason::Busy {
            retry_after: Some(retry_after),
        };
        let bytes = code::busy_reason(retry_after);
        self.close_link(now, id, CloseCode::Busy, bytes, reason);
    }

    /// The last connection of a peer has ended, or one of another process is confirmed: who waits is
    /// looked at again.
    pub(super) fn call_waiting(&mut self, key: PeerKey) {
        let waiting = self.peers.get(key).map(|peer| peer.processes.waiting());
        for link in waiting.into_iter().flatten() {
            self.transport.mark_dirty(link);
        }
    }

    /// Acts upon the hello of a process that waits, once the place is free, or its own.
    pub(super) fn greet_waiting(&mut self, now: Instant, id: LinkId) -> Result<(), CloseCode> {
        let Some(link) = self.transport.link_mut(id) else {
            return Ok(());
        };
        let (Stage::Waiting(hello), Some(key)) = (&link.stage, link.owner) else {
            return Ok(());
        };
        let hello = **hello;
        let Some(peer) = self.peers.get_mut(key) else {
            return Ok(());
        };
        let presence = peer.links.presence();
        if !peer.processes.is_free_for(id, presence) {
            return Ok(());
        }
        peer.processes.leave(id);
        link.stage = Stage::Greeted;
        self.greeted(now, id, key, hello)
    }

    // What we are told

    /// Another process has our identity, and has had our place at the other end: what that end knew
    /// of us is gone. We go on as a process that is new to it.
    pub(super) fn forgotten(&mut self, now: Instant, key: PeerKey) {
        let policy = self.config.on_peer_restart;
        self.begin_anew(key);
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        let session = &mut peer.session;
        session.inbox.end();
        session.their_line = None;
        session.their_held = 0;
        let restarted = session.outbox.restart(policy);
        self.events.push_back(Event::PeerRestarted {
            peer: peer.id,
            resent: restarted.resent,
            undelivered: restarted.undelivered.end - restarted.undelivered.start,
        });
        self.report_undelivered(key, restarted.undelivered, Undeliverable::PeerRestarted);
        self.close_keeping_session(now, key, CloseCode::Replaced, Reason::Replaced);
    }

    /// Another process with our identity is alive and has our place at the other end: nothing that
    /// is queued here gets there any more.
    pub(super) fn superseded(&mut self, key: PeerKey) {
        self.begin_anew(key);
        if let Some(peer) = self.peers.get(key) {
            let peer = peer.id;
            tracing::warn!(?peer, "another process uses our identity");
            self.events.push_back(Event::IdentityInUse { peer });
        }
        self.give_up(key, Undeliverable::IdentityInUse);
    }

    /// From now on we are another process to the peer, as it has forgotten the one that we were.
    fn begin_anew(&mut self, key: PeerKey) {
        let random = u64::from_be_bytes(self.stream(key, "incarnation").bytes());
        if let Some(peer) = self.peers.get_mut(key) {
            peer.session.ours = Some(Box::new(Incarnation {
                random,
                ..self.incarnation
            }));
        }
    }
}
