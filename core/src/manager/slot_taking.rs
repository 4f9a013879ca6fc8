//! Takes slots for dials and arrivals, from other peers if need be, and runs the dial queue.

use std::time::Instant;

use super::{
    context::{Context, Parts},
    dialling,
    pairing::{
        close::{self, Close},
        rules,
    },
    peer::Peer,
    timers::Timer,
};
use crate::{
    Reason,
    peer::{PeerKey, links::Dialling},
    slots::{Claim, Decision, Entry, Taking},
    wire::code::CloseCode,
};

/// Claims a slot for a peer. If there is none, returns when to claim again, or nothing if a slot has to be
/// released first.
pub(super) fn claim(
    parts: &mut Parts<'_>,
    key: PeerKey,
    claim: Claim,
) -> Result<(), Option<Instant>> {
    let class = parts.peers.owner(key).class();
    loop {
        match parts.slots.claim(parts.now, key, claim, class) {
            Decision::Granted => return Ok(()),
            Decision::Wait(at) => return Err(at),
            Decision::Take(victim, taking) => vacate(&mut parts.at(victim), taking),
        }
    }
}

/// Has a peer give up its slot. Its session stays.
fn vacate(cx: &mut Context<'_>, taking: Taking) {
    match taking {
        Taking::Evict => return evict(cx),
        Taking::CallOff => cx.peer.has_given_way = true,
    }
    // The dial has not failed: if it is wanted still, it waits for a slot again.
    let dial = cx.peer.links.running();
    let dial = dial.expect("invariant: a dial that gives way is under way");
    let called_off = Close::new(CloseCode::CalledOff, Reason::CalledOff);
    close::close(cx, dial, called_off);
}

/// Closes the connections of a peer. Its session stays.
pub(super) fn evict(cx: &mut Context<'_>) {
    cx.shared.report.counters.evictions += 1;
    dialling::stay_away(cx.now, cx.peer, cx.shared);
    rules::close_keeping_session(cx, CloseCode::Evicted, Reason::Evicted);
}

/// Begins the dials that wait, as far as slots and the dial rate allow.
pub(super) fn run_dials(parts: &mut Parts<'_>) {
    parts.slots.begin_run();
    let mut next = None;
    while let Some(entry) = parts.slots.next_dial() {
        let ticket = entry.ticket;
        let waits = |peer: &Peer| peer.links.dialling() == Dialling::Waiting { ticket };
        if !parts.peers.get(entry.key).is_some_and(waits) {
            continue;
        }
        if let Err(at) = claim_for_dial(parts, entry) {
            parts.slots.put_back(entry);
            next = at;
            break;
        }
        parts.slots.count_dial(parts.now, entry.priority);
        dialling::begin(&mut parts.at(entry.key));
    }
    parts.shared.timers.set(Timer::Dials, next);
}

fn claim_for_dial(parts: &mut Parts<'_>, entry: Entry) -> Result<(), Option<Instant>> {
    // The rate first: no peer is evicted for a dial that has to wait all the same.
    let rate = parts.slots.check_rate(parts.now, entry.priority);
    rate.map_err(Some)?;
    let wanted = Claim::Dial {
        since: entry.since,
        priority: entry.priority,
        has_given_way: parts.peers.owner(entry.key).has_given_way,
    };
    claim(parts, entry.key, wanted)
}
