//! Strangers as they are played: what each does, drawn step by step.

use std::time::Duration;

use quicpool_core::{PeerId, Sealing};

use super::raw::RawPeer;
use crate::{
    Domain, Draw, Net, NodeId, ms,
    swarm::{
        Scenario,
        stranger::{Conduct, Stranger},
    },
};

/// The time between two looks at what has reached strangers.
const SLICE: Duration = ms(20);

/// Between two acts of a stranger, at least and at most, in milliseconds.
const PAUSE_MS: (u64, u64) = (20, 400);

/// Bytes of one act, at most.
const BYTES_MAX: u64 = 200;

/// All strangers of a world, until it ends.
pub(super) struct Strangers {
    players: Vec<Player>,
    /// How often one has acted on a connection whose handshake was done.
    pub(super) acts: u64,
}

struct Player {
    stranger: Stranger,
    node: NodeId,
    peer: RawPeer,
    draw: Draw,
    /// When it acts next.
    at: Duration,
    /// The number of the next good record.
    next: u64,
    seals: bool,
}

impl Strangers {
    pub(super) fn new(scenario: &Scenario, nodes: &[NodeId]) -> Self {
        let player = |(place, stranger): (usize, &Stranger)| {
            let entity = u64::MAX - 1 - place as u64;
            Player {
                stranger: *stranger,
                node: nodes[stranger.dials],
                peer: RawPeer::new(place),
                draw: Draw::new(scenario.seed, Domain::Scenario, entity),
                at: Duration::ZERO,
                next: 0,
                seals: scenario.limits_of(stranger.dials).sealing == Sealing::On,
            }
        };
        Self {
            players: scenario.strangers.iter().enumerate().map(player).collect(),
            acts: 0,
        }
    }

    pub(super) fn ids(&self) -> Vec<PeerId> {
        self.players.iter().map(|player| player.peer.id).collect()
    }

    pub(super) fn include(&self, peer: PeerId) -> bool {
        self.players.iter().any(|player| player.peer.id == peer)
    }

    /// They are gone without a word.
    pub(super) fn leave(&mut self) {
        self.players.clear();
    }

    /// Lets time pass in the network, in which they take part.
    pub(super) fn advance(&mut self, net: &mut Net, time: Duration) {
        if self.players.is_empty() {
            return net.advance(time);
        }
        let end = net.now() + time;
        while net.now() < end {
            net.advance(SLICE.min(end - net.now()));
            for astray in net.take_astray() {
                let to = self
                    .players
                    .iter_mut()
                    .find(|one| one.peer.addr == astray.to);
                if let Some(player) = to {
                    let from = net.addr(astray.from);
                    player.peer.handle_datagram(net, from, astray.payload);
                }
            }
            for player in &mut self.players {
                self.acts += u64::from(player.turn(net));
            }
        }
    }
}

impl Player {
    /// Returns whether it has acted.
    fn turn(&mut self, net: &mut Net) -> bool {
        self.peer.fire(net);
        let mut has_acted = false;
        if net.now() >= self.at {
            self.at = net.now() + ms(self.draw.between(PAUSE_MS));
            has_acted = self.peer.is_connected();
            self.act(net);
        }
        self.peer.send_packets(net, self.node);
        has_acted
    }

    fn act(&mut self, net: &mut Net) {
        if self.peer.is_gone() {
            self.next = 0;
            return self.peer.dial(net, self.node);
        }
        if !self.peer.is_connected() {
            return;
        }
        if self.stranger.conduct == Conduct::Silence {
            if self.draw.below(4) == 0 {
                self.peer.dial(net, self.node);
            }
            return;
        }
        if !self.peer.has_greeted() {
            return self.peer.greet(self.seals);
        }
        match self.stranger.conduct {
            Conduct::Silence => {}
            Conduct::Frames => self.frames(),
            Conduct::Acknowledgements => self.acknowledge(),
            Conduct::Records => self.records(),
            Conduct::Streams => self.streams(),
            Conduct::Datagrams => {
                let bytes = self.bytes();
                self.peer.send_datagram(&bytes);
            }
            Conduct::Closes => self.close(net),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let count = self.draw.below(BYTES_MAX);
        (0..count).map(|_| self.draw.below(256) as u8).collect()
    }

    fn frames(&mut self) {
        let bytes = self.bytes();
        let frame = match self.draw.below(8) {
            0..6 => [
                &[0x3f + 1, 0xbc][..],
                &[bytes.len() as u8 % 64],
                &bytes[..bytes.len() % 64],
            ]
            .concat(),
            6 => bytes,
            // LINES or an acknowledgement of any bytes.
            _ => {
                let body = &bytes[..bytes.len().min(63)];
                [&[2 + (bytes.len() % 2) as u8, body.len() as u8][..], body].concat()
            }
        };
        self.peer.write(0, &frame);
    }

    fn acknowledge(&mut self) {
        let numbers = match self.draw.below(8) {
            0..6 => [0, 63, 0, 0, 0, 63],
            _ => [0; 6].map(|_| self.draw.below(64) as u8),
        };
        self.peer.write(0, &[&[3, 6][..], &numbers].concat());
    }

    fn records(&mut self) {
        let body = [1, b'?'];
        let (length, count, first) = match self.draw.below(10) {
            0..6 => (2, 1, self.next),
            6 => (2, 1, self.next + 1 + self.draw.below(9)),
            7 => (1 << self.draw.below(32), 1, self.next),
            8 => (2, self.draw.below(1 << 24) as u32, self.next),
            _ => (2, 1, 0),
        };
        if first == self.next {
            self.next += 1;
        }
        self.peer.write_record(length, count, first, &body);
    }

    fn streams(&mut self) {
        let stream = 2 + self.draw.below(6) as usize;
        match self.draw.below(8) {
            0..5 => {
                let bytes = self.bytes();
                self.peer.write(stream, &bytes);
            }
            5 => self.peer.end(self.draw.below(8) as usize),
            _ => self.peer.end(stream),
        }
    }

    fn close(&mut self, net: &Net) {
        let code = match self.draw.below(2) {
            0 => self.draw.below(0x20),
            _ => self.draw.below(1 << 20),
        };
        let reason = self.bytes();
        self.peer.close(net, code as u32, &reason);
    }
}
