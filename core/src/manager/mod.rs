//! The machine: routes facts and verbs to the rooms that decide, and collects what they order.
//!
//! - `verbs`: what the application asks for.
//! - `admission`, `greeting`, `streams`, `parting`: what happens to connections, in the order of
//!   their life.
//! - `dialling`: when and where to dial; `visits`: peers that cannot dial us.
//! - `writing`: what goes into packets; `flushes`: who waits until it is taken; `datagrams`: what goes
//!   beside all sessions.
//! - `incarnations`: which of several processes a peer is.
//! - `liveness`: whether the other end is still there, and how well it can be reached.
//! - `ending`: the ways out: disconnect, eviction, expiry, close.
//! - `budget`: what all peers share of memory.
//! - `report`: numbers; `explain`: the same in words.

mod admission;
mod budget;
mod datagrams;
mod dialling;
mod ending;
mod explain;
mod flushes;
mod greeting;
mod incarnations;
mod liveness;
mod parting;
mod peer;
mod report;
mod streams;
mod verbs;
mod visits;
mod writing;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use self::{
    budget::Budget,
    dialling::DialRow,
    ending::Closing,
    peer::{Peer, Peers, Queued},
    report::Rate,
};
use crate::{
    Action, Config, ConfigError, ConnectionStatus, Counters, Credentials, Datagram, Deadline,
    DeadlineReason, Event, Health, Incarnation, PeerId, Reason, address,
    index::Deadlines,
    peer::{
        LinkId, PeerKey,
        lifecycle::{self, Cause, Move},
        pool::Pool,
    },
    rng::{self, Rng},
    transport::Transport,
    wire::frame::LineId,
};

/// The pure machine: facts and time in, actions out.
///
/// Feed it facts ([`handle_datagram`](Self::handle_datagram),
/// [`handle_timeout`](Self::handle_timeout)) and the application's verbs, then drain
/// [`poll_action`](Self::poll_action), then wait until [`poll_timeout`](Self::poll_timeout) or the
/// next fact. It has no clock, socket, thread or lock, and no randomness but its seed.
pub struct Manager {
    config: Config,
    id: PeerId,
    incarnation: Incarnation,
    transport: Transport,
    peers: Peers,
    pool: Pool,
    row: DialRow,
    deadlines: Deadlines<Timer>,
    events: VecDeque<Event>,
    /// Connections that have ended, and whose peers have not been told.
    endings: VecDeque<LinkId>,
    closing: Closing,
    rng: Rng,
    counters: Counters,
    latency: peer::Average,
    queue_delay: peer::Average,
    rate: Rate,
    /// Handshakes of others in progress.
    handshakes: usize,
    /// Peers that are connected.
    connected: usize,
    /// What is in the queues of all peers.
    queued: Queued,
    budget: Budget,
    /// Bytes in the datagrams of all peers.
    datagram_bytes: usize,
    now: Instant,
}

/// What a deadline belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    Quic(LinkId),
    Handshake(LinkId),
    Health(PeerKey),
    Flush(PeerKey),
    Acknowledge(PeerKey),
    Backoff(PeerKey),
    Idle(PeerKey),
    Session(PeerKey),
    Stable(PeerKey),
    Stall(PeerKey),
    Revisit(PeerKey),
    Row,
    Room,
    Close,
}

impl Timer {
    const fn reason(self) -> DeadlineReason {
        match self {
            Self::Quic(_) => DeadlineReason::Transport,
            Self::Handshake(_) => DeadlineReason::Handshake,
            Self::Health(_) => DeadlineReason::Liveness,
            Self::Flush(_) => DeadlineReason::Flush,
            Self::Acknowledge(_) => DeadlineReason::Acknowledge,
            Self::Backoff(_) | Self::Revisit(_) => DeadlineReason::Dial,
            Self::Idle(_) => DeadlineReason::Expiry,
            Self::Session(_) => DeadlineReason::Session,
            Self::Stable(_) => DeadlineReason::Stable,
            Self::Stall(_) => DeadlineReason::Stall,
            Self::Row => DeadlineReason::Slot,
            Self::Room => DeadlineReason::Room,
            Self::Close => DeadlineReason::Close,
        }
    }
}

