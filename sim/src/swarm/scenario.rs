//! What happens in a world, as plain data.

use std::time::Duration;

use quicpool_core::{Config, Flush, OnPeerRestart, Sealing};

use super::{Outcome, world::World};
use crate::{
    Crypto,
    dice::{Dice, Domain},
    ms, secs,
    trace::Recorder,
};

/// Long enough that no session expires in a storm: what is lost then is lost by a bug.
pub(super) const SESSION_TIMEOUT: Duration = secs(3_000);

/// Operations in a world, at least and at most.
const STEPS: (u64, u64) = (10, 80);

/// A world: who there is, what they do, and what is done to them.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Decides everything that is random in the network and in the machines.
    pub seed: u64,
    /// What sessions are made of. [`draw`](Self::draw) always says `Checksum`.
    pub crypto: Crypto,
    /// How many nodes there are, which all know each other.
    pub nodes: usize,
    /// The configuration of every node.
    pub config: Config,
    /// How long a datagram travels.
    pub latency: Duration,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One thing that happens, and how long nothing else does after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What.
    pub operation: Operation,
    /// The pause behind it.
    pub pause: Duration,
}

/// What can happen in a world. Nodes are named by their place, from 0.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// A node sends messages of these lengths to another.
    Send {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// Bytes of each message.
        lengths: Vec<usize>,
    },
    /// A node asks for a connection.
    Connect(usize, usize),
    /// A node ends its session with another.
    Disconnect(usize, usize),
    /// Nothing passes between two nodes.
    Cut(usize, usize),
    /// Nothing passes from one node to another.
    CutOneWay(usize, usize),
    /// All cuts end.
    Heal,
    /// This part of all datagrams is lost.
    Loss(f64),
    /// This part of all datagrams arrives twice.
    Duplicate(f64),
    /// This part of all datagrams is overtaken by others.
    Reorder(f64),
    /// This part of all datagrams arrives damaged.
    Corrupt(f64),
    /// Datagrams are lost in bursts: this is how often a link turns bad.
    Burst(f64),
    /// This many bytes per second pass each way, with a queue of a tenth of a second.
    Rate(u64),
    /// Everything from one node to another is held for a time, and then arrives at once.
    Clog(usize, usize, Duration),
    /// A node moves to another port without noticing, as behind a NAT.
    Rebind(usize),
    /// A node's process stands still for a time.
    Freeze(usize, Duration),
    /// A node's socket takes nothing for a time.
    BlockSocket(usize, Duration),
    /// A node's process dies without a word.
    Crash(usize),
    /// It is started again, with the same identity at the same address.
    Restart(usize),
    /// A node's application takes no messages.
    PauseReader(usize),
    /// It takes them again.
    ResumeReader(usize),
}

impl Operation {
    /// Its name, for counts.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::Connect(..) => "connect",
            Self::Disconnect(..) => "disconnect",
            Self::Cut(..) => "cut",
            Self::CutOneWay(..) => "cut_one_way",
            Self::Heal => "heal",
            Self::Loss(_) => "loss",
            Self::Duplicate(_) => "duplicate",
            Self::Reorder(_) => "reorder",
            Self::Corrupt(_) => "corrupt",
            Self::Burst(_) => "burst",
            Self::Rate(_) => "rate",
            Self::Clog(..) => "clog",
            Self::Rebind(_) => "rebind",
            Self::Freeze(..) => "freeze",
            Self::BlockSocket(..) => "block_socket",
            Self::Crash(_) => "crash",
            Self::Restart(_) => "restart",
            Self::PauseReader(_) => "pause_reader",
            Self::ResumeReader(_) => "resume_reader",
        }
    }
}

