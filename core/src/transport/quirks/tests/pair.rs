//! Two endpoints of quinn-proto, connected over a network in memory with 10 ms each way.

use std::{
    collections::VecDeque,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
};

use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, ServerConfig,
};

use super::{Connection, Duration, Event, Instant, MUCH, TransportConfig, ms, open, secs};
use crate::{Credentials, Identity, PeerId, testing::epoch};

pub(super) const DIALLER: usize = 0;
pub(super) const ACCEPTOR: usize = 1;

const LATENCY: Duration = ms(10);

/// Attempts to serve a deadline that stays in the past.
const ATTEMPTS_MAX: usize = 16;

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    transport: Arc<TransportConfig>,
}

pub(super) struct End {
    credentials: Arc<dyn Credentials>,
    endpoint: Endpoint,
    open: Option<(ConnectionHandle, Connection)>,
    pub(super) address: SocketAddr,
    /// Datagrams to arrive, with the address of their sender.
    arriving: VecDeque<(Instant, SocketAddr, BytesMut)>,
    /// The longest datagram of this end that arrives.
    pub(super) longest: usize,
}

impl Pair {
    /// Two ends that are connected, and have nothing more to send.
    pub(super) fn new(transport: TransportConfig) -> Self {
        let transport = Arc::new(transport);
        let ends = [DIALLER, ACCEPTOR].map(|number| End::new(number, &transport));
        let mut pair = Self {
            now: epoch(),
            ends,
            transport,
        };
        let open = pair.dial();
        pair.ends[DIALLER].open = Some(open);
        pair.run(secs(1));
        for end in [DIALLER, ACCEPTOR] {
            let told = pair.events(end);
            let connected = told.iter().any(|event| matches!(event, Event::Connected));
            assert!(connected, "{told:?}");
        }
        pair
    }

    /// Begins a connection of the dialler.
    pub(super) fn dial(&mut self) -> (ConnectionHandle, Connection) {
        let [dialler, acceptor] = &mut self.ends;
        let crypto = dialler
            .credentials
            .client_config(PeerId::from_bytes([0; 32]));
        let mut config = ClientConfig::new(crypto);
        config.transport_config(self.transport.clone());
        let dialled = dialler
            .endpoint
            .connect(self.now, config, acceptor.address, "acceptor");
        dialled.expect("it can be dialled")
    }

    pub(super) fn connection(&mut self, end: usize) -> &mut Connection {
        let open = self.ends[end].open.as_mut();
        open.map(|(_, connection)| connection).expect("it is open")
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            for end in [DIALLER, ACCEPTOR] {
                self.turn(end);
            }
            let next = [DIALLER, ACCEPTOR]
                .into_iter()
                .filter_map(|end| self.due(end))
                .min();
            match next.filter(|at| *at <= until) {
                // A deadline that stays in the past.
                Some(at) => self.now = at.max(self.now + ms(1)).min(until),
                None => self.now = until,
            }
            if self.now == until {
                return;
            }
        }
    }

    /// Lets time pass in which nothing arrives and no deadline is served.
    pub(super) fn advance_silently(&mut self, time: Duration) {
        self.now += time;
    }

    /// Fills the dialler's congestion window, of which nothing is acknowledged, and leaves data behind it.
    pub(super) fn fill_window(&mut self) {
        self.ends[DIALLER].longest = 0;
        let connection = self.connection(DIALLER);
        let stream = open(connection);
        let written = connection.send_stream(stream).write(&vec![7; MUCH]);
        assert!(written.is_ok_and(|bytes| bytes > 100_000));
        // Packets are paced over a round trip. It is too early for a loss probe.
        for _ in 0..40 {
            while self.poll(DIALLER).is_some() {}
            self.now += ms(1);
        }
        let stats = self.connection(DIALLER).stats();
        assert_eq!(self.poll(DIALLER), None);
        assert!(stats.frame_tx.stream > 5, "{:?}", stats.frame_tx);
    }

    /// Sends the next packet of an end; answers its length.
    pub(super) fn poll(&mut self, end: usize) -> Option<usize> {
        let mut buffer = Vec::new();
        let now = self.now;
        let transmit = self.connection(end).poll_transmit(now, 1, &mut buffer)?;
        let [dialler, acceptor] = &mut self.ends;
        let (from, to) = match end {
            DIALLER => (dialler, acceptor),
            _ => (acceptor, dialler),
        };
        let arrives = transmit.size <= from.longest && transmit.destination == to.address;
        if arrives {
            let bytes = BytesMut::from(&buffer[..transmit.size]);
            to.arriving.push_back((now + LATENCY, from.address, bytes));
        }
        Some(transmit.size)
    }

    /// Returns the events of a connection.
    pub(super) fn events(&mut self, end: usize) -> Vec<Event> {
        let connection = self.connection(end);
        std::iter::from_fn(|| connection.poll()).collect()
    }

    /// Passes the events of a connection to its endpoint. Returns whether the connection has drained.
    pub(super) fn exchange(&mut self, end: usize) -> bool {
        let End { endpoint, open, .. } = &mut self.ends[end];
        let Some((handle, connection)) = open else {
            return false;
        };
        while let Some(event) = connection.poll_endpoint_events() {
            let drained = event.is_drained();
            if let Some(event) = endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
            if drained {
                return true;
            }
        }
        false
    }

    fn turn(&mut self, end: usize) {
        let now = self.now;
        while let Some((_, from, bytes)) = self.ends[end].arrived(now) {
            self.ends[end].receive(now, from, bytes);
        }
        if self.ends[end].open.is_none() {
            return;
        }
        for _ in 0..ATTEMPTS_MAX {
            let connection = self.connection(end);
            if connection.poll_timeout().is_none_or(|at| at > now) {
                break;
            }
            connection.handle_timeout(now);
        }
        self.exchange(end);
        while self.poll(end).is_some() {}
    }

    fn due(&mut self, end: usize) -> Option<Instant> {
        let arrival = self.ends[end].arriving.front().map(|(at, ..)| *at);
        let open = self.ends[end].open.as_mut();
        let timeout = open.and_then(|(_, connection)| connection.poll_timeout());
        arrival.into_iter().chain(timeout).min()
    }
}

impl End {
    fn new(number: usize, transport: &Arc<TransportConfig>) -> Self {
        let credentials = Identity::from_seed(&[number as u8; 32]).credentials();
        let mut server = ServerConfig::new(credentials.server_config(), credentials.token_key());
        server.transport_config(transport.clone());
        let config = Arc::new(EndpointConfig::new(credentials.reset_key()));
        Self {
            endpoint: Endpoint::new(config, Some(Arc::new(server)), true, None),
            credentials,
            open: None,
            address: SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 4433 + number as u16),
            arriving: VecDeque::new(),
            longest: usize::MAX,
        }
    }

    pub(super) fn handle(&self) -> ConnectionHandle {
        self.open
            .as_ref()
            .map(|(handle, _)| *handle)
            .expect("it is open")
    }

    fn arrived(&mut self, now: Instant) -> Option<(Instant, SocketAddr, BytesMut)> {
        let (at, ..) = self.arriving.front()?;
        if *at > now {
            return None;
        }
        self.arriving.pop_front()
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, bytes: BytesMut) {
        let mut answer = Vec::new();
        match self
            .endpoint
            .handle(now, from, None, None, bytes, &mut answer)
        {
            Some(DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.open {
                    connection.handle_event(event);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let accepted = self.endpoint.accept(incoming, now, &mut answer, None);
                self.open = accepted.ok();
            }
            Some(DatagramEvent::Response(_)) | None => {}
        }
    }
}
