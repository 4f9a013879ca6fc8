//! Two machines, and a network between them that does with each datagram what the input says.

use std::{collections::VecDeque, net::SocketAddr, time::Duration, time::Instant};

use quicpool_core::PeerAddr;
use quicpool_sim::{ms, secs};

use crate::{
    input::Input,
    node::{Flight, Node, config},
};

/// Steps of the clock in one advance, at most: more come from a machine that is due again and again.
const STEPS_MAX: usize = 20_000;

/// Datagrams on the wire, at most: what a socket's buffer holds.
const FLIGHTS_MAX: usize = 4_096;

/// Operations of one input: beyond them it is slow, and finds nothing that is new.
const OPERATIONS_MAX: usize = 200;

/// How long one datagram takes.
const LATENCY: Duration = Duration::from_millis(5);

/// What becomes of a datagram.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    Drop,
    Duplicate,
    /// Others overtake it.
    Late,
    /// One bit is another.
    Flip(u8),
    /// Only its beginning arrives.
    Truncate(u8),
    /// It comes from another address.
    Move(u8),
}

struct World<'a> {
    input: Input<'a>,
    now: Instant,
    nodes: [Node; 2],
    wire: VecDeque<(Instant, Flight)>,
    faults: VecDeque<Fault>,
    /// Messages that each node has sent, and the number after that of the last one that the other has read.
    sent: [u64; 2],
    read: [u64; 2],
    /// Whether messages may come again: a process has restarted whose peer sends them again.
    resends: bool,
}

/// Two machines that send, close and restart as the input says.
pub(crate) fn machines(bytes: &[u8]) {
    World::new(bytes).run();
}

