//! Random histories of whole networks: whatever happens, messages are taken exactly once and in
//! order or reported, runs repeat byte for byte, and nothing is left behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use quicpool_core::{Config, Event, Flush, Occupancy, OnPeerRestart, PeerId, Sealing};
use quicpool_sim::{Net, NodeId, ms, secs};

/// Worlds per test, unless `SEED` in the environment names one.
const SEEDS: std::ops::Range<u64> = 0..1_500;

const SESSION_TIMEOUT: Duration = secs(3_000);

#[test]
fn whatever_happens_messages_are_taken_once_and_in_order_or_reported() {
    for seed in seeds() {
        World::run(seed).check();
    }
}

#[test]
fn the_same_seed_tells_the_same_story_byte_for_byte() {
    for seed in 0..200 {
        let [once, again] = [World::run(seed).net.hash(), World::run(seed).net.hash()];
        assert_eq!(once, again, "seed {seed}");
    }
    assert_ne!(World::run(1).net.hash(), World::run(2).net.hash());
}

#[test]
fn after_all_peers_have_left_every_map_and_queue_is_empty() {
    for seed in SEEDS {
        let mut world = World::run(seed);
        let net = &mut world.net;
        for a in net.ids() {
            for b in net.ids().filter(|b| *b != a) {
                net.forget(a, b);
            }
        }
        // Whoever dialled before it forgot the other is a stranger there until its session ends.
        net.advance(SESSION_TIMEOUT + secs(60));
        for node in net.ids() {
            let occupancy = net.occupancy(node).expect("every node is up");
            assert_eq!(occupancy, Occupancy::default(), "seed {seed}, {node}");
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let Ok(seed) = std::env::var("SEED") else {
        return SEEDS;
    };
    let seed = seed.parse().expect("SEED is a number");
    seed..seed + 1
}

/// A network, and what its applications have sent and seen.
struct World {
    net: Net,
    seed: u64,
    dice: Dice,
    nodes: Vec<NodeId>,
    /// How often each node has been started.
    lives: BTreeMap<NodeId, u32>,
    down: BTreeSet<NodeId>,
    paused: BTreeSet<NodeId>,
    lines: BTreeMap<(NodeId, u32, NodeId), Line>,
}

/// What one life of a sender has sent to a receiver.
#[derive(Default)]
struct Line {
    sent: u64,
    reported: BTreeSet<u64>,
    /// What each life of the receiver has taken, in the order it did.
    taken: BTreeMap<u32, Vec<u64>>,
    /// Either end ended the session on purpose, or died.
    disturbed: bool,
}

impl World {
    fn run(seed: u64) -> Self {
        let mut world = Self::new(seed);
        let steps = world.dice.below(70) + 10;
        for _ in 0..steps {
            world.step();
            world.observe();
        }
        world.settle();
        world
    }

    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut net = Net::new(seed).latency(ms(1 + dice.below(120)));
        let count = 2 + dice.below(3);
        let mut config = Config::default();
        config.pool_ttl = ms(500 + dice.below(20_000));
        config.connections_max = 1 + dice.below(4) as usize;
        config.tenure_min = ms(200 + dice.below(800));
        config.liveness_timeout = secs(3 + dice.below(10));
        config.backoff.max = secs(2 + dice.below(10));
        config.session_timeout = SESSION_TIMEOUT;
        config.batch_messages_max = 1 + dice.below(128) as usize;
        config.message_bytes_max = 4_096;
        config.batch_bytes_max = 4_096;
        config.inbox_bytes_max = 8_192;
        config.outbox_bytes_max = 64 * 1_024;
        config.flush = dice.pick([Flush::Adaptive, Flush::Fixed]);
        config.sealing = dice.pick([Sealing::On, Sealing::Off]);
        config.on_peer_restart = OnPeerRestart::Report;
        // A dial cannot outlast what the network may do to it here.
        config.breaker_failures = 1_000;
        let nodes = net.nodes(count as usize, &config);
        net.introduce_all();
        Self {
            net,
            seed,
            dice,
            lives: nodes.iter().map(|node| (*node, 0)).collect(),
            nodes,
            down: BTreeSet::new(),
            paused: BTreeSet::new(),
            lines: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        let a = self.any_node();
        let b = self.any_node();
        match self.dice.below(20) {
            0..=6 => {
                let count = 1 + self.dice.below(40);
                self.send(a, b, count);
            }
            7 if self.is_up(a) && a != b => {
                let _ = self.net.try_connect(a, b);
            }
            8 if a != b => self.net.cut(a, b),
            9 if a != b => self.net.cut_one_way(a, b),
            10 => self.net.heal_all(),
            11 => {
                let loss = self.dice.below(30) as f64 / 100.0;
                self.net.loss(loss);
            }
            12 => {
                let probability = self.dice.below(10) as f64 / 100.0;
                self.net.duplicate(probability);
                self.net.reorder(probability, ms(80));
                self.net.corrupt(probability / 2.0);
            }
            13 if self.is_up(a) => {
                self.observe();
                self.disturb(a);
                self.net.crash(a);
                self.down.insert(a);
            }
            14 => self.restart(a),
            15 => {
                self.net.pause_reader(a);
                self.paused.insert(a);
            }
            16 => self.resume(a),
            17 if self.is_up(a) && a != b && self.dice.below(3) == 0 => {
                self.observe();
                self.disturb_pair(a, b);
                self.net.disconnect(a, b);
            }
            _ => {}
        }
        let pause = match self.dice.below(6) {
            0 => 0,
            1..=3 => self.dice.below(300),
            _ => self.dice.below(8_000),
        };
        self.net.advance(ms(pause));
    }

    fn send(&mut self, a: NodeId, b: NodeId, count: u64) {
        if a == b || !self.is_up(a) {
            return;
        }
        let life = self.lives[&a];
        for _ in 0..count {
            let line = self.lines.entry((a, life, b)).or_default();
            let mut message = life.to_be_bytes().to_vec();
            message.extend_from_slice(&line.sent.to_be_bytes());
            message.resize(12 + self.dice.below(300) as usize, 7);
            if self.net.try_send(a, b, &message).is_ok() {
                line.sent += 1;
            }
        }
    }

    fn restart(&mut self, node: NodeId) {
        if !self.down.remove(&node) {
            return;
        }
        // What was sent to the dead one meanwhile has an unknown fate, too.
        self.disturb(node);
        *self.lives.entry(node).or_default() += 1;
        self.net.restart(node);
        for other in self.nodes.clone() {
            if other != node {
                self.net.introduce_one_way(node, other);
            }
        }
    }

    fn resume(&mut self, node: NodeId) {
        if self.paused.remove(&node) {
            self.net.resume_reader(node);
            // Whatever was announced meanwhile is read by hand: it is not announced again.
            self.read_all(node);
        }
    }

    fn read_all(&mut self, node: NodeId) {
        if !self.is_up(node) {
            return;
        }
        for other in self.nodes.clone() {
            let peer = self.net.peer_id(other);
            let mut messages = Vec::new();
            self.net.with(node, |machine, now| {
                machine.receive(now, peer, usize::MAX, &mut messages)
            });
            self.take(node, messages);
        }
    }

    fn disturb(&mut self, node: NodeId) {
        for other in self.nodes.clone() {
            self.disturb_pair(node, other);
        }
    }

    fn disturb_pair(&mut self, a: NodeId, b: NodeId) {
        let lives = &self.lives;
        for ((from, life, to), line) in &mut self.lines {
            let concerned = (*from, *to) == (a, b) || (*from, *to) == (b, a);
            if concerned && *life == lives[from] {
                line.disturbed = true;
            }
        }
    }

    /// Heals everything, and gives it time.
    fn settle(&mut self) {
        self.net.heal_all();
        self.net.loss(0.0);
        self.net.duplicate(0.0);
        self.net.reorder(0.0, ms(0));
        self.net.corrupt(0.0);
        for node in self.nodes.clone() {
            self.restart(node);
            self.resume(node);
        }
        for _ in 0..60 {
            self.net.advance(secs(10));
            self.observe();
            let lives = &self.lives;
            let alive = |from: &NodeId, life: &u32| lives[from] == *life;
            let mut lines = self.lines.iter();
            if lines.all(|((from, life, _), line)| !alive(from, life) || line.missing().is_empty())
            {
                break;
            }
        }
        self.net.advance(secs(5));
        self.observe();
    }

    fn observe(&mut self) {
        for node in self.nodes.clone() {
            let messages = self.net.received(node);
            self.take(node, messages);
            let life = self.lives[&node];
            for event in self.net.events(node) {
                if let Event::Undelivered { peer, messages, .. } = event {
                    let to = self.node_of(peer);
                    let line = self.lines.entry((node, life, to)).or_default();
                    line.reported.extend(messages);
                }
            }
        }
    }

    fn take(&mut self, node: NodeId, messages: Vec<quicpool_core::Message>) {
        let life = self.lives[&node];
        for message in messages {
            let from = self.node_of(message.from);
            let (sender_life, rest) = message.payload.split_at(4);
            let sender_life = u32::from_be_bytes(sender_life.try_into().expect("four bytes"));
            let number = u64::from_be_bytes(rest[..8].try_into().expect("eight bytes"));
            let line = self.lines.entry((from, sender_life, node)).or_default();
            line.taken.entry(life).or_default().push(number);
        }
    }

    fn check(&self) {
        for ((from, life, to), line) in &self.lines {
            let who = format!("seed {}, {from} (life {life}) to {to}", self.seed);
            for taken in line.taken.values() {
                let ordered = taken.windows(2).all(|pair| pair[0] < pair[1]);
                assert!(ordered, "{who}: out of order or twice: {taken:?}");
                assert!(
                    taken.iter().all(|number| *number < line.sent),
                    "{who}: never sent"
                );
            }
            let died = *life < self.lives[from];
            if died {
                continue;
            }
            let missing = line.missing();
            assert!(
                missing.is_empty(),
                "{who}: of {} lost {missing:?}\n{:?}",
                line.sent,
                self.net
            );
            if !line.disturbed {
                assert!(
                    line.reported.is_empty(),
                    "{who}: reported {:?}\n{:?}",
                    line.reported,
                    self.net
                );
            }
        }
    }

    fn any_node(&mut self) -> NodeId {
        let index = self.dice.below(self.nodes.len() as u64);
        self.nodes[index as usize]
    }

    fn is_up(&self, node: NodeId) -> bool {
        !self.down.contains(&node)
    }

    fn node_of(&self, peer: PeerId) -> NodeId {
        self.net.who(peer).expect("a node of this net")
    }
}

impl Line {
    fn missing(&self) -> BTreeSet<u64> {
        let taken: BTreeSet<u64> = self.taken.values().flatten().copied().collect();
        (0..self.sent)
            .filter(|number| !taken.contains(number) && !self.reported.contains(number))
            .collect()
    }
}

/// SplitMix64: enough to draw a history.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<T: Copy>(&mut self, choices: [T; 2]) -> T {
        choices[self.below(2) as usize]
    }
}
