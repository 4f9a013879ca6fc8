//! Two endpoints of quinn-proto and the wire between them, in virtual time.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use quicpool_core::{Credentials, Identity, PeerId};
use quicpool_sim::{Checksum, Crypto, SeededTls};
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, ConnectionId,
    ConnectionIdGenerator, DatagramEvent, Dir, Endpoint, EndpointConfig, Event, Incoming,
    ServerConfig, Side, TransportConfig, VarInt,
};
use rustls::{pki_types::UnixTime, time_provider::TimeProvider};

/// One way across the wire.
const LATENCY: Duration = Duration::from_millis(10);
/// Long enough for every exchange here, too short for a connection to idle out.
const A_WHILE: Duration = Duration::from_secs(5);

/// A client and a server, and all datagrams between them.
pub(crate) struct Pair {
    pub(crate) client: Host,
    pub(crate) server: Host,
    pub(crate) now: Instant,
    epoch: Instant,
    flying: VecDeque<Flying>,
    /// Each datagram that has left a host.
    pub(crate) trace: Vec<Sent>,
    /// What the wire does to one datagram.
    pub(crate) damage: Option<Damage>,
}

/// A datagram, when it left and whom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) at: Duration,
    pub(crate) by: Side,
    pub(crate) bytes: Vec<u8>,
}

/// Something that happens to the first datagram from this place in the trace on that is as long.
pub(crate) struct Damage {
    pub(crate) place: usize,
    pub(crate) len_min: usize,
    pub(crate) change: fn(&mut BytesMut),
}

/// An endpoint with its one connection.
pub(crate) struct Host {
    pub(crate) credentials: Arc<dyn Credentials>,
    pub(crate) connection: Option<Connection>,
    pub(crate) connected: bool,
    pub(crate) lost: Option<ConnectionError>,
    pub(crate) retries: bool,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    addr: SocketAddr,
}

struct Flying {
    at: Instant,
    to: SocketAddr,
    bytes: BytesMut,
}

impl Pair {
    pub(crate) fn new(client: impl Credentials, server: impl Credentials) -> Self {
        Self::between(Arc::new(client), Arc::new(server))
    }

    /// Two ordinary peers.
    pub(crate) fn of(crypto: Crypto, seed: u64) -> Self {
        Self::between(credentials(crypto, 1, seed), credentials(crypto, 2, seed))
    }

    fn between(client: Arc<dyn Credentials>, server: Arc<dyn Credentials>) -> Self {
        let epoch = Instant::now();
        Self {
            client: Host::new(client, 1),
            server: Host::new(server, 2),
            now: epoch,
            epoch,
            flying: VecDeque::new(),
            trace: Vec::new(),
            damage: None,
        }
    }

    /// Two ordinary peers, connected.
    pub(crate) fn connected(crypto: Crypto, seed: u64) -> Self {
        let mut pair = Self::of(crypto, seed);
        pair.dial();
        pair.run();
        assert!(pair.client.connected && pair.server.connected);
        pair
    }

    /// A new process takes the server's place.
    pub(crate) fn restart_server(&mut self, credentials: Arc<dyn Credentials>) {
        self.server = Host::new(credentials, 2);
    }

    pub(crate) fn dial(&mut self) {
        self.client.dial(self.now, &self.server);
    }

    /// Sends bytes from the client on a stream of their own, and sees that they arrive.
    pub(crate) fn send_and_check(&mut self, bytes: &[u8]) {
        self.client.send(bytes);
        self.run();
        self.check(bytes);
    }

    /// Sees that these bytes have arrived on a stream of their own.
    pub(crate) fn check(&mut self, bytes: &[u8]) {
        let received = self.server.receive();
        assert!(
            received.as_deref() == Some(bytes),
            "the bytes have not arrived as they were"
        );
    }