impl<'a> World<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut input = Input::new(bytes);
        let flags = input.number();
        let shared = config(&mut input);
        let other = match flags & 1 {
            0 => shared.clone(),
            _ => config(&mut input),
        };
        let mut world = World {
            input,
            now: Instant::now(),
            nodes: [Node::new(1, shared), Node::new(2, other)],
            wire: VecDeque::new(),
            faults: VecDeque::new(),
            sent: [0; 2],
            read: [0; 2],
            resends: false,
        };
        for which in 0..2 {
            world.nodes[which].start(world.now);
            if flags & (2 << which) == 0 {
                world.introduce(which);
            }
        }
        world
    }

    fn run(&mut self) {
        for _ in 0..OPERATIONS_MAX {
            let Some(operation) = self.input.byte() else {
                break;
            };
            self.operate(operation);
        }
        // A calm end: everything is drained, and machines that close are gone in time.
        self.faults.clear();
        self.advance(secs(1));
        for node in &mut self.nodes {
            if let Some(manager) = &mut node.manager {
                manager.close(self.now);
            }
        }
        self.advance(secs(6));
        assert!(self.nodes.iter().all(|node| node.manager.is_none()));
    }

    fn introduce(&mut self, which: usize) {
        let other = PeerAddr::new(self.nodes[1 - which].id, self.nodes[1 - which].addr);
        if let Some(manager) = &mut self.nodes[which].manager {
            let _ = manager.add_address(self.now, other);
        }
    }

    fn operate(&mut self, operation: u8) {
        let which = usize::from(operation >> 7);
        match operation & 0x7f {
            0..24 => {
                let time = [1, 5, 20, 60, 300, 1_000, 5_000, 20_000, 60_000, 400_000];
                let time = self.input.choose(time);
                self.advance(ms(time));
            }
            // A driver that sleeps past what is due.
            24..28 => self.now += ms(self.input.choose([1, 50, 400, 7_000])),
            28..32 => self.inject(which),
            32..56 => self.add_faults(),
            56..64 => self.restart_or_read(which),
            _ => self.call(which, operation),
        }
        for which in 0..2 {
            self.check_read(which);
        }
    }

    /// Calls a verb. Most return an error in some state, and none may change anything then.
    fn call(&mut self, which: usize, operation: u8) {
        let (now, peer) = (self.now, self.nodes[1 - which].id);
        let number = self.input.number();
        if operation & 0x7f < 96 {
            self.send(which, number);
        }
        let Some(manager) = &mut self.nodes[which].manager else {
            return;
        };
        let _ = match operation & 0x1f {
            0 => manager.connect(now, peer),
            1 => manager.disconnect(now, peer),
            2 => manager.forget(now, peer),
            3 => manager.block(now, peer),
            4 => manager.unblock(peer),
            5 => manager.protect(peer),
            6 => manager.unprotect(peer),
            7 | 8 => manager.flush(now, peer, number as u64),
            9 => manager.cancel_flush(now, peer, number as u64),
            10 => manager.want_room(now, peer, number << 8),
            11 | 12 => {
                let _ = manager.send_datagram(now, peer, &vec![7; number * 6]);
                Ok(())
            }
            13 => {
                let _ = manager.cancel(now, peer, (number as u64).into());
                Ok(())
            }
            14 => {
                manager.close(now);
                Ok(())
            }
            15 => {
                manager.abort(now);
                Ok(())
            }
            16 | 17 => {
                self.introduce(which);
                Ok(())
            }
            _ => {
                let _ = manager.explain(now, peer);
                let _ = manager.peer_metrics(peer);
                Ok(())
            }
        };
    }

    /// Sends messages, each with its number in front.
    fn send(&mut self, which: usize, number: usize) {
        let (now, peer) = (self.now, self.nodes[1 - which].id);
        let Some(manager) = &mut self.nodes[which].manager else {
            return;
        };
        let mut messages = Vec::new();
        for next in 0..=(number % 8) as u64 {
            let mut message = (self.sent[which] + next).to_be_bytes().to_vec();
            message.resize(8 + number * (number / 8), 7);
            messages.push(message);
        }
        self.sent[which] += messages.len() as u64;
        let _ = match number % 5 {
            0 => {
                let until = now + ms(number as u64);
                manager.send_until(now, peer, &messages[0], until).map(drop)
            }
            1 => manager.send_express(now, peer, &messages[0]).map(drop),
            2 => manager
                .send_confirmed(now, peer, &messages[0], number as u64)
                .map(drop),
            _ => manager.send_many(now, peer, &messages).map(drop),
        };
    }

    /// Delivers bytes of the input.
    fn inject(&mut self, which: usize) {
        let bytes = self.input.bytes();
        let from = match self.input.number() & 1 {
            0 => self.nodes[1 - which].addr,
            _ => SocketAddr::from(([198, 51, 100, 1], 9)),
        };
        self.nodes[which].handle_datagram(self.now, from, bytes);
    }

    fn add_faults(&mut self) {
        for _ in 0..=self.input.number() % 16 {
            let fault = match self.input.number() % 16 {
                0..5 => Fault::None,
                5..8 => Fault::Drop,
                8 => Fault::Duplicate,
                9 | 10 => Fault::Late,
                11 | 12 => Fault::Flip(self.input.number() as u8),
                13 | 14 => Fault::Truncate(self.input.number() as u8),
                _ => Fault::Move(self.input.number() as u8),
            };
            self.faults.push_back(fault);
        }
    }

    fn restart_or_read(&mut self, which: usize) {
        let (now, peer) = (self.now, self.nodes[1 - which].id);
        let number = self.input.number();
        let node = &mut self.nodes[which];
        match number % 8 {
            0 => {
                node.start(now);
                self.resends = true;
                if number & 8 == 0 {
                    self.introduce(which);
                }
            }
            1 => node.manager = None,
            2 => node.reads = false,
            3 => node.reads = true,
            4 => node.holds = !node.holds,
            5 | 6 => node.finish_one(now, number / 8),
            _ => node.read(now, peer),
        }
    }

    /// Lets time pass.
    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..STEPS_MAX {
            let mut out = Vec::new();
            for node in &mut self.nodes {
                node.turn(self.now, &mut out);
            }
            for flight in out {
                self.send_off(flight);
            }
            let due = self.nodes.iter().filter_map(Node::due);
            let arrival = self.wire.iter().map(|(at, _)| *at).min();
            let next = due.chain(arrival).min().unwrap_or(end).max(self.now);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            self.deliver();
            if next == end {
                return;
            }
        }
        panic!("the clock goes on in steps that are too small");
    }

    /// Puts a datagram on the wire, with its fault.
    fn send_off(&mut self, mut flight: Flight) {
        let mut at = self.now + LATENCY;
        match self.faults.pop_front().unwrap_or(Fault::None) {
            Fault::Drop => return,
            Fault::Duplicate => {
                let (from, to, payload) = (flight.from, flight.to, flight.payload.clone());
                self.wire.push_back((at, Flight { from, to, payload }));
            }
            Fault::Late => at += ms(30),
            Fault::Flip(number) => {
                let length = flight.payload.len().max(1);
                if let Some(byte) = flight.payload.get_mut(usize::from(number) % length) {
                    *byte ^= 1 << (number % 8);
                }
            }
            Fault::Truncate(number) => flight.payload.truncate(number.into()),
            Fault::Move(number) => flight.from.set_port(u16::from(number) + 1),
            Fault::None => {}
        }
        if self.wire.len() < FLIGHTS_MAX {
            self.wire.push_back((at, flight));
        }
    }

    /// Delivers what has arrived.
    fn deliver(&mut self) {
        for _ in 0..self.wire.len() {
            let Some((at, flight)) = self.wire.pop_front() else {
                return;
            };
            if at > self.now {
                self.wire.push_back((at, flight));
                continue;
            }
            let to = self.nodes.iter_mut().find(|node| node.addr == flight.to);
            if let Some(node) = to {
                node.handle_datagram(self.now, flight.from, &flight.payload);
            }
        }
    }

    /// Messages arrive in order and once, as long as no process restarts.
    fn check_read(&mut self, which: usize) {
        for message in self.nodes[which].take_read() {
            let number = message
                .payload
                .first_chunk()
                .map(|n| u64::from_be_bytes(*n));
            let number = number.expect("every message has its number");
            assert!(number < self.sent[1 - which]);
            assert!(
                self.resends || number >= self.read[which],
                "again: {number}"
            );
            self.read[which] = number + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_get_through() {
        for input in [
            "connect-and-send",
            "both-dial",
            "loss",
            "moved",
            "held-and-done",
        ] {
            let path = format!("{}/../corpus/machines/{input}", env!("CARGO_MANIFEST_DIR"));
            let bytes = std::fs::read(path).expect("the input is there");
            let mut world = World::new(&bytes);
            world.run();
            assert!(world.sent[0] > 0, "{input}: nothing was sent");
            assert_eq!(world.read[1], world.sent[0], "{input}");
        }
    }
}
