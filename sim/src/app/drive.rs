//! Moves a simulation: the network, faults, timers, and the inputs of applications.

use std::{collections::BTreeSet, mem, panic::resume_unwind, time::Duration};

use quicpool_core::{Config, Event, Manager, PeerId, SendError, driver::OpenBatch};

use super::{
    Action, App, Context, Host, Input, Options, Plan, Sim,
    sim::{Doing, Make, Node, Violation},
    storm::Storm,
    timers::Timers,
    track::{INPUTS_IN_A_MILLISECOND_MAX, Track},
};
use crate::{Delay, Faults, Net, Path, dice::Dice};

// The beginning and the end.
impl<A: App> Sim<A> {
    /// A network without nodes: nothing of the user's has been called.
    pub(super) fn new(seed: u64, plan: Plan, options: &Options, make: Make<A>) -> Self {
        let calm = options.path.clone();
        let calm = calm.unwrap_or_else(|| steady(plan.latency));
        let net = Net::new(seed).draw_ties().crypto(options.crypto);
        Self {
            net: net.path(calm.clone()),
            nodes: Vec::new(),
            make,
            dice: Dice::new(seed),
            drawn: 0,
            storm: Storm::new(plan, calm),
            rules: Vec::new(),
            track: Track::new(),
            doing: Doing::Test,
        }
    }

    /// Adds nodes, and starts them all.
    pub(super) fn start(&mut self, count: usize, config: &Config) {
        let ids = self.net.nodes(count, config);
        let peers: Vec<PeerId> = ids.iter().map(|id| self.net.peer_id(*id)).collect();
        for (place, id) in ids.into_iter().enumerate() {
            // Messages are taken where they are announced, in the order of all events.
            self.net.pause_reader(id);
            let others = peers.iter().copied().filter(|peer| *peer != peers[place]);
            let mut host = Host::new(peers[place], others.collect());
            (host.place, host.dice) = (place, self.dice);
            self.nodes.push(Node {
                id,
                host,
                app: None,
                timers: Timers::default(),
                refused: Default::default(),
            });
        }
        for place in 0..count {
            self.begin(place);
        }
        self.deliver();
    }

    /// Makes the application of a process that has just been started, and delivers `Input::Started`.
    pub(super) fn begin(&mut self, place: usize) {
        let id = self.nodes[place].id;
        for other in self.net.ids().filter(|other| *other != id) {
            self.net.introduce_one_way(id, other);
        }
        let before = mem::replace(&mut self.doing, Doing::Handling(place));
        let app = (self.make)(&self.nodes[place].host);
        self.doing = before;
        self.nodes[place].app = Some(app);
        self.tell(place, Input::Started);
    }

    /// A property does not hold: this run is over.
    pub(super) fn violate(&self, property: &str, what: String) -> ! {
        // Past the hook that prints panics: the report has all of it.
        resume_unwind(Box::new(Violation {
            property: property.to_owned(),
            what,
        }))
    }
}

// Time.
impl<A: App> Sim<A> {
    pub(super) fn run_to(&mut self, end: Duration) {
        while self.step(end) {}
    }

    /// Runs to the end, or until the condition holds; returns whether it does.
    pub(super) fn run_to_condition(
        &mut self,
        end: Duration,
        doing: &Doing,
        condition: &mut dyn FnMut(&Self) -> bool,
    ) -> bool {
        loop {
            if self.look(doing.clone(), condition) {
                return true;
            }
            let heard = self.track.inputs;
            while self.track.inputs == heard {
                if !self.step(end) {
                    return self.look(doing.clone(), condition);
                }
            }
        }
    }

    fn look(&mut self, doing: Doing, condition: &mut dyn FnMut(&Self) -> bool) -> bool {
        let before = mem::replace(&mut self.doing, doing);
        let holds = condition(self);
        self.doing = before;
        holds
    }

    /// Does the next thing that is due not after `end`, or else moves the clock there. Of things at
    /// one instant the network's come first, then faults, then timers.
    fn step(&mut self, end: Duration) -> bool {
        let (fault, timer) = (self.storm.due(), self.next_timer());
        let timer_at = timer.map(|(at, _)| at);
        let own = [Some(end), fault, timer_at].into_iter().flatten().min();
        let own = own.unwrap_or(end).max(self.now());
        if self.step_network(own) {
            self.deliver();
            return true;
        }
        match timer {
            _ if fault.is_some_and(|at| at <= own) => self.turn(),
            Some((at, place)) if at <= own => self.fire(place),
            Some(_) | None => return false,
        }
        self.deliver();
        true
    }

    /// Lets the network do one thing that is due, or else moves the clock.
    fn step_network(&mut self, until: Duration) -> bool {
        let before = mem::replace(&mut self.doing, Doing::Network);
        let has_acted = self.net.step(until);
        if !has_acted {
            self.net.advance(until - self.net.now());
        }
        self.doing = before;
        has_acted
    }

    /// When the first timer of a running process is due, and whose it is. Those of a frozen one
    /// wait until it goes on.
    fn next_timer(&self) -> Option<(Duration, usize)> {
        let places = (0..self.nodes.len()).filter(|place| self.is_running(*place));
        let due = places.filter_map(|place| Some((self.nodes[place].timers.first()?, place)));
        due.min().map(|(at, place)| (at.max(self.now()), place))
    }

    fn fire(&mut self, place: usize) {
        let now = self.now();
        if let Some(name) = self.nodes[place].timers.take_due(now) {
            self.tell(place, Input::Timer(&name));
        }
    }
}

