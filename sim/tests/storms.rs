//! Storms: everything that can go wrong, at once, for a while. No contract is broken meanwhile, and
//! when the storm is over both ends agree on whether they are connected.

use quicpool_core::{Config, ConnectionStatus::Connected, ConnectionStatus::Connecting};
use quicpool_sim::{Net, NodeId, ms, secs};

/// Worlds.
const SEEDS: std::ops::Range<u64> = 0..48;

/// What happens in each.
const STEPS: usize = 120;

#[test]
fn after_a_storm_both_ends_agree() {
    for seed in SEEDS {
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
    for seed in SEEDS {
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

struct Storm {
    seed: u64,
    net: Net,
    nodes: Vec<NodeId>,
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
        let mut net = Net::new(seed).latency(ms(5 + seed % 50));
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
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    fn step(&mut self) {
        let (a, b) = (self.any_node(), self.any_node());
        let pause = ms(self.below(1_500));
        if self.net.peer_id(a) != self.net.peer_id(b) {
            match self.below(16) {
                6 => self.net.cut(a, b),
                7 => self.net.cut_one_way(a, b),
                8 | 9 => self.net.heal(a, b),
                10 if self.below(4) == 0 => self.net.crash(a),
                11 if !self.is_up(a) => self.restart(a),
                step if self.is_up(a) => self.ask(step, a, b),
                _ => {}
            }
        }
        self.net.advance(pause);
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
            }
            15 if self.below(3) == 0 => {
                self.net.block(a, b);
                self.net.advance(ms(300));
                self.net.unblock(a, b);
            }
            _ => {}
        }
    }

    fn restart(&mut self, node: NodeId) {
        self.net.restart(node);
        for other in self.nodes.clone() {
            if self.net.peer_id(other) != self.net.peer_id(node) {
                self.net.introduce_one_way(node, other);
            }
        }
    }

    fn calm_down(&mut self) {
        self.net.heal_all();
        self.net.loss(0.0);
        self.net.corrupt(0.0);
        self.net.duplicate(0.0);
        self.net.reorder(0.0, ms(0));
        for node in self.nodes.clone() {
            self.net.resume_reader(node);
        }
        self.net.advance(secs(400));
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
