//! What can happen next, and what it does: the rules of `manager/` around [`Links`].
//!
//! [`Links`]: crate::peer::links::Links

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::LazyLock,
    time::Instant,
};

use super::{
    fault::Fault,
    rule::Rule,
    world::{Connection, Demand, End, Hello, Party, Stage, Underway, World},
};
use crate::{
    peer::{LinkId, chooser::Candidate, links::Loss, processes::Claim},
    testing::epoch,
    wire::code::CloseCode,
};

/// The one address of each end.
const SOMEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Time does not pass.
static NOW: LazyLock<Instant> = LazyLock::new(epoch);

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Dial(End),
    /// Something arrives at an end.
    Arrives(LinkId, End, Packet),
    /// A connection answers a ping of an end at which other processes wait for a place: one of them,
    /// or the one that has it.
    Answers(LinkId, End),
    /// An end finds that a connection is dead: its handshake or its liveness timed out, or a packet
    /// of it was answered with a reset.
    Notices(LinkId, End),
    Fault(Fault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet {
    Flight,
    Hello,
    Close,
}

impl World {
    /// Everything that can happen next, with faults up to so many.
    pub(super) fn steps(&self, rule: Rule, faults_max: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        for end in End::BOTH {
            if self.may_dial(rule, end) {
                steps.push(Step::Dial(end));
            }
            for one in &self.connections {
                let packets = one
                    .packets(end)
                    .filter(|packet| !self.is_late(one, end, *packet));
                steps.extend(packets.map(|packet| Step::Arrives(one.link, end, packet)));
                if one.is_silent(end) {
                    steps.push(Step::Notices(one.link, end));
                }
            }
            let processes = &self.party(end).processes;
            let present = self.party(end).links.live();
            let rivals = present.filter(|_| processes.is_contested()).into_iter();
            let answers = rivals
                .chain(processes.waiting())
                .filter(|link| self.connection(*link).answers(end));
            steps.extend(answers.map(|link| Step::Answers(link, end)));
        }
        if usize::from(self.faults) < faults_max {
            steps.extend(self.possible_faults().into_iter().map(Step::Fault));
        }
        steps
    }

    /// `dialling::dial_if_wanted`, however long the backoff. Only an end that has closed its own dial,
    /// to tell the other that it is forgotten, stays away (`dialling::stay_away`) until that is heard:
    /// if every such close took longer than the dial after it, there would be no end to dials.
    fn may_dial(&self, rule: Rule, end: End) -> bool {
        let party = self.party(end);
        let telling = |one: &Connection| {
            one.dialler == end && one.underway(end.other()).close == Some(CloseCode::Forgotten)
        };
        party.demand == Demand::Waiting
            && rule.may_dial(&party.links)
            && !self.connections.iter().any(telling)
    }

    pub(super) fn apply(&mut self, rule: Rule, step: Step) {
        match step {
            Step::Dial(end) => self.dial(end),
            Step::Arrives(link, end, packet) => self.arrives(rule, link, end, packet),
            Step::Answers(link, end) => self.answered(link, end),
            Step::Notices(link, end) => {
                self.connection_mut(link).side_mut(end).stage = Stage::Gone;
                self.lost(link, end, None);
            }
            Step::Fault(fault) => {
                self.faults += 1;
                self.dials = 0;
                self.fail(rule, fault);
            }
        }
        End::BOTH
            .into_iter()
            .for_each(|end| self.greet_waiting(rule, end));
    }

    fn dial(&mut self, end: End) {
        let party = self.party(end);
        let process = party.process;
        let ours = |one: &&Connection| (one.dialler, one.process) == (end, process);
        let dials = self.connections.iter().filter(ours).map(|one| one.dial);
        let dial = dials.max().unwrap_or(0) + 1;
        let link = LinkId::new(u32::MAX, 0);
        self.connections
            .push(Connection::new(link, end, process, dial));
        self.dials += 1;
        self.party_mut(end).links.begun(link, SOMEWHERE);
    }

    pub(super) fn arrives(&mut self, rule: Rule, link: LinkId, end: End, packet: Packet) {
        let one = self.connection_mut(link);
        let underway = one.underway_mut(end);
        match packet {
            Packet::Flight => {
                underway.flight = false;
                self.handshake_goes_on(link, end);
            }
            Packet::Hello => {
                let hello = underway.hello.take();
                self.greeted(rule, link, end, hello.expect("invariant: it was sent"));
            }
            Packet::Close => {
                let code = underway.close.take().expect("invariant: it was sent");
                self.closed(rule, link, end, code);
            }
        }
    }

    fn handshake_goes_on(&mut self, link: LinkId, end: End) {
        let hello = self.hello(end);
        let one = self.connection_mut(link);
        let dialled = one.dialler != end;
        let (stage, answer) = match (one.stage(end), dialled) {
            (Stage::Unheard, _) => (Stage::Handshaking, (true, None)),
            // The dialler's last flight, and hello with it.
            (_, false) => (Stage::Greeted, (true, Some(hello))),
            (_, true) => (Stage::Greeted, (false, Some(hello))),
        };
        one.side_mut(end).stage = stage;
        one.side_mut(end).said = answer.1.map(|hello| hello.incarnation);
        one.send(end.other(), |underway| {
            (underway.flight, underway.hello) = answer;
        });
        // `admission::arrived`.
        if stage == Stage::Greeted && dialled {
            let surplus = self.party_mut(end).links.arrived(link);
            if let Some(oldest) = surplus {
                self.close(oldest, end, CloseCode::CalledOff);
            }
        }
    }

    fn hello(&self, end: End) -> Hello {
        let party = self.party(end);
        Hello {
            incarnation: party.incarnation,
            line: party.line,
        }
    }

    /// `processes::refuse_waiting`, `processes::admit_waiting`.
    fn answered(&mut self, link: LinkId, end: End) {
        let Party {
            links, processes, ..
        } = self.party(end);
        if links.live() == Some(link) {
            for refused in processes.refused(*NOW) {
                self.close(refused, end, CloseCode::IdentityInUse);
            }
        } else if processes.prevails(link, *NOW) {
            self.close_confirmed(end, CloseCode::IdentityInUse);
        }
    }

    /// `hello::read_waiting`: a process that waits gets a free place, or has it already.
    fn greet_waiting(&mut self, rule: Rule, end: End) {
        let waiting: Vec<LinkId> = self.party(end).processes.waiting().collect();
        for link in waiting {
            let party = self.party_mut(end);
            if !party.processes.is_free_for(link, party.links.presence()) {
                continue;
            }
            party.processes.leave(link);
            let side = self.connection_mut(link).side_mut(end);
            side.stage = Stage::Greeted;
            let hello = side.hello.expect("invariant: it waits since its hello");
            self.greeted(rule, link, end, hello);
        }
    }

    /// `hello::read`. What the lines hold is not in the model: `passed_over` never is.
    fn greeted(&mut self, rule: Rule, link: LinkId, end: End, hello: Hello) {
        self.connection_mut(link).side_mut(end).hello = Some(hello);
        let party = self.party_mut(end);
        // `processes::check`.
        match party
            .processes
            .judge(hello.incarnation, party.links.presence())
        {
            Claim::Same => {}
            Claim::Next => {}
            Claim::Waits => {
                party.processes.wait(*NOW, link, hello.incarnation);
                if rule == Rule::LaterIsBelieved && party.processes.prevails(link, *NOW) {
                    self.close_confirmed(end, CloseCode::IdentityInUse);
                }
                self.connection_mut(link).side_mut(end).stage = Stage::Waiting;
                return;
            }
            Claim::Forgotten => return self.close(link, end, CloseCode::Forgotten),
        }
        // `hello::resume`. A peer that has begun another line does not know ours.
        let party = self.party_mut(end);
        let before = party.processes.present();
        party.processes.adopt(hello.incarnation);
        let line = party.their_line.replace(hello.line);
        let restarted = before.is_some_and(|before| before != hello.incarnation);
        if restarted || line.is_some_and(|line| line != hello.line) {
            // `session::restart`.
            self.close_confirmed(end, CloseCode::Replaced);
        }
        self.confirmed(rule, link, end);
    }

    fn close_confirmed(&mut self, end: End, code: CloseCode) {
        let confirmed: Vec<LinkId> = self.party(end).links.confirmed().collect();
        confirmed
            .into_iter()
            .for_each(|link| self.close(link, end, code));
    }

    /// `hello::confirmed`.
    fn confirmed(&mut self, rule: Rule, link: LinkId, end: End) {
        let one = self.connection_mut(link);
        one.side_mut(end).stage = Stage::Confirmed;
        let candidate = Candidate {
            link,
            dialler: one.dialler_at(end),
            dial: one.dial,
        };
        let party = self.party_mut(end);
        if party.demand == Demand::Barred {
            party.demand = Demand::Waiting;
        }
        if let Some(loser) = rule.confirm(self, end, candidate) {
            self.close(loser, end, CloseCode::Replaced);
        }
    }

    /// `close::close`.
    pub(super) fn close(&mut self, link: LinkId, end: End, code: CloseCode) {
        let one = self.connection_mut(link);
        one.side_mut(end).stage = Stage::Gone;
        one.send(end.other(), |underway| underway.close = Some(code));
        self.lost(link, end, None);
    }

    /// `streams::ended`, after a close of the other end.
    fn closed(&mut self, rule: Rule, link: LinkId, end: End, code: CloseCode) {
        let held = self.connection(link).is_held(end);
        let stale = self.is_stale(link, end);
        let said = self.connection(link).side(end).said;
        self.connection_mut(link).side_mut(end).stage = Stage::Gone;
        if !held {
            return;
        }
        let former = said != Some(self.party(end).incarnation);
        let outdated = match code == CloseCode::Forgotten && rule.hears_that_it_is_forgotten() {
            true => former,
            false => stale,
        };
        let told = Some(code).filter(|_| !outdated);
        match told {
            Some(CloseCode::Goodbye) => self.give_up(end),
            Some(CloseCode::IdentityInUse) => {
                self.begin_anew(end);
                self.give_up(end);
            }
            Some(_) | None => {}
        }
        self.lost(link, end, Some(code));
        match told {
            Some(CloseCode::Goodbye) => self.end_session(end),
            Some(CloseCode::Forgotten) => {
                self.begin_anew(end);
                self.party_mut(end).their_line = None;
                self.close_all(end, CloseCode::Replaced);
            }
            Some(CloseCode::IdentityInUse) => self.close_all(end, CloseCode::Replaced),
            Some(_) | None => {}
        }
    }

    /// `streams::is_stale`.
    fn is_stale(&self, link: LinkId, end: End) -> bool {
        let (party, one) = (self.party(end), self.connection(link));
        match one.stage(end) {
            Stage::Confirmed => one.side(end).hello.map(|hello| hello.line) != party.their_line,
            Stage::Waiting => true,
            Stage::Unheard | Stage::Handshaking | Stage::Greeted => party.links.is_live(),
            Stage::Gone => false,
        }
    }

    /// `lost::lost`. Whether and when there will be another dial follows from the state, but
    /// for the reason that bars it (`dialling::back_off`).
    fn lost(&mut self, link: LinkId, end: End, code: Option<CloseCode>) {
        let party = self.party_mut(end);
        party.processes.leave(link);
        let loss = party.links.lost(link);
        let fails = matches!(loss, Loss::Dial | Loss::Last);
        let in_use = code == Some(CloseCode::IdentityInUse);
        if fails && in_use && party.demand == Demand::Waiting {
            party.demand = Demand::Barred;
        }
    }

    /// `processes::begin_anew`. The number is random; here it is greater than all before.
    fn begin_anew(&mut self, end: End) {
        self.party_mut(end).incarnation.random += 1;
    }

    fn give_up(&mut self, end: End) {
        let party = self.party_mut(end);
        party.line += 1;
        party.their_line = None;
        party.processes.end_session();
    }

    /// `close::end_session`.
    pub(super) fn end_session(&mut self, end: End) {
        self.give_up(end);
        self.close_all(end, CloseCode::Goodbye);
    }

    /// `close::close_keeping_session`.
    pub(super) fn close_all(&mut self, end: End, code: CloseCode) {
        let unconfirmed: Vec<LinkId> = self.party(end).links.unconfirmed().collect();
        for link in unconfirmed {
            self.close(link, end, CloseCode::CalledOff);
        }
        self.close_confirmed(end, code);
    }
}

impl Connection {
    /// Whether a ping of this end is answered.
    fn answers(&self, end: End) -> bool {
        !self.cut && self.stage(end.other()) != Stage::Gone
    }

    /// What may arrive next at an end: flights before hello, a close at any moment.
    pub(super) fn packets(&self, end: End) -> impl Iterator<Item = Packet> {
        let Underway {
            flight,
            hello,
            close,
        } = self.underway(end);
        let next = match (flight, hello) {
            (true, _) => Some(Packet::Flight),
            (false, Some(_)) => Some(Packet::Hello),
            (false, None) => None,
        };
        next.into_iter().chain(close.map(|_| Packet::Close))
    }
}
