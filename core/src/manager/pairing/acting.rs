//! Carries out in the machine what `rules` decides.

use std::time::Instant;

use super::{
    close::{self, Close},
    lost,
    rules::{Pair, Phase, State},
};
use crate::{
    Event, Incarnation, Reason, Undeliverable,
    manager::{
        context::Context,
        datagrams,
        peer::{Expiry, Peer, Reachability, Redial},
        session,
        timers::Timer,
    },
    peer::{
        LinkId,
        chooser::{Candidate, Dialler},
        lifecycle::Cause,
        outbox::{Continuity, Memory},
    },
    slots::Priority,
    transport::{Stage, Transport},
    wire::{code::CloseCode, greeting::Greeting},
};

impl Pair for Context<'_> {
    fn now(&self) -> Instant {
        self.now
    }

    fn state(&mut self) -> State<'_> {
        let peer = &mut *self.peer;
        State {
            links: &mut peer.links,
            processes: &mut peer.processes,
            their_half: &mut peer.session.their_half,
        }
    }

    fn phase(&self, link: LinkId) -> Phase {
        match self.transport.link(link).map(|link| &link.stage) {
            Some(Stage::Handshaking | Stage::Greeted(_)) => Phase::Unconfirmed,
            Some(Stage::Waiting(_)) => Phase::Waiting,
            Some(Stage::Confirmed(greeting)) => Phase::Confirmed(greeting.mine.id),
            Some(Stage::Closed) | None => Phase::Closed,
        }
    }

    fn said(&self, link: LinkId) -> Option<Incarnation> {
        self.transport.link(link)?.said
    }

    fn ours(&self) -> Incarnation {
        let ours = self.peer.session.ours.as_deref().copied();
        ours.unwrap_or(self.shared.incarnation)
    }

    fn is_passed_over(&self, greeting: &Greeting) -> bool {
        self.peer.session.inbox.is_passed_over(&greeting.mine)
    }

    fn close_with_ack(&self, code: CloseCode, reason: Reason) -> Close {
        Close::with_ack(self.peer, code, reason)
    }

    fn close(&mut self, link: LinkId, close: Close) {
        close::close(self, link, close);
    }

    fn hurry(&mut self, link: LinkId) {
        self.transport.mark_ready(link);
    }

    fn hold(&mut self, link: LinkId, greeting: &Greeting) {
        self.transport.owned(link).stage = Stage::Waiting(Box::new(*greeting));
        self.transport.probe(link);
        probe_present(self.peer, self.transport);
    }

    fn resume(&mut self, greeting: &Greeting, memory: Memory) -> Result<Continuity, CloseCode> {
        resume(self, greeting, memory)
    }

    fn confirm(&mut self, link: LinkId, greeting: Greeting) -> Candidate {
        confirm(self, link, greeting)
    }

    fn choose(&mut self, candidate: Candidate) -> Option<LinkId> {
        let (ours, theirs) = (self.shared.id, self.peer.id);
        self.peer.links.confirm(ours, theirs, candidate)
    }

    fn confirmed(&mut self, link: LinkId) {
        confirmed(self, link);
    }

    fn goes_on(&mut self) {
        lost::live_changed(self.now, self.peer, self.transport, self.shared);
    }

    fn begin_anew(&mut self) {
        let random = u64::from_be_bytes(self.shared.stream(self.peer, "incarnation").bytes());
        self.peer.session.ours = Some(Box::new(Incarnation {
            random,
            ..self.shared.incarnation
        }));
    }

    fn forget_theirs(&mut self) {
        session::forget_theirs(self.peer);
    }

    fn restart(&mut self, continuity: Continuity) {
        session::restart(self.peer, self.shared, continuity);
    }

    fn give_up(&mut self, why: Undeliverable) {
        if why == Undeliverable::IdentityInUse {
            let peer = self.peer.id;
            tracing::warn!(?peer, "another process uses our identity");
            self.shared.report.event(Event::IdentityInUse { peer });
        }
        session::give_up(self.peer, self.shared, why);
    }

    fn end(&mut self, why: Undeliverable) {
        session::end(self.peer, self.shared, why);
    }
}

