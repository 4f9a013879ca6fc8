//! A peer without a machine: quinn-proto by hand, so that it can say what no machine would.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use quicpool_core::{Credentials, PeerAddr, PeerId};
use quicpool_sim::{Checksum, Net, NodeId, ms};
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint,
    EndpointConfig, Event, ServerConfig, StreamId, VarInt,
};

/// The frames of the control stream, as `docs/wire.md` numbers them.
pub(crate) const HELLO: u8 = 0x01;
pub(crate) const LINES: u8 = 0x02;
pub(crate) const ACK: u8 = 0x03;

/// The header of line 0's stream.
pub(crate) const LINE: [u8; 2] = [1, 0];

/// A limit that is never reached.
const NO_LIMIT: u64 = 1 << 40;

/// A peer outside of the net, which the test lives for.
pub(crate) struct RawPeer {
    pub(crate) id: PeerId,
    pub(crate) addr: SocketAddr,
    credentials: Checksum,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    /// Our control stream and that of line 0.
    streams: Option<[StreamId; 2]>,
    /// Whether nothing is on the stream of line 0, nor its header.
    is_new: bool,
    /// Bytes that the header of the other end's stream of line 0 lacks.
    header_left: usize,
    /// The application's code with which the other end has closed the connection.
    pub(crate) close_code: Option<u64>,
    /// However the connection ended.
    pub(crate) lost: Option<ConnectionError>,
}

/// A greeting, apart from what never matters here.
pub(crate) struct RawHello {
    /// The start of its process.
    pub(crate) started_ms: u64,
    pub(crate) check: Check,
    /// Bytes of a message, and of a record's body, that it accepts.
    pub(crate) accepts: [u64; 2],
    pub(crate) half: [u8; 16],
    /// The number of the first message that it holds, and bytes that it holds.
    pub(crate) first: u64,
    pub(crate) held: u64,
    pub(crate) yours: Option<Yours>,
    /// Passage and credit that it grants.
    pub(crate) limits: [u64; 2],
    /// Keys that are left out.
    pub(crate) without: Vec<u64>,
}

/// What a greeting has of the other end's half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Yours {
    pub(crate) half: [u8; 16],
    pub(crate) received: u64,
    pub(crate) taken: u64,
}

/// The check value of a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// It does not seal.
    None,
    /// That of its own direction.
    Right,
    /// That of the other direction: what the other end's hello has.
    Echo,
}

impl Default for RawHello {
    fn default() -> Self {
        Self {
            started_ms: 1_780_000_000_000,
            check: Check::None,
            accepts: [1 << 20, (1 << 20) + 4],
            half: [7; 16],
            first: 0,
            held: 0,
            yours: None,
            limits: [NO_LIMIT; 2],
            without: Vec::new(),
        }
    }
}

impl RawHello {
    /// The one of a peer that seals.
    pub(crate) fn sealed() -> Self {
        Self {
            check: Check::Right,
            ..Self::default()
        }
    }

    /// The bodies of its two frames.
    fn bodies(&self, check: Option<[u8; 8]>) -> [Vec<u8>; 2] {
        let incarnation = [self.started_ms.to_be_bytes(), 99u64.to_be_bytes()].concat();
        let mut hello = Vec::new();
        let mut put = |key: u64, number: u64, bytes: &[u8]| {
            if !self.without.contains(&key) {
                hello.extend([varint(key), varint(number)].concat());
                hello.extend(bytes);
            }
        };
        put(1, 16, &incarnation);
        put(2, 1, &[]);
        if let Some(check) = check {
            put(3, 8, &check);
        }
        // It can dial the other end.
        put(4, 1, &[]);
        put(6, 300_000, &[]);
        put(7, 16, &self.half);
        if let Some(yours) = &self.yours {
            put(9, 16, &yours.half);
        }
        put(10, self.limits[0], &[]);
        put(14, self.accepts[1], &[]);
        put(16, self.accepts[0], &[]);
        put(18, self.limits[1], &[]);
        let mut lines = vec![self.held, 1, 1, 0, self.first, 0, self.limits[0]];
        match &self.yours {
            None => lines.extend([0, 0, 0]),
            Some(yours) => {
                lines.extend([1, 0, 1, 0, yours.received, yours.taken, self.limits[1], 0]);
            }
        }
        [hello, numbers(&lines)]
    }
}

