//! Two processes with one identity through thousands of storms: they do not fight for ever, and
//! whatever was accepted is taken once and in order, or reported.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use quicpool_core::{Config, ConnectionStatus::Connected, Event, OnPeerRestart};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::counters;

/// Storms: thousands in a release build.
const SEEDS: Range<u64> = match cfg!(debug_assertions) {
    true => 0..60,
    false => 0..4_000,
};

/// What happens in a storm.
const STEPS: usize = 40;

/// Long enough for every backoff, and for silent peers to be given up.
const CALM: Duration = secs(400);

/// Dials of all four in a calm that begins when each of them knows how it stands: only what expires
/// or is sent may cause any.
const DIALS_MAX: u64 = 16;

#[test]
fn whatever_happens_to_two_processes_with_one_identity_the_later_one_stays() {
    for seed in SEEDS {
        let mut storm = Storm::new(seed);
        storm.rage();
        storm.calm();
        storm.check();
    }
}

/// Two twins and two peers that both talk to.
struct Storm {
    seed: u64,
    draws: Draws,
    net: Net,
    /// The one that started earlier, and the one that started later, by their clocks.
    twins: [NodeId; 2],
    peers: [NodeId; 2],
    /// Messages taken, by receiver and sender, as they came.
    taken: BTreeMap<(NodeId, NodeId), Vec<u64>>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut draws = Draws(seed);
        let mut config = Config::default();
        config.liveness_timeout = secs(3);
        config.backoff.max = secs(10);
        config.session_timeout = secs(300);
        config.breaker_failures = 1_000;
        config.on_peer_restart = OnPeerRestart::Report;
        config.pool_ttl = ms(draws.between(2_000..60_000));
        let mut net = Net::new(seed).latency(ms(draws.between(1..100)));
        net.loss(draws.between(0..4) as f64 * 0.05);
        let [first, a, b] = [(); 3].map(|()| net.node(config.clone()));
        let is_ahead = draws.between(0..2) == 0;
        let ahead = if is_ahead { secs(1_000) } else { secs(0) };
        net.set_wall_clock(first, ahead);
        net.restart(first);
        net.advance(ms(5));
        let second = net.twin(first);
        for peer in [a, b] {
            for twin in [first, second] {
                net.introduce(twin, peer);
            }
        }
        let twins = if is_ahead {
            [second, first]
        } else {
            [first, second]
        };
        Self {
            seed,
            draws,
            net,
            twins,
            peers: [a, b],
            taken: BTreeMap::new(),
        }
    }

    fn rage(&mut self) {
        for _ in 0..STEPS {
            let twin = self.twins[self.draws.between(0..2) as usize];
            let peer = self.peers[self.draws.between(0..2) as usize];
            match self.draws.between(0..12) {
                0..=3 => self.send(twin, peer),
                4..=6 => self.send(peer, twin),
                7 => self.net.pause(twin),
                8 => self.resume(),
                9 => self.net.cut(twin, peer),
                10 => self.net.heal_all(),
                _ => self.net.connect(peer, twin),
            }
            let pause = ms(self.draws.between(0..4_000));
            self.net.advance(pause);
            self.look();
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId) {
        if self.net.is_paused(from) {
            return;
        }
        for _ in 0..self.draws.between(1..6) {
            let sent = self.net.peer_metrics(from, to);
            let number = sent.map_or(0, |of| of.messages_accepted);
            let from_name = self.name(from);
            let message = [from_name.to_be_bytes(), number.to_be_bytes()].concat();
            // One that was superseded may be refused for a while.
            let _ = self.net.try_send(from, to, &message);
        }
    }

    fn resume(&mut self) {
        for twin in self.twins {
            if self.net.is_paused(twin) {
                self.net.resume(twin);
            }
        }
    }

    fn calm(&mut self) {
        self.net.heal_all();
        self.net.loss(0.0);
        self.resume();
        for twin in self.twins {
            for peer in self.peers {
                self.send(twin, peer);
                self.send(peer, twin);
            }
        }
        self.net.advance(CALM);
        self.look();
    }

    /// Keeps what was taken, by receiver and sender.
    fn look(&mut self) {
        for node in self.all() {
            for message in self.net.received(node) {
                let (from, number) = message.payload.split_at(8);
                let [from, number] = [from, number].map(|part| {
                    u64::from_be_bytes(part.try_into().expect("a number has eight bytes"))
                });
                let from = self.all()[from as usize];
                self.taken.entry((node, from)).or_default().push(number);
            }
        }
    }

    fn check(&mut self) {
        let [earlier, later] = self.twins;
        for peer in self.peers {
            let told = self.times_told(later, peer);
            assert_eq!(told, 0, "the later one is told by {peer}; {self}");
            let held = self.net.peer_metrics(peer, later);
            let held = held.map_or(0, |of| of.outbox_bytes);
            assert_eq!(held, 0, "{peer} holds something; {self}");
            for twin in self.twins {
                self.check_line(twin, peer);
                let held = self.net.peer_metrics(twin, peer);
                assert_eq!(held.map_or(0, |of| of.outbox_bytes), 0, "{twin}; {self}");
            }
            self.check_lines_to_twins(peer);
        }
        let dials = self.dials();
        self.net.advance(CALM);
        let more = self.dials() - dials;
        assert!(more <= DIALS_MAX, "{more} dials in a calm; {self}");
        for peer in self.peers {
            let both = [earlier, later].map(|twin| self.net.status(twin, peer) == Some(Connected));
            assert_ne!(both, [true, true], "both are connected to {peer}; {self}");
        }
    }

    /// What a twin has sent to a peer came in order, each message once, or was reported.
    fn check_line(&self, twin: NodeId, peer: NodeId) {
        let taken = self.taken.get(&(peer, twin)).cloned().unwrap_or_default();
        assert!(
            taken.is_sorted_by(|a, b| a < b),
            "{twin}: {taken:?}; {self}"
        );
        self.is_all_told(twin, peer, &taken);
    }

    /// What a peer has sent to both together came once, or was reported; to each of them in order.
    fn check_lines_to_twins(&self, peer: NodeId) {
        let mut all = Vec::new();
        for twin in self.twins {
            let taken = self.taken.get(&(twin, peer)).cloned().unwrap_or_default();
            assert!(
                taken.is_sorted_by(|a, b| a < b),
                "{twin}: {taken:?}; {self}"
            );
            all.extend(taken);
        }
        all.sort_unstable();
        assert!(all.is_sorted_by(|a, b| a < b), "{peer}: {all:?}; {self}");
        self.is_all_told(peer, self.twins[0], &all);
    }

    fn is_all_told(&self, from: NodeId, to: NodeId, taken: &[u64]) {
        let accepted = self.net.peer_metrics(from, to);
        let accepted = accepted.map_or(0, |of| of.messages_accepted);
        let peer = self.net.peer_id(to);
        let reported: Vec<Range<u64>> = self
            .net
            .history(from)
            .iter()
            .filter_map(|(_, event)| {
                if let Event::Undelivered {
                    peer: of, messages, ..
                } = event
                    && *of == peer
                {
                    Some(messages.clone())
                } else {
                    None
                }
            })
            .collect();
        let is_told = |number: &u64| {
            taken.contains(number) || reported.iter().any(|range| range.contains(number))
        };
        let lost: Vec<u64> = (0..accepted).filter(|number| !is_told(number)).collect();
        assert!(lost.is_empty(), "{from} to {to}: lost {lost:?}; {self}");
    }

    fn all(&self) -> [NodeId; 4] {
        let ([a, b], [c, d]) = (self.twins, self.peers);
        [a, b, c, d]
    }

    /// What messages call their sender: twins have the same id.
    fn name(&self, node: NodeId) -> u64 {
        let place = self.all().iter().position(|other| *other == node);
        place.expect("it is one of them") as u64
    }

    fn times_told(&self, node: NodeId, by: NodeId) -> usize {
        let peer = self.net.peer_id(by);
        let told = Event::IdentityInUse { peer };
        let history = self.net.history(node).iter();
        history.filter(|(_, event)| *event == told).count()
    }

    fn dials(&self) -> u64 {
        let all = self.all().into_iter();
        all.map(|node| counters(&self.net, node).dials).sum()
    }
}

/// SplitMix64 (Steele and others, 2014).
struct Draws(u64);

impl Draws {
    fn between(&mut self, range: Range<u64>) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        range.start + (mixed ^ mixed >> 31) % (range.end - range.start)
    }
}

impl std::fmt::Display for Storm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}: {:?}", self.seed, self.net)
    }
}
