//! Decides what a greeting, a close and a proof of life mean for the connections and the session of a peer.
//!
//! The rules act through [`Pair`]. The machine has one implementation, in `acting`; `check` has another, and
//! explores with it every order in which two ends can meet the code that ships.

use std::time::Instant;

use super::close::Close;
use crate::{
    Incarnation, Reason, Undeliverable,
    peer::{
        LinkId,
        chooser::Candidate,
        links::Links,
        outbox::{Continuity, Memory},
        processes::{Claim, Processes},
    },
    wire::{code::CloseCode, greeting::Greeting, hello::HalfId},
};

/// One end of a pair: a peer as this end knows it, and what can be done about it.
pub(in crate::manager) trait Pair {
    /// The time.
    fn now(&self) -> Instant;
    /// What the rules decide by.
    fn state(&mut self) -> State<'_>;
    /// How far a connection has come.
    fn phase(&self, link: LinkId) -> Phase;
    /// The incarnation of this end in the greeting that was written to a connection.
    fn said(&self, link: LinkId) -> Option<Incarnation>;
    /// Which incarnation this end is to the peer.
    fn ours(&self) -> Incarnation;
    /// Whether the peer's stream began before one that it has given up.
    fn is_passed_over(&self, greeting: &Greeting) -> bool;

    /// Prepares a close whose code comes with an acknowledgement.
    fn close_with_ack(&self, code: CloseCode, reason: Reason) -> Close;
    /// Closes a connection, and removes it from the peer.
    fn close(&mut self, link: LinkId, close: Close);
    /// Has the packets of a connection leave before those of others.
    fn hurry(&mut self, link: LinkId);

    /// Has a connection wait with its greeting until one of two processes has proved to be alive.
    fn hold(&mut self, link: LinkId, greeting: &Greeting);
    /// Resumes both streams at the numbers in a greeting. One that is refused changes nothing.
    fn resume(&mut self, greeting: &Greeting, memory: Memory) -> Result<Continuity, CloseCode>;
    /// Begins to confirm a connection.
    fn confirm(&mut self, link: LinkId, greeting: Greeting) -> Candidate;
    /// Chooses between confirmed connections. Returns the one to close, if any.
    fn choose(&mut self, candidate: Candidate) -> Option<LinkId>;
    /// Completes the confirmation of a connection.
    fn confirmed(&mut self, link: LinkId);
    /// Goes on with the connection that was chosen.
    fn goes_on(&mut self);

    /// Takes another incarnation for the peer, which has forgotten the one before.
    fn begin_anew(&mut self);
    /// Forgets the peer's stream.
    fn forget_theirs(&mut self);
    /// Starts our stream anew where the peer has lost what it knew of it.
    fn restart(&mut self, continuity: Continuity);
    /// Gives up what is queued, and starts both streams anew.
    fn give_up(&mut self, why: Undeliverable);
    /// Does the same, and stops dialling.
    fn end(&mut self, why: Undeliverable);
}

/// What the rules decide by, and change.
pub(in crate::manager) struct State<'a> {
    pub(in crate::manager) links: &'a mut Links,
    pub(in crate::manager) processes: &'a mut Processes,
    /// The peer's stream, as its last greeting named it.
    pub(in crate::manager) their_half: &'a mut Option<HalfId>,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manager) enum Phase {
    /// The peer's greeting has not arrived.
    Unconfirmed,
    /// Its process waits for the place of another one.
    Waiting,
    /// It is confirmed, and carries this stream of the peer.
    Confirmed(HalfId),
    /// It is closed.
    Closed,
}

// A greeting