impl RawPeer {
    pub(crate) fn new(number: u8) -> Self {
        let id = PeerId::from_bytes([number; 32]);
        let credentials = Checksum::new(id, number.into());
        let config = EndpointConfig::new(credentials.reset_key());
        let server = ServerConfig::new(credentials.server_config(), credentials.token_key());
        Self {
            id,
            addr: SocketAddr::from(([192, 0, 2, number], 4433)),
            endpoint: Endpoint::new(Arc::new(config), Some(Arc::new(server)), true, None),
            credentials,
            connection: None,
            streams: None,
            is_new: true,
            header_left: LINE.len(),
            close_code: None,
            lost: None,
        }
    }

    pub(crate) fn peer_addr(&self) -> PeerAddr {
        let (id, addr) = (self.id, self.addr);
        PeerAddr { id, addr }
    }

    /// Begins a handshake.
    pub(crate) fn dial(&mut self, net: &mut Net, to: NodeId) {
        let peer = net.peer_id(to);
        let config = ClientConfig::new(self.credentials.client_config(peer));
        let name = self.credentials.server_name(peer);
        let dialled = self
            .endpoint
            .connect(net.instant(), config, net.addr(to), &name);
        self.connection = Some(dialled.expect("the address is good"));
    }

    /// A connection whose handshake is done, and nothing more.
    pub(crate) fn connected(number: u8, net: &mut Net, to: NodeId) -> Self {
        let mut peer = Self::new(number);
        peer.dial(net, to);
        peer.run(net, ms(100));
        assert!(peer.streams.is_some(), "the handshake fails; {net:?}");
        peer
    }

    /// A connection on which the greeting is written.
    pub(crate) fn greeted(number: u8, net: &mut Net, to: NodeId) -> Self {
        let mut peer = Self::connected(number, net, to);
        peer.greet(&RawHello::default());
        peer.run(net, ms(100));
        peer
    }

    /// Lets time pass in the net, and takes part in it.
    pub(crate) fn run(&mut self, net: &mut Net, time: Duration) {
        let end = net.now() + time;
        self.send_packets(net);
        while net.now() < end {
            net.advance(ms(1));
            for astray in net.take_astray() {
                if astray.to == self.addr {
                    let from = net.addr(astray.from);
                    self.handle_datagram(net, from, astray.payload);
                }
            }
            self.fire(net);
            self.send_packets(net);
        }
    }

    fn handle_datagram(&mut self, net: &mut Net, from: SocketAddr, payload: BytesMut) {
        let mut buf = Vec::new();
        let now = net.instant();
        match self
            .endpoint
            .handle(now, from, None, None, payload, &mut buf)
        {
            Some(DatagramEvent::ConnectionEvent(whose, event)) => match &mut self.connection {
                Some((handle, connection)) if *handle == whose => connection.handle_event(event),
                // An earlier one, which is over.
                Some(_) | None => {}
            },
            Some(DatagramEvent::NewConnection(incoming)) => {
                let accepted = self.endpoint.accept(incoming, now, &mut buf, None);
                let accepted = accepted.map_err(|error| error.cause);
                self.connection = Some(accepted.expect("a handshake of a machine is good"));
                self.streams = None;
                self.lost = None;
            }
            Some(DatagramEvent::Response(_)) | None => {}
        }
        self.settle();
    }

    fn fire(&mut self, net: &Net) {
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        if connection
            .poll_timeout()
            .is_some_and(|at| at <= net.instant())
        {
            connection.handle_timeout(net.instant());
        }
        self.settle();
    }

