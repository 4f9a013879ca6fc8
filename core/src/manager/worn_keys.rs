//! A connection whose sealing key is worn out is replaced, and nothing is lost with it.

use std::{net::SocketAddr, time::Instant};

use super::Manager;
use crate::{
    Action, Config, Datagram, Event, Identity, Incarnation, Message, PeerAddr, PeerId, Reason,
    testing::epoch, transport::Key,
};

/// Steps of the network in which all that a test waits for has happened.
const STEPS_MAX: usize = 1_000;

#[test]
fn a_connection_whose_key_is_worn_out_is_replaced_and_loses_nothing() {
    for key in [Key::Ours, Key::Theirs, Key::Datagrams] {
        let mut net = Net::new();
        net.passes(0..3);
        net.wear_out(key);
        // The last record under the key, and those that follow.
        net.passes(3..20);
        for machine in &net.machines {
            let counters = machine.metrics(net.now).counters;
            let wrong = counters.connections_lost + counters.violations;
            assert_eq!((counters.connections_confirmed, wrong), (2, 0), "{key:?}");
        }
        assert!(net.reasons.contains(&Reason::Replaced), "{key:?}");
    }
}

/// Two machines in a network that loses nothing.
struct Net {
    now: Instant,
    machines: [Manager; 2],
    received: Vec<Message>,
    /// Why connections have changed.
    reasons: Vec<Reason>,
}

impl Net {
    fn new() -> Self {
        let now = epoch();
        let mut machines = [1, 2].map(|number| machine(now, number));
        let to = PeerAddr::new(machines[1].local_id(), address(1));
        machines[0].add_address(now, to).expect("a peer");
        Self {
            now,
            machines,
            received: Vec::new(),
            reasons: Vec::new(),
        }
    }

    fn to(&self) -> PeerId {
        self.machines[1].local_id()
    }

    /// Sends messages and datagrams with these numbers, each once the one before has arrived.
    fn passes(&mut self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let (now, to) = (self.now, self.to());
            let message = number.to_be_bytes();
            // Without a connection there is none.
            let _ = self.machines[0].send_datagram(now, to, &message);
            self.machines[0]
                .send(now, to, &message)
                .expect("there is room");
            self.run_until(|net| net.received.len() > number);
            assert_eq!(self.received.len(), number + 1);
            assert_eq!(self.received[number].payload, message[..]);
        }
    }

    /// Leaves a key one use: at the end that seals, or at the one that opens.
    fn wear_out(&mut self, key: Key) {
        let end = match key {
            Key::Ours | Key::Datagrams => 0,
            Key::Theirs => 1,
        };
        let other = self.machines[1 - end].local_id();
        let Manager {
            peers, transport, ..
        } = &mut self.machines[end];
        let live = peers.find(other).and_then(|peer| peer.links.live());
        transport.owned(live.expect("connected")).wear_out(key);
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..STEPS_MAX {
            (0..2).for_each(|end| self.drain(end));
            if done(self) {
                return;
            }
            let deadlines = self.machines.iter().filter_map(Manager::poll_timeout);
            let next = deadlines.map(|deadline| deadline.at).min();
            self.now = next.expect("something is due").max(self.now);
            for machine in &mut self.machines {
                machine.handle_timeout(self.now);
            }
        }
        panic!("not done after {STEPS_MAX} steps");
    }

    fn drain(&mut self, end: usize) {
        let mut packets = Vec::new();
        while let Some(action) = self.machines[end].poll_action(self.now, &mut packets) {
            match action {
                Action::Transmit(transmit) => {
                    for payload in transmit.datagrams(&packets) {
                        let datagram = Datagram::new(address(end), payload);
                        self.machines[1 - end].handle_datagram(self.now, datagram);
                    }
                }
                Action::Notify(Event::Readable { peer }) => {
                    let (machine, received) = (&mut self.machines[end], &mut self.received);
                    machine
                        .receive(self.now, peer, usize::MAX, received)
                        .expect("a known peer");
                }
                Action::Notify(Event::StatusChanged { reason, .. }) => self.reasons.push(reason),
                Action::Notify(_) => {}
            }
        }
    }
}

fn machine(now: Instant, number: u8) -> Manager {
    let credentials = Identity::from_seed(&[number; 32]).credentials();
    let incarnation = Incarnation {
        started_ms: 0,
        random: number.into(),
    };
    let seed = [number; 32];
    Manager::new(Config::default(), credentials, incarnation, seed, now).expect("in range")
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4433 + end as u16))
}
