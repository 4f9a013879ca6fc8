//! What can happen next, and what it does to the model: packets and dials. What follows is in
//! [`rules`](super::super::rules).

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::LazyLock,
    time::Instant,
};

use super::{
    at::At,
    fault::Fault,
    rule::Rule,
    world::{Connection, Demand, End, Hello, Stage, Underway, World},
};
use crate::{
    manager::pairing::rules,
    peer::{LinkId, links::Loss},
    testing::epoch,
    transport::reason_of,
    wire::code::CloseCode,
};

/// The one address of each end.
const SOMEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Time does not pass.
pub(super) static NOW: LazyLock<Instant> = LazyLock::new(epoch);

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Dial(End),
    /// Something arrives at an end.
    Arrives(LinkId, End, Packet),
    /// A connection answers a ping of an end at which other processes wait for a place: one of them,
    /// or the one that has it.
    Answers(LinkId, End),
    /// An end hears another confirmed connection than the one that it sends on, which is dead, and sends on
    /// that one.
    Prefers(LinkId, End),
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
            steps.extend(self.preferred(end).map(|link| Step::Prefers(link, end)));
        }
        if usize::from(self.faults) < faults_max {
            steps.extend(self.possible_faults().into_iter().map(Step::Fault));
        }
        steps
    }

    /// Whether an end may dial, however long the backoff. An end that has closed its own dial with
    /// `Forgotten` waits until that close has arrived:
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

    /// The confirmed connection that an end hears, if the one that it sends on is dead.
    fn preferred(&self, end: End) -> Option<LinkId> {
        let links = &self.party(end).links;
        let is_heard = |link: &LinkId| self.connection(*link).answers(end);
        links.live().filter(|live| !is_heard(live))?;
        links.confirmed().find(is_heard)
    }

    pub(super) fn apply(&mut self, rule: Rule, step: Step) {
        match step {
            Step::Dial(end) => self.dial(end),
            Step::Arrives(link, end, packet) => self.arrives(rule, link, end, packet),
            Step::Answers(link, end) => {
                rules::proved_alive(&mut self.at(rule, end), link, *NOW);
            }
            Step::Prefers(link, end) => {
                let changed = self.party_mut(end).links.prefer(link);
                assert!(changed, "the one that is sent on is another");
            }
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
                self.handshake_goes_on(rule, link, end);
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

    fn handshake_goes_on(&mut self, rule: Rule, link: LinkId, end: End) {
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
        if stage == Stage::Greeted && dialled {
            rules::arrived(&mut self.at(rule, end), link);
        }
    }

    fn hello(&self, end: End) -> Hello {
        let party = self.party(end);
        Hello {
            incarnation: party.incarnation,
            line: party.line,
        }
    }

    /// A process that waits gets a free place, or has it already.
    fn greet_waiting(&mut self, rule: Rule, end: End) {
        let waiting: Vec<LinkId> = self.party(end).processes.waiting().collect();
        for link in waiting {
            if !rules::is_let_in(&mut self.at(rule, end), link) {
                continue;
            }
            let side = self.connection_mut(link).side_mut(end);
            side.stage = Stage::Greeted;
            let hello = side.hello.expect("invariant: it waits since its hello");
            self.greeted(rule, link, end, hello);
        }
    }

    fn greeted(&mut self, rule: Rule, link: LinkId, end: End, hello: Hello) {
        let one = self.connection_mut(link);
        one.side_mut(end).hello = Some(hello);
        let hello = hello.on_the_wire(one.dial);
        let read = rules::greeted(&mut self.at(rule, end), link, hello);
        read.expect("invariant: the model refuses no hello");
    }

    /// The other end has closed a connection.
    fn closed(&mut self, rule: Rule, link: LinkId, end: End, code: CloseCode) {
        if !self.connection(link).is_held(end) {
            self.connection_mut(link).side_mut(end).stage = Stage::Gone;
            return;
        }
        let lose = |at: &mut At<'_>| {
            at.world.connection_mut(link).side_mut(end).stage = Stage::Gone;
            at.world.lost(link, end, Some(code));
        };
        rules::closed(&mut self.at(rule, end), link, Some(code), lose);
    }

    /// A connection has ended. Whether and when there will be another dial follows from the state, but
    /// for the reason that bars it.
    pub(super) fn lost(&mut self, link: LinkId, end: End, code: Option<CloseCode>) {
        let party = self.party_mut(end);
        party.processes.leave(link);
        let loss = party.links.lost(link);
        let fails = matches!(loss, Loss::Dial | Loss::Last);
        let is_lasting = code.is_some_and(|code| reason_of(code, &[]).is_lasting());
        if fails && is_lasting && party.demand == Demand::Waiting {
            party.demand = Demand::Barred;
        }
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
