//! One run for each seed, until one fails.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use quicpool_core::Event;

use super::{
    App, Failure, Host, Options, Sim,
    sim::{Doing, Make, Violation},
};
use crate::hash::Hasher;

/// The longest state of an application that is shown, in characters.
const STATE_SHOWN: usize = 600;
/// How many of a node's peers are shown.
const PEERS_SHOWN: usize = 16;
/// How many of a node's last events are shown.
const EVENTS_SHOWN: usize = 6;

/// All runs have gone well.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explored {
    /// How many runs there were.
    pub runs: u64,
    /// How long all of them took together, in simulated time.
    pub simulated: Duration,
    /// How often each family of faults has struck.
    pub faults: BTreeMap<&'static str, u64>,
    /// Inputs of all applications.
    pub inputs: u64,
    /// A hash of the hashes of all runs.
    pub hash: u128,
}

/// Runs each seed of the options, and ignores the environment: [`check`](super::check) for tests
/// that look at the outcome themselves.
///
/// # Errors
///
/// The first run that fails, with all that is known of it.
///
/// # Panics
///
/// If the options ask for what cannot be run: no node, no seed, a storm of more than a day, a plan
/// or a configuration that is not valid.
///
/// ```
/// use quicpool_sim::{app::{App, Context, Input, Options, explore}, ms, secs};
///
/// #[derive(Debug)]
/// struct Clock(u64);
///
/// impl App for Clock {
///     fn handle(&mut self, _input: Input<'_>, cx: &mut Context<'_>) {
///         self.0 += 1;
///         cx.set_timer("tick", ms(100));
///     }
/// }
///
/// let options = Options::nodes(1).seeds(17..18).only([]);
/// let failure = explore("clocks", &options, |_| Clock(0), |sim| {
///     sim.always("no clock strikes thirteen", |sim| sim.apps().all(|clock| clock.0 < 13));
///     sim.advance(secs(10));
/// });
/// let failure = failure.unwrap_err();
/// assert_eq!(failure.property, "no clock strikes thirteen");
/// assert_eq!((failure.seed, failure.at), (17, ms(1_200)));
/// ```
pub fn explore<A: App>(
    name: &str,
    options: &Options,
    make: impl Fn(&Host) -> A + 'static,
    body: impl Fn(&mut Sim<A>),
) -> Result<Explored, Box<Failure>> {
    let checked = options.check();
    checked.unwrap_or_else(|error| panic!("{name}: {error}"));
    let make: Make<A> = Rc::new(make);
    let mut explored = Explored::default();
    for seed in options.seeds.clone() {
        let sim = run(seed, options, &make, &body).map_err(|mut failure| {
            failure.name = name.to_owned();
            failure
        })?;
        explored.add(&sim);
    }
    Ok(explored)
}

fn run<A: App>(
    seed: u64,
    options: &Options,
    make: &Make<A>,
    body: &impl Fn(&mut Sim<A>),
) -> Result<Sim<A>, Box<Failure>> {
    let plan = options.plan_of(seed);
    let mut sim = Sim::new(seed, plan, options, make.clone());
    // What a panic leaves behind is looked at, and never used again.
    let played = catch_unwind(AssertUnwindSafe(|| {
        sim.start(options.nodes, &options.config);
        body(&mut sim);
    }));
    match played {
        Ok(()) => Ok(sim),
        Err(payload) => Err(Box::new(failure(seed, &sim, payload))),
    }
}

fn failure<A: App>(seed: u64, sim: &Sim<A>, payload: Box<dyn Any + Send>) -> Failure {
    let Violation { property, what } = match payload.downcast::<Violation>() {
        Ok(violation) => *violation,
        Err(payload) => Violation {
            property: sim.doing.property(),
            what: format!("panic: {}", message(payload.as_ref())),
        },
    };
    Failure {
        name: String::new(),
        property,
        seed,
        at: sim.now(),
        what,
        faults: sim.storm.on().collect(),
        over: sim.storm.over().collect(),
        plan: sim.storm.plan().clone(),
        nodes: sim.len(),
        pictures: (0..sim.len()).map(|place| draw(sim, place)).collect(),
        hash: sim.hash(),
        commands: Vec::new(),
        note: None,
    }
}

/// Returns the message of a panic.
fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it says nothing")
}

/// Describes a node: its application, its status of each peer, and its last events.
fn draw<A: App>(sim: &Sim<A>, place: usize) -> Vec<String> {
    let (net, node) = (sim.net(), sim.node(place));
    let mut lines = vec![state(sim, place), format!("{:?}", sim.id(place))];
    let others = (0..sim.len()).filter(|other| *other != place);
    for other in others.take(PEERS_SHOWN) {
        if let Some(status) = net.status(node, sim.node(other)) {
            lines[1] += &format!(", {status:?} to node {other}");
        }
    }
    if let Some(more @ 1..) = (sim.len() - 1).checked_sub(PEERS_SHOWN) {
        lines[1] += &format!(", and {more} more");
    }
    let is_telling = |event: &&(Duration, Event)| !matches!(event.1, Event::Readable { .. });
    let events = net.history(node).iter().rev().filter(is_telling);
    let mut last: Vec<String> = events
        .take(EVENTS_SHOWN)
        .map(|(at, event)| format!("{:.6} s {event:?}", at.as_secs_f64()))
        .collect();
    last.reverse();
    lines.extend(last);
    lines
}

/// Returns an application's `Debug` text. One that has just panicked may do so again.
fn state<A: App>(sim: &Sim<A>, place: usize) -> String {
    let Some(app) = sim.app(place) else {
        return "is down".to_owned();
    };
    let text = catch_unwind(AssertUnwindSafe(|| format!("{app:?}")));
    let text = text.unwrap_or_else(|_| "cannot be shown".to_owned());
    match text.char_indices().nth(STATE_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

impl Doing {
    /// Names the property that a panic violates.
    fn property(&self) -> String {
        match self {
            Self::Test => "the test does not panic".to_owned(),
            Self::Handling(place) => format!("the application of node {place} does not panic"),
            Self::Condition(property) => property.clone(),
            Self::Network => "the network below keeps its contracts".to_owned(),
        }
    }
}

impl Default for Explored {
    fn default() -> Self {
        Self {
            runs: 0,
            simulated: Duration::ZERO,
            faults: BTreeMap::new(),
            inputs: 0,
            hash: 0,
        }
    }
}

impl Explored {
    fn add<A: App>(&mut self, sim: &Sim<A>) {
        self.runs += 1;
        self.simulated += sim.now();
        self.inputs += sim.track.inputs;
        for fault in sim.storm.begun() {
            *self.faults.entry(fault.what.name()).or_default() += 1;
        }
        let hash = sim.hash();
        let (high, low) = ((hash >> 64) as u64, hash as u64);
        self.hash = Hasher::new(self.hash).word(high).word(low).finish();
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let simulated = self.simulated.as_secs_f64();
        let runs = match self.runs {
            1 => "1 run".to_owned(),
            runs => format!("{runs} runs"),
        };
        write!(f, "{runs}, {simulated:.1} s of simulated time; faults:")?;
        for (name, count) in &self.faults {
            write!(f, " {name} {count}")?;
        }
        Ok(())
    }
}