    fn settle(&mut self) {
        let Some((handle, connection)) = &mut self.connection else {
            return;
        };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(answer) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(answer);
            }
        }
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected => {
                    let mut streams = connection.streams();
                    let open = [streams.open(Dir::Uni), streams.open(Dir::Uni)];
                    self.streams = Some(open.map(|stream| stream.expect("two are allowed")));
                    self.is_new = true;
                    self.header_left = LINE.len();
                }
                Event::ConnectionLost { reason } => {
                    if let ConnectionError::ApplicationClosed(close) = &reason {
                        self.close_code = Some(close.error_code.into_inner());
                    }
                    self.lost = Some(reason);
                }
                Event::HandshakeDataReady
                | Event::Stream(_)
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
    }

    pub(crate) fn send_packets(&mut self, net: &mut Net) {
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        let mut buf = Vec::new();
        while let Some(transmit) = connection.poll_transmit(net.instant(), 1, &mut buf) {
            let to = net
                .ids()
                .find(|node| net.addr(*node) == transmit.destination);
            net.inject(
                to.expect("it dials nodes"),
                self.addr,
                &buf[..transmit.size],
            );
            buf.clear();
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.streams.is_some()
    }

    /// Takes part in nothing until it is dialled.
    pub(crate) fn forget_connection(&mut self) {
        self.connection = None;
        self.streams = None;
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection.as_mut().expect("it has dialled").1
    }

    pub(crate) fn control(&self) -> StreamId {
        self.streams.expect("it is connected")[0]
    }

    pub(crate) fn data(&self) -> StreamId {
        self.streams.expect("it is connected")[1]
    }

    pub(crate) fn write_control(&mut self, bytes: &[u8]) {
        let id = self.control();
        let written = self.connection().send_stream(id).write(bytes);
        assert_eq!(written, Ok(bytes.len()));
    }

    /// Writes on the stream of line 0, after its header.
    pub(crate) fn write_data(&mut self, bytes: &[u8]) {
        if std::mem::take(&mut self.is_new) {
            self.write_raw_data(&LINE);
        }
        self.write_raw_data(bytes);
    }

    /// Writes on the second stream.
    pub(crate) fn write_raw_data(&mut self, bytes: &[u8]) {
        let id = self.data();
        let written = self.connection().send_stream(id).write(bytes);
        assert_eq!(written, Ok(bytes.len()));
    }

    pub(crate) fn close(&mut self, net: &mut Net, code: u32) {
        self.close_with(net, code, &[]);
    }

    pub(crate) fn close_with(&mut self, net: &mut Net, code: u32, reason: &[u8]) {
        let (now, code) = (net.instant(), VarInt::from_u32(code));
        let reason = bytes::Bytes::copy_from_slice(reason);
        self.connection().close(now, code, reason);
        self.send_packets(net);
    }

    /// What both ends export for what the dialler seals, without a mesh key.
    pub(crate) fn export(&mut self, label: &[u8], out: &mut [u8]) {
        self.export_of(label, 0, out);
    }

    /// The same for a direction: 0 is the dialler's.
    pub(crate) fn export_of(&mut self, label: &[u8], direction: u8, out: &mut [u8]) {
        // Version, direction, no mesh key.
        let mut context = [0; 36];
        (context[1], context[2]) = (1, direction);
        let session = self.connection().crypto_session();
        let exported = session.export_keying_material(out, label, &context);
        assert!(exported.is_ok(), "the handshake is done");
    }

    /// Everything that waits on the other end's control stream.
    pub(crate) fn read_control(&mut self) -> Vec<u8> {
        self.read(0)
    }

    /// Everything that waits on the other end's stream of line 0, without its header.
    pub(crate) fn read_data(&mut self) -> Vec<u8> {
        let bytes = self.read(1);
        let header = bytes.len().min(self.header_left);
        let from = LINE.len() - self.header_left;
        self.header_left -= header;
        assert_eq!(
            bytes[..header],
            LINE[from..][..header],
            "the header comes first"
        );
        bytes[header..].to_vec()
    }

    fn read(&mut self, index: u64) -> Vec<u8> {
        let side = self.connection().side();
        let id = StreamId::new(!side, Dir::Uni, index);
        let mut stream = self.connection().recv_stream(id);
        let mut bytes = Vec::new();
        if let Ok(mut chunks) = stream.read(true) {
            while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                bytes.extend_from_slice(&chunk.bytes);
            }
            let _ = chunks.finalize();
        }
        bytes
    }

    /// Writes hello and LINES.
    pub(crate) fn greet(&mut self, hello: &RawHello) {
        let frames = self.hello(hello);
        self.write_control(&frames);
    }

    /// The bytes of hello and LINES on this connection.
    pub(crate) fn hello(&mut self, hello: &RawHello) -> Vec<u8> {
        let mut check = [0; 8];
        let (ours, theirs) = match self.connection().side().is_client() {
            true => (0, 1),
            false => (1, 0),
        };
        let direction = match hello.check {
            Check::None => None,
            Check::Right => Some(ours),
            Check::Echo => Some(theirs),
        };
        let check = direction.map(|direction| {
            self.export_of(b"EXPORTER-quicpool-check", direction, &mut check);
            check
        });
        let [hello, lines] = hello.bodies(check);
        [frame(HELLO, &hello), frame(LINES, &lines)].concat()
    }
}

/// A greeting of the other end.
pub(crate) struct Heard {
    pub(crate) half: [u8; 16],
    pub(crate) yours: Option<Yours>,
}

