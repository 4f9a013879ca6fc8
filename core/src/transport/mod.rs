//! The only room that knows quinn-proto: connections, and the endpoint that they share.

mod account;
mod allowance;
mod arrival;
#[cfg(all(test, any(feature = "ring", feature = "aws-lc-rs")))]
pub(crate) mod bare;
mod ending;
mod ids;
mod income;
mod intake;
mod lane;
mod link;
mod liveness;
mod outgo;
mod prices;
mod quirks;
mod settings;
mod stage;
mod tokens;
mod unread;

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Instant};

use bytes::Bytes;
pub use quinn_proto::EcnCodepoint;
use quinn_proto::{ConnectionHandle, DatagramEvent, Endpoint, Event, StreamEvent};

pub(crate) use arrival::{Arrival, Incoming, LinkEvent};
pub(crate) use ending::Ending;
#[cfg(any(test, feature = "fuzz-internals"))]
pub(crate) use ending::reason_of;
pub(crate) use lane::Unwritten;
pub(crate) use link::Link;
pub(crate) use stage::{Checks, Stage};

use crate::{
    Config, Credentials, Datagram, Incarnation, PeerId, Reason, Transmit,
    peer::{LinkId, chooser::Dialler, credit::Ahead, round_robin::DeficitRoundRobin},
    rng::Rng,
    wire::{code::CloseCode, record},
};
use account::Held;
use intake::Turns;
use settings::Settings;
use stage::Parameters;

/// Replies without a connection that wait to be sent, at most: to each datagram that a driver takes in at a time, so
/// that none is dropped for another's sake while the loop drains.
const REPLIES_MAX: usize = 256;

/// UDP carries at most this many bytes at a time, and so does one burst of datagrams (GSO): the
/// kernel refuses a longer one, and everything in it is lost.
const BURST_BYTES_MAX: usize = 65_507;

/// The longest datagram that path MTU discovery looks for. One burst of them is the turn of a
/// connection with packets to send: shorter ones would have bursts of the same length cost some
/// connections more turns than others.
const DATAGRAM_BYTES_MAX: usize = 1_452;

/// All connections.
pub(crate) struct Transport {
    endpoint: Endpoint,
    settings: Settings,
    credentials: Arc<dyn Credentials>,
    parameters: Parameters,
    /// Indexed by [`LinkId`], which is the endpoint's own index.
    links: Vec<Slot>,
    count: usize,
    /// What all links hold beyond what idle ones do.
    held: Held,
    dirty: VecDeque<LinkId>,
    /// Those that have more input than their turn had room for.
    later: VecDeque<LinkId>,
    turns: Turns,
    /// Bytes of datagrams that wait for a turn of their connection, and the most of them.
    waiting: usize,
    waiting_max: usize,
    /// Those that have packets, or may have.
    ready: DeficitRoundRobin<LinkId>,
    replies: VecDeque<(Transmit, Vec<u8>)>,
    segments_max: usize,
    /// Closed connections that have nothing more to send, in the order in which they became so.
    silent: VecDeque<LinkId>,
    started: Instant,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    link: Option<Box<Link>>,
    dirty: Queued,
    later: Queued,
    ready: Queued,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Queued {
    #[default]
    No,
    Yes,
}

/// A key of a connection that tests wear out.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    /// Of our records.
    Ours,
    /// Of the records of the other end.
    Theirs,
    /// Of our datagrams.
    Datagrams,
}

/// Whether the endpoint has passed anything to the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exchanged {
    Nothing,
    Something,
}

impl Transport {
    pub(crate) fn new(
        config: &Config,
        credentials: Arc<dyn Credentials>,
        incarnation: Incarnation,
        seed: &[u8; 32],
        now: Instant,
    ) -> Self {
        credentials.set_memory_max(config.tickets_bytes_max());
        let settings = Settings::new(config, &*credentials, incarnation, seed);
        let endpoint = Endpoint::new(
            settings.endpoint.clone(),
            Some(settings.server.clone()),
            true,
            None,
        );
        Self {
            endpoint,
            settings,
            credentials,
            parameters: Parameters {
                sealing: config.sealing,
                body_bytes_max: record::body_max(config.batch_bytes_max, config.message_bytes_max),
                message_bytes_max: config.message_bytes_max,
                ahead: Ahead {
                    passage: settings::stream_window(config),
                    credit: config.first_credit(),
                    credit_max: config.inbox_bytes_max,
                },
                control_reserve: config.tuning.control_reserve,
            },
            links: Vec::new(),
            count: 0,
            held: Held::default(),
            dirty: VecDeque::new(),
            later: VecDeque::new(),
            turns: Turns::of(1),
            waiting: 0,
            waiting_max: (config.memory_max / intake::WAITING_MEMORY_PART)
                .min(intake::WAITING_BYTES_MAX),
            ready: DeficitRoundRobin::new(DATAGRAM_BYTES_MAX),
            replies: VecDeque::new(),
            segments_max: 1,
            silent: VecDeque::new(),
            started: now,
        }
    }

