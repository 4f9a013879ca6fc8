//! A peer without a machine: quinn-proto by hand, so that it can say what no machine would.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use quicpool_core::{Credentials, PeerAddr, PeerId};
use quicpool_sim::{Checksum, Net, NodeId, ms};
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint,
    EndpointConfig, Event, ServerConfig, StreamId, VarInt,
};

/// The first frame of the control stream and the one after it, as `docs/wire.md` numbers them.
pub(crate) const HELLO: u8 = 0x01;
pub(crate) const ACK: u8 = 0x02;

/// A peer outside of the net, which the test lives for.
pub(crate) struct RawPeer {
    pub(crate) id: PeerId,
    pub(crate) addr: SocketAddr,
    credentials: Checksum,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    /// Our control and our data stream.
    streams: Option<[StreamId; 2]>,
    /// The application's code with which the other end has closed the connection.
    pub(crate) close_code: Option<u64>,
    /// However the connection ended.
    pub(crate) lost: Option<ConnectionError>,
}

/// Bytes of what a hello says of the other's line: see [`RawHello::yours`].
pub(crate) const YOURS_LEN: usize = 1 + 16 + 8 + 8;

/// What a hello says, apart from what never matters here.
pub(crate) struct RawHello {
    pub(crate) version: u16,
    /// When the process started that says it.
    pub(crate) started_ms: u64,
    pub(crate) sealed: bool,
    /// Bytes of a message, and of a record's body, that it accepts.
    pub(crate) accepts: [u32; 2],
    pub(crate) line: [u8; 16],
    pub(crate) first: u64,
    pub(crate) next: u64,
    /// What it says of the other end's line: whether it knows it, its id, received, taken.
    pub(crate) yours: [u8; YOURS_LEN],
}

impl Default for RawHello {
    fn default() -> Self {
        Self {
            version: 1,
            started_ms: 1_780_000_000_000,
            sealed: false,
            accepts: [1 << 20, (1 << 20) + 4],
            line: [7; 16],
            first: 0,
            next: 0,
            yours: [0; YOURS_LEN],
        }
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

    /// A connection on which hello is said.
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

    pub(crate) fn write_data(&mut self, bytes: &[u8]) {
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

    /// Everything that waits on the other end's data stream.
    pub(crate) fn read_data(&mut self) -> Vec<u8> {
        self.read(1)
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

    /// Says hello.
    pub(crate) fn greet(&mut self, hello: &RawHello) {
        let frame = self.hello(hello);
        self.write_control(&frame);
    }

    pub(crate) fn hello(&mut self, hello: &RawHello) -> Vec<u8> {
        let mut check = [0; 8];
        if hello.sealed {
            self.export(b"EXPORTER-quicpool-check", &mut check);
        }
        let mut body = hello.version.to_be_bytes().to_vec();
        body.extend(hello.started_ms.to_be_bytes());
        body.extend(99u64.to_be_bytes());
        body.extend(1u64.to_be_bytes());
        body.push(hello.sealed.into());
        body.extend(check);
        body.extend(300_000u64.to_be_bytes());
        body.extend(hello.accepts.map(u32::to_be_bytes).concat());
        body.extend(hello.line);
        body.extend(hello.first.to_be_bytes());
        body.extend(hello.next.to_be_bytes());
        body.extend(hello.yours);
        // It can dial the other end.
        body.push(1);
        frame(HELLO, &body)
    }
}

/// A control frame with a body of 63 to 16,383 bytes, or fewer.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend((body.len() as u16 | 0x4000).to_be_bytes());
    frame.extend(body);
    frame
}

/// A record: its header as stated, and whatever is said to be its body.
pub(crate) fn record(len: u32, count: u32, first: u64, body: &[u8]) -> Vec<u8> {
    let mut record = len.to_be_bytes().to_vec();
    record.extend(count.to_be_bytes());
    record.extend(first.to_be_bytes());
    record.extend(body);
    record
}
