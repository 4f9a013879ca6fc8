//! Nodes with applications, as a test sees them.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use quicpool_core::{PeerId, SendError};

use super::{Action, App, Context, Host, storm::Storm, timers::Timers, track::Track};
use crate::{
    Net, NodeId,
    dice::{Dice, Domain},
    secs,
};

/// A network whose nodes run an application, in simulated time.
///
/// [`check`](super::check) makes one for each seed and gives it to the test. From the beginning on
/// the faults of the seed come and go by themselves, until the [storm](Self::storm) is over.
///
/// Nodes are named by their places, from 0. Each knows the addresses of all others.
///
/// ```
/// use quicpool_core::{ConnectionStatus::Connected, Event};
/// use quicpool_sim::{app::{App, Context, Input, Options, explore}, secs};
///
/// /// Counts how often it was connected to someone.
/// #[derive(Debug)]
/// struct Greeter(u64);
///
/// impl App for Greeter {
///     fn handle(&mut self, input: Input<'_>, cx: &mut Context<'_>) {
///         match input {
///             Input::Started => cx.host.peers.iter().for_each(|peer| cx.connect(*peer)),
///             Input::Event(Event::StatusChanged { to: Connected, .. }) => self.0 += 1,
///             _ => {}
///         }
///     }
/// }
///
/// // Faults of the test's own.
/// let options = Options::nodes(2).seeds(0..1).only([]);
/// explore("greeters", &options, |_| Greeter(0), |sim| {
///     assert!(sim.run_until(secs(5), |sim| sim.apps().all(|greeter| greeter.0 == 1)));
///     let (a, b) = (sim.node(0), sim.node(1));
///     sim.net_mut().cut(a, b);
///     sim.crash(1);
///     sim.restart(1);
///     sim.advance(secs(20)); // nothing passes
///     assert_eq!(sim.app(1).expect("it is up").0, 0);
///     sim.net_mut().heal(a, b);
///     assert!(sim.run_until(secs(30), |sim| sim.apps().all(|greeter| greeter.0 > 0)));
/// }).unwrap();
/// ```
pub struct Sim<A> {
    pub(super) net: Net,
    pub(super) nodes: Vec<Node<A>>,
    pub(super) make: Make<A>,
    pub(super) dice: Dice,
    /// Random numbers that the test has drawn.
    pub(super) drawn: u64,
    pub(super) storm: Storm,
    pub(super) rules: Vec<Rule<A>>,
    pub(super) track: Track,
    /// The code that is being called.
    pub(super) doing: Doing,
}

/// The code that is being called, and to which a panic belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doing {
    /// The body of the test.
    Test,
    /// The application at this place.
    Handling(usize),
    /// A condition, named by its property.
    Condition(String),
    /// The machines and the network between them.
    Network,
}

/// Makes an application for a process.
pub(super) type Make<A> = Rc<dyn Fn(&Host) -> A>;

/// A property that has to hold at all times.
pub(super) struct Rule<A> {
    pub(super) name: String,
    pub(super) holds: Box<Holds<A>>,
}

/// Whether a property holds.
type Holds<A> = dyn FnMut(&Sim<A>) -> bool;

/// A node: its process may be up or down.
pub(super) struct Node<A> {
    pub(super) id: NodeId,
    pub(super) host: Host,
    pub(super) app: Option<A>,
    pub(super) timers: Timers,
    /// Actions that the machine has refused, and whose refusal is not delivered yet.
    pub(super) refused: VecDeque<(Action, SendError)>,
}

/// The payload with which a property's violation unwinds.
pub(super) struct Violation {
    pub(super) property: String,
    pub(super) what: String,
}

/// How long a run may last, in simulated time: a year.
const RUN_MAX: Duration = secs(365 * 86_400);

// What tests do.
impl<A: App> Sim<A> {
    /// Lets simulated time pass, with all that happens meanwhile.
    pub fn advance(&mut self, time: Duration) {
        let end = self.after(time);
        self.run_to(end);
    }

    /// Lets time pass until a condition holds, for at most `limit`; returns whether it does. The
    /// condition is checked after each input of an application, and at the end.
    pub fn run_until(&mut self, limit: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let end = self.after(limit);
        self.run_to_condition(end, &Doing::Test, &mut condition)
    }

    /// Lets the rest of the storm pass. At its end all faults are over, all processes are up, and
    /// all nodes know where the others are.
    pub fn storm(&mut self) {
        let end = self.storm.end().max(self.now());
        self.run_to(end);
    }

    /// A property of every moment: from now on it is looked at after each input of an application,
    /// and after each crash and restart.
    ///
    /// The condition may keep state, for instance to compare with what it saw before. It may panic
    /// to say more than `false` does. What it needs of the test it shares by `Rc`.
    pub fn always(&mut self, property: &str, holds: impl FnMut(&Self) -> bool + 'static) {
        let name = property.to_owned();
        let holds = Box::new(holds);
        self.rules.push(Rule { name, holds });
        self.check_rules();
    }