impl Manager {
    /// A machine without peers.
    ///
    /// `seed` decides everything that is random in the machine: connection ids and jitter are as
    /// unpredictable as it is, so in production it is a secret from the operating system's
    /// generator. `incarnation` must differ from that of every earlier process with this identity.
    ///
    /// # Errors
    ///
    /// See [`Config::check`].
    pub fn new(
        config: Config,
        credentials: Arc<dyn Credentials>,
        incarnation: Incarnation,
        seed: [u8; 32],
        now: Instant,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let id = credentials.local_id();
        let salt = incarnation.random.to_be_bytes();
        let mut rng = Rng::new(rng::derive(&seed, "policy", &salt));
        let look_up_seed = u64::from_be_bytes(rng.bytes());
        Ok(Self {
            id,
            incarnation,
            transport: Transport::new(&config, credentials, incarnation, &seed, now),
            peers: Peers::new(look_up_seed),
            pool: Pool::new(config.connections_max, look_up_seed),
            row: DialRow::new(config.dial_rate, now),
            deadlines: Deadlines::new(look_up_seed),
            events: VecDeque::new(),
            endings: VecDeque::new(),
            closing: Closing::No,
            rng,
            counters: Counters::default(),
            latency: peer::Average::default(),
            queue_delay: peer::Average::default(),
            rate: Rate::new(now),
            handshakes: 0,
            connected: 0,
            queued: Queued::default(),
            budget: Budget::new(&config),
            datagram_bytes: 0,
            now,
            config,
        })
    }

    /// Our own identity.
    pub fn local_id(&self) -> PeerId {
        self.id
    }

    /// The configuration that it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many datagrams of one size the driver can send at a time (GSO); 1 until it says.
    pub fn set_segments_max(&mut self, segments: usize) {
        self.transport.set_segments_max(segments);
    }

    /// A datagram has arrived. Bad bytes are counted, and never an error.
    ///
    /// An IPv4-mapped address, which a socket bound to `[::]` gives, is the IPv4 address.
    pub fn handle_datagram(&mut self, now: Instant, mut datagram: Datagram) {
        self.now = now;
        datagram.remote = address::canonical(datagram.remote);
        datagram.local_ip = datagram.local_ip.map(|ip| ip.to_canonical());
        self.admit(now, datagram);
    }

