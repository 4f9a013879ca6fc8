//! Handles a peer's hello: checks the process, resumes the session, resolves duplicate connections.

use std::time::Instant;

use subtle::ConstantTimeEq;

use super::{
    close::{self, Close},
    lost,
    processes::{self, Admission},
};
use crate::{
    Reason, Undeliverable,
    manager::{
        datagrams,
        peer::{Expiry, Peer, Reachability, Redial},
        session,
        shared::Shared,
        timers::Timer,
    },
    peer::{
        LinkId,
        chooser::{Candidate, Dialler},
        lifecycle::Cause,
        outbox::{Continuity, Memory},
    },
    slots::{Priority, Slots},
    transport::{Link, Stage, Transport},
    wire::{
        code::CloseCode,
        frame::{Frame, Hello, Sealed},
    },
};

/// Writes our hello.
pub(in crate::manager) fn write(
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    shared: &Shared,
    (dial, sealed): (u64, Sealed),
) {
    let can_dial = !peer.addresses.is_empty();
    let session = &mut peer.session;
    session.held_reported = session.outbox.bytes() as u64;
    let ours = session.ours.as_deref().copied();
    let incarnation = ours.unwrap_or(shared.incarnation);
    let hello = Hello {
        incarnation,
        dial,
        sealed,
        session_timeout: shared.config.session_timeout,
        accepts: shared.config.accepts(),
        mine: session.outbox.line(),
        yours: session.inbox.known(),
        can_dial,
    };
    let link = transport.owned(id);
    link.said = Some(incarnation);
    link.write_frame(&Frame::Hello(hello));
}

/// Acts upon the peer's hello.
pub(in crate::manager) fn read(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
    hello: Hello,
) -> Result<(), CloseCode> {
    check_sealed(transport.owned(id), &hello)?;
    let admission = processes::check(now, id, peer, transport, slots, shared, &hello);
    if admission == Admission::NotNow {
        return Ok(());
    }
    if peer.session.inbox.is_passed_over(&hello.mine) {
        processes::forgotten(now, peer, transport, slots, shared);
        return Ok(());
    }
    let restarted = resume(now, peer, shared, &hello)?;
    if let Some(continuity) = restarted {
        session::restart(peer, shared, continuity);
        for link in peer.links.confirmed().collect::<Vec<_>>() {
            let replaced = Close::new(CloseCode::Replaced, Reason::Replaced);
            close::close(now, link, peer, transport, slots, shared, replaced);
        }
    }
    confirmed(now, id, peer, transport, slots, shared, hello);
    Ok(())
}

/// Acts upon the hello of a process that waits, once the place is free, or its own.
pub(in crate::manager) fn read_waiting(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) -> Result<(), CloseCode> {
    let link = transport.owned(id);
    let Stage::Waiting(hello) = &link.stage else {
        return Ok(());
    };
    let hello = **hello;
    if !peer.processes.is_free_for(id, peer.links.presence()) {
        return Ok(());
    }
    peer.processes.leave(id);
    link.stage = Stage::Greeted;
    read(now, id, peer, transport, slots, shared, hello)
}

fn check_sealed(link: &Link, hello: &Hello) -> Result<(), CloseCode> {
    let is_equal = link.sealed().is_some_and(|ours| {
        ours.mode == hello.sealed.mode && bool::from(ours.check.ct_eq(&hello.sealed.check))
    });
    match is_equal {
        true => Ok(()),
        false => Err(CloseCode::SealingMismatch),
    }
}

/// Resumes both streams at the numbers in the hello. Returns what is left of ours if the peer has
/// restarted.
fn resume(
    now: Instant,
    peer: &mut Peer,
    shared: &mut Shared,
    hello: &Hello,
) -> Result<Option<Continuity>, CloseCode> {
    let session = &mut peer.session;
    let before = peer.processes.present();
    let same_process = before == Some(hello.incarnation);
    let same_line = session.their_line == Some(hello.mine.id);
    let memory = match same_process && same_line {
        true => Memory::Kept,
        false => Memory::Unknown,
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
    session.timeout = shared.config.session_timeout.min(hello.session_timeout);
    session.reachability = match hello.can_dial {
        true => Reachability::CanDialUs,
        false => Reachability::CannotDialUs,
    };
    shared.report.delivered(now, peer, taken);
    Ok((restarted || continuity == Continuity::Lost).then_some(continuity))
}

/// Confirms a connection: messages may be sent on it, unless another one stays.
fn confirmed(
    now: Instant,
    id: LinkId,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
    hello: Hello,
) {
    shared.timers.set(Timer::Handshake(id), None);
    let link = transport.owned(id);
    let rtt = link.rtt();
    let candidate = Candidate {
        link: id,
        dialler: link.dialler,
        dial: match link.dialler {
            Dialler::Us => link.dial,
            Dialler::Them => hello.dial,
        },
    };
    link.stage = Stage::Confirmed(Box::new(hello));
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
    let loser = peer.links.confirm(shared.id, peer.id, candidate);
    peer.addresses.end_attempt();
    peer.refused_since = None;
    peer.failures.admitted();
    peer.preemption.confirmed();
    peer.priority = Priority::Background;
    peer.last_used = now;
    peer.session.expiry = Expiry::NotDue;
    if peer.redial == Redial::Barred {
        peer.redial = Redial::OnDemand;
    }
    let (min, max) = (shared.config.tenure_min, shared.config.stall_timeout);
    let hold_time = peer.hold_time.begin(min, max, rtt);
    slots.confirm(now, peer.key, hold_time);
    shared.timers.connected(peer.key);
    let stable = now + shared.config.stable_after;
    shared.timers.set(Timer::Stable(peer.key), Some(stable));
    let idle = now + shared.config.pool_ttl;
    shared.timers.set_by(Timer::Idle(peer.key), idle);
    // Before it is connected: a subscriber that hears of that may send at once.
    datagrams::report_limit(peer, transport, shared);
    shared
        .report
        .moved(peer, Cause::Confirmed, Reason::Confirmed);
    shared.report.count_peak(slots.len());
    processes::probe_present(peer, transport);
    lost::call_waiting(peer, transport);
    if let Some(loser) = loser {
        // Our hello on the one that stays leaves first: the other end is never without.
        transport.mark_ready(id);
        let replaced = Close::with_ack(peer, CloseCode::Replaced, Reason::Replaced);
        close::close(now, loser, peer, transport, slots, shared, replaced);
    }
    lost::live_changed(now, peer, transport, shared);
    end_if_too_large(now, peer, transport, slots, shared);
}

/// Ends the session of a peer that will never take what waits for it: a message is longer than the peer
/// accepts, which shows only in its hello, and those after it must not overtake.
pub(in crate::manager) fn end_if_too_large(
    now: Instant,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    let max = peer.message_bytes_max(&shared.config);
    let size = peer.session.outbox.longest_message();
    if peer.is_live() && size > max {
        let why = Undeliverable::TooLarge { size, max };
        close::end_session(now, peer, transport, slots, shared, why);
    }
}
