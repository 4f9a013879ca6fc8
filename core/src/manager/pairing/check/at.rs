//! One end of the model, as the rules that ship see it.

use std::time::Instant;

use super::{
    rule::Rule,
    step::NOW,
    world::{Demand, End, Stage, World},
};
use crate::{
    Incarnation, Reason, Undeliverable,
    manager::pairing::{
        close::Close,
        rules::{self, Pair, Phase, State},
    },
    peer::{
        LinkId,
        chooser::Candidate,
        outbox::{Continuity, Memory},
    },
    wire::{code::CloseCode, greeting::Greeting},
};

/// An end of a world.
pub(super) struct At<'a> {
    pub(super) world: &'a mut World,
    rule: Rule,
    end: End,
}

impl World {
    pub(super) fn at(&mut self, rule: Rule, end: End) -> At<'_> {
        At {
            world: self,
            rule,
            end,
        }
    }
}

impl Pair for At<'_> {
    fn now(&self) -> Instant {
        *NOW
    }

    fn state(&mut self) -> State<'_> {
        let party = self.world.party_mut(self.end);
        State {
            links: &mut party.links,
            processes: &mut party.processes,
            their_half: &mut party.their_half,
        }
    }

    fn phase(&self, link: LinkId) -> Phase {
        let side = self.world.connection(link).side(self.end);
        match (side.stage, side.hello) {
            (Stage::Confirmed, Some(hello)) => Phase::Confirmed(hello.line),
            (Stage::Waiting, _) => Phase::Waiting,
            (Stage::Gone, _) => Phase::Closed,
            (Stage::Unheard | Stage::Handshaking | Stage::Greeted | Stage::Confirmed, _) => {
                Phase::Unconfirmed
            }
        }
    }

    fn said(&self, link: LinkId) -> Option<Incarnation> {
        let is_live = self.world.party(self.end).links.is_live();
        match self.rule == Rule::ForgottenIsIgnored && is_live {
            true => None,
            false => self.world.connection(link).side(self.end).said,
        }
    }

    fn ours(&self) -> Incarnation {
        self.world.party(self.end).incarnation
    }

    /// What the streams hold is not in the model.
    fn is_passed_over(&self, _hello: &Greeting) -> bool {
        false
    }

    fn close_with_ack(&self, code: CloseCode, reason: Reason) -> Close {
        Close::new(code, reason)
    }

    fn close(&mut self, link: LinkId, close: Close) {
        let one = self.world.connection_mut(link);
        one.side_mut(self.end).stage = Stage::Gone;
        one.send(self.end.other(), |underway| {
            underway.close = Some(close.code);
        });
        self.world.lost(link, self.end, None);
    }

    /// Packets of different connections arrive in any order.
    fn hurry(&mut self, _link: LinkId) {}

    fn hold(&mut self, link: LinkId, _hello: &Greeting) {
        let side = self.world.connection_mut(link).side_mut(self.end);
        side.stage = Stage::Waiting;
        let is_believed = self.rule == Rule::LaterIsBelieved;
        if is_believed && self.state().processes.prevails(link, *NOW) {
            let close = Close::new(CloseCode::IdentityInUse, Reason::Replaced);
            rules::close_confirmed(self, &close);
        }
    }

    /// A peer that has begun another line does not know ours.
    fn resume(&mut self, greeting: &Greeting, _memory: Memory) -> Result<Continuity, CloseCode> {
        let before = *self.state().their_half;
        Ok(match before.is_some_and(|line| line != greeting.mine.id) {
            true => Continuity::Lost,
            false => Continuity::Continues,
        })
    }

    fn confirm(&mut self, link: LinkId, _hello: Greeting) -> Candidate {
        let one = self.world.connection_mut(link);
        one.side_mut(self.end).stage = Stage::Confirmed;
        Candidate {
            link,
            dialler: one.dialler_at(self.end),
            dial: one.dial,
        }
    }

    fn choose(&mut self, candidate: Candidate) -> Option<LinkId> {
        self.rule.confirm(self.world, self.end, candidate)
    }

    fn confirmed(&mut self, _link: LinkId) {
        let party = self.world.party_mut(self.end);
        if party.demand == Demand::Barred {
            party.demand = Demand::Waiting;
        }
    }

    fn goes_on(&mut self) {}

    /// The number is random; here it is greater than all before.
    fn begin_anew(&mut self) {
        self.world.party_mut(self.end).incarnation.random += 1;
    }

    fn forget_theirs(&mut self) {
        self.world.party_mut(self.end).their_half = None;
    }

    /// A stream that is started anew keeps its name.
    fn restart(&mut self, _continuity: Continuity) {}

    fn give_up(&mut self, _why: Undeliverable) {
        let party = self.world.party_mut(self.end);
        party.line = party.line.next();
        party.their_half = None;
        party.processes.end_session();
    }

    fn end(&mut self, why: Undeliverable) {
        self.give_up(why);
    }
}