/// Resumes both streams at the numbers in the greeting.
fn resume(
    cx: &mut Context<'_>,
    greeting: &Greeting,
    memory: Memory,
) -> Result<Continuity, CloseCode> {
    let session = &mut cx.peer.session;
    // Before anything changes: a greeting that is refused leaves the session as it is.
    session.outbox.check(greeting.yours)?;
    session.inbox.greeted(&greeting.mine);
    let (continuity, taken) = session.outbox.greeted(cx.now, greeting.yours, memory)?;
    session.accepts = Some(greeting.accepts);
    session.their_held = greeting.mine.held;
    session.timeout = cx
        .shared
        .config
        .session_timeout
        .min(greeting.session_timeout);
    session.reachability = match greeting.can_dial {
        true => Reachability::CanDialUs,
        false => Reachability::CannotDialUs,
    };
    cx.shared.report.delivered(cx.now, cx.peer, taken);
    Ok(continuity)
}

/// Counts a connection as confirmed: messages may be sent on it, unless another one stays.
fn confirm(cx: &mut Context<'_>, id: LinkId, greeting: Greeting) -> Candidate {
    let Context { peer, shared, .. } = cx;
    shared.timers.set(Timer::Handshake(id), None);
    let link = cx.transport.owned(id);
    let candidate = Candidate {
        link: id,
        dialler: link.dialler,
        dial: match link.dialler {
            Dialler::Us => link.dial,
            Dialler::Them => greeting.dial,
        },
    };
    link.confirm(greeting);
    if !peer.is_live() {
        peer.passed_before = peer.passed();
        let again = peer.counts.connections > 0;
        shared.report.counters.reconnects += u64::from(again);
    }
    shared.report.counters.connections_confirmed += 1;
    peer.counts.connections += 1;
    if let Some(address) = peer.links.dialled(id) {
        peer.addresses.worked(address);
    }
    candidate
}

/// Keeps the slot of a peer of which a connection was confirmed, and reports it as connected.
fn confirmed(cx: &mut Context<'_>, id: LinkId) {
    let Context {
        now, peer, shared, ..
    } = cx;
    peer.addresses.end_attempt();
    peer.refused_since = None;
    peer.failures.admitted();
    peer.has_given_way = false;
    peer.priority = Priority::Background;
    peer.last_used = *now;
    peer.session.expiry = Expiry::NotDue;
    if peer.redial == Redial::Barred {
        peer.redial = Redial::OnDemand;
    }
    let rtt = cx.transport.owned(id).rtt();
    let (min, max) = (
        shared.config.tuning.hold_time_min,
        shared.config.stall_timeout,
    );
    let hold_time = peer.hold_time.begin(min, max, rtt);
    cx.slots.confirm(*now, peer.key, hold_time);
    shared.timers.connected(peer.key);
    let stable = *now + shared.config.tuning.stable_after;
    shared.timers.set(Timer::Stable(peer.key), Some(stable));
    let idle = *now + shared.config.pool_ttl;
    shared.timers.set_by(Timer::Idle(peer.key), idle);
    // Before it is connected: a subscriber that hears of that may send at once.
    datagrams::report_limit(peer, cx.transport, shared);
    shared
        .report
        .moved(peer, Cause::Confirmed, Reason::Confirmed);
    shared.report.count_peak(cx.slots.len());
    probe_present(peer, cx.transport);
    lost::call_waiting(peer, cx.transport);
}

/// Probes the present process, if others wait for its place.
fn probe_present(peer: &Peer, transport: &mut Transport) {
    let live = peer.links.live();
    if let Some(live) = live.filter(|_| peer.processes.is_contested()) {
        transport.probe(live);
    }
}
