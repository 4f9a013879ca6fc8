//! A scenario as it is played.

mod answers;
mod datagrams;
mod phases;
mod raw;
mod storm;
mod strangers;
mod withdrawing;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    mem,
    rc::Rc,
    time::Duration,
};

use quicpool_core::{Event, Message, PeerId};

use self::{answers::Flush, datagrams::Sent, strangers::Strangers, withdrawing::Planned};
use super::{
    Effect, Outcome, Phase, Property, Scenario, Violation, Watch,
    audit::{Audit, Packets, Places},
    ledger::Line,
};
use crate::{Crypto, Driven, Faults, Net, NodeId, Path, Recorder, Trail, watch::Watch as NetWatch};

/// A message begins with the sender's life and its number.
pub(super) const HEADER_LEN: usize = 12;

/// What a world may take, a hundred times what the longest of thousands took. One that takes more
/// crawls: a machine asks to be called again and again for nothing.
const STEPS_MAX: u64 = 5_000_000;

pub(super) struct World<'a> {
    net: Net,
    watch: &'a mut dyn Watch,
    /// When the run is left, whatever it has come to.
    until: Duration,
    nodes: Vec<NodeId>,
    strangers: Strangers,
    /// Nodes of which the others have no address.
    hidden: BTreeSet<usize>,
    /// Nodes that run in the event loop of the driver.
    driven: BTreeSet<usize>,
    /// The path of links without faults.
    path: Path,
    /// How often each node has been started again.
    lives: Vec<u32>,
    down: BTreeSet<usize>,
    /// Those of `down` whose manager has ended: the process is there, and does no more.
    ended: BTreeSet<usize>,
    /// Nodes that stand still, and until when.
    frozen: BTreeMap<usize, Duration>,
    paused: BTreeSet<usize>,
    /// By sender, its life, and receiver.
    lines: BTreeMap<(usize, u32, usize), Line>,
    /// By the same.
    datagrams: BTreeMap<(usize, u32, usize), Vec<Sent>>,
    /// Lines of which messages may be given up: either end has ended the session, or has died.
    disturbed: BTreeSet<(usize, u32, usize)>,
    /// Those that are not answered, by token.
    flushes: BTreeMap<u64, Flush>,
    flushes_begun: u64,
    /// Nodes that are well after the storm.
    core: BTreeSet<usize>,
    /// Messages to take back once their sender is connected again.
    planned: Vec<Planned>,
    /// Bytes of the longest message that each node accepts.
    accepts: Vec<usize>,
    audit: Rc<RefCell<Audit>>,
    violations: Vec<Violation>,
    injected: BTreeMap<&'static str, u64>,
    messages: u64,
    converged_in: Option<Duration>,
}