    /// The most records' bytes that one connection may have in flight.
    pub(crate) fn in_flight_max(config: &Config) -> usize {
        settings::data_in_flight_max(config)
    }

    pub(crate) fn set_segments_max(&mut self, segments: usize) {
        self.segments_max = segments.max(1);
        let burst = self.segments_max.saturating_mul(DATAGRAM_BYTES_MAX);
        self.ready.set_quantum(burst.min(BURST_BYTES_MAX));
    }

    /// Connections, those that are closing included.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn replies(&self) -> usize {
        self.replies.len()
    }

    /// Whether any connection is to be settled.
    pub(crate) fn has_news(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.dirty.is_empty() && self.ready.is_empty() && self.replies.is_empty()
    }

    pub(crate) fn link(&self, id: LinkId) -> Option<&Link> {
        let slot = self.links.get(id.index())?;
        slot.link.as_deref().filter(|_| id == slot.id(id.index()))
    }

    pub(crate) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(id.index())?.link_mut(id)
    }

    /// A connection that is in the table: one of a peer, or one that has just been handled.
    pub(crate) fn owned(&mut self, id: LinkId) -> &mut Link {
        let link = self.link_mut(id);
        link.expect("invariant: a connection is removed after its peer has left it")
    }

    // Facts

    /// Whether this end has chosen a connection id.
    pub(crate) fn has_chosen(&self, id: &[u8]) -> bool {
        self.settings.ids.are_ours(id)
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: Datagram) -> Arrival {
        self.advance(now);
        let (remote, datagram_len) = (datagram.remote, datagram.payload.len());
        let mut buf = Vec::new();
        let event = self.endpoint.handle(
            now,
            remote,
            datagram.local_ip,
            datagram.ecn,
            datagram.payload,
            &mut buf,
        );
        match event {
            None => Arrival::Ignored,
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                self.take_in(now, self.id_of(handle), remote, datagram_len, event)
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                Arrival::Handshake(Incoming(Box::new(incoming)))
            }
            Some(DatagramEvent::Response(transmit)) => self.reply(transmit, buf),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, id: LinkId) {
        self.advance(now);
        // What has arrived may put the deadline off.
        self.feed(id);
        if let Some(link) = self.link_mut(id) {
            match link.forgotten_at() {
                Some(at) if at <= now => quirks::abandon(now, &mut link.connection),
                Some(_) | None => link.connection.handle_timeout(now),
            }
            self.mark_dirty(id);
        }
    }

    fn advance(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.started);
        self.settings.clock.advance(elapsed);
    }

    // Handshakes

    /// Begins a connection to `peer`.
    pub(crate) fn dial(
        &mut self,
        now: Instant,
        peer: PeerId,
        address: SocketAddr,
        dial: u64,
        rng: &mut Rng,
    ) -> Result<LinkId, Reason> {
        let crypto = self.credentials.client_config(peer);
        let client = self.settings.client(crypto, rng);
        let name = self.credentials.server_name(peer);
        let (handle, connection) = self
            .endpoint
            .connect(now, client, address, &name)
            .map_err(|error| Reason::Transport(error.to_string()))?;
        let dialler = Dialler::Us;
        let link = Link::new(now, connection, handle, dialler, dial, &self.parameters);
        Ok(self.insert(link))
    }

    /// Begins to answer a handshake. `None` if it was broken from the start.
    pub(crate) fn accept(&mut self, now: Instant, incoming: Incoming) -> Option<LinkId> {
        let mut buf = Vec::new();
        match self.endpoint.accept(*incoming.0, now, &mut buf, None) {
            Ok((handle, connection)) => {
                let dialler = Dialler::Them;
                let link = Link::new(now, connection, handle, dialler, 0, &self.parameters);
                Some(self.insert(link))
            }
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.reply(transmit, buf);
                }
                None
            }
        }
    }

    /// Refuses a handshake for which there is no room.
    pub(crate) fn refuse(&mut self, incoming: Incoming) -> Arrival {
        let mut buf = Vec::new();
        let transmit = self.endpoint.refuse(*incoming.0, &mut buf);
        self.reply(transmit, buf)
    }

    /// Asks the other end to prove its address first (RFC 9000 section 8.1.2).
    pub(crate) fn retry(&mut self, incoming: Incoming) -> Arrival {
        let mut buf = Vec::new();
        match self.endpoint.retry(*incoming.0, &mut buf) {
            Ok(transmit) => self.reply(transmit, buf),
            Err(error) => self.refuse(Incoming(Box::new(error.into_incoming()))),
        }
    }

    fn reply(&mut self, transmit: quinn_proto::Transmit, mut bytes: Vec<u8>) -> Arrival {
        if self.replies.len() >= REPLIES_MAX {
            return Arrival::ReplyDropped;
        }
        bytes.truncate(transmit.size);
        self.replies.push_back((own(transmit), bytes));
        Arrival::Routed
    }

    fn insert(&mut self, link: Link) -> LinkId {
        let index = link.handle.0;
        if self.links.len() <= index {
            self.links.resize_with(index + 1, Slot::default);
        }
        let slot = &mut self.links[index];
        debug_assert!(slot.link.is_none(), "the endpoint uses an index once");
        slot.link = Some(Box::new(link));
        let id = slot.id(index);
        self.count += 1;
        self.mark_dirty(id);
        id
    }

    fn id_of(&self, handle: ConnectionHandle) -> LinkId {
        let generation = self.links.get(handle.0).map_or(0, |slot| slot.generation);
        LinkId::new(handle.0 as u32, generation)
    }

    // Events

    /// Has the connection settled, and its packets polled.
    pub(crate) fn mark_dirty(&mut self, id: LinkId) {
        if let Some(slot) = self.slot_mut(id)
            && std::mem::replace(&mut slot.dirty, Queued::Yes) == Queued::No
        {
            self.dirty.push_back(id);
        }
    }

    /// Has these connections settled, and their packets polled.
    pub(crate) fn mark_all_dirty(&mut self, ids: impl Iterator<Item = LinkId>) {
        ids.for_each(|id| self.mark_dirty(id));
    }

    /// Has the connection's packets polled.
    pub(crate) fn mark_ready(&mut self, id: LinkId) {
        if let Some(slot) = self.slot_mut(id)
            && std::mem::replace(&mut slot.ready, Queued::Yes) == Queued::No
        {
            self.ready.join(id);
        }
    }

    fn slot_mut(&mut self, id: LinkId) -> Option<&mut Slot> {
        let slot = self.links.get_mut(id.index())?;
        let current = slot.id(id.index());
        (slot.link.is_some() && id == current).then_some(slot)
    }

    /// What has happened to a connection.
    pub(crate) fn poll_event(&mut self, now: Instant, id: LinkId) -> Option<LinkEvent> {
        loop {
            if let Some(event) = self.poll_connection(now, id) {
                return Some(event);
            }
            // Last: a connection that has drained is gone after this (quirk "drained").
            if self.exchange(id) == Exchanged::Nothing {
                return None;
            }
        }
    }

    fn poll_connection(&mut self, now: Instant, id: LinkId) -> Option<LinkEvent> {
        let link = self.links.get_mut(id.index())?.link_mut(id)?;
        loop {
            match link.connection.poll()? {
                Event::Connected => {
                    let peer = link.peer_id(&*self.credentials);
                    return Some(LinkEvent::Established { peer });
                }
                Event::ConnectionLost { reason } => {
                    let identity = match link.stage {
                        Stage::Handshaking => ending::Identity::Claimed,
                        Stage::Greeted(_)
                        | Stage::Waiting(_)
                        | Stage::Confirmed(_)
                        | Stage::Closed => ending::Identity::Proved,
                    };
                    link.forget_queues(now);
                    return Some(LinkEvent::Ended(ending::ending(reason, identity)));
                }
                Event::Stream(StreamEvent::Writable { .. }) => link.flush(),
                Event::DatagramReceived => link.lane.has_arrivals = true,
                Event::Stream(StreamEvent::Opened { .. }) => link.streams_opened(),
                Event::Stream(StreamEvent::Available { .. }) => link.write_grease(),
                Event::Stream(
                    StreamEvent::Readable { .. }
                    | StreamEvent::Finished { .. }
                    | StreamEvent::Stopped { .. },
                )
                | Event::HandshakeDataReady
                | Event::DatagramsUnblocked => {}
            }
        }
    }

    /// Passes the events of the connection to the endpoint and its answers back, within this call. A connection
    /// that has drained is removed.
    fn exchange(&mut self, id: LinkId) -> Exchanged {
        let mut exchanged = Exchanged::Nothing;
        loop {
            let Some(link) = self.link_mut(id) else {
                return Exchanged::Nothing;
            };
            let Some(event) = link.connection.poll_endpoint_events() else {
                return exchanged;
            };
            let handle = link.handle;
            let drained = event.is_drained();
            let answer = self.endpoint.handle_event(handle, event);
            if drained {
                self.remove(id);
                return Exchanged::Nothing;
            }
            if let (Some(answer), Some(link)) = (answer, self.link_mut(id)) {
                link.connection.handle_event(answer);
                exchanged = Exchanged::Something;
            }
        }
    }

    fn remove(&mut self, id: LinkId) {
        let slot = &mut self.links[id.index()];
        if let Some(link) = slot.link.take() {
            self.held.replace(link.counted, Held::default());
            self.waiting -= link.intake.waiting_bytes();
        }
        slot.generation = slot.generation.wrapping_add(1);
        slot.dirty = Queued::No;
        slot.later = Queued::No;
        slot.ready = Queued::No;
        self.count -= 1;
    }

    // Deadlines

    /// Serves the deadline of a connection if it is not later than `now`. If it was served, the caller
    /// settles the connection and calls again. A deadline that stays in the past is left to
    /// [`deadline`](Self::deadline), which puts it off.
    pub(crate) fn serve_past_deadline(&mut self, now: Instant, id: LinkId) -> bool {
        let Some(link) = self.link_mut(id) else {
            return false;
        };
        let is_due = link.past_deadlines.is_due(now, &mut link.connection);
        if is_due {
            self.handle_timeout(now, id);
        }
        is_due
    }

    /// When the connection wants [`handle_timeout`](Self::handle_timeout): always later than `now`. A
    /// deadline in the past is put off. Amid a drain it is not served, since that may cause an event, and
    /// events come before packets.
    pub(crate) fn deadline(&mut self, now: Instant, id: LinkId) -> Option<Instant> {
        let link = self.link_mut(id)?;
        let deadline = quirks::later_than(now, &mut link.connection)?;
        let forgotten = link.forgotten_at().filter(|at| *at > now);
        Some(forgotten.map_or(deadline, |at| at.min(deadline)))
    }

    pub(crate) fn close(&mut self, now: Instant, id: LinkId, code: CloseCode, reason: Bytes) {
        if let Some(link) = self.link_mut(id) {
            link.close(now, code, reason);
            self.mark_dirty(id);
        }
    }

    // Packets

    /// The next answer that belongs to no connection.
    pub(crate) fn poll_reply(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        let (transmit, bytes) = self.replies.pop_front()?;
        buf.clear();
        buf.extend_from_slice(&bytes);
        Some(transmit)
    }

    /// The connection in turn whose packets are to be polled.
    pub(crate) fn next_ready(&mut self) -> Option<LinkId> {
        loop {
            let id = self.ready.current()?;
            if self.slot_mut(id).is_some() {
                return Some(id);
            }
            self.ready.leave();
        }
    }

    /// The next packets of the connection in turn. It is in the row as long as it has some.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        id: LinkId,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        buf.clear();
        self.count_held(id);
        let segments_max = self.segments_max;
        let transmit = self.link_mut(id).and_then(|link| {
            let fitting = BURST_BYTES_MAX / usize::from(link.connection.current_mtu()).max(1);
            link.poll_transmit(now, segments_max.min(fitting).max(1), buf)
        });
        let transmit = transmit.map(own);
        match &transmit {
            Some(transmit) => self.ready.spend(transmit.size),
            None => {
                self.is_silent(id);
                self.ready.leave();
                if let Some(slot) = self.slot_mut(id) {
                    slot.ready = Queued::No;
                }
            }
        }
        transmit
    }
}

impl Slot {
    const fn id(&self, index: usize) -> LinkId {
        LinkId::new(index as u32, self.generation)
    }

    fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        let current = self.id(id.index());
        self.link.as_deref_mut().filter(|_| id == current)
    }
}

/// Names the bytes in the caller's buffer in the words of the core.
fn own(transmit: quinn_proto::Transmit) -> Transmit {
    Transmit {
        destination: transmit.destination,
        ecn: transmit.ecn,
        size: transmit.size,
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    }
}