/// Handles a greeting: checks the process, resumes the session, resolves duplicate connections.
pub(in crate::manager) fn greeted(
    pair: &mut impl Pair,
    link: LinkId,
    greeting: Greeting,
) -> Result<(), CloseCode> {
    let now = pair.now();
    let State {
        links, processes, ..
    } = pair.state();
    match processes.judge(greeting.incarnation, links.presence()) {
        Claim::Same | Claim::Next => {}
        Claim::Waits => {
            processes.wait(now, link, greeting.incarnation);
            pair.hold(link, &greeting);
            return Ok(());
        }
        Claim::Forgotten => {
            pair.close(link, Close::new(CloseCode::Forgotten, Reason::Replaced));
            return Ok(());
        }
    }
    if pair.is_passed_over(&greeting) {
        forgotten(pair);
        return Ok(());
    }
    if let Some(continuity) = resume(pair, &greeting)? {
        pair.restart(continuity);
        let replaced = Close::new(CloseCode::Replaced, Reason::Replaced);
        close_confirmed(pair, &replaced);
    }
    confirm(pair, link, greeting);
    Ok(())
}

/// Resumes the session at the numbers in the greeting. Returns what is left of our stream if the peer has
/// restarted.
fn resume(pair: &mut impl Pair, greeting: &Greeting) -> Result<Option<Continuity>, CloseCode> {
    let State {
        processes,
        their_half,
        ..
    } = pair.state();
    let before = processes.present();
    let same_process = before == Some(greeting.incarnation);
    let memory = match same_process && *their_half == Some(greeting.mine.id) {
        true => Memory::Kept,
        false => Memory::Unknown,
    };
    let continuity = pair.resume(greeting, memory)?;
    let State {
        processes,
        their_half,
        ..
    } = pair.state();
    processes.adopt(greeting.incarnation);
    *their_half = Some(greeting.mine.id);
    let restarted = before.is_some() && !same_process;
    Ok((restarted || continuity == Continuity::Lost).then_some(continuity))
}

/// Confirms a connection, and closes the one that loses against another.
fn confirm(pair: &mut impl Pair, link: LinkId, greeting: Greeting) {
    let candidate = pair.confirm(link, greeting);
    let loser = pair.choose(candidate);
    pair.confirmed(link);
    if let Some(loser) = loser {
        // Our greeting on the one that stays leaves first: the other end is never without.
        pair.hurry(link);
        let replaced = pair.close_with_ack(CloseCode::Replaced, Reason::Replaced);
        pair.close(loser, replaced);
    }
    pair.goes_on();
}

/// Lets a process go on that waits, if the place is free, or its own. Returns whether it may.
pub(in crate::manager) fn is_let_in(pair: &mut impl Pair, link: LinkId) -> bool {
    let State {
        links, processes, ..
    } = pair.state();
    let is_free = processes.is_free_for(link, links.presence());
    if is_free {
        processes.leave(link);
    }
    is_free
}

/// Decides between processes with one identity, once a connection has answered what was sent to it at a
/// moment: one that waits and started later takes the place of the present one; others that have waited for
/// the present one are refused.
pub(in crate::manager) fn proved_alive(pair: &mut impl Pair, link: LinkId, answered: Instant) {
    let phase = pair.phase(link);
    let State {
        links, processes, ..
    } = pair.state();
    let losers = match phase {
        Phase::Waiting if processes.prevails(link, answered) => links.confirmed().collect(),
        Phase::Confirmed(_) => processes.refused(answered),
        Phase::Waiting | Phase::Unconfirmed | Phase::Closed => Vec::new(),
    };
    for loser in losers {
        pair.close(
            loser,
            Close::new(CloseCode::IdentityInUse, Reason::Replaced),
        );
    }
}

// A close of the other end

