//! A machine, and a peer that writes what the input says: valid QUIC, and any bytes in it.

use std::{net::SocketAddr, sync::Arc, time::Duration, time::Instant};

use bytes::Bytes;
use quicpool_core::{Credentials, PeerAddr, PeerId, Sealing};
use quicpool_sim::{Checksum, ms};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
    Event, StreamId, VarInt,
};

use crate::{
    input::Input,
    node::{Flight, Node, config},
};

/// Operations of one input.
const OPERATIONS_MAX: usize = 100;

/// Steps of the clock in one advance, at most.
const STEPS_MAX: usize = 20_000;

/// How long a datagram takes.
const LATENCY: Duration = Duration::from_millis(1);

/// How long a timer that is past due waits.
const PAST_DUE: Duration = Duration::from_millis(50);

/// A greeting that is accepted: hello of a peer that does not seal, and LINES without the other's half.
const GREETING: &[u8] = b"\x01\x40\x41\
    \x01\x10\x00\x00\x01\x9e\x6f\x1b\x5c\x00\x00\x00\x00\x00\x00\x00\x00\x63\
    \x02\x01\x04\x01\x06\x80\x04\x93\xe0\
    \x07\x10\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\
    \x0a\x80\x10\x00\x00\x0e\x80\x01\x00\x04\x10\x80\x01\x00\x00\x12\x80\x10\x00\x00\
    \x02\x0d\x00\x01\x01\x00\x00\x00\x80\x10\x00\x00\x00\x00\x00";

struct World<'a> {
    input: Input<'a>,
    now: Instant,
    node: Node,
    peer: RawPeer,
    /// Messages that the machine has handed out.
    received: usize,
}

/// A peer that is connected, and sends whatever the input says.
pub(crate) fn stranger(bytes: &[u8]) {
    World::new(bytes).run();
}

impl<'a> World<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut input = Input::new(bytes);
        let flags = input.number();
        let mut config = config(&mut input);
        config.accept = quicpool_core::Accept::Anyone;
        if flags & 1 == 0 {
            config.sealing = Sealing::Off;
        }
        let now = Instant::now();
        let mut node = Node::new(1, config);
        node.start(now);
        let peer = RawPeer::new(2);
        let peer_addr = PeerAddr::new(peer.id, peer.addr);
        let manager = node.manager.as_mut();
        if flags & 2 != 0
            && let Some(manager) = manager
        {
            let _ = manager.add_address(now, peer_addr);
        }
        let mut world = World {
            input,
            now,
            node,
            peer,
            received: 0,
        };
        world.peer.dial(now, &world.node);
        world.advance(ms(20));
        if flags & 4 == 0 {
            world.peer.write(0, GREETING);
            world.advance(ms(20));
        }
        world
    }

    fn run(&mut self) {
        for _ in 0..OPERATIONS_MAX {
            let Some(operation) = self.input.byte() else {
                break;
            };
            self.operate(operation);
            self.received += self.node.take_read().len();
        }
        self.advance(ms(100));
        if let Some(manager) = &mut self.node.manager {
            manager.close(self.now);
        }
        self.advance(Duration::from_secs(6));
        assert!(self.node.manager.is_none(), "it closes in time");
    }

    fn operate(&mut self, operation: u8) {
        let peer = self.peer.id;
        match operation % 16 {
            0..3 => {
                let time = self.input.choose([1, 10, 100, 1_000, 6_000, 30_000]);
                self.advance(ms(time));
            }
            3..6 => {
                let bytes = self.input.bytes();
                self.peer.write(0, bytes);
            }
            6 | 7 => {
                let bytes = self.input.bytes();
                self.peer.write(1, bytes);
            }
            8 => {
                let (index, bytes) = (self.input.number(), self.input.bytes());
                self.peer.write(index, bytes);
            }
            9 => {
                let bytes = self.input.bytes();
                self.peer.send_datagram(bytes);
            }
            10 => {
                let (index, code) = (self.input.number(), self.input.number());
                self.peer.end_stream(index, code);
            }
            11 => {
                let (code, reason) = (self.input.number(), self.input.bytes());
                self.peer.close(self.now, code, reason);
            }
            12 => self.peer.dial(self.now, &self.node),
            13 => self.node.read(self.now, peer),
            14 => self.node.reads = !self.node.reads,
            _ => {
                let number = self.input.number();
                if let Some(manager) = &mut self.node.manager {
                    let _ = manager.send(self.now, peer, &vec![7; number * 8]);
                    let _ = manager.send_datagram(self.now, peer, &[7]);
                    let _ = manager.flush(self.now, peer, number as u64);
                }
            }
        }
    }

    /// Lets time pass.
    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..STEPS_MAX {
            let mut flights = Vec::new();
            self.node.turn(self.now, &mut flights);
            self.peer.turn(self.now, &mut flights);
            let arrival = (!flights.is_empty()).then_some(self.now + LATENCY);
            let due = [self.node.due(), self.peer.due(self.now), arrival];
            let next = due.into_iter().flatten().min();
            let next = next.filter(|next| *next <= end);
            // What is under way when it ends arrives at the end.
            self.now = next.unwrap_or(end);
            self.deliver(&flights);
            if next.is_none() {
                return;
            }
        }
        panic!("the clock goes on in steps that are too small");
    }

    fn deliver(&mut self, flights: &[Flight]) {
        for flight in flights {
            if flight.to == self.node.addr {
                self.node
                    .handle_datagram(self.now, flight.from, &flight.payload);
            } else if flight.to == self.peer.addr {
                self.peer.handle_datagram(self.now, flight);
            }
        }
    }
}