impl<'a> World<'a> {
    pub(super) fn new(
        scenario: &Scenario,
        watch: &'a mut dyn Watch,
        until: Option<Duration>,
    ) -> Self {
        let path = scenario.links.path();
        let net = Net::new(scenario.seed).crypto(scenario.crypto);
        let mut net = net.path(path.clone()).steps_max(STEPS_MAX);
        let nodes: Vec<NodeId> = (0..scenario.nodes)
            .map(|place| {
                let config = scenario.limits_of(place).config();
                match scenario.driven.contains(&place) {
                    true => net.node_running(config, Driven::make),
                    false => net.node(config),
                }
            })
            .collect();
        let strangers = Strangers::new(scenario, &nodes);
        let audit = audit(&net, scenario, &strangers.ids());
        net.watch(audit.clone());
        let hidden: BTreeSet<usize> = scenario.hidden.iter().copied().collect();
        let mut world = Self {
            lives: vec![0; nodes.len()],
            audit,
            net,
            watch,
            until: until.unwrap_or(Duration::MAX),
            strangers,
            nodes,
            hidden,
            driven: scenario.driven.iter().copied().collect(),
            path,
            down: BTreeSet::new(),
            ended: BTreeSet::new(),
            frozen: BTreeMap::new(),
            paused: BTreeSet::new(),
            lines: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            disturbed: BTreeSet::new(),
            flushes: BTreeMap::new(),
            flushes_begun: 0,
            core: scenario.core().collect(),
            planned: Vec::new(),
            accepts: (0..scenario.nodes)
                .map(|place| scenario.limits_of(place).config().message_bytes_max)
                .collect(),
            violations: Vec::new(),
            injected: BTreeMap::new(),
            messages: 0,
            converged_in: None,
        };
        for place in 0..world.nodes.len() {
            // Auditors see a process once it had nothing more to do.
            world.net.act(world.nodes[place]);
            world.introduce(place);
        }
        world
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
    pub(super) fn run_with_trail(mut self, scenario: &Scenario) -> (Outcome, Trail) {
        self.net.keep_trail();
        let outcome = self.play(scenario);
        (outcome, self.net.take_trail())
    }

    pub(super) fn run(mut self, scenario: &Scenario) -> Outcome {
        self.play(scenario)
    }

    fn play(&mut self, scenario: &Scenario) -> Outcome {
        self.begin(Phase::Storm);
        self.storm(&scenario.steps);
        if !self.is_over() {
            self.heal(&scenario.outsiders);
            let within = scenario.convergence_max();
            self.begin(Phase::Convergence { within });
            self.converge(within);
        }
        // A run that is left early has not had the time to settle anything.
        let is_left = self.is_over();
        if !is_left {
            self.settle_accounts();
            self.watch.settled(&self.net);
        }
        if self.strangers.acts > 0 {
            self.injected.insert("strangers", self.strangers.acts);
        }
        let (hash, simulated) = (self.net.hash(), self.net.now());
        let audit: Rc<RefCell<dyn NetWatch>> = self.audit.clone();
        self.net.unwatch(&audit);
        let marks = self.audit.borrow().marks();
        if !is_left {
            self.begin(Phase::Farewell);
            self.strangers.leave();
            self.leave();
        }
        let picture = match self.violations.is_empty() && !is_left {
            true => String::new(),
            false => format!("{:?}", self.net),
        };
        Outcome {
            violations: mem::take(&mut self.violations),
            hash,
            simulated,
            injected: mem::take(&mut self.injected),
            marks,
            messages: self.messages,
            converged_in: self.converged_in,
            picture,
        }
    }

    fn begin(&mut self, phase: Phase) {
        self.watch.phase(self.net.now(), phase);
    }

    fn is_over(&self) -> bool {
        self.net.now() >= self.until
    }

    // Time

    /// Lets time pass; nodes that stand still go on when their time has come.
    fn pass(&mut self, time: Duration) {
        let end = self.net.now().saturating_add(time).min(self.until);
        while let Some((at, place)) = self.next_thaw().filter(|(at, _)| *at <= end) {
            self.advance_to(at);
            self.thaw(place);
        }
        self.advance_to(end);
    }

    fn advance_to(&mut self, at: Duration) {
        while self.is_reconnected_by(at) {
            self.withdraw_planned();
        }
        let time = at.saturating_sub(self.net.now());
        self.strangers.advance(&mut self.net, time);
    }

    fn next_thaw(&self) -> Option<(Duration, usize)> {
        self.frozen.iter().map(|(place, at)| (*at, *place)).min()
    }

    fn thaw(&mut self, place: usize) {
        if self.frozen.remove(&place).is_some() {
            self.net.resume(self.nodes[place]);
        }
    }

    // Places

    fn can_act(&self, place: usize) -> bool {
        !self.down.contains(&place) && !self.frozen.contains_key(&place)
    }

    /// All ordered pairs of different nodes.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = self.nodes.len();
        let others = move |a| (0..count).filter(move |b| *b != a).map(move |b| (a, b));
        (0..count).flat_map(others)
    }

    /// Returns the settings of a link without faults.
    const fn profile(&self, from: usize, to: usize) -> &Faults {
        match from < to {
            true => &self.path.up,
            false => &self.path.down,
        }
    }

    fn place_of(&self, peer: PeerId) -> Option<usize> {
        let node = self.net.who(peer)?;
        self.nodes.iter().position(|other| *other == node)
    }