// Inputs and actions of applications.
impl<A: App> Sim<A> {
    /// Delivers inputs to all applications until none is left.
    pub(super) fn deliver(&mut self) {
        for place in 0..self.nodes.len() {
            while self.deliver_at(place) {}
        }
    }

    /// Delivers what waits for the application at this place; returns whether anything did.
    fn deliver_at(&mut self, place: usize) -> bool {
        let node = &mut self.nodes[place];
        if let Some((action, error)) = node.refused.pop_front() {
            self.tell(place, Input::Refused(&action, &error));
            return true;
        }
        let id = node.id;
        if !self.net.has_news(id) {
            return false;
        }
        for event in self.net.events(id) {
            if let Event::Readable { peer } = event {
                self.receive(place, peer);
            } else {
                self.tell(place, Input::Event(&event));
            }
        }
        true
    }

    /// Takes the messages of a peer, and delivers them.
    fn receive(&mut self, place: usize, peer: PeerId) {
        let mut messages = Vec::new();
        let receive = |machine: &mut Manager, now| {
            while machine
                .receive(now, peer, usize::MAX, &mut messages)
                .is_ok_and(|taken| taken > 0)
            {}
        };
        self.with_machine(place, receive);
        for message in messages {
            self.tell(place, Input::Message(&message));
        }
    }

    fn tell(&mut self, place: usize, input: Input<'_>) {
        if !self.track.told(self.net.now(), place, input) {
            let what = format!(
                "it nearly stands still, after {INPUTS_IN_A_MILLISECOND_MAX} inputs within a \
                 millisecond; node {place} is told {input:?}"
            );
            self.violate("time goes on", what);
        }
        self.ask(place, |app, context| app.handle(input, context));
    }

    /// Calls an application, and does what it asks for.
    pub(super) fn ask<R>(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut A, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let now = self.now();
        let node = &mut self.nodes[place];
        let app = node.app.as_mut()?;
        let mut context = Context::new(&node.host, now);
        let before = mem::replace(&mut self.doing, Doing::Handling(place));
        let result = act(app, &mut context);
        self.doing = before;
        let actions = context.into_actions();
        if !actions.is_empty() {
            self.carry_out(place, actions);
        }
        self.check_rules();
        Some(result)
    }

    /// Carries out the actions of an application: first its timers and saved state, as state has to
    /// be saved before it is sent, and then all orders to the machine, in one call.
    fn carry_out(&mut self, place: usize, actions: Vec<Action>) {
        let now = self.now();
        let node = &mut self.nodes[place];
        let mut orders = Vec::new();
        for action in actions {
            match action {
                Action::SetTimer { name, after } => {
                    node.timers.set(name, now.saturating_add(after))
                }
                Action::CancelTimer(name) => node.timers.cancel(&name),
                Action::Save(state) => node.host.saved = Some(state),
                Action::Send { .. }
                | Action::SendExpress { .. }
                | Action::Connect(_)
                | Action::Disconnect(_)
                | Action::Flush { .. } => orders.push(action),
            }
        }
        if orders.is_empty() {
            return;
        }
        let refused = self.with_machine(place, |machine, now| give(machine, now, orders));
        self.nodes[place].refused.extend(refused);
    }

    fn with_machine<R>(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut Manager, std::time::Instant) -> R,
    ) -> R {
        let before = mem::replace(&mut self.doing, Doing::Network);
        let result = self.net.with(self.nodes[place].id, act);
        self.doing = before;
        result
    }

    /// Looks at all properties of every moment.
    pub(super) fn check_rules(&mut self) {
        let mut rules = mem::take(&mut self.rules);
        let broken = rules.iter_mut().find_map(|rule| {
            let doing = Doing::Condition(rule.name.clone());
            (!self.look(doing, &mut rule.holds)).then(|| rule.name.clone())
        });
        self.rules = rules;
        if let Some(name) = broken {
            self.violate(&name, "it does not hold".to_owned());
        }
    }
}

/// Gives orders to a machine; returns those that it refuses.
fn give(
    machine: &mut Manager,
    now: std::time::Instant,
    orders: Vec<Action>,
) -> Vec<(Action, SendError)> {
    let mut refused = Vec::new();
    // A later, shorter message must not take the room that an earlier one had no use for.
    let mut full = BTreeSet::new();
    for order in orders {
        let result = match &order {
            Action::Send { to, .. } | Action::SendExpress { to, .. } if full.contains(to) => {
                Err(SendError::Full)
            }
            Action::Send { to, payload } => machine.send(now, *to, payload).map(drop),
            Action::SendExpress { to, payload } => {
                machine.send_express(now, *to, payload).map(drop)
            }
            Action::Connect(peer) => machine.connect(now, *peer).map_err(SendError::from),
            Action::Flush { peer, token } => {
                let flushed = machine.flush(now, *peer, *token);
                flushed.map_err(SendError::from)
            }
            Action::Disconnect(peer) => machine.disconnect(now, *peer).map_err(SendError::from),
            Action::SetTimer { .. } | Action::CancelTimer(_) | Action::Save(_) => Ok(()),
        };
        let Err(error) = result else { continue };
        if let (SendError::Full, Some((to, len))) = (&error, order.message())
            && full.insert(to)
        {
            let wanted = machine.want_room(now, to, OpenBatch::cost(len));
            wanted.expect("invariant: only the outbox of a known peer is full");
        }
        refused.push((order, error));
    }
    refused
}

/// Links that hold datagrams for this long, and do nothing else to them.
fn steady(latency: Duration) -> Path {
    Path::symmetric(Faults {
        delay: Delay::Constant(latency),
        ..Faults::default()
    })
}
