//! A peer without a machine: quinn-proto by hand.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use quicpool_core::{Credentials, PeerId};
use quicpool_sim::Checksum;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, ConnectionId, ConnectionIdGenerator, DatagramEvent,
    Dir, Endpoint, EndpointConfig, Event, StreamId, VarInt,
};

use crate::{Net, NodeId};

/// The parameters of a hello behind the check value: dial number 1 is before it. It can dial the other end, its
/// session lasts 300 s, and it accepts 64 KiB.
const PARAMETERS: &[u8] = b"\x04\x01\x06\x80\x04\x93\xe0\
    \x07\x10\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\
    \x0a\x80\x10\x00\x00\x0e\x80\x01\x00\x04\x10\x80\x01\x00\x00\x12\x80\x10\x00\x00";

/// LINES of an end that holds nothing and knows nothing of the other.
const LINES: &[u8] = b"\x02\x0d\x00\x01\x01\x00\x00\x00\x80\x10\x00\x00\x00\x00\x00";

pub(super) struct RawPeer {
    pub(super) id: PeerId,
    pub(super) addr: SocketAddr,
    credentials: Checksum,
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    streams: Vec<StreamId>,
    is_connected: bool,
    has_greeted: bool,
    /// Whether the stream of line 0 has its header.
    has_header: bool,
    dials: u32,
}

/// Connection ids that follow from a number, so that a world follows from its seed.
struct Cids {
    number: u8,
    made: u64,
}

impl ConnectionIdGenerator for Cids {
    fn generate_cid(&mut self) -> ConnectionId {
        self.made += 1;
        cid(self.number, self.made)
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn cid(kind: u8, number: u64) -> ConnectionId {
    let mut bytes = number.to_be_bytes();
    bytes[0] = kind;
    ConnectionId::new(&bytes)
}

impl RawPeer {
    pub(super) fn new(place: usize) -> Self {
        let number = 0xe0 | place as u8;
        let id = PeerId::from_bytes([number; 32]);
        let credentials = Checksum::new(id, number.into());
        let mut config = EndpointConfig::new(credentials.reset_key());
        config.cid_generator(move || Box::new(Cids { number, made: 0 }));
        Self {
            id,
            addr: SocketAddr::from(([198, 51, 100, number], 4433)),
            endpoint: Endpoint::new(Arc::new(config), None, true, Some([number; 32])),
            credentials,
            connection: None,
            streams: Vec::new(),
            is_connected: false,
            has_greeted: false,
            has_header: false,
            dials: 0,
        }
    }

    /// Begins a connection, and lets go of an earlier one without a word.
    pub(super) fn dial(&mut self, net: &Net, to: NodeId) {
        let peer = net.peer_id(to);
        let mut config = ClientConfig::new(self.credentials.client_config(peer));
        self.dials += 1;
        let first = cid(
            self.addr.port() as u8 ^ 0x80,
            u64::from(self.dials) << 8 | u64::from(self.id.as_bytes()[0]),
        );
        config.initial_dst_cid_provider(Arc::new(move || first));
        let name = self.credentials.server_name(peer);
        self.forget();
        let dialled = self
            .endpoint
            .connect(net.instant(), config, net.addr(to), &name);
        self.connection = dialled.ok();
    }

    pub(super) fn forget(&mut self) {
        self.connection = None;
        self.streams.clear();
        (self.is_connected, self.has_greeted, self.has_header) = (false, false, false);
    }

    pub(super) fn is_gone(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_none_or(|(_, connection)| connection.is_closed())
    }

    pub(super) const fn is_connected(&self) -> bool {
        self.is_connected
    }

    pub(super) const fn has_greeted(&self) -> bool {
        self.has_greeted
    }

    pub(super) fn handle_datagram(&mut self, net: &Net, from: SocketAddr, payload: BytesMut) {
        let mut buf = Vec::new();
        let event = self
            .endpoint
            .handle(net.instant(), from, None, None, payload, &mut buf);
        if let (Some(DatagramEvent::ConnectionEvent(handle, event)), Some((ours, connection))) =
            (event, &mut self.connection)
            && handle == *ours
        {
            connection.handle_event(event);
        }
    }

    /// Does what is due.
    pub(super) fn fire(&mut self, net: &Net) {
        let Some((handle, connection)) = &mut self.connection else {
            return;
        };
        let now = net.instant();
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
    }

    pub(super) fn send_packets(&mut self, net: &mut Net, to: NodeId) {
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        let mut buf = Vec::new();
        while let Some(transmit) = connection.poll_transmit(net.instant(), 1, &mut buf) {
            // A node that has moved is not found any more.
            if net.addr(to) == transmit.destination {
                net.inject(to, self.addr, &buf[..transmit.size]);
            }
            buf.clear();
        }
    }

    /// Writes hello and LINES.
    pub(super) fn greet(&mut self, seals: bool) {
        let mut hello = vec![1, 16];
        hello.extend(1_780_000_000_000_u64.to_be_bytes());
        hello.extend(99_u64.to_be_bytes());
        hello.extend([2, 1]);
        if seals && let Some(check) = self.check() {
            hello.extend([3, 8]);
            hello.extend(check);
        }
        hello.extend(PARAMETERS);
        let length = [0x40, hello.len() as u8];
        self.write(0, &[&[1][..], &length, &hello, LINES].concat());
        self.has_greeted = true;
    }

    /// The check value of the dialler, without a mesh key.
    fn check(&self) -> Option<[u8; 8]> {
        let (_, connection) = self.connection.as_ref()?;
        let mut context = [0; 36];
        context[1] = 1;
        let mut check = [0; 8];
        let session = connection.crypto_session();
        let exported =
            session.export_keying_material(&mut check, b"EXPORTER-quicpool-check", &context);
        exported.is_ok().then_some(check)
    }

    /// Writes on a stream, which is opened if it may be. The first is that of control.
    pub(super) fn write(&mut self, index: usize, bytes: &[u8]) {
        let Some((_, connection)) = &mut self.connection else {
            return;
        };
        while self.streams.len() <= index {
            let Some(stream) = connection.streams().open(Dir::Uni) else {
                return;
            };
            self.streams.push(stream);
        }
        // Of a stream that has ended, or is full, nothing more comes.
        let _ = connection.send_stream(self.streams[index]).write(bytes);
    }

    /// Writes a record on the stream of line 0.
    pub(super) fn write_record(&mut self, length: u32, count: u32, first: u64, body: &[u8]) {
        if !std::mem::replace(&mut self.has_header, true) {
            self.write(1, &[1, 0]);
        }
        let mut record = length.to_be_bytes().to_vec();
        record.extend((count & 0xff_ffff).to_be_bytes());
        record.extend(first.to_be_bytes());
        record.extend(body);
        self.write(1, &record);
    }

    /// Resets a stream.
    pub(super) fn end(&mut self, index: usize) {
        if let (Some((_, connection)), Some(stream)) =
            (&mut self.connection, self.streams.get(index))
        {
            let _ = connection.send_stream(*stream).reset(VarInt::from_u32(7));
        }
    }

    pub(super) fn send_datagram(&mut self, bytes: &[u8]) {
        if let Some((_, connection)) = &mut self.connection {
            let _ = connection
                .datagrams()
                .send(Bytes::copy_from_slice(bytes), true);
        }
    }

    pub(super) fn close(&mut self, net: &Net, code: u32, reason: &[u8]) {
        if let Some((_, connection)) = &mut self.connection {
            let reason = Bytes::copy_from_slice(reason);
            connection.close(net.instant(), VarInt::from_u32(code), reason);
        }
    }
}
