//! quinn-proto with as little above it as an application can do with.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quicpool_core::{
    Action, Config, Credentials, Datagram, Deadline, DeadlineReason, PeerId, Transmit,
};
use quinn_proto::{
    Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, Event, StreamEvent, StreamId,
    VarInt, WriteError,
};

use super::settings::Settings;
use crate::machine::{Machine, NewMachine};

/// Attempts to serve a deadline that lies in the past, as quinn-proto's own may.
const PAST_DEADLINES_MAX: usize = 16;
/// How far a deadline is put off that stays in the past.
const PUT_OFF: Duration = Duration::from_millis(1);

/// An endpoint that accepts every connection and reads all that comes on streams.
pub(crate) struct Bare {
    endpoint: Endpoint,
    settings: Settings,
    credentials: Arc<dyn Credentials>,
    /// By the endpoint's handles.
    links: Vec<Option<Box<Link>>>,
    /// Connections that may have packets, each once.
    ready: VecDeque<usize>,
    replies: VecDeque<(quinn_proto::Transmit, Vec<u8>)>,
    deadlines: BTreeSet<(Instant, usize)>,
    now: Option<Instant>,
    /// Connections.
    count: usize,
    /// Bytes read from all streams.
    received: u64,
}

struct Link {
    connection: Connection,
    is_ready: bool,
    armed: Option<Instant>,
    /// The stream that is written.
    stream: Option<StreamId>,
}

impl Bare {
    /// What runs in a node for it.
    pub(super) fn machine(new: NewMachine) -> Box<dyn Machine> {
        Box::new(Self::new(&new.config, new.credentials, new.seed))
    }

    pub(crate) fn new(config: &Config, credentials: Arc<dyn Credentials>, seed: [u8; 32]) -> Self {
        let settings = Settings::new(config, &*credentials, seed);
        let server = Some(settings.server.clone());
        Self {
            endpoint: Endpoint::new(settings.endpoint.clone(), server, true, None),
            settings,
            credentials,
            links: Vec::new(),
            ready: VecDeque::new(),
            replies: VecDeque::new(),
            deadlines: BTreeSet::new(),
            now: None,
            count: 0,
            received: 0,
        }
    }

    // What the application asks

    /// Begins a connection.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        peer: PeerId,
        address: SocketAddr,
    ) -> ConnectionHandle {
        let client = self.settings.client(self.credentials.client_config(peer));
        let name = self.credentials.server_name(peer);
        let dialled = self.endpoint.connect(now, client, address, &name);
        let (handle, connection) = dialled.expect("nothing is wrong with a dial");
        self.insert(now, handle, connection);
        handle
    }

    /// Whether both ends have completed the handshake, as the dialler knows from HANDSHAKE_DONE.
    pub(super) fn is_confirmed(&self, handle: ConnectionHandle) -> bool {
        let link = self.links[handle.0].as_ref();
        link.is_some_and(|link| link.connection.stats().frame_rx.handshake_done > 0)
    }

    pub(super) fn close(&mut self, now: Instant, handle: ConnectionHandle) {
        if let Some(link) = &mut self.links[handle.0] {
            link.connection
                .close(now, VarInt::from_u32(0), Bytes::new());
            self.settle(now, handle.0);
        }
    }

    /// Writes as many copies of a chunk as the connection takes, and returns how many bytes it has
    /// taken.
    pub(super) fn write(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        chunk: &Bytes,
        bytes_max: u64,
    ) -> u64 {
        let Some(link) = &mut self.links[handle.0] else {
            return 0;
        };
        let written = link.write(chunk, bytes_max);
        self.settle(now, handle.0);
        written
    }

    /// Bytes read from all streams since this was last asked.
    pub(super) fn take_received(&mut self) -> u64 {
        mem::take(&mut self.received)
    }

    /// Connections, those that are closing included.
    pub(super) fn connections(&self) -> usize {
        self.count
    }

    // How it works

    fn insert(&mut self, now: Instant, handle: ConnectionHandle, connection: Connection) {
        if self.links.len() <= handle.0 {
            self.links.resize_with(handle.0 + 1, || None);
        }
        self.links[handle.0] = Some(Box::new(Link {
            connection,
            is_ready: false,
            armed: None,
            stream: None,
        }));
        self.count += 1;
        self.settle(now, handle.0);
    }

    /// Hears what a connection has to say, reads what has come, and has its packets polled.
    fn settle(&mut self, now: Instant, index: usize) {
        self.now = Some(now);
        loop {
            let Some(link) = &mut self.links[index] else {
                return;
            };
            self.received += link.poll();
            let Some(event) = link.connection.poll_endpoint_events() else {
                break;
            };
            let is_drained = event.is_drained();
            let answer = self.endpoint.handle_event(ConnectionHandle(index), event);
            if is_drained {
                return self.remove(index);
            }
            if let Some(answer) = answer {
                link.connection.handle_event(answer);
            }
        }
        self.arm(now, index);
        if let Some(link) = &mut self.links[index]
            && !link.is_ready
        {
            link.is_ready = true;
            self.ready.push_back(index);
        }
    }

    fn arm(&mut self, now: Instant, index: usize) {
        let Some(link) = &mut self.links[index] else {
            return;
        };
        let mut deadline = link.connection.poll_timeout();
        for _ in 0..PAST_DEADLINES_MAX {
            if deadline.is_none_or(|at| at > now) {
                break;
            }
            link.connection.handle_timeout(now);
            deadline = link.connection.poll_timeout();
        }
        let deadline = deadline.map(|at| if at > now { at } else { now + PUT_OFF });
        if deadline == link.armed {
            return;
        }
        if let Some(at) = link.armed {
            self.deadlines.remove(&(at, index));
        }
        link.armed = deadline;
        if let Some(at) = deadline {
            self.deadlines.insert((at, index));
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(link) = self.links[index].take() {
            self.count -= 1;
            if let Some(at) = link.armed {
                self.deadlines.remove(&(at, index));
            }
        }
    }
}