    /// Lets a while pass.
    pub(crate) fn run(&mut self) {
        self.run_for(A_WHILE);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next_moment().filter(|next| *next < end) {
            self.now = next.max(self.now);
            self.deliver_due();
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn next_moment(&mut self) -> Option<Instant> {
        let sent = [self.client.drain(self.now), self.server.drain(self.now)].concat();
        for (to, bytes) in sent {
            self.fly(to, BytesMut::from(&bytes[..]));
        }
        let arrival = self.flying.front().map(|flying| flying.at);
        let timers = [self.client.timeout(), self.server.timeout(), arrival];
        timers.into_iter().flatten().min()
    }

    fn fly(&mut self, to: SocketAddr, mut bytes: BytesMut) {
        let place = self.trace.len();
        let is_met = |damage: &mut Damage| damage.place <= place && damage.len_min <= bytes.len();
        if let Some(damage) = self.damage.take_if(is_met) {
            (damage.change)(&mut bytes);
        }
        self.trace.push(Sent {
            at: self.now - self.epoch,
            by: match to == self.server.addr {
                true => Side::Client,
                false => Side::Server,
            },
            bytes: bytes.to_vec(),
        });
        let at = self.now + LATENCY;
        self.flying.push_back(Flying { at, to, bytes });
    }

    fn deliver_due(&mut self) {
        while self
            .flying
            .front()
            .is_some_and(|first| first.at <= self.now)
        {
            let Flying { to, bytes, .. } = self.flying.pop_front().expect("it is there");
            let (from, host) = match to == self.client.addr {
                true => (self.server.addr, &mut self.client),
                false => (self.client.addr, &mut self.server),
            };
            if let Some((to, reply)) = host.handle(self.now, from, bytes) {
                self.fly(to, reply);
            }
        }
    }
}

impl Host {
    fn new(credentials: Arc<dyn Credentials>, number: u8) -> Self {
        let mut config = EndpointConfig::new(credentials.reset_key());
        config.supported_versions(vec![1]);
        config.rng_seed(Some([number; 32]));
        config.cid_generator(move || Box::new(Counting(u64::from(number) << 32)));
        let server = ServerConfig::new(credentials.server_config(), credentials.token_key());
        let endpoint = Endpoint::new(Arc::new(config), Some(Arc::new(server)), true, None);
        Self {
            credentials,
            connection: None,
            connected: false,
            lost: None,
            retries: false,
            endpoint,
            handle: ConnectionHandle(0),
            addr: SocketAddr::from(([10, 0, 0, number], 4433)),
        }
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("there is a connection")
    }

    /// The identity that the other end has stated.
    pub(crate) fn peer(&mut self) -> Option<PeerId> {
        let session = self.connection.as_ref().expect("there is a connection");
        self.credentials.peer_id(session.crypto_session())
    }

    pub(crate) fn export(&self, label: &[u8], context: &[u8]) -> [u8; 32] {
        let session = self.connection.as_ref().expect("there is a connection");
        let session = session.crypto_session();
        let mut out = [0; 32];
        let result = session.export_keying_material(&mut out, label, context);
        result.expect("the handshake has ended");
        out
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let connection = self.connection();
        let stream = connection.streams().open(Dir::Uni).expect("a stream");
        let mut stream = connection.send_stream(stream);
        assert_eq!(stream.write(bytes), Ok(bytes.len()));
        stream.finish().expect("the stream is open");
    }

    /// The next stream that has arrived.
    fn receive(&mut self) -> Option<Vec<u8>> {
        let connection = self.connection();
        let stream = connection.streams().accept(Dir::Uni)?;
        let mut stream = connection.recv_stream(stream);
        let mut chunks = stream.read(true).expect("the stream is readable");
        let mut bytes = Vec::new();
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            bytes.extend_from_slice(&chunk.bytes);
        }
        let _ = chunks.finalize();
        Some(bytes)
    }

    fn dial(&mut self, now: Instant, to: &Host) {
        let peer = to.credentials.local_id();
        let mut config = ClientConfig::new(self.credentials.client_config(peer));
        let count = AtomicU64::new(77);
        config
            .initial_dst_cid_provider(Arc::new(move || cid(count.fetch_add(1, Ordering::Relaxed))));
        config.transport_config(Arc::new(TransportConfig::default()));
        let name = self.credentials.server_name(peer);
        let dial = self.endpoint.connect(now, config, to.addr, &name);
        let (handle, connection) = dial.expect("the endpoint can dial");
        (self.handle, self.connection) = (handle, Some(connection));
    }

    /// A datagram has arrived; gives what the endpoint itself replies.
    fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: BytesMut,
    ) -> Option<(SocketAddr, BytesMut)> {
        let mut buf = Vec::new();
        match self
            .endpoint
            .handle(now, from, None, None, bytes, &mut buf)?
        {
            DatagramEvent::ConnectionEvent(_, event) => {
                self.connection().handle_event(event);
                return None;
            }
            DatagramEvent::NewConnection(incoming) => self.answer(now, incoming, &mut buf),
            DatagramEvent::Response(_) => {}
        }
        (!buf.is_empty()).then(|| (from, BytesMut::from(&buf[..])))
    }

