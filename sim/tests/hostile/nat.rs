//! Many honest hosts behind one address: limits of sources leave them alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use quicpool_core::{
    Action, Config, ConnectionStatus::Connected, Datagram, Incarnation, Manager, PeerAddr, PeerId,
};
use quicpool_sim::{Checksum, ms, secs};

const HOSTS: usize = 2_000;

/// Failure 37, the other side of its mend.
#[test]
fn two_thousand_dials_from_one_address_all_succeed() {
    // Shorter and longer than what a handshake has before it makes way.
    for latency in [ms(20), ms(120)] {
        let mut config = Config::default();
        config.connections_max = 4_096;
        let mut world = World::new(config, latency);
        let server = world.at(0);
        for host in 1..=HOSTS {
            world.machines[host]
                .add_address(world.now, server)
                .expect("there is room");
            world.machines[host]
                .connect(world.now, server.id)
                .expect("there is an address");
            world.drain(host);
        }
        world.run(secs(60));
        let connected =
            (1..=HOSTS).filter(|host| world.machines[*host].status(server.id) == Some(Connected));
        assert_eq!(connected.count(), HOSTS, "at {latency:?} each way");
        let metrics = world.machines[0].metrics(world.now);
        assert_eq!(metrics.counters.replies_dropped, 0);
    }
}

// Helpers

/// Machines with their own event loop: a server, and hosts that share an address and have ports of their own.
struct World {
    now: Instant,
    latency: Duration,
    machines: Vec<Manager>,
    deadlines: BTreeSet<(Instant, usize)>,
    armed: Vec<Option<Instant>>,
    in_flight: BTreeMap<(Instant, u64), (usize, Datagram)>,
    sent: u64,
}

impl World {
    fn new(config: Config, latency: Duration) -> Self {
        let now = Instant::now();
        let machine = |index: usize| {
            let credentials = Arc::new(Checksum::new(id(index), index as u64));
            let incarnation = Incarnation {
                started_ms: 1_780_000_000_000,
                random: index as u64,
            };
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&index.to_be_bytes());
            let config = match index {
                0 => config.clone(),
                _ => Config::default(),
            };
            Manager::new(config, credentials, incarnation, seed, now).expect("it is valid")
        };
        Self {
            now,
            latency,
            machines: (0..=HOSTS).map(machine).collect(),
            deadlines: BTreeSet::new(),
            armed: vec![None; HOSTS + 1],
            in_flight: BTreeMap::new(),
            sent: 0,
        }
    }

    fn at(&self, index: usize) -> PeerAddr {
        PeerAddr::new(id(index), addr(index))
    }

    fn drain(&mut self, index: usize) {
        let mut buf = Vec::new();
        while let Some(action) = self.machines[index].poll_action(self.now, &mut buf) {
            let Action::Transmit(transmit) = action else {
                continue;
            };
            let to = index_of(transmit.destination);
            for payload in transmit.datagrams(&buf) {
                let datagram = Datagram {
                    remote: addr(index),
                    local_ip: None,
                    ecn: transmit.ecn,
                    payload: payload.into(),
                };
                self.sent += 1;
                let at = (self.now + self.latency, self.sent);
                self.in_flight.insert(at, (to, datagram));
            }
        }
        let at = self.machines[index].poll_timeout().map(|due| due.at);
        if let Some(before) = std::mem::replace(&mut self.armed[index], at) {
            self.deadlines.remove(&(before, index));
        }
        self.deadlines.extend(at.map(|at| (at, index)));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.in_flight.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.deadlines.first().map(|(at, _)| *at);
            let next = arrival.into_iter().chain(deadline).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let (_, (to, datagram)) = self.in_flight.pop_first().expect("it is there");
                self.machines[to].handle_datagram(self.now, datagram);
                self.drain(to);
            } else if let Some((_, index)) = self.deadlines.first().copied() {
                self.machines[index].handle_timeout(self.now);
                self.drain(index);
            }
        }
    }
}

fn id(index: usize) -> PeerId {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    PeerId::from_bytes(bytes)
}

fn addr(index: usize) -> SocketAddr {
    match index {
        0 => ([192, 0, 2, 1], 4433).into(),
        _ => ([198, 51, 100, 7], 10_000 + index as u16).into(),
    }
}

fn index_of(addr: SocketAddr) -> usize {
    match addr.port() {
        4433 => 0,
        port => usize::from(port - 10_000),
    }
}
