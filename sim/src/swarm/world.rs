//! A scenario as it is played.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use quicpool_core::{Event, Message, Occupancy};

use super::{
    Operation, Outcome, Property, Scenario, Step, Violation, audit::Auditor, ledger::Line,
    scenario::SESSION_TIMEOUT,
};
use crate::{Burst, Net, NodeId, Queue, Rate, Trail, ms, secs, trace::Recorder};

/// How long a healed world may take until every message is taken or reported: the idle timeout,
/// the longest backoff and a handshake, many times over, since peers may have to take turns in a
/// pool of one.
pub const CONVERGENCE: Duration = secs(600);

/// How much longer a datagram travels that is overtaken.
const REORDER_EXTRA: Duration = ms(80);

/// A message begins with the sender's life and its number.
const HEADER_LEN: usize = 12;

pub(super) struct World {
    net: Net,
    nodes: Vec<NodeId>,
    connections_max: usize,
    /// How often each node has been started again.
    lives: Vec<u32>,
    down: BTreeSet<usize>,
    paused: BTreeSet<usize>,
    /// By sender, its life, and receiver.
    lines: BTreeMap<(usize, u32, usize), Line>,
    /// Lines of which messages may be given up: either end has ended the session, or has died.
    disturbed: BTreeSet<(usize, u32, usize)>,
    auditors: Vec<Auditor>,
    violations: Vec<Violation>,
    injected: BTreeMap<&'static str, u64>,
    messages: u64,
}

