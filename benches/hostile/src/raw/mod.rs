//! An attacker: quinn-proto by hand over one socket, with any number of connections, and no machine.

pub mod initials;
pub mod link;
pub mod seal;
pub mod tls;
pub mod wire;

use std::{
    collections::BTreeMap,
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, DatagramEvent, Endpoint, EndpointConfig, EndpointEvent, IdleTimeout, Transmit,
    TransportConfig, VarInt, crypto,
};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

pub use link::Link;

/// Bytes that the operating system is asked to hold in each direction.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Bursts of one receive call, and bytes of each.
const BURSTS: usize = 8;
const BURST_BYTES: usize = 64 << 10;

/// Datagrams of one send call (GSO).
const SEGMENTS_MAX: usize = 10;

/// Send calls of one connection in a turn.
const SENDS_PER_TURN: usize = 16;

/// How long an attacker without work sleeps.
const PAUSE: Duration = Duration::from_micros(500);

/// The number of a connection: that of its dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(u64);

/// A socket, and the connections of an attacker over it.
pub struct Raw {
    socket: UdpSocket,
    state: UdpSocketState,
    server: SocketAddr,
    endpoint: Endpoint,
    transport: Arc<TransportConfig>,
    links: BTreeMap<LinkId, Link>,
    /// Which connections quinn-proto knows, by its own numbers, which it uses again.
    known: BTreeMap<usize, LinkId>,
    dials: u64,
    buffers: Vec<u8>,
    /// A transmit that the socket had no room for, and its bytes.
    unsent: Option<(Transmit, Vec<u8>)>,
}

