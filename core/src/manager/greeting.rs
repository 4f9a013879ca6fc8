//! Hello: is it the right process, where do the lines stand, which connection stays.

use std::time::Instant;

use bytes::Bytes;
use subtle::ConstantTimeEq;

use super::{
    Manager, Timer,
    incarnations::Admission,
    peer::{Comes, Expiry, Redial},
};
use crate::{
    Event, Reason, Undeliverable,
    peer::{
        LinkId, PeerKey,
        chooser::{Candidate, Dialler},
        lifecycle::Cause,
        outbox::{Continuity, Memory},
        urgency::Urgency,
    },
    transport::{Link, Stage},
    wire::{code::CloseCode, frame::Hello},
};

impl Manager {
    pub(super) fn greeted(
        &mut self,
        now: Instant,
        id: LinkId,
        key: PeerKey,
        hello: Hello,
    ) -> Result<(), CloseCode> {
        self.check_sealed(id, &hello)?;
        if self.check_incarnation(now, id, key, &hello) == Admission::NotNow {
            return Ok(());
        }
        let passed_over = |peer: &super::Peer| peer.session.inbox.is_passed_over(&hello.mine);
        if self.peers.get(key).is_some_and(passed_over) {
            self.forgotten(now, key);
            return Ok(());
        }
        self.continue_session(now, id, key, &hello)?;
        self.confirmed(now, id, key, hello);
        Ok(())
    }

    fn check_sealed(&self, id: LinkId, hello: &Hello) -> Result<(), CloseCode> {
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
        let before = peer.processes.present();
        let same_process = before == Some(hello.incarnation);
        let same_line = session.their_line == Some(hello.mine.id);
        let memory = if same_process && same_line {
            Memory::Kept
        } else {
            Memory::Unknown
        };
        // Before anything changes: a hello that is refused leaves the session as it is.
        session.outbox.check(hello.yours)?;
        session.inbox.greeted(&hello.mine);
        let first = session.outbox.outstanding().start;
        let continuity = session.outbox.greeted(now, hello.yours, memory)?;
        let taken = session.outbox.outstanding().start - first;
        let restarted = before.is_some() && !same_process;
        peer.processes.adopt(hello.incarnation);
        session.their_line = Some(hello.mine.id);
        session.accepts = Some(hello.accepts);
        session.their_held = hello.mine.next - hello.mine.first;
        session.timeout = timeout;
        session.comes = match hello.can_dial {
            true => Comes::ByItself,
            false => Comes::Never,
        };
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
        let others: Vec<LinkId> = peer.links.confirmed().filter(|link| *link != id).collect();
        let (undelivered, resent) = match continuity {
            Continuity::Continues => (0..0, 0),
            Continuity::Lost => {
                let restarted = peer.session.outbox.restart(policy);
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
        let rtt = link.rtt();
        let dialler = link.dialler;
        let dial = match dialler {
            Dialler::Us => link.dial,
            Dialler::Them => hello.dial,
        };
        link.stage = Stage::Confirmed(Box::new(hello));
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        if !peer.is_live() {
            peer.passed_before = peer.passed();
        }
        peer.turned_away = None;
        peer.failures.admitted();
        peer.doubt.confirmed();
        peer.asked = Urgency::Background;
        let again = peer.counts.connections > 0 && !peer.is_live();
        peer.counts.connections += 1;
        let loser = peer.links.confirm(
            local,
            peer.id,
            Candidate {
                link: id,
                dialler,
                dial,
            },
        );
        peer.last_used = now;
        peer.session.expiry = Expiry::NotDue;
        if peer.redial == Redial::Barred {
            peer.redial = Redial::OnDemand;
        }
        self.counters.connections_confirmed += 1;
        self.counters.reconnects += u64::from(again);
        let (min, max) = (self.config.tenure_min, self.config.stall_timeout);
        let tenure = peer.tenure.begin(min, max, rtt);
        self.pool.confirm(now, key, tenure);
        self.deadlines.set(Timer::Session(key), None);
        self.deadlines.set(Timer::Backoff(key), None);
        self.deadlines.set(Timer::Revisit(key), None);
        self.deadlines
            .set(Timer::Stable(key), Some(now + self.config.stable_after));
        self.deadlines
            .set_by(Timer::Idle(key), now + self.config.pool_ttl);
        // Before it is connected: whoever hears of that may send at once.
        self.tell_datagram_limit(key);
        self.moved(key, Cause::Confirmed, Reason::Confirmed);
        self.count_peak();
        self.ask_whether_alive(key);
        self.call_waiting(key);
        if let Some(loser) = loser {
            // Our hello on the one that stays leaves first: the other end is never without.
            self.transport.mark_ready(id);
            self.close_with_ack(now, loser, key, CloseCode::Replaced, Reason::Replaced);
        }
        self.live_changed(now, key);
        // A dial has become a peer: the next one may begin.
        self.pump_dials(now);
        self.give_up_too_large(now, key);
    }

    /// Another connection is the one to send on.
    pub(super) fn live_changed(&mut self, now: Instant, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.session.outbox.start();
            // What was said on another connection after our hello on this one may be lost.
            peer.session.inbox.report_again();
            peer.session.held_reported = peer.session.held_reported.max(1);
        }
        self.watch_health(now, key);
        self.tell_datagram_limit(key);
        self.schedule_acknowledgement(now, key);
        self.refresh(now, key);
    }
}
