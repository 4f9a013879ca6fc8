//! What can go wrong next, and what it does.

use super::{
    rule::Rule,
    step::Packet,
    world::{Connection, Demand, End, Party, Stage, World},
};
use crate::{
    Incarnation, Reason, Undeliverable,
    manager::pairing::{
        close::Close,
        rules::{self, Pair},
    },
    peer::LinkId,
    wire::code::CloseCode,
};

/// From one process of an end to the next, in the random part of its incarnation.
const PROCESS: u64 = 1 << 8;

fn process(incarnation: Incarnation) -> u64 {
    incarnation.random / PROCESS
}

/// What goes wrong, or is done on purpose at a bad moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A connection is dead, and neither end is notified.
    Drop(LinkId),
    /// A hello arrives though its sender has since been seen as another process, or with another session: it
    /// was on its way for longer than a whole handshake takes.
    Late(LinkId, End),
    /// A close does not arrive.
    LoseClose(LinkId, End),
    /// An end closes one connection, for an error or since its handshake takes too long.
    Break(LinkId, End),
    /// An end gives the slot to another peer, or its time to live is over.
    Evict(End),
    /// An end ends the session, and begins another at once.
    Disconnect(End),
    /// An end has no slot for a peer that dials it.
    Full(LinkId, End),
    /// A process ends without a close, and another takes its place.
    Restart(End, Clock),
}

/// The start of a new process by its clock, beside that of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    Later,
    Earlier,
}

impl World {
    /// Every fault that makes a difference at this moment.
    pub(super) fn possible_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for one in self.connections.iter().filter(|one| !one.cut) {
            faults.push(Fault::Drop(one.link));
        }
        for end in End::BOTH {
            for one in &self.connections {
                if one.underway(end).close.is_some() {
                    faults.push(Fault::LoseClose(one.link, end));
                }
                if one.is_held(end) {
                    faults.push(Fault::Break(one.link, end));
                }
                let mut packets = one.packets(end);
                if packets.any(|packet| self.is_late(one, end, packet)) {
                    faults.push(Fault::Late(one.link, end));
                }
                if self.is_full_for(one, end) {
                    faults.push(Fault::Full(one.link, end));
                }
            }
            if self.party(end).links.is_live() {
                faults.push(Fault::Evict(end));
            }
            if self.party(end).links.are_open() {
                faults.push(Fault::Disconnect(end));
            }
            faults.extend([Clock::Later, Clock::Earlier].map(|clock| Fault::Restart(end, clock)));
        }
        faults
    }

    /// Whether a hello has been overtaken by a later one, on another connection, of the same end.
    pub(super) fn is_late(&self, one: &Connection, end: End, packet: Packet) -> bool {
        let Some(hello) = one.underway(end).hello.filter(|_| packet == Packet::Hello) else {
            return false;
        };
        let Party {
            processes,
            their_half,
            ..
        } = self.party(end);
        let known = processes.present().map(process);
        known > Some(process(hello.incarnation))
            || their_half.is_some_and(|line| line.is_after(hello.line))
    }

    /// Whether an end may be out of slots for a connection that is about to prove its dialler's identity: a
    /// peer that holds a slot keeps it (`Slots::acquire`).
    fn is_full_for(&self, one: &Connection, end: End) -> bool {
        let arrives =
            one.dialler != end && one.stage(end) == Stage::Handshaking && one.underway(end).flight;
        arrives && !self.party(end).links.are_open()
    }

    pub(super) fn fail(&mut self, rule: Rule, fault: Fault) {
        match fault {
            Fault::Late(link, end) => self.arrives(rule, link, end, Packet::Hello),
            Fault::Drop(link) => self.connection_mut(link).cut = true,
            Fault::LoseClose(link, end) => {
                self.connection_mut(link).underway_mut(end).close = None;
            }
            Fault::Break(link, end) => {
                let close = Close::new(CloseCode::HandshakeTimeout, Reason::HandshakeTimeout);
                self.at(rule, end).close(link, close);
            }
            Fault::Evict(end) => {
                let at = &mut self.at(rule, end);
                rules::close_keeping_session(at, CloseCode::Evicted, Reason::Evicted);
            }
            Fault::Disconnect(end) => {
                rules::end_session(&mut self.at(rule, end), Undeliverable::Disconnected);
            }
            Fault::Full(link, end) => {
                // `admission::established`: no peer has it yet.
                let one = self.connection_mut(link);
                one.side_mut(end).stage = Stage::Gone;
                one.send(end.other(), |underway| {
                    underway.close = Some(CloseCode::Busy);
                });
            }
            Fault::Restart(end, clock) => self.restart(end, clock),
        }
    }

    fn restart(&mut self, end: End, clock: Clock) {
        for one in &mut self.connections {
            if one.stage(end) != Stage::Unheard {
                one.side_mut(end).stage = Stage::Gone;
            }
        }
        let old = self.party(end);
        let step = match clock {
            Clock::Later => 1,
            Clock::Earlier => -1,
        };
        let demand = match old.demand {
            Demand::None => Demand::None,
            Demand::Waiting | Demand::Barred => Demand::Waiting,
        };
        let fresh = Party {
            process: old.process + 1,
            incarnation: Incarnation {
                started_ms: old.incarnation.started_ms.saturating_add_signed(step),
                random: (u64::from(old.process) + 1) * PROCESS,
            },
            line: old.line.next(),
            ..Party::new(demand)
        };
        *self.party_mut(end) = fresh;
    }
}