/// Draws the consequences of a close by the other end. `lose` removes the connection from the peer.
pub(in crate::manager) fn closed<P: Pair>(
    pair: &mut P,
    link: LinkId,
    code: Option<CloseCode>,
    lose: impl FnOnce(&mut P),
) {
    let code = code.filter(|code| is_current(pair, link, *code));
    // First, so that nothing is left to dial for.
    match code {
        Some(CloseCode::Goodbye) => pair.give_up(Undeliverable::Goodbye),
        Some(CloseCode::IdentityInUse) => {
            pair.begin_anew();
            pair.give_up(Undeliverable::IdentityInUse);
        }
        Some(_) | None => {}
    }
    lose(pair);
    match code {
        Some(CloseCode::Goodbye) => end_session(pair, Undeliverable::Goodbye),
        Some(CloseCode::Forgotten) => forgotten(pair),
        Some(CloseCode::IdentityInUse) => {
            close_keeping_session(pair, CloseCode::Replaced, Reason::Replaced);
        }
        Some(_) | None => {}
    }
}

/// Whether a close concerns what this end and the peer are now: neither an incarnation of this end nor a
/// session that was given up since.
fn is_current(pair: &mut impl Pair, link: LinkId, code: CloseCode) -> bool {
    let is_about_us = matches!(code, CloseCode::Forgotten | CloseCode::IdentityInUse);
    let is_about_session = code != CloseCode::Forgotten;
    let is_former = pair.said(link) != Some(pair.ours());
    !(is_about_us && is_former || is_about_session && is_stale(pair, link))
}

/// Whether a connection is about a stream that the peer has given up since, or that is not the peer's:
/// another process with its identity has begun it.
fn is_stale(pair: &mut impl Pair, link: LinkId) -> bool {
    let phase = pair.phase(link);
    let State {
        links, their_half, ..
    } = pair.state();
    match phase {
        Phase::Confirmed(line) => Some(line) != *their_half,
        Phase::Waiting => true,
        // An end that ends its session closes the connection that is confirmed, too.
        Phase::Unconfirmed => links.is_live(),
        Phase::Closed => false,
    }
}

/// Goes on as a process that is new to the peer: another one with our identity has had our place there, and
/// what the peer knew of us is gone.
fn forgotten(pair: &mut impl Pair) {
    pair.begin_anew();
    pair.forget_theirs();
    pair.restart(Continuity::Lost);
    close_keeping_session(pair, CloseCode::Replaced, Reason::Replaced);
}

// Closes of this end

/// Takes in a connection that the peer has begun, and calls the oldest off if there are too many.
pub(in crate::manager) fn arrived(pair: &mut impl Pair, link: LinkId) {
    if let Some(oldest) = pair.state().links.arrived(link) {
        pair.close(oldest, Close::new(CloseCode::CalledOff, Reason::Replaced));
    }
}

/// Ends the peer's session, and closes every connection with a goodbye.
pub(in crate::manager) fn end_session(pair: &mut impl Pair, why: Undeliverable) {
    // Before the session ends: the acknowledgement is of it.
    let goodbye = pair.close_with_ack(CloseCode::Goodbye, Reason::Goodbye);
    pair.end(why);
    close_all(pair, &goodbye);
}

/// Closes every connection of the peer, whose session stays.
pub(in crate::manager) fn close_keeping_session(
    pair: &mut impl Pair,
    code: CloseCode,
    reason: Reason,
) {
    let confirmed = pair.close_with_ack(code, reason);
    close_all(pair, &confirmed);
}

/// Closes every connection of the peer: those that are not confirmed are called off.
pub(in crate::manager) fn close_all(pair: &mut impl Pair, confirmed: &Close) {
    let reason = match confirmed.reason == Reason::Goodbye {
        true => Reason::CalledOff,
        false => confirmed.reason.clone(),
    };
    let called_off = Close::new(CloseCode::CalledOff, reason);
    for link in pair.state().links.unconfirmed().collect::<Vec<_>>() {
        pair.close(link, called_off.clone());
    }
    close_confirmed(pair, confirmed);
}

/// Closes every confirmed connection of the peer.
pub(in crate::manager) fn close_confirmed(pair: &mut impl Pair, close: &Close) {
    for link in pair.state().links.confirmed().collect::<Vec<_>>() {
        pair.close(link, close.clone());
    }
}