impl World {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let net = Net::new(scenario.seed).crypto(scenario.crypto);
        let mut net = net.latency(scenario.latency);
        let nodes = net.nodes(scenario.nodes, &scenario.config);
        net.introduce_all();
        Self {
            lives: vec![0; nodes.len()],
            auditors: nodes.iter().map(|_| Auditor::default()).collect(),
            net,
            nodes,
            connections_max: scenario.config.connections_max,
            down: BTreeSet::new(),
            paused: BTreeSet::new(),
            lines: BTreeMap::new(),
            disturbed: BTreeSet::new(),
            violations: Vec::new(),
            injected: BTreeMap::new(),
            messages: 0,
        }
    }

    pub(super) fn record(&mut self, recorder: &Recorder) {
        self.net.record(recorder);
    }

    /// Makes links in another order than they are used. It must not matter.
    pub(super) fn make_links_backwards(&mut self) {
        for from in self.nodes.iter().rev() {
            for to in self.nodes.iter().rev().filter(|to| *to != from) {
                self.net.make_link(*from, *to);
            }
        }
    }

    /// Plays it and keeps the trail.
    pub(super) fn run_with_trail(mut self, steps: &[Step]) -> (Outcome, Trail) {
        self.net.keep_trail();
        let outcome = self.play(steps);
        (outcome, self.net.take_trail())
    }

    pub(super) fn run(mut self, steps: &[Step]) -> Outcome {
        self.play(steps)
    }

    fn play(&mut self, steps: &[Step]) -> Outcome {
        for step in steps {
            self.carry_out(&step.operation);
            self.net.advance(step.pause);
            self.observe();
        }
        self.heal();
        self.converge();
        self.settle_accounts();
        let (hash, simulated) = (self.net.hash(), self.net.now());
        self.leave();
        let picture = if self.violations.is_empty() {
            String::new()
        } else {
            format!("{:?}", self.net)
        };
        Outcome {
            violations: mem::take(&mut self.violations),
            hash,
            simulated,
            injected: mem::take(&mut self.injected),
            messages: self.messages,
            picture,
        }
    }

    // Storm

    fn carry_out(&mut self, operation: &Operation) {
        if self.apply(operation) {
            *self.injected.entry(operation.name()).or_default() += 1;
        }
    }

    /// Whether the operation made any difference.
    fn apply(&mut self, operation: &Operation) -> bool {
        let nodes = &self.nodes;
        match *operation {
            Operation::Send {
                from,
                to,
                ref lengths,
            } => return self.send(from, to, lengths),
            Operation::Connect(a, b) => {
                return self.is_up(a) && self.net.try_connect(nodes[a], nodes[b]).is_ok();
            }
            Operation::Disconnect(a, b) => return self.disconnect(a, b),
            Operation::Cut(a, b) => self.net.cut(nodes[a], nodes[b]),
            Operation::CutOneWay(a, b) => self.net.cut_one_way(nodes[a], nodes[b]),
            Operation::Heal => self.net.heal_all(),
            Operation::Loss(probability) => self.net.loss(probability),
            Operation::Duplicate(probability) => self.net.duplicate(probability),
            Operation::Reorder(probability) => self.net.reorder(probability, REORDER_EXTRA),
            Operation::Corrupt(probability) => self.net.corrupt(probability),
            Operation::Burst(to_bad) => self.net.faults(|faults| faults.burst = burst(to_bad)),
            Operation::Rate(bytes) => self.net.faults(|faults| faults.rate = rate(bytes)),
            Operation::Clog(a, b, time) => self.net.clog(nodes[a], nodes[b], time),
            Operation::Rebind(a) => self.net.rebind(nodes[a]),
            Operation::Freeze(a, time) => return self.freeze(a, time),
            Operation::BlockSocket(a, time) => self.net.block_socket(nodes[a], time),
            Operation::Crash(a) => return self.crash(a),
            Operation::Restart(a) => return self.restart(a),
            Operation::PauseReader(a) => {
                self.net.pause_reader(nodes[a]);
                return self.paused.insert(a);
            }
            Operation::ResumeReader(a) => return self.resume(a),
        }
        true
    }

    fn send(&mut self, from: usize, to: usize, lengths: &[usize]) -> bool {
        if !self.is_up(from) {
            return false;
        }
        let life = self.lives[from];
        for length in lengths {
            let line = self.lines.entry((from, life, to)).or_default();
            let mut message = life.to_be_bytes().to_vec();
            message.extend_from_slice(&line.sent.to_be_bytes());
            message.resize(HEADER_LEN.max(*length), 7);
            let sent = self
                .net
                .try_send(self.nodes[from], self.nodes[to], &message);
            if sent.is_ok() {
                line.sent += 1;
                self.messages += 1;
            }
        }
        true
    }

    fn disconnect(&mut self, a: usize, b: usize) -> bool {
        if !self.is_up(a) {
            return false;
        }
        self.observe();
        self.disturb(|from, to| (from, to) == (a, b) || (from, to) == (b, a));
        self.net.disconnect(self.nodes[a], self.nodes[b]);
        true
    }

    fn crash(&mut self, a: usize) -> bool {
        if !self.is_up(a) {
            return false;
        }
        self.observe();
        self.disturb(|from, to| from == a || to == a);
        self.net.crash(self.nodes[a]);
        self.down.insert(a)
    }

    fn freeze(&mut self, a: usize, time: Duration) -> bool {
        if !self.is_up(a) {
            return false;
        }
        self.net.pause(self.nodes[a]);
        self.net.advance(time);
        self.net.resume(self.nodes[a]);
        true
    }

    fn restart(&mut self, a: usize) -> bool {
        if !self.down.remove(&a) {
            return false;
        }
        // What was sent to the dead one meanwhile has an unknown fate, too.
        self.disturb(|from, to| from == a || to == a);
        self.lives[a] += 1;
        self.auditors[a] = Auditor::default();
        self.net.restart(self.nodes[a]);
        for other in (0..self.nodes.len()).filter(|other| *other != a) {
            self.net.introduce_one_way(self.nodes[a], self.nodes[other]);
        }
        true
    }

    fn resume(&mut self, a: usize) -> bool {
        if !self.paused.remove(&a) {
            return false;
        }
        self.net.resume_reader(self.nodes[a]);
        if self.is_up(a) {
            // What was announced while nobody listened is not announced again.
            for other in 0..self.nodes.len() {
                let peer = self.net.peer_id(self.nodes[other]);
                let mut messages = Vec::new();
                self.net.with(self.nodes[a], |machine, now| {
                    while machine.receive(now, peer, usize::MAX, &mut messages) > 0 {}
                });
                self.take(a, &messages);
            }
        }
        true
    }

    /// Also for what is sent before the other end hears of it.
    fn disturb(&mut self, concerns: impl Fn(usize, usize) -> bool) {
        for from in 0..self.nodes.len() {
            for to in (0..self.nodes.len()).filter(|to| concerns(from, *to)) {
                self.disturbed.insert((from, self.lives[from], to));
            }
        }
    }

    // Calm

    fn heal(&mut self) {
        self.net.heal_all();
        self.net.unclog_all();
        self.net.faults(|faults| {
            faults.calm();
            faults.rate = None;
        });
        for node in 0..self.nodes.len() {
            self.restart(node);
            self.resume(node);
        }
        // Whoever has moved is found again.
        for a in 0..self.nodes.len() {
            for b in (0..self.nodes.len()).filter(|b| *b != a) {
                self.net.introduce_one_way(self.nodes[a], self.nodes[b]);
            }
        }
    }

    fn converge(&mut self) {
        let end = self.net.now() + CONVERGENCE;
        while self.net.now() < end && !self.is_settled() {
            self.net.advance(secs(5));
            self.observe();
        }
        // What was taken last has to be told.
        self.net.advance(secs(5));
        self.observe();
    }

    /// Whether everything that a living process has sent is taken or reported.
    fn is_settled(&self) -> bool {
        let mut lines = self.lines.iter();
        lines.all(|((from, life, _), line)| *life < self.lives[*from] || line.missing().is_empty())
    }

    // What must hold

    fn observe(&mut self) {
        for place in 0..self.nodes.len() {
            let node = self.nodes[place];
            let messages = self.net.received(node);
            self.take(place, &messages);
            for event in self.net.events(node) {
                self.hear(place, &event);
            }
            let slots = self.net.occupancy(node).map_or(0, |held| held.slots);
            if slots > self.connections_max {
                let max = self.connections_max;
                let what = format!("{node} holds {slots} slots of {max}");
                self.violated(Property::SlotsWithinLimit, what);
            }
        }
    }

    fn hear(&mut self, place: usize, event: &Event) {
        if let Some(what) = self.auditors[place].hear(event) {
            let what = format!("{}: {what}", self.nodes[place]);
            self.violated(Property::LegalMoves, what);
        }
        if let Event::Undelivered { peer, messages, .. } = event
            && let Some(to) = self.place_of(*peer)
        {
            let key = (place, self.lives[place], to);
            self.lines.entry(key).or_default().report(messages.clone());
        }
    }

    fn take(&mut self, place: usize, messages: &[Message]) {
        for message in messages {
            let Some((from, life, number)) = self.read(message) else {
                let what = format!("{} took {message:?}", self.nodes[place]);
                self.violated(Property::NothingInvented, what);
                continue;
            };
            let line = self.lines.entry((from, life, place)).or_default();
            line.take(self.lives[place], number);
        }
    }

    /// Who sent a message, in which life, and its number.
    fn read(&self, message: &Message) -> Option<(usize, u32, u64)> {
        let from = self.place_of(message.from)?;
        let (life, rest) = message.payload.split_first_chunk()?;
        let (number, _) = rest.split_first_chunk()?;
        Some((from, u32::from_be_bytes(*life), u64::from_be_bytes(*number)))
    }

    fn settle_accounts(&mut self) {
        let mut found = Vec::new();
        for ((from, life, to), line) in &self.lines {
            let who = format!("{} (life {life}) to {}", self.nodes[*from], self.nodes[*to]);
            if let Some(pair) = line.disorder() {
                found.push((Property::OnceAndInOrder, format!("{who}: {pair:?}")));
            }
            if let Some(number) = line.invented() {
                found.push((Property::NothingInvented, format!("{who}: {number}")));
            }
            if *life < self.lives[*from] {
                // What a dead process still held went with it.
                continue;
            }
            let missing = line.missing();
            if !missing.is_empty() {
                let what = format!("{who}: of {} missing {missing:?}", line.sent);
                found.push((Property::Converges, what));
            }
            let given_up = line.given_up();
            if !given_up.is_empty() && !self.disturbed.contains(&(*from, *life, *to)) {
                found.push((Property::NothingGivenUp, format!("{who}: {given_up:?}")));
            }
        }
        found.extend(self.disagreements());
        for (property, what) in found {
            self.violated(property, what);
        }
    }

    /// Everyone forgets everyone.
    fn leave(&mut self) {
        for a in self.nodes.clone() {
            for b in self.nodes.iter().filter(|b| **b != a) {
                self.net.forget(a, *b);
            }
        }
        // Whoever dialled before it forgot the other is a stranger there until its session ends.
        self.net.advance(SESSION_TIMEOUT + secs(60));
        for node in self.nodes.clone() {
            let occupancy = self.net.occupancy(node);
            if occupancy.as_ref() != Some(&Occupancy::default()) {
                let what = format!("{node} holds {occupancy:?}");
                self.violated(Property::NothingLeftBehind, what);
            }
        }
    }

    /// Counters that say something else than the applications have seen.
    fn disagreements(&self) -> Vec<(Property, String)> {
        let mut found = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            let Some(metrics) = self.net.metrics(*node) else {
                continue;
            };
            let life = self.lives[place];
            let own = self
                .lines
                .iter()
                .filter(|((from, lived, _), _)| (*from, *lived) == (place, life));
            let sent: u64 = own.map(|(_, line)| line.sent).sum();
            let counted = metrics.counters.messages_accepted;
            let undelivered = self.auditors[place].undelivered;
            if (counted, metrics.counters.messages_undelivered) != (sent, undelivered) {
                let what = format!("{node}: {sent} sent, {undelivered} reported; {metrics:?}");
                found.push((Property::CountersAgree, what));
            }
        }
        found
    }

    fn violated(&mut self, property: Property, what: String) {
        let at = self.net.now();
        self.violations.push(Violation { property, at, what });
    }

    fn is_up(&self, place: usize) -> bool {
        !self.down.contains(&place)
    }

    fn place_of(&self, peer: quicpool_core::PeerId) -> Option<usize> {
        let node = self.net.who(peer)?;
        self.nodes.iter().position(|other| *other == node)
    }
}

/// A third of what meets a bad link is lost, and it is bad for ten datagrams.
fn burst(to_bad: f64) -> Option<Burst> {
    Some(Burst {
        to_bad,
        to_good: 0.1,
        loss: 0.33,
    })
}

fn rate(bytes_per_second: u64) -> Option<Rate> {
    Some(Rate {
        bytes_per_second,
        queue: Queue::Bytes(bytes_per_second / 10),
        mark_above: None,
    })
}