impl Heard {
    /// Reads hello and LINES, and skips grease.
    pub(crate) fn of(control: &[u8]) -> Self {
        let (mut half, mut known, mut numbers) = (None, None, Vec::new());
        for (kind, mut body) in frames(control) {
            match kind {
                1 => {
                    while !body.is_empty() {
                        let (key, value) = (take_varint(&mut body), take_varint(&mut body));
                        if key % 2 == 0 {
                            continue;
                        }
                        let (bytes, rest) = body.split_at(value as usize);
                        body = rest;
                        match key {
                            7 => half = bytes.try_into().ok(),
                            9 => known = bytes.try_into().ok(),
                            _ => {}
                        }
                    }
                }
                2 => numbers = varints(body),
                _ => {}
            }
        }
        let yours = known.map(|half| Yours {
            half,
            received: numbers[11],
            taken: numbers[12],
        });
        Self {
            half: half.expect("hello has the id of a half"),
            yours,
        }
    }

    /// The greatest credit in hello, LINES and ACK; 0 if there is none.
    pub(crate) fn credit(control: &[u8]) -> u64 {
        let credits = frames(control).into_iter().map(|(kind, body)| match kind {
            // Key 18 stands before the grease.
            1 => {
                let keys = body.windows(2).rposition(|pair| pair[0] == 18);
                take_varint(&mut &body[keys.map_or(0, |at| at + 1)..])
            }
            2 => varints(body).get(13).copied().unwrap_or(0),
            3 => varints(body).get(5).copied().unwrap_or(0),
            _ => 0,
        });
        credits.max().unwrap_or(0)
    }

    /// Reads `received` and `taken` of every ACK, and of every LINES that knows line 0.
    pub(crate) fn acknowledgements(control: &[u8]) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        for (kind, body) in frames(control) {
            let numbers = match kind {
                2 | 3 => varints(body),
                _ => continue,
            };
            match (kind, numbers.len()) {
                (2, 15..) => all.push((numbers[11], numbers[12])),
                (3, 6..) => all.push((numbers[3], numbers[4])),
                _ => {}
            }
        }
        all
    }
}

/// Frames of a control stream: types and bodies.
pub(crate) fn frames(mut control: &[u8]) -> Vec<(u64, &[u8])> {
    let mut frames = Vec::new();
    while !control.is_empty() {
        let kind = take_varint(&mut control);
        let length = take_varint(&mut control) as usize;
        let (body, rest) = control.split_at(length);
        control = rest;
        frames.push((kind, body));
    }
    frames
}

fn varints(mut body: &[u8]) -> Vec<u64> {
    let mut numbers = Vec::new();
    while !body.is_empty() {
        numbers.push(take_varint(&mut body));
    }
    numbers
}

/// A variable-length integer (RFC 9000, section 16).
pub(crate) fn varint(value: u64) -> Vec<u8> {
    match value {
        0..=0x3f => vec![value as u8],
        0x40..=0x3fff => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..=0x3fff_ffff => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

pub(crate) fn take_varint(bytes: &mut &[u8]) -> u64 {
    let length = 1 << (bytes[0] >> 6);
    let (number, rest) = bytes.split_at(length);
    *bytes = rest;
    let first = u64::from(number[0] & 0x3f);
    let rest = number[1..].iter();
    rest.fold(first, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The body of a frame that is a row of integers.
pub(crate) fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| varint(*number)).collect()
}

/// A control frame.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &varint(body.len() as u64), body].concat()
}

/// An acknowledgement of line 0, with no limit.
pub(crate) fn ack(received: u64, taken: u64) -> Vec<u8> {
    let body = [0, NO_LIMIT, 0, received, taken, NO_LIMIT];
    frame(ACK, &numbers(&body))
}

/// A plain record: its header as stated, and any bytes as its body.
pub(crate) fn record(len: u32, count: u32, first: u64, body: &[u8]) -> Vec<u8> {
    let mut record = len.to_be_bytes().to_vec();
    record.extend((count & 0xff_ffff).to_be_bytes());
    record.extend(first.to_be_bytes());
    record.extend(body);
    record
}

/// A headed record without age.
pub(crate) fn headed(count: u32, first: u64, body: &[u8]) -> Vec<u8> {
    let mut record = record(body.len() as u32, count, first, &[0; 4]);
    record[4] = 1;
    record.extend(body);
    record
}
