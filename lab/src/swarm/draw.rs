//! Swarm testing: each seed draws which faults there are at all, and then draws from those.
//!
//! A world in which everything goes wrong at once is a world in which little happens: faults hide
//! each other. Worlds that leave out half of them, each another half, find more (Groce and others,
//! "Swarm Testing", 2012).

mod limits;
mod withdrawing;

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use super::{Condition, LinkFault, LinkProfile, Operation, Outsider, Scenario, Step, Where};
use crate::{Crypto, Delay, Domain, Draw, ms, secs};

/// Operations in a world, at least and at most.
const STEPS: (u64, u64) = (10, 70);

/// How many nodes a world has: few in most, as a pair is where most goes wrong.
const NODES: [usize; 12] = [2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 6];

/// Faults, in families that are on or off together.
const FAULTS: [Draft; 19] = [
    WorldDraw::cut,
    WorldDraw::cut_one_way,
    WorldDraw::loss,
    WorldDraw::burst,
    WorldDraw::first,
    WorldDraw::duplicate,
    WorldDraw::reorder,
    WorldDraw::corrupt,
    WorldDraw::rate,
    WorldDraw::mark,
    WorldDraw::mtu,
    WorldDraw::black_hole,
    WorldDraw::clog,
    WorldDraw::rebind,
    WorldDraw::roam,
    WorldDraw::freeze,
    WorldDraw::block_socket,
    WorldDraw::crash,
    WorldDraw::step_clock,
];

/// Acts of applications, in families as well.
const USES: [Draft; 5] = [
    WorldDraw::slow_reader,
    WorldDraw::disconnect,
    WorldDraw::connect_both,
    WorldDraw::partial_reader,
    WorldDraw::flush,
];

/// In one world of so many nothing goes wrong: what only faults may cause must not come of what
/// applications do.
const CALM: u64 = 16;

/// In one world of so many applications send datagrams as well.
const WITH_DATAGRAMS: u64 = 3;

/// In one world of so many applications end their managers as well.
const WITH_ENDINGS: u64 = 3;

/// In one world of so many applications take messages back, and send some with a lifetime.
const WITH_WITHDRAWALS: u64 = 4;

/// How often the operations of that family are drawn beside those of others.
const WITHDRAWALS: usize = 3;

/// In one world of so many nodes differ in what they announce to each other.
const WITH_PARAMETERS: u64 = 3;

/// Draws an operation of a family.
type Draft = fn(&mut WorldDraw) -> Operation;

/// Each part of a world has draws of its own, so that one part more leaves the others as they were.
#[derive(Clone, Copy)]
enum Part {
    Nodes,
    Families,
    Limits,
    Links,
    Outsiders,
    Length,
    OwnLimits,
    Hidden,
    Datagrams,
    Driven,
    Endings,
    Withdrawals,
    Parameters,
    Step(u64),
}

impl Part {
    const fn entity(self) -> u64 {
        match self {
            Self::Nodes => 0,
            Self::Families => 1,
            Self::Limits => 2,
            Self::Links => 3,
            Self::Outsiders => 4,
            Self::Length => 5,
            Self::OwnLimits => 6,
            Self::Hidden => 7,
            Self::Datagrams => 8,
            Self::Driven => 9,
            Self::Endings => 10,
            Self::Withdrawals => 11,
            Self::Parameters => 12,
            Self::Step(n) => 16 + n,
        }
    }
}

