//! Storms: everything that can go wrong, at once, for a while. No contract is broken meanwhile, and
//! when the storm is over both ends agree on whether they are connected. And at no time does a node
//! stay connected to one from which nothing can come.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ops::Range,
    time::Duration,
};

use quicpool_core::{Config, ConnectionStatus::Connected, ConnectionStatus::Connecting};
use quicpool_sim::{BlackHole, Burst, Faults, Net, NodeId, Path, ms, secs};

/// Worlds, unless the environment asks for others: `SIM_SEEDS=1500`, or `SIM_SEEDS=100..200`.
const SEEDS: Range<u64> = 0..48;

/// What happens in each.
const STEPS: usize = 120;

/// How long a node may stay connected while nothing can come from the other end: its
/// `liveness_timeout` of 15 s, a third of that if it has just stood still, and what was on its way.
const SILENCE_MAX: Duration = secs(15 + 5 + 5);

/// How long it may take until both ends agree again. Longer than a session lasts: a goodbye that was
/// lost costs the other end so long.
const CALM: Duration = secs(400);

#[test]
fn after_a_storm_both_ends_agree() {
    for seed in seeds() {
        let mut storm = Storm::new(seed);
        for _ in 0..STEPS {
            storm.step();
        }
        storm.calm_down();
        storm.check();
    }
}

#[test]
fn two_processes_with_one_identity_do_not_disturb_the_contract() {
    for seed in seeds() {
        let mut storm = Storm::new(seed);
        let twin = storm.net.twin(storm.nodes[0]);
        storm.nodes.push(twin);
        for other in storm.nodes[1..storm.nodes.len() - 1].iter().copied() {
            storm.net.introduce_one_way(twin, other);
        }
        for _ in 0..STEPS {
            storm.step();
        }
        storm.calm_down();
    }
}

/// The fault that this family of worlds has shown: after a clog and a pause QUIC's own idle timeout
/// was minutes, and one end stayed connected to a peer that was gone.
#[test]
fn a_path_that_was_held_up_does_not_put_off_the_end_of_a_silent_connection() {
    let mut storm = Storm::new(475);
    for _ in 0..STEPS {
        storm.step();
    }
    storm.calm_down();
    storm.check();
}

fn seeds() -> Range<u64> {
    let Ok(asked) = env::var("SIM_SEEDS") else {
        return SEEDS;
    };
    let number = |text: &str| text.parse().ok();
    let range = match asked.split_once("..") {
        Some((from, to)) => number(from).zip(number(to)),
        None => Some(0).zip(number(&asked)),
    };
    let range = range.filter(|(from, to)| from < to);
    let (from, to) = range.expect("SIM_SEEDS is a count such as 200, or a range such as 100..200");
    from..to
}

struct Storm {
    seed: u64,
    net: Net,
    nodes: Vec<NodeId>,
    /// Ways on which nothing passes.
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// Since when a node is connected to another from which nothing can come.
    silent: BTreeMap<(NodeId, NodeId), Duration>,
    state: u64,
}