impl Scenario {
    /// The world of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut draw = Draw {
            dice: Dice::new(seed),
            drawn: 0,
        };
        let nodes = 2 + draw.below(3) as usize;
        let latency = ms(1 + draw.below(120));
        let config = draw.config();
        let count = draw.between(STEPS.0, STEPS.1);
        let steps = (0..count).map(|_| draw.step(nodes)).collect();
        Self {
            seed,
            crypto: Crypto::Checksum,
            nodes,
            config,
            latency,
            steps,
        }
    }

    /// The same world with another cryptography.
    #[must_use]
    pub fn crypto(mut self, crypto: Crypto) -> Self {
        self.crypto = crypto;
        self
    }

    /// Plays the world to its end.
    #[must_use]
    pub fn run(&self) -> Outcome {
        World::new(self).run(&self.steps)
    }

    /// Plays the world to its end, and keeps a record. It goes the same way as without.
    ///
    /// The recorder has the record of a world that panics, too.
    #[must_use]
    pub fn run_recorded(&self, recorder: &Recorder) -> Outcome {
        let mut world = World::new(self);
        world.record(recorder);
        world.run(&self.steps)
    }
}

/// Draws one after the other.
struct Draw {
    dice: Dice,
    drawn: u64,
}

impl Draw {
    fn next(&mut self) -> u64 {
        self.drawn += 1;
        self.dice.roll(Domain::Scenario, 0, self.drawn)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    fn percent(&mut self, most: u64) -> f64 {
        self.below(most + 1) as f64 / 100.0
    }

    fn pick<T: Copy>(&mut self, choices: [T; 2]) -> T {
        choices[self.below(2) as usize]
    }

    /// Limits so small that they are met.
    fn config(&mut self) -> Config {
        let mut config = Config::default();
        config.pool_ttl = ms(self.between(500, 20_000));
        config.connections_max = self.between(1, 4) as usize;
        config.tenure_min = ms(self.between(200, 1_000));
        config.liveness_timeout = secs(self.between(3, 12));
        config.backoff.max = secs(self.between(2, 11));
        config.session_timeout = SESSION_TIMEOUT;
        config.batch_messages_max = self.between(1, 128) as usize;
        config.message_bytes_max = 4_096;
        config.batch_bytes_max = 4_096;
        config.inbox_bytes_max = 8_192;
        config.outbox_bytes_max = 64 * 1_024;
        config.flush = self.pick([Flush::Adaptive, Flush::Fixed]);
        config.sealing = self.pick([Sealing::On, Sealing::Off]);
        config.on_peer_restart = OnPeerRestart::Report;
        // Sends are meant to be accepted, whatever the network did to dials before.
        config.breaker_failures = 1_000;
        config
    }

    fn step(&mut self, nodes: usize) -> Step {
        let operation = self.operation(nodes);
        let pause = match self.below(6) {
            0 => 0,
            1..=3 => self.below(300),
            _ => self.below(8_000),
        };
        Step {
            operation,
            pause: ms(pause),
        }
    }

    fn operation(&mut self, nodes: usize) -> Operation {
        let a = self.below(nodes as u64) as usize;
        // Another one: nobody deals with itself.
        let b = (a + self.between(1, nodes as u64 - 1) as usize) % nodes;
        match self.below(48) {
            0..=15 => {
                let count = self.between(1, 40);
                let lengths = (0..count).map(|_| self.between(12, 400) as usize).collect();
                let (from, to) = (a, b);
                Operation::Send { from, to, lengths }
            }
            16 | 17 => Operation::Connect(a, b),
            18 => Operation::Disconnect(a, b),
            19 | 20 => Operation::Cut(a, b),
            21 | 22 => Operation::CutOneWay(a, b),
            23..=26 => Operation::Heal,
            27 | 28 => Operation::Loss(self.percent(30)),
            29 => Operation::Duplicate(self.percent(10)),
            30 => Operation::Reorder(self.percent(30)),
            31 => Operation::Corrupt(self.percent(5)),
            32 | 33 => Operation::Crash(a),
            34 | 35 => Operation::Restart(a),
            36 | 37 => Operation::PauseReader(a),
            38 | 39 => Operation::ResumeReader(a),
            40 => Operation::Burst(self.percent(5)),
            41 => Operation::Rate(self.between(20_000, 1_000_000)),
            42 => Operation::Clog(a, b, ms(self.below(3_000))),
            43 | 44 => Operation::Rebind(a),
            45 => Operation::Freeze(a, ms(self.below(8_000))),
            _ => Operation::BlockSocket(a, ms(self.below(2_000))),
        }
    }
}