    // What must hold

    fn observe(&mut self) {
        let mut news = Vec::new();
        for place in 0..self.nodes.len() {
            let node = self.nodes[place];
            let messages = self.net.received(node);
            self.take(place, &messages);
            let datagrams = self.net.datagrams(node);
            self.take_datagrams(place, &datagrams);
            let events = self.net.events(node);
            let history = self.net.history(node);
            let times = history[history.len() - events.len()..].iter();
            news.extend(
                times
                    .map(|(at, _)| *at)
                    .zip(events)
                    .map(|news| (place, news)),
            );
        }
        news.sort_by_key(|(_, (at, _))| *at);
        for (place, (at, event)) in &news {
            self.watch.event(*at, *place, event);
            self.hear(*place, *at, event);
        }
        self.audit.borrow_mut().pass(self.net.now());
        let found = self.audit.borrow_mut().take_violations();
        found.iter().for_each(|found| self.watch.violation(found));
        self.violations.extend(found);
    }

    fn hear(&mut self, place: usize, at: Duration, event: &Event) {
        if let Event::Undelivered {
            peer,
            messages,
            reason,
        } = event
        {
            self.undelivered(place, at, *peer, messages, *reason);
        }
        if let Event::PeerRestarted { peer, resent, .. } = event
            && let Some(line) = self.line_to(place, *peer)
            && *resent > 0
        {
            line.repeat();
        }
        if let Event::Flushed { token, result, .. } = event {
            self.flushed(place, *token, result);
        }
        if let Event::Closed { .. } = event {
            self.closed(place);
        }
    }

    /// Returns the line of messages of a process to a peer.
    fn line_to(&mut self, place: usize, peer: PeerId) -> Option<&mut Line> {
        let to = self.place_of(peer)?;
        let key = (place, self.lives[place], to);
        Some(self.lines.entry(key).or_default())
    }

    fn take(&mut self, place: usize, messages: &[Message]) {
        let count = messages.len() as u64;
        self.audit.borrow_mut().take(self.nodes[place], count);
        for message in messages {
            if self.strangers.include(message.from) {
                continue;
            }
            let Some((from, life, number)) = self.read(message) else {
                let what = format!("{} took {message:?}", self.nodes[place]);
                self.violated(Property::NothingInvented, what);
                continue;
            };
            let line = self.lines.entry((from, life, place)).or_default();
            if let Some(wrong) = line.take(self.lives[place], number) {
                let node = self.nodes[place];
                self.violated(Property::LeftOut, format!("{node} of n{from}: {wrong}"));
            }
        }
    }

    /// The sender of a message, the sender's life, and the message's number.
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
            if !missing.is_empty() && self.is_of_core(*from, *to) {
                let what = format!("{who}: of {} missing {missing:?}", line.sent());
                found.push((Property::Converges, what));
            }
            let given_up = line.given_up();
            if !given_up.is_empty() && !self.disturbed.contains(&(*from, *life, *to)) {
                found.push((Property::NothingGivenUp, format!("{who}: {given_up:?}")));
            }
        }
        found.extend(self.unsettled());
        for (property, what) in found {
            self.violated(property, what);
        }
    }

    fn violated(&mut self, property: Property, what: String) {
        let at = self.net.now();
        let violation = Violation { property, at, what };
        self.watch.violation(&violation);
        self.violations.push(violation);
    }
}

/// Returns auditors that watch the nodes of a network.
fn audit(net: &Net, scenario: &Scenario, strangers: &[PeerId]) -> Rc<RefCell<Audit>> {
    let peers: Vec<_> = net.ids().map(|node| (node, net.peer_id(node))).collect();
    let packets = match scenario.crypto == Crypto::Checksum {
        true => Packets::Legible,
        false => Packets::Opaque,
    };
    let places = Places {
        hidden: &scenario.hidden,
        driven: &scenario.driven,
        strangers,
    };
    Rc::new(RefCell::new(Audit::new(&peers, places, packets)))
}