    /// A deadline has come. Early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        while let Some(timer) = self.deadlines.pop_due(now) {
            self.fire(now, timer);
        }
        self.settle(now);
    }

    /// The next event: for a driver that has to tell what one call has caused from what the next
    /// one will. [`poll_action`](Self::poll_action) hands out what this leaves.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        self.now = now;
        self.settle(now);
        self.events.pop_front()
    }

    /// The next thing to do. The bytes of a [`Transmit`](crate::Transmit) are in `buf`, which is cleared first.
    ///
    /// Every [`Action::Notify`] comes before the first [`Action::Transmit`]. Packets are built
    /// when they are asked for, from the state at that moment; connections take turns of as many
    /// bytes as one burst may have ([`set_segments_max`](Self::set_segments_max)).
    pub fn poll_action(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Action> {
        if let Some(event) = self.poll_event(now) {
            return Some(Action::Notify(event));
        }
        if let Some(transmit) = self.transport.poll_reply(buf) {
            return Some(Action::Transmit(transmit));
        }
        while let Some(link) = self.transport.next_ready() {
            // While it has packets it stays in the row, and the machine is due at once: its own
            // deadline counts when it has none left.
            if let Some(transmit) = self.next_packets(now, link, buf) {
                return Some(Action::Transmit(transmit));
            }
            self.arm_quic(now, link);
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; at once while actions wait.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let has_turn = self.row.is_roused() || self.is_room_to_tell() || self.is_room_to_read();
        if !self.events.is_empty() || !self.transport.is_drained() || has_turn {
            return Some(Deadline {
                at: self.now,
                reason: DeadlineReason::Undrained,
            });
        }
        let (at, timer) = self.deadlines.first()?;
        let reason = timer.reason();
        Some(Deadline { at, reason })
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Quic(link) => self.transport.handle_timeout(now, link),
            Timer::Handshake(link) => self.handshake_timed_out(now, link),
            Timer::Health(key) => self.look_at_health(now, key),
            Timer::Flush(key) => self.batch_is_due(now, key),
            Timer::Acknowledge(key) => self.acknowledge(key),
            Timer::Backoff(key) => self.backoff_ended(now, key),
            Timer::Idle(key) => self.expire_idle(now, key),
            Timer::Session(key) => self.session_is_due(now, key),
            Timer::Stable(key) => self.proved_stable(key),
            Timer::Stall(key) => self.stall_is_due(now, key),
            Timer::Revisit(key) => self.revisit(now, key),
            Timer::Row => self.pump_dials(now),
            Timer::Room => self.tell_waiting(now),
            Timer::Close => self.finish(now),
        }
    }

    /// Lets every connection that something has happened to say what, until none has anything.
    ///
    /// Ends come last: of two connections of one peer, the one that stays is confirmed before the
    /// other is gone, in whichever order their datagrams arrived.
    fn settle(&mut self, now: Instant) {
        loop {
            while let Some(link) = self.transport.next_dirty() {
                self.settle_link(now, link);
                self.transport.mark_ready(link);
                while self.transport.serve_past_deadline(now, link) {
                    self.settle_link(now, link);
                }
                self.arm_quic(now, link);
            }
            if self.let_one_read().is_some() {
                continue;
            }
            let Some(link) = self.endings.pop_front() else {
                if !self.row.is_roused() {
                    break;
                }
                self.pump_dials(now);
                continue;
            };
            let ending = self
                .transport
                .link_mut(link)
                .and_then(|link| link.ending.take());
            debug_assert!(ending.is_some(), "a link stays until its end is told");
            if let Some(ending) = ending {
                self.ended(now, link, ending);
            }
            self.transport.mark_dirty(link);
        }
        self.finish_when_flushed(now);
        self.tell_waiting(now);
    }

    /// Arms the deadline of a connection, which is later than `now`.
    fn arm_quic(&mut self, now: Instant, link: LinkId) {
        let deadline = self.transport.deadline(now, link);
        self.deadlines.set(Timer::Quic(link), deadline);
    }

    /// Moves a peer along the lifecycle, and says so.
    fn moved(&mut self, key: PeerKey, cause: Cause, reason: Reason) {
        let Some(peer) = self.peers.get_mut(key) else {
            return;
        };
        match lifecycle::next(peer.status, cause) {
            Move::To(to) => {
                let from = std::mem::replace(&mut peer.status, to);
                self.connected += usize::from(to == ConnectionStatus::Connected);
                self.connected -= usize::from(from == ConnectionStatus::Connected);
                let peer = peer.id;
                tracing::info!(?peer, ?from, ?to, %reason, "connection status");
                self.events.push_back(Event::StatusChanged {
                    peer,
                    from,
                    to,
                    reason,
                });
            }
            Move::Stay => {}
            Move::Impossible => {
                debug_assert!(false, "{cause:?} in {:?}: {reason}", peer.status);
            }
        }
    }

    fn new_line(&mut self) -> LineId {
        LineId(self.rng.bytes())
    }

    fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.find(id)
    }

    /// How well a peer can be reached; `None` while it is not connected.
    pub fn health(&self, peer: PeerId) -> Option<Health> {
        self.peer(peer)?.health()
    }

    /// The state of a peer's connection; `None` if the peer is not known.
    pub fn status(&self, peer: PeerId) -> Option<ConnectionStatus> {
        Some(self.peer(peer)?.status)
    }
}