impl Scenario {
    /// The world of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let part = |part, nodes| WorldDraw::new(seed, part, nodes);
        let nodes = NODES[part(Part::Nodes, 0).below(NODES.len() as u64) as usize];
        let mut toss = part(Part::Families, nodes);
        let mut faults: Vec<Draft> = FAULTS.into_iter().filter(|_| toss.happens()).collect();
        let uses = USES.into_iter().filter(|_| toss.happens());
        let mut families: Vec<Draft> = uses.collect();
        if toss.below(CALM) > 0 {
            families.append(&mut faults);
        }
        if part(Part::Datagrams, nodes).below(WITH_DATAGRAMS) == 0 {
            families.push(WorldDraw::datagrams);
        }
        if part(Part::Endings, nodes).below(WITH_ENDINGS) == 0 {
            families.push(WorldDraw::end);
        }
        if part(Part::Withdrawals, nodes).below(WITH_WITHDRAWALS) == 0 {
            families.extend([WorldDraw::withdrawal as Draft; WITHDRAWALS]);
        }
        let limits = part(Part::Limits, nodes).limits();
        let own_limits = part(Part::OwnLimits, nodes).own_limits();
        let own_limits = part(Part::Parameters, nodes).parameters(own_limits);
        let outsiders = part(Part::Outsiders, nodes).outsiders();
        // Strangers wait for a slot as long as others are busy, and a node that is never well again
        // may be busy for ever.
        let slots = own_limits.iter().filter_map(|own| own.connections_max);
        let least = slots.fold(limits.connections_max, usize::min);
        let hidden = match least + 1 < nodes && !outsiders.is_empty() {
            true => Vec::new(),
            false => part(Part::Hidden, nodes).hidden(),
        };
        let count = part(Part::Length, nodes).between(STEPS);
        let step = |n| part(Part::Step(n), nodes).step(&families);
        Self {
            seed,
            crypto: Crypto::Checksum,
            nodes,
            hidden,
            driven: part(Part::Driven, nodes).driven(),
            limits,
            own_limits,
            links: part(Part::Links, nodes).links(),
            steps: (0..count).map(step).collect(),
            outsiders,
            strangers: Vec::new(),
        }
    }
}

/// The draws of one part of a world.
struct WorldDraw {
    draw: Draw,
    nodes: u64,
}

impl Deref for WorldDraw {
    type Target = Draw;

    fn deref(&self) -> &Draw {
        &self.draw
    }
}

impl DerefMut for WorldDraw {
    fn deref_mut(&mut self) -> &mut Draw {
        &mut self.draw
    }
}

impl WorldDraw {
    fn new(seed: u64, part: Part, nodes: usize) -> Self {
        Self {
            draw: Draw::new(seed, Domain::Scenario, part.entity()),
            nodes: nodes as u64,
        }
    }

    // Numbers

