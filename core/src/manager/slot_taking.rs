//! Takes slots for dials and arrivals, from other peers if need be, and runs the dial queue.

use std::time::Instant;

use super::{
    dialling,
    pairing::close::{self, Close},
    peer::{Peer, Peers},
    shared::Shared,
    timers::Timer,
};
use crate::{
    Reason,
    peer::{PeerKey, links::Dialling},
    slots::{Claim, Decision, Entry, Slots, Taking},
    transport::Transport,
    wire::code::CloseCode,
};

/// Claims a slot for a peer. If there is none, returns when to claim again, or nothing if a slot has to be
/// released first.
pub(super) fn claim(
    now: Instant,
    key: PeerKey,
    claim: Claim,
    peers: &mut Peers,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) -> Result<(), Option<Instant>> {
    let is_protected = peers.owner(key).is_protected;
    loop {
        match slots.claim(now, key, claim, is_protected) {
            Decision::Granted => return Ok(()),
            Decision::Wait(at) => return Err(at),
            Decision::Take(victim, taking) => {
                vacate(now, peers.owner(victim), transport, slots, shared, taking);
            }
        }
    }
}

/// Has a peer give up its slot. Its session stays.
fn vacate(
    now: Instant,
    peer: &mut Peer,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
    taking: Taking,
) {
    match taking {
        Taking::Evict => {
            shared.report.counters.evictions += 1;
            dialling::stay_away(now, peer, shared);
            let evicted = (CloseCode::Evicted, Reason::Evicted);
            return close::close_keeping_session(now, peer, transport, slots, shared, evicted);
        }
        Taking::Preempt => peer.preemption.preempted(),
        Taking::CallOff => {}
    }
    // The dial has not failed: if it is wanted still, it waits for a slot again.
    let dial = peer.links.running();
    let dial = dial.expect("invariant: a dial that gives way is under way");
    let called_off = Close::new(CloseCode::CalledOff, Reason::CalledOff);
    close::close(now, dial, peer, transport, slots, shared, called_off);
}

/// Begins the dials that wait, as far as slots and the dial rate allow.
pub(super) fn run_dials(
    now: Instant,
    peers: &mut Peers,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) {
    slots.begin_run();
    let mut next = None;
    while let Some(entry) = slots.next_dial() {
        let ticket = entry.ticket;
        let waits = |peer: &Peer| peer.links.dialling() == Dialling::Waiting { ticket };
        if !peers.get(entry.key).is_some_and(waits) {
            continue;
        }
        if let Err(at) = claim_for_dial(now, entry, peers, transport, slots, shared) {
            slots.put_back(entry);
            next = at;
            break;
        }
        slots.count_dial(now, entry.priority);
        dialling::begin(now, peers.owner(entry.key), transport, slots, shared);
    }
    shared.timers.set(Timer::Dials, next);
}

fn claim_for_dial(
    now: Instant,
    entry: Entry,
    peers: &mut Peers,
    transport: &mut Transport,
    slots: &mut Slots,
    shared: &mut Shared,
) -> Result<(), Option<Instant>> {
    // The rate first: no peer is evicted for a dial that has to wait all the same.
    slots.check_rate(now, entry.priority).map_err(Some)?;
    let wanted = Claim::Dial {
        since: entry.since,
        priority: entry.priority,
        is_preemptible: peers.owner(entry.key).preemption.is_preemptible(),
    };
    claim(now, entry.key, wanted, peers, transport, slots, shared)
}