    fn answer(&mut self, now: Instant, incoming: Incoming, buf: &mut Vec<u8>) {
        if self.retries && !incoming.remote_address_validated() {
            let _ = self
                .endpoint
                .retry(incoming, buf)
                .expect("it has not been retried");
            return;
        }
        match self.endpoint.accept(incoming, now, buf, None) {
            Ok((handle, connection)) => (self.handle, self.connection) = (handle, Some(connection)),
            Err(error) => self.lost = Some(error.cause),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.handle_timeout(now);
        }
    }

    fn timeout(&mut self) -> Option<Instant> {
        self.connection.as_mut()?.poll_timeout()
    }

    fn drain(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let Some(connection) = &mut self.connection else {
            return Vec::new();
        };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = connection.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::ConnectionLost { reason } => self.lost = Some(reason),
                Event::HandshakeDataReady
                | Event::Stream(_)
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
        let mut sent = Vec::new();
        let mut buf = Vec::new();
        while let Some(transmit) = connection.poll_transmit(now, 1, &mut buf) {
            sent.push((transmit.destination, std::mem::take(&mut buf)));
        }
        sent
    }
}

/// Connection ids that count, since quinn-proto's own are drawn from the operating system.
struct Counting(u64);

impl ConnectionIdGenerator for Counting {
    fn generate_cid(&mut self) -> ConnectionId {
        self.0 += 1;
        cid(self.0)
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn cid(number: u64) -> ConnectionId {
    ConnectionId::new(&number.to_be_bytes())
}

/// The identity of a peer with this number.
pub(crate) fn id(crypto: Crypto, number: u8) -> PeerId {
    credentials(crypto, number, 0).local_id()
}

/// The credentials of a peer with this number.
pub(crate) fn credentials(crypto: Crypto, number: u8, seed: u64) -> Arc<dyn Credentials> {
    if crypto == Crypto::Tls {
        return Arc::new(tls(number, seed, &Arc::default()));
    }
    Arc::new(Checksum::new(PeerId::from_bytes([number; 32]), seed))
}

/// The same by TLS at a time of its own.
pub(crate) fn tls(number: u8, seed: u64, time: &Arc<Hours>) -> SeededTls {
    SeededTls::new(&Identity::from_seed(&[number; 32]), seed, time.clone())
}

/// A wall clock that shows what it is set to: hours since the Unix epoch.
#[derive(Debug, Default)]
pub(crate) struct Hours(pub(crate) AtomicU64);

impl TimeProvider for Hours {
    fn current_time(&self) -> Option<UnixTime> {
        let time = Duration::from_secs(3_600 * self.0.load(Ordering::Relaxed));
        Some(UnixTime::since_unix_epoch(time))
    }
}

/// The code with which either end has closed a connection.
pub(crate) fn code(lost: Option<&ConnectionError>) -> Option<u64> {
    if let Some(ConnectionError::ConnectionClosed(close)) = lost {
        return Some(close.error_code.into());
    }
    if let Some(ConnectionError::TransportError(error)) = lost {
        return Some(error.code.into());
    }
    None
}

/// Closes the client's connection and forgets it.
pub(crate) fn hang_up(pair: &mut Pair) {
    let now = pair.now;
    let reason = bytes::Bytes::new();
    pair.client
        .connection()
        .close(now, VarInt::from_u32(0), reason);
    pair.run();
    for host in [&mut pair.client, &mut pair.server] {
        (host.connected, host.connection) = (false, None);
    }
}