    /// A property of the calm after the storm: lets the rest of the storm pass, and then it has to
    /// hold at some moment within `limit`.
    ///
    /// A peer that could not be reached is dialled again within `backoff.max` of the configuration,
    /// so a `limit` of that and a few seconds more is fair.
    pub fn eventually(
        &mut self,
        property: &str,
        limit: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) {
        self.storm();
        let (from, end) = (self.now(), self.after(limit));
        let doing = Doing::Condition(property.to_owned());
        if !self.run_to_condition(end, &doing, &mut holds) {
            let what = format!("it has not come to hold within {limit:?} after {from:?}");
            self.violate(property, what);
        }
    }

    /// Calls the application of a node at this instant, as its user would, and does what it asks
    /// for. `None` if its process is down or frozen.
    ///
    /// ```
    /// # use quicpool_sim::app::{App, Context, Input, Options, explore};
    /// # #[derive(Debug)]
    /// # struct Quiet;
    /// # impl App for Quiet {
    /// #     fn handle(&mut self, _input: Input<'_>, _cx: &mut Context<'_>) {}
    /// # }
    /// # explore("call", &Options::nodes(2), |_| Quiet, |sim| {
    /// sim.call(0, |_app, cx| {
    ///     let peer = cx.host.peers[0];
    ///     cx.send(peer, "hello");
    /// });
    /// # }).unwrap();
    /// ```
    pub fn call<R>(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut A, &mut Context<'_>) -> R,
    ) -> Option<R> {
        if !self.is_running(place) {
            return None;
        }
        let result = self.ask(place, act)?;
        self.deliver();
        Some(result)
    }

    /// Ends the process of a node without a word, and its application, its timers and whatever it
    /// has not [saved](Context::save) with it. The end of the storm starts it again.
    pub fn crash(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        node.app = None;
        node.timers = Timers::default();
        node.refused.clear();
        self.net.crash(node.id);
        self.track.crashed(self.net.now(), place);
        self.check_rules();
    }

    /// Starts the process of a node that is down, with a new application.
    pub fn restart(&mut self, place: usize) {
        if self.nodes[place].app.is_some() {
            return;
        }
        self.nodes[place].host.begin_next_life();
        self.net.restart(self.nodes[place].id);
        self.begin(place);
        self.deliver();
    }
}

impl<A> Sim<A> {
    /// A time from now on, as long as a run may last.
    fn after(&self, time: Duration) -> Duration {
        let end = self.net.now().saturating_add(time);
        assert!(
            end <= RUN_MAX,
            "the run is to last until {end:?}, allowed is up to {RUN_MAX:?}"
        );
        end
    }
}

// What tests see.
impl<A: App> Sim<A> {
    /// How long the run has lasted, to the nanosecond.
    pub fn now(&self) -> Duration {
        self.net.now()
    }

    /// How many nodes there are.
    #[doc(hidden)]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes at all.
    #[doc(hidden)]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The application of a node; `None` while its process is down.
    pub fn app(&self, place: usize) -> Option<&A> {
        self.nodes[place].app.as_ref()
    }

    /// The applications of all nodes that are up, in the order of their places.
    pub fn apps(&self) -> impl Iterator<Item = &A> {
        self.nodes.iter().filter_map(|node| node.app.as_ref())
    }

    /// Whether a node is up, and not frozen.
    #[doc(hidden)]
    pub fn is_running(&self, place: usize) -> bool {
        let node = &self.nodes[place];
        node.app.is_some() && !self.net.is_paused(node.id)
    }

    /// A node's identity.
    #[doc(hidden)]
    pub fn id(&self, place: usize) -> PeerId {
        self.nodes[place].host.id
    }

    /// Returns the state that a node has [saved](Context::save) last.
    pub fn saved(&self, place: usize) -> Option<&[u8]> {
        self.nodes[place].host.saved.as_deref()
    }

    /// The name of a node in the network below.
    pub fn node(&self, place: usize) -> NodeId {
        self.nodes[place].id
    }

    /// The network below: statuses, metrics, histories, counts.
    pub const fn net(&self) -> &Net {
        &self.net
    }

    /// The network below, for faults of the test's own. Those of the storm come on top, and mend
    /// cuts and change links as they go, so a test that does this has
    /// no others: [`Options::only`](super::Options::only). Processes are ended and started by
    /// [`crash`](Self::crash) and [`restart`](Self::restart) of this type.
    pub const fn net_mut(&mut self) -> &mut Net {
        &mut self.net
    }

    /// The next of a row of random numbers for the test itself, which follows from the seed.
    pub fn random(&mut self) -> u64 {
        self.drawn += 1;
        self.dice.roll(Domain::Test, 0, self.drawn)
    }

    /// A hash of all datagrams and of all inputs of applications so far. Two runs that agree on it
    /// have gone the same way.
    #[doc(hidden)]
    pub fn hash(&self) -> u128 {
        self.track.hash(self.net.hash())
    }
}