    fn happens(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.below(N as u64) as usize]
    }

    fn millis(&mut self, range: (u64, u64)) -> Duration {
        ms(self.between(range))
    }

    /// One limit in two is what it is by default.
    fn maybe<T>(&mut self, limit: &mut T, draw: impl FnOnce(&mut Self) -> T) {
        let drawn = draw(self);
        if self.happens() {
            *limit = drawn;
        }
    }

    // Nodes and links

    fn node(&mut self) -> usize {
        self.draw.below(self.nodes) as usize
    }

    /// Two different nodes.
    fn pair(&mut self) -> (usize, usize) {
        let a = self.draw.below(self.nodes);
        let b = (a + self.draw.between((1, self.nodes - 1))) % self.nodes;
        (a as usize, b as usize)
    }

    fn links(&mut self) -> LinkProfile {
        let mean = self.millis((1, 120));
        let spread = mean.mul_f64(self.percent((0, 50)));
        match self.below(12) {
            0..=3 => LinkProfile::Delay(Delay::Constant(mean)),
            4 => LinkProfile::Delay(Delay::Uniform {
                from: mean - spread,
                to: mean + spread,
            }),
            5 => LinkProfile::Delay(Delay::Normal {
                mean,
                deviation: spread,
            }),
            6 => LinkProfile::Lan,
            7 => LinkProfile::Dsl,
            8 => LinkProfile::Lte,
            9 => LinkProfile::Satellite,
            10 => LinkProfile::WifiFade,
            _ => LinkProfile::Datacenter,
        }
    }

    // Nodes that are special

    /// None in three worlds of four; else one node, which the others cannot dial.
    fn hidden(&mut self) -> Vec<usize> {
        match self.below(4) {
            0 => vec![self.node()],
            _ => Vec::new(),
        }
    }

    /// About every other node.
    fn driven(&mut self) -> Vec<usize> {
        let nodes = 0..self.nodes as usize;
        nodes.filter(|_| self.happens()).collect()
    }

    // After the storm

    /// None in one world of two; else up to all nodes but two.
    fn outsiders(&mut self) -> Vec<Outsider> {
        let all_are_well = self.happens();
        let count = self.draw.between((0, self.nodes - 2));
        if all_are_well {
            return Vec::new();
        }
        let first = self.draw.below(self.nodes);
        let outsider = |n| Outsider {
            node: ((first + n) % self.nodes) as usize,
            condition: self.condition(),
        };
        (0..count).map(outsider).collect()
    }

    fn condition(&mut self) -> Condition {
        match self.below(7) {
            0 => Condition::Unhealed,
            1 => Condition::Crashed,
            2 => Condition::Frozen,
            3 => Condition::CutOff,
            4 => Condition::Deaf,
            5 => Condition::Mute,
            _ => Condition::Lossy(self.percent((0, 90))),
        }
    }

    // Steps

    fn step(&mut self, families: &[Draft]) -> Step {
        let pause = match self.below(6) {
            0 => 0,
            1..=3 => self.below(300),
            _ => self.below(8_000),
        };
        let family = self.below(families.len().max(1) as u64) as usize;
        let operation = match self.below(10) {
            0..=3 => self.send(),
            4 => {
                let (a, b) = self.pair();
                Operation::Connect(a, b)
            }
            _ => match families.get(family) {
                Some(draft) => draft(self),
                None => self.send(),
            },
        };
        Step {
            operation,
            pause: ms(pause),
        }
    }

    fn send(&mut self) -> Operation {
        let (from, to) = self.pair();
        // Some are longer than a datagram.
        let most = self.pick([400, 400, 400, 4_000]);
        let count = self.between((1, 40));
        let lengths = (0..count).map(|_| self.between((12, most)) as usize);
        Operation::Send {
            from,
            to,
            lengths: lengths.collect(),
        }
    }

    fn send_confirmed(&mut self) -> Operation {
        let (from, to) = self.pair();
        let count = self.between((1, 5));
        let lengths = (0..count).map(|_| self.between((12, 400)) as usize);
        Operation::SendConfirmed {
            from,
            to,
            lengths: lengths.collect(),
        }
    }

    fn datagrams(&mut self) -> Operation {
        let (from, to) = self.pair();
        // Some are longer than a path carries.
        let most = self.pick([100, 1_000, 1_000, 1_600]);
        let count = self.between((1, 30));
        let lengths = (0..count).map(|_| self.between((12, most)) as usize);
        Operation::SendDatagrams {
            from,
            to,
            lengths: lengths.collect(),
        }
    }

    fn cut(&mut self) -> Operation {
        let (a, b) = self.pair();
        match self.happens() {
            true => Operation::Cut(a, b),
            false => Operation::Heal,
        }
    }

    fn cut_one_way(&mut self) -> Operation {
        let (from, to) = self.pair();
        match self.happens() {
            true => Operation::CutOneWay(from, to),
            false => Operation::Heal,
        }
    }

    /// What links do to datagrams, or the end of all that.
    fn link(&mut self, fault: LinkFault) -> Operation {
        let (from, to) = self.pair();
        let on = self.pick([Where::Everywhere, Where::Link(from, to)]);
        let fault = self.pick([fault, fault, fault, LinkFault::None]);
        Operation::Link { on, fault }
    }

    fn loss(&mut self) -> Operation {
        let fault = LinkFault::Loss(self.percent((0, 30)));
        self.link(fault)
    }

    fn burst(&mut self) -> Operation {
        let fault = LinkFault::Burst(self.percent((0, 5)));
        self.link(fault)
    }

    fn first(&mut self) -> Operation {
        let fault = LinkFault::First {
            initial: self.below(4) as u32,
            handshake: self.below(4) as u32,
            one_rtt: self.below(20) as u32,
        };
        self.link(fault)
    }

    fn duplicate(&mut self) -> Operation {
        let fault = LinkFault::Duplicate(self.percent((0, 10)));
        self.link(fault)
    }

    fn reorder(&mut self) -> Operation {
        let fault = LinkFault::Reorder(self.percent((0, 30)));
        self.link(fault)
    }

    fn corrupt(&mut self) -> Operation {
        let fault = LinkFault::Corrupt(self.percent((0, 5)));
        self.link(fault)
    }

    fn rate(&mut self) -> Operation {
        let fault = LinkFault::Rate(self.between((20_000, 1_000_000)));
        self.link(fault)
    }

    fn mark(&mut self) -> Operation {
        let fault = LinkFault::Mark(self.between((20_000, 1_000_000)));
        self.link(fault)
    }

    /// QUIC needs 1,200 bytes (RFC 9000, section 14).
    fn mtu(&mut self) -> Operation {
        let fault = LinkFault::Mtu(self.between((1_200, 1_472)) as usize);
        self.link(fault)
    }

    fn black_hole(&mut self) -> Operation {
        let fault = LinkFault::BlackHole {
            bytes: self.between((600, 1_400)) as usize,
            time: self.millis((0, 8_000)),
        };
        self.link(fault)
    }

    fn clog(&mut self) -> Operation {
        let (from, to) = self.pair();
        let time = self.millis((0, 3_000));
        Operation::Clog { from, to, time }
    }

    fn rebind(&mut self) -> Operation {
        Operation::Rebind(self.node())
    }

    fn roam(&mut self) -> Operation {
        Operation::Move(self.node())
    }

    fn freeze(&mut self) -> Operation {
        let (node, time) = (self.node(), self.millis((0, 8_000)));
        Operation::Freeze { node, time }
    }

    fn block_socket(&mut self) -> Operation {
        let (node, time) = (self.node(), self.millis((0, 2_000)));
        Operation::BlockSocket { node, time }
    }

    fn crash(&mut self) -> Operation {
        let node = self.node();
        match self.happens() {
            true => Operation::Crash(node),
            false => Operation::Restart(node),
        }
    }

    fn step_clock(&mut self) -> Operation {
        let (node, ahead) = (self.node(), secs(self.pick([0, 1, 60, 3_600])));
        Operation::StepClock { node, ahead }
    }

    fn slow_reader(&mut self) -> Operation {
        let node = self.node();
        match self.happens() {
            true => Operation::PauseReader(node),
            false => Operation::ResumeReader(node),
        }
    }

    /// Fewer than most records have, so that it stops in the middle of one.
    fn partial_reader(&mut self) -> Operation {
        let (node, messages) = (self.node(), self.between((1, 20)) as usize);
        Operation::ReadUpTo { node, messages }
    }

    fn disconnect(&mut self) -> Operation {
        let (a, b) = self.pair();
        Operation::Disconnect(a, b)
    }

    fn end(&mut self) -> Operation {
        let node = self.node();
        match self.below(4) {
            0 => Operation::Abort(node),
            1 => Operation::Close {
                node,
                last_words: self.below(4) as usize,
            },
            _ => Operation::Restart(node),
        }
    }

    fn connect_both(&mut self) -> Operation {
        let (a, b) = self.pair();
        Operation::ConnectBoth(a, b)
    }

    fn flush(&mut self) -> Operation {
        let (a, b) = self.pair();
        match self.below(6) {
            0 => Operation::LeaveFlush(a, b),
            1 => self.send_confirmed(),
            _ => Operation::Flush(a, b),
        }
    }
}
