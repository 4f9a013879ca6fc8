//! A peer without a machine: quinn-proto by hand, so that it can say what no machine would.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use quicpool_core::{Credentials, PeerAddr, PeerId};
use quicpool_sim::{Checksum, Net, NodeId, ms};
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint,
    EndpointConfig, Event, ServerConfig, StreamId, TransportConfig, VarInt,
    congestion::NewRenoConfig,
};

use crate::bytes::{HELLO, LINE, LINES, NO_LIMIT, Yours, frame, numbers, varint};

/// A peer outside of the net, which the test lives for.
pub(crate) struct RawPeer {
    pub(crate) id: PeerId,
    pub(crate) addr: SocketAddr,
    credentials: Checksum,
    transport: Arc<TransportConfig>,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    /// Our control stream and that of line 0.
    streams: Option<[StreamId; 2]>,
    /// What is to be written on the control stream.
    unwritten: Vec<u8>,
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

/// The check value of a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// It does not seal.
    None,
    /// That of its own direction.
    Right,
    /// That of the other direction: what the other end's hello has.
    Echo,
    /// Any other.
    Stated([u8; 8]),
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
            transport: Arc::new(unpaced()),
            connection: None,
            streams: None,
            unwritten: Vec::new(),
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
        let mut config = ClientConfig::new(self.credentials.client_config(peer));
        config.transport_config(Arc::clone(&self.transport));
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
        run_all(&mut [self], net, time);
    }

    pub(crate) fn handle_datagram(&mut self, net: &mut Net, from: SocketAddr, payload: BytesMut) {
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
                    self.unwritten.clear();
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
        for (destination, packet) in self.packets(net) {
            let to = net.ids().find(|node| net.addr(*node) == destination);
            net.inject(to.expect("it dials nodes"), self.addr, &packet);
        }
    }

    /// The packets that it has to send, and where they go.
    pub(crate) fn packets(&mut self, net: &Net) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut packets = Vec::new();
        self.write_on();
        let Some((_, connection)) = &mut self.connection else {
            return packets;
        };
        let mut buf = Vec::new();
        while let Some(transmit) = connection.poll_transmit(net.instant(), 1, &mut buf) {
            packets.push((transmit.destination, buf[..transmit.size].to_vec()));
            buf.clear();
        }
        packets
    }

    /// Builds packets that never arrive.
    pub(crate) fn lose_packets(&mut self, net: &mut Net) {
        let (_, connection) = self.connection.as_mut().expect("it has dialled");
        let mut buf = Vec::new();
        while connection
            .poll_transmit(net.instant(), 1, &mut buf)
            .is_some()
        {
            buf.clear();
        }
    }

    /// Sends for so long, and neither hears an answer nor sends anything twice.
    pub(crate) fn send_without_hearing(&mut self, net: &mut Net, time: Duration) {
        let end = net.now() + time;
        while net.now() < end {
            self.send_packets(net);
            net.advance(ms(1));
            net.take_astray();
        }
    }

    /// Writes on the second stream as much as its windows admit, and returns how much that is.
    pub(crate) fn write_what_fits(&mut self, most: usize) -> usize {
        let id = self.data();
        let written = self.connection().send_stream(id).write(&vec![7; most]);
        written.unwrap_or_default()
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

    /// Writes on the control stream: what its window has no room for follows as it opens.
    pub(crate) fn write_control(&mut self, bytes: &[u8]) {
        self.unwritten.extend_from_slice(bytes);
        self.write_on();
    }

    fn write_on(&mut self) {
        let Some([control, _]) = self.streams else {
            return;
        };
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        if !self.unwritten.is_empty() {
            let written = connection.send_stream(control).write(&self.unwritten);
            // Blocked, or the connection is over.
            self.unwritten.drain(..written.unwrap_or_default());
        }
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

    /// Everything that waits on the other end's stream with this ordinal.
    pub(crate) fn read(&mut self, index: u64) -> Vec<u8> {
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
        let mut exported = |direction| {
            self.export_of(b"EXPORTER-quicpool-check", direction, &mut check);
            Some(check)
        };
        let check = match hello.check {
            Check::None => None,
            Check::Right => exported(ours),
            Check::Echo => exported(theirs),
            Check::Stated(check) => Some(check),
        };
        let [hello, lines] = hello.bodies(check);
        [frame(HELLO, &hello), frame(LINES, &lines)].concat()
    }
}

/// Settings of an end that knows no congestion, and sends at once all that the other end's windows admit.
fn unpaced() -> TransportConfig {
    let mut reno = NewRenoConfig::default();
    reno.initial_window(1 << 40);
    let mut transport = TransportConfig::default();
    transport.congestion_controller_factory(Arc::new(reno));
    transport.send_window(1 << 30);
    transport
}

/// Lets time pass in the net, in which these take part.
pub(crate) fn run_all(peers: &mut [&mut RawPeer], net: &mut Net, time: Duration) {
    let end = net.now() + time;
    for peer in &mut *peers {
        peer.send_packets(net);
    }
    while net.now() < end {
        net.advance(ms(1));
        for astray in net.take_astray() {
            let from = net.addr(astray.from);
            let peer = peers.iter_mut().find(|peer| peer.addr == astray.to);
            if let Some(peer) = peer {
                peer.handle_datagram(net, from, astray.payload);
            }
        }
        for peer in &mut *peers {
            peer.fire(net);
            peer.send_packets(net);
        }
    }
}