impl Storm {
    /// Each bit of the seed is a kind of weather.
    fn new(seed: u64) -> Self {
        let has = |bit: u32| seed >> bit & 1 == 1;
        let mut config = Config::default();
        if has(4) {
            config.connections_max = 2 + (seed % 3) as usize;
        }
        if has(5) {
            config.pool_ttl = ms(700);
        }
        if has(0) && has(3) {
            config.handshakes_max = 1;
        }
        let mut net = match seed % 7 {
            0 => Net::new(seed).path(Path::lte()),
            1 => Net::new(seed).path(Path::wifi_fade()),
            2 => Net::new(seed).path(Path::dsl()),
            _ => Net::new(seed).latency(ms(5 + seed % 50)),
        };
        let nodes = net.nodes(3 + (seed % 4) as usize, &config);
        net.introduce_all();
        if has(0) {
            net.loss(0.1);
        }
        if has(1) {
            net.duplicate(0.1);
        }
        if has(2) {
            net.reorder(0.3, ms(80));
        }
        if has(3) {
            net.corrupt(0.05);
        }
        Self {
            seed,
            net,
            nodes,
            cuts: BTreeSet::new(),
            silent: BTreeMap::new(),
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    fn step(&mut self) {
        let (a, b) = (self.any_node(), self.any_node());
        let pause = ms(self.below(1_500));
        if self.net.peer_id(a) != self.net.peer_id(b) {
            match self.below(22) {
                6 => self.cut([(a, b), (b, a)]),
                7 => self.cut([(a, b)]),
                8 | 9 => self.heal(a, b),
                10 if self.below(4) == 0 => self.net.crash(a),
                11 if !self.is_up(a) => self.restart(a),
                16 => self.net.pause(a),
                17 | 18 => self.resume(a),
                19 => self.clog(a, b),
                20 => self.worsen(),
                21 if self.below(2) == 0 => self.rebind(a),
                step if self.acts(a) => self.ask(step, a, b),
                _ => {}
            }
        }
        self.advance(pause);
    }

    fn advance(&mut self, time: Duration) {
        let end = self.net.now() + time;
        while self.net.now() < end {
            self.net.advance(secs(1).min(end - self.net.now()));
            self.listen();
        }
    }

    /// No node stays connected to one from which nothing can come, but for a while.
    fn listen(&mut self) {
        let now = self.net.now();
        for a in self.nodes.clone() {
            for b in self.nodes.clone() {
                let mute = self.processes_of(b).all(|b| !self.reaches(b, a));
                let connected = self.acts(a) && self.net.status(a, b) == Some(Connected);
                if !(mute && connected) {
                    self.silent.remove(&(a, b));
                    continue;
                }
                let since = *self.silent.entry((a, b)).or_insert(now);
                let who = format!(
                    "seed {}: {a} hears nothing of {b} since {since:?}",
                    self.seed
                );
                assert!(now - since <= SILENCE_MAX, "{who}\n{:?}", self.net);
            }
        }
    }

    /// All processes with a node's identity: which of them another is connected to cannot be seen.
    fn processes_of(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let identity = self.net.peer_id(node);
        let nodes = self.nodes.iter().copied();
        nodes.filter(move |other| self.net.peer_id(*other) == identity)
    }

    fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        self.acts(from) && !self.cuts.contains(&(from, to))
    }

    fn cut<const N: usize>(&mut self, ways: [(NodeId, NodeId); N]) {
        for (from, to) in ways {
            self.net.cut_one_way(from, to);
            self.cuts.insert((from, to));
        }
    }

    fn heal(&mut self, a: NodeId, b: NodeId) {
        self.net.heal(a, b);
        self.cuts.retain(|way| *way != (a, b) && *way != (b, a));
    }

    /// What only a process that is up can be asked.
    fn ask(&mut self, step: u64, a: NodeId, b: NodeId) {
        match step {
            0..=5 => {
                for _ in 0..self.below(20) {
                    let message = vec![7; self.below(30_000) as usize];
                    let _ = self.net.try_send(a, b, &message);
                }
            }
            12 => self.net.disconnect(a, b),
            13 if self.below(2) == 0 => self.net.pause_reader(a),
            13 => self.net.resume_reader(a),
            14 => {
                let _ = self.net.try_connect(a, b);
                let time = ms(self.below(3_000));
                self.net.block_socket(a, time);
            }
            15 if self.below(3) == 0 => {
                self.net.block(a, b);
                self.advance(ms(300));
                self.net.unblock(a, b);
            }
            _ => {}
        }
    }

    fn restart(&mut self, node: NodeId) {
        self.net.restart(node);
        self.tell_of_others(node);
    }

    fn resume(&mut self, node: NodeId) {
        if self.net.is_paused(node) {
            self.net.resume(node);
            self.tell_of_others(node);
        }
    }

    fn rebind(&mut self, node: NodeId) {
        self.net.rebind(node);
        for other in self.nodes.clone() {
            self.tell(other, node);
        }
    }

    fn tell_of_others(&mut self, node: NodeId) {
        for other in self.nodes.clone() {
            self.tell(node, other);
        }
    }

    /// Gives a node the address of another, if it is up and has another identity.
    fn tell(&mut self, node: NodeId, of: NodeId) {
        if self.acts(node) && self.net.peer_id(of) != self.net.peer_id(node) {
            self.net.introduce_one_way(node, of);
        }
    }

    fn clog(&mut self, a: NodeId, b: NodeId) {
        let time = ms(self.below(4_000));
        self.net.clog(a, b, time);
    }

    fn worsen(&mut self) {
        let from = self.net.now();
        let until = from + ms(self.below(20_000));
        let is_bursty = self.below(2) == 0;
        self.net.faults(|faults| {
            faults.black_hole = Some(BlackHole {
                mtu: 1_200,
                from,
                until,
            });
            faults.burst = is_bursty.then_some(Burst {
                to_bad: 0.02,
                to_good: 0.2,
                loss: 0.9,
            });
        });
    }

    fn calm_down(&mut self) {
        self.net.heal_all();
        self.cuts.clear();
        self.net.unclog_all();
        self.net.faults(Faults::calm);
        for node in self.nodes.clone() {
            self.resume(node);
            self.net.resume_reader(node);
        }
        self.advance(CALM);
    }

    fn check(&self) {
        for &a in &self.nodes {
            for &b in self.nodes.iter().filter(|b| **b != a) {
                if !self.is_up(a) || !self.is_up(b) {
                    continue;
                }
                let ends = [self.net.status(a, b), self.net.status(b, a)];
                let connected = ends.map(|end| end == Some(Connected));
                let who = format!("seed {}: {a} and {b}: {ends:?}", self.seed);
                assert_eq!(connected[0], connected[1], "{who}\n{:?}", self.net);
                assert!(!ends.contains(&Some(Connecting)), "{who}\n{:?}", self.net);
            }
        }
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.net.machine(node).is_some()
    }

    fn acts(&self, node: NodeId) -> bool {
        self.is_up(node) && !self.net.is_paused(node)
    }

    fn any_node(&mut self) -> NodeId {
        let index = self.below(self.nodes.len() as u64);
        self.nodes[index as usize]
    }

    /// Xorshift: enough to draw a storm.
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % bound
    }
}