impl Machine for Bare {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.now = Some(now);
        let mut buf = Vec::new();
        let event = self.endpoint.handle(
            now,
            datagram.remote,
            datagram.local_ip,
            datagram.ecn,
            datagram.payload,
            &mut buf,
        );
        match event {
            None => {}
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(link) = &mut self.links[handle.0] {
                    link.connection.handle_event(event);
                    self.settle(now, handle.0);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let accepted = self.endpoint.accept(incoming, now, &mut buf, None);
                match accepted {
                    Ok((handle, connection)) => self.insert(now, handle, connection),
                    Err(error) => self
                        .replies
                        .extend(error.response.map(|reply| (reply, buf))),
                }
            }
            Some(DatagramEvent::Response(transmit)) => self.replies.push_back((transmit, buf)),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
        while let Some((at, index)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, index));
            if let Some(link) = &mut self.links[index] {
                link.armed = None;
                link.connection.handle_timeout(now);
                self.settle(now, index);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        if !self.ready.is_empty() || !self.replies.is_empty() {
            let reason = DeadlineReason::Undrained;
            return self.now.map(|at| Deadline { at, reason });
        }
        let (at, _) = *self.deadlines.first()?;
        let reason = DeadlineReason::Transport;
        Some(Deadline { at, reason })
    }

    fn poll_action(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Action> {
        buf.clear();
        if let Some((transmit, bytes)) = self.replies.pop_front() {
            buf.extend_from_slice(&bytes);
            return Some(Action::Transmit(own(transmit)));
        }
        while let Some(index) = self.ready.front().copied() {
            if let Some(link) = &mut self.links[index] {
                if let Some(transmit) = link.connection.poll_transmit(now, 1, buf) {
                    return Some(Action::Transmit(own(transmit)));
                }
                link.is_ready = false;
                self.arm(now, index);
            }
            self.ready.pop_front();
        }
        None
    }
}

impl Link {
    /// Reads what has arrived, and returns how many bytes were read.
    fn poll(&mut self) -> u64 {
        let mut read = 0;
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = self.connection.streams().accept(dir) {
                        read += self.read(id);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => read += self.read(id),
                Event::Stream(
                    StreamEvent::Writable { .. }
                    | StreamEvent::Finished { .. }
                    | StreamEvent::Stopped { .. }
                    | StreamEvent::Available { .. },
                )
                | Event::Connected
                | Event::HandshakeDataReady
                | Event::ConnectionLost { .. }
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
        read
    }

    fn read(&mut self, id: StreamId) -> u64 {
        let mut stream = self.connection.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else {
            return 0;
        };
        let mut read = 0;
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            read += chunk.bytes.len() as u64;
        }
        // The frames that it asks for go with the next packet: one is polled for in any case.
        let _ = chunks.finalize();
        read
    }

    fn write(&mut self, chunk: &Bytes, bytes_max: u64) -> u64 {
        if self.stream.is_none() {
            self.stream = self.connection.streams().open(Dir::Uni);
        }
        let Some(id) = self.stream else {
            return 0;
        };
        let mut stream = self.connection.send_stream(id);
        let mut written = 0;
        while written < bytes_max {
            let rest = (bytes_max - written).min(chunk.len() as u64);
            match stream.write_chunks(&mut [chunk.slice(..rest as usize)]) {
                Ok(some) => written += some.bytes as u64,
                Err(WriteError::Blocked | WriteError::Stopped(_) | WriteError::ClosedStream) => {
                    break;
                }
            }
        }
        written
    }
}

fn own(transmit: quinn_proto::Transmit) -> Transmit {
    Transmit {
        destination: transmit.destination,
        ecn: transmit.ecn,
        size: transmit.size,
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    }
}