/// An endpoint of quinn-proto without a machine.
struct RawPeer {
    id: PeerId,
    addr: SocketAddr,
    credentials: Checksum,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    streams: Vec<StreamId>,
    /// What waits to be written until the handshake is done: streams by number, and bytes.
    waiting: Vec<(usize, Vec<u8>)>,
    is_connected: bool,
}

impl RawPeer {
    fn new(number: u8) -> Self {
        let id = PeerId::from_bytes([number; 32]);
        let credentials = Checksum::new(id, number.into());
        let config = EndpointConfig::new(credentials.reset_key());
        Self {
            id,
            addr: SocketAddr::from(([192, 0, 2, number], 4433)),
            endpoint: Endpoint::new(Arc::new(config), None, true, Some([number; 32])),
            credentials,
            connection: None,
            streams: Vec::new(),
            waiting: Vec::new(),
            is_connected: false,
        }
    }

    /// Begins a connection, and lets go of an earlier one without a word.
    fn dial(&mut self, now: Instant, node: &Node) {
        let config = ClientConfig::new(self.credentials.client_config(node.id));
        let name = self.credentials.server_name(node.id);
        self.streams.clear();
        self.waiting.clear();
        self.is_connected = false;
        self.connection = self.endpoint.connect(now, config, node.addr, &name).ok();
    }

    fn handle_datagram(&mut self, now: Instant, flight: &Flight) {
        let (mut buf, payload) = (Vec::new(), flight.payload[..].into());
        let event = self
            .endpoint
            .handle(now, flight.from, None, None, payload, &mut buf);
        if let (Some(DatagramEvent::ConnectionEvent(handle, event)), Some((ours, connection))) =
            (event, &mut self.connection)
            && handle == *ours
        {
            connection.handle_event(event);
        }
    }

    /// Does what is due, and sends packets.
    fn turn(&mut self, now: Instant, out: &mut Vec<Flight>) {
        let Some((handle, connection)) = &mut self.connection else {
            return;
        };
        if connection.poll_timeout().is_some_and(|at| at <= now) {
            connection.handle_timeout(now);
        }
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(answer) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(answer);
            }
        }
        while let Some(event) = connection.poll() {
            self.is_connected |= matches!(event, Event::Connected);
        }
        if self.is_connected {
            for (index, bytes) in std::mem::take(&mut self.waiting) {
                self.write(index, &bytes);
            }
        }
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        let mut buf = Vec::new();
        while let Some(transmit) = connection.poll_transmit(now, 1, &mut buf) {
            out.push(Flight {
                from: self.addr,
                to: transmit.destination,
                payload: buf[..transmit.size].to_vec(),
            });
            buf.clear();
        }
    }

    /// When it wants to be called. A timer of quinn-proto may stand in the past: it is looked at now and then.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let due = self.connection.as_mut()?.1.poll_timeout()?;
        match due > now {
            true => Some(due),
            false => Some(now + PAST_DUE),
        }
    }

    /// Writes on one of its streams, which is opened if it is not there and may be.
    fn write(&mut self, index: usize, bytes: &[u8]) {
        if !self.is_connected {
            self.waiting.push((index, bytes.to_vec()));
            return;
        }
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        let index = index % 10;
        while self.streams.len() <= index {
            let Some(stream) = connection.streams().open(Dir::Uni) else {
                return;
            };
            self.streams.push(stream);
        }
        let _ = connection.send_stream(self.streams[index]).write(bytes);
    }

    fn send_datagram(&mut self, bytes: &[u8]) {
        if let Some((_, connection)) = &mut self.connection {
            let bytes = Bytes::copy_from_slice(bytes);
            let _ = connection.datagrams().send(bytes, true);
        }
    }

    /// Finishes or resets a stream.
    fn end_stream(&mut self, index: usize, code: usize) {
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        if let Some(stream) = self.streams.get(index % 10) {
            let mut stream = connection.send_stream(*stream);
            let _ = match code % 2 {
                0 => stream.finish().is_ok(),
                _ => stream.reset(VarInt::from_u32(code as u32)).is_ok(),
            };
        }
    }

    fn close(&mut self, now: Instant, code: usize, reason: &[u8]) {
        if let Some((_, connection)) = &mut self.connection {
            let reason = Bytes::copy_from_slice(reason);
            connection.close(now, VarInt::from_u32(code as u32), reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays an input of the corpus: how many messages the machine has received, and violations that it has seen.
    fn play(input: &str) -> (usize, u64) {
        let path = format!("{}/../corpus/stranger/{input}", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).expect("the input is there");
        let mut world = World::new(&bytes);
        while let Some(operation) = world.input.byte() {
            world.operate(operation);
            world.received += world.node.take_read().len();
        }
        let manager = world.node.manager.as_ref().expect("it has not closed");
        let counters = manager.metrics(world.now).counters;
        (world.received, counters.violations)
    }

    #[test]
    fn its_greeting_is_accepted_and_its_bytes_are_read() {
        assert_eq!(play("messages"), (3, 0));
        assert_eq!(play("headed"), (2, 0));
        assert_eq!(play("ack"), (0, 0));
        assert_eq!(play("unknown-stream"), (0, 0));
        for bad in [
            "ack-of-nothing",
            "gap",
            "record-too-long",
            "second-hello",
            "stream-ends",
        ] {
            assert_eq!(play(bad).1, 1, "{bad}");
        }
    }
}