impl Raw {
    /// An attacker at a free port of an address of loopback.
    pub fn new(ip: Ipv4Addr, server: SocketAddr) -> Result<Self> {
        let socket = socket(SocketAddr::from((ip, 0)), SOCKET_BUFFER_BYTES)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            socket,
            state,
            server,
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None),
            transport: Arc::new(transport()),
            links: BTreeMap::new(),
            known: BTreeMap::new(),
            dials: 0,
            buffers: vec![0; BURSTS * BURST_BYTES],
            unsent: None,
        })
    }

    /// Begins a handshake.
    pub fn dial(&mut self, identity: &Arc<dyn crypto::ClientConfig>) -> Result<LinkId> {
        let mut config = ClientConfig::new(identity.clone());
        config.transport_config(self.transport.clone());
        let dialled = self
            .endpoint
            .connect(Instant::now(), config, self.server, "server");
        let (handle, connection) = dialled.context("cannot dial")?;
        self.dials += 1;
        let id = LinkId(self.dials);
        self.known.insert(handle.0, id);
        self.links.insert(id, Link::new(handle, connection));
        Ok(id)
    }

    /// A connection, until it was [forgotten](Self::forget).
    pub fn link(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    /// Forgets a connection at this end. The other end hears nothing of it.
    pub fn forget(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(&id) else {
            return;
        };
        if self.known.get(&link.handle.0) == Some(&id) {
            self.known.remove(&link.handle.0);
            self.endpoint
                .handle_event(link.handle, EndpointEvent::drained());
        }
    }

    /// Closes a connection with a code of the application, and forgets it.
    pub fn close(&mut self, id: LinkId, code: u32) {
        if let Some(link) = self.links.get_mut(&id) {
            let code = VarInt::from_u32(code);
            link.connection.close(Instant::now(), code, Bytes::new());
        }
        self.send(id);
        self.forget(id);
    }

    /// Takes what has come, fires timers, and sends what is due. Sleeps for a moment if there was nothing.
    pub fn turn(&mut self) -> Result<()> {
        let mut is_busy = self.receive()?;
        let now = Instant::now();
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for id in all {
            self.settle(id, now);
            is_busy |= self.send(id);
        }
        if !is_busy {
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Passes events between a connection and the endpoint.
    fn settle(&mut self, id: LinkId, now: Instant) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.settle(now);
        while let Some(event) = link.connection.poll_endpoint_events() {
            if event.is_drained() {
                self.known.remove(&link.handle.0);
            }
            if let Some(answer) = self.endpoint.handle_event(link.handle, event) {
                link.connection.handle_event(answer);
            }
        }
    }

    /// Takes a batch from the socket; whether there was one.
    fn receive(&mut self) -> Result<bool> {
        let mut metas = [RecvMeta::default(); BURSTS];
        let mut parts: Vec<IoSliceMut<'_>> = self
            .buffers
            .chunks_exact_mut(BURST_BYTES)
            .map(IoSliceMut::new)
            .collect();
        let socket = UdpSockRef::from(&self.socket);
        let count = match self.state.recv(socket, &mut parts, &mut metas) {
            Ok(count) => count,
            Err(error) if is_passing(&error) => return Ok(false),
            Err(error) => return Err(error).context("the attacker's socket has failed"),
        };
        drop(parts);
        for (burst, meta) in metas.iter().enumerate().take(count) {
            let start = burst * BURST_BYTES;
            for at in (0..meta.len).step_by(meta.stride.max(1)) {
                let end = (at + meta.stride).min(meta.len);
                let bytes = BytesMut::from(&self.buffers[start..][at..end]);
                self.handle(meta, bytes);
            }
        }
        Ok(true)
    }

    fn handle(&mut self, meta: &RecvMeta, bytes: BytesMut) {
        let mut reply = Vec::new();
        let now = Instant::now();
        let event = self
            .endpoint
            .handle(now, meta.addr, None, None, bytes, &mut reply);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let link = self.known.get(&handle.0);
                if let Some(link) = link.and_then(|id| self.links.get_mut(id)) {
                    link.connection.handle_event(event);
                }
            }
            // It answers nothing that is not of its connections, and nobody dials it.
            Some(DatagramEvent::NewConnection(_) | DatagramEvent::Response(_)) | None => {}
        }
    }

    /// Sends what a connection has; whether it had anything.
    fn send(&mut self, id: LinkId) -> bool {
        if !self.send_unsent() {
            return true;
        }
        for sent in 0..SENDS_PER_TURN {
            let Some(link) = self.links.get_mut(&id) else {
                return sent > 0;
            };
            let mut bytes = Vec::new();
            let now = Instant::now();
            let segments = self.state.max_gso_segments().min(SEGMENTS_MAX);
            let Some(transmit) = link.connection.poll_transmit(now, segments, &mut bytes) else {
                return sent > 0;
            };
            self.unsent = Some((transmit, bytes));
            if !self.send_unsent() {
                return true;
            }
        }
        true
    }

    /// Sends what the socket had no room for; whether nothing is left.
    fn send_unsent(&mut self) -> bool {
        let Some((transmit, bytes)) = &self.unsent else {
            return true;
        };
        let socket = UdpSockRef::from(&self.socket);
        let sent = self.state.try_send(
            socket,
            &quinn_udp::Transmit {
                destination: transmit.destination,
                ecn: None,
                contents: &bytes[..transmit.size],
                segment_size: transmit.segment_size,
                src_ip: None,
            },
        );
        // What fails in another way is lost, as a packet may be.
        let is_blocked = sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if !is_blocked {
            self.unsent = None;
        }
        !is_blocked
    }
}

/// A socket that does not block, with buffers as large as the system allows.
pub fn socket(addr: SocketAddr, buffer_bytes: usize) -> Result<UdpSocket> {
    let udp = Some(socket2::Protocol::UDP);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, udp)?;
    socket.set_nonblocking(true)?;
    let _ = socket.set_recv_buffer_size(buffer_bytes);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    let bound = socket.bind(&addr.into());
    bound.with_context(|| format!("cannot bind {addr}"))?;
    Ok(socket.into())
}

/// The address of loopback with this number, of those that no honest peer has.
pub fn source(number: u32) -> Ipv4Addr {
    // 127.1.0.1 to 127.200.255.254, without zeroes and 255 at the end.
    let [_, b, c, d] = number.to_be_bytes();
    Ipv4Addr::new(127, 1 + b % 200, c, 1 + d % 254)
}

/// Whether an address is of loopback: nothing else is attacked.
pub fn is_loopback(addr: SocketAddr) -> bool {
    match addr.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(_) => false,
    }
}

/// Errors of a socket after which it goes on.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused | io::ErrorKind::Interrupted
    )
}

/// A patient end: it keeps its connections alive for as long as the other end lets it.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(600_000))))
        .keep_alive_interval(Some(Duration::from_secs(2)));
    transport
}
