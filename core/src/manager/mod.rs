//! The machine: the face that the application and its driver see, and the loop behind it.
//!
//! `Manager` owns the rooms and decides nothing. A handler looks its peer up once, hands a room what it may
//! touch, and marks the peer; [`Manager::settle`] works the marks off, in one order. Rooms in the order in
//! which they may call each other, from the face down:
//!
//! - `verbs`: what the application asks for, `staged`: what other threads have asked for on their own;
//!   `views`: what it may look at.
//! - `streams`: what a connection delivers, and its end; `admission`: peers that dial us.
//! - `slot_taking`: slots for dials and arrivals; `expiring`: connections and sessions whose time is up;
//!   `ending`: the end of the machine and of peers; `packets`: what goes into packets; `room`: callers that
//!   wait for room.
//! - `pairing`: the connections of one peer.
//! - `deriving`: what follows from a peer's state.
//! - `dialling`: addresses, attempts, backoff.
//! - `session`: the streams of messages of one peer; `datagrams`, `liveness`.
//! - `shared`: configuration, `timers`, `report`, `budget`, `work`, `closing`, `draws`; `peer`: state.

mod admission;
mod budget;
mod closing;
mod datagrams;
mod deriving;
mod dialling;
mod draws;
mod ending;
mod expiring;
mod liveness;
mod packets;
mod pairing;
mod peer;
mod report;
mod room;
mod session;
mod shared;
mod slot_taking;
mod staged;
mod streams;
mod timers;
mod verbs;
mod views;
mod work;

use std::{sync::Arc, time::Instant};

use self::{
    closing::Closing,
    peer::Peers,
    session::{acknowledging, batches},
    shared::Shared,
    timers::Timer,
};
use crate::{
    Action, Config, ConfigError, Credentials, Datagram, Deadline, DeadlineReason, Event,
    Incarnation, address,
    peer::LinkId,
    rng::{self, Rng},
    slots::Slots,
    transport::Transport,
};

/// The pure machine: facts and time in, actions out.
///
/// Feed it facts ([`handle_datagram`](Self::handle_datagram),
/// [`handle_timeout`](Self::handle_timeout)) and the application's verbs, then drain
/// [`poll_action`](Self::poll_action), then wait until [`poll_timeout`](Self::poll_timeout) or the
/// next fact. It has no clock, socket, thread or lock, and no randomness but its seed.
pub struct Manager {
    peers: Peers,
    transport: Transport,
    slots: Slots,
    shared: Shared,
    now: Instant,
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
        let salt = incarnation.random.to_be_bytes();
        let look_up_seed = rng::derive(&seed, "look up", &salt);
        let look_up_seed = u64::from_be_bytes(Rng::new(look_up_seed).bytes());
        let draws = rng::derive(&seed, "draws", &salt);
        let id = credentials.local_id();
        Ok(Self {
            peers: Peers::new(look_up_seed),
            transport: Transport::new(&config, credentials, incarnation, &seed, now),
            slots: Slots::new(&config, look_up_seed, now),
            shared: Shared::new(config, id, incarnation, draws, look_up_seed, now),
            now,
        })
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
        admission::handle_datagram(now, &mut self.transport, &mut self.shared, datagram);
    }

    /// A deadline has come. Early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        while let Some(timer) = self.shared.timers.pop_due(now) {
            self.fire(now, timer);
        }
        self.settle(now);
    }

    /// The next event: for a driver that has to tell what one call has caused from what the next
    /// one will. [`poll_action`](Self::poll_action) hands out what this leaves.
    pub fn poll_event(&mut self, now: Instant) -> Option<Event> {
        self.now = now;
        self.settle(now);
        self.shared.report.events.pop_front()
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
            let Self {
                peers,
                transport,
                shared,
                ..
            } = self;
            let transmit = packets::poll(now, link, peers, transport, shared, buf);
            if let Some(transmit) = transmit {
                return Some(Action::Transmit(transmit));
            }
            arm_quic(now, link, &mut self.transport, &mut self.shared);
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; at once while actions wait.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if is_undrained(self) {
            return Some(Deadline {
                at: self.now,
                reason: DeadlineReason::Undrained,
            });
        }
        let (at, timer) = self.shared.timers.first()?;
        let reason = timer.reason();
        Some(Deadline { at, reason })
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        let Self {
            peers,
            transport,
            slots,
            shared,
            ..
        } = self;
        match timer {
            Timer::Quic(link) => transport.handle_timeout(now, link),
            Timer::Handshake(link) => {
                admission::handshake_timed_out(now, link, peers, transport, slots, shared);
            }
            Timer::Health(key) => {
                pairing::monitoring::is_due(now, peers.owner(key), transport, shared);
            }
            Timer::Flush(key) => batches::batch_is_due(now, peers.owner(key), shared),
            Timer::Acknowledge(key) => {
                acknowledging::acknowledge(peers.owner(key), transport, shared);
            }
            Timer::Backoff(key) => dialling::backoff_ended(peers.owner(key), shared),
            Timer::Idle(key) => {
                expiring::idle_is_due(now, peers.owner(key), transport, slots, shared);
            }
            Timer::Session(key) => {
                expiring::session_is_due(now, peers.owner(key), transport, slots, shared);
            }
            Timer::Stable(key) => dialling::proved_stable(peers.owner(key)),
            Timer::Stall(key) => acknowledging::stall_is_due(now, peers.owner(key), shared),
            Timer::Reconnect(key) => pairing::reconnect::is_due(peers.owner(key), shared),
            Timer::Dials => slots.wake(),
            // Both are looked after by the loop.
            Timer::Room => {}
            Timer::Close => ending::end_all(now, peers, transport, slots, shared),
        }
    }

    /// Works off everything that is marked, until nothing is.
    ///
    /// What follows from the state of peers goes first, then dials, then what has arrived on connections.
    /// Ends come last: of two connections of one peer, the one that stays is confirmed before the other is
    /// gone, in whichever order their datagrams arrived.
    fn settle(&mut self, now: Instant) {
        // Most polls find nothing to do, and must cost next to nothing.
        let is_closing = matches!(
            self.shared.closing,
            Closing::Flushing { .. } | Closing::Ending { .. }
        );
        if has_marks(&self.slots, &self.shared) || self.transport.has_news() || is_closing {
            self.work_off(now);
        }
    }

    #[inline(never)]
    fn work_off(&mut self, now: Instant) {
        while self.follow_up_one(now) || self.handle_one(now) {}
        room::report(now, &mut self.peers, &mut self.shared);
    }

    /// Draws the consequences of a verb at once where they are a dial: an explanation or a verdict that is
    /// asked for next knows of it.
    fn follow_up(&mut self, now: Instant) {
        while self.follow_up_one(now) {}
    }

    /// Derives what follows from the state of one peer, or runs the dial queue. Returns whether there was
    /// anything to do.
    fn follow_up_one(&mut self, now: Instant) -> bool {
        let Self {
            peers,
            transport,
            slots,
            shared,
            ..
        } = self;
        if let Some(key) = shared.work.next_stale() {
            if let Some(peer) = peers.get_mut(key) {
                deriving::derive(now, peer, transport, slots, shared);
            }
        } else if let Some(key) = shared.work.next_leaving() {
            ending::remove(key, peers, slots, shared);
        } else if slots.is_awake() {
            slot_taking::run_dials(now, peers, transport, slots, shared);
        } else {
            return false;
        }
        true
    }

    /// Handles what has arrived on one connection, or goes on with closing. Returns whether there was
    /// anything to do.
    fn handle_one(&mut self, now: Instant) -> bool {
        let Self {
            peers,
            transport,
            slots,
            shared,
            ..
        } = self;
        if let Some(link) = transport.next_dirty() {
            streams::handle_news(now, link, peers, transport, slots, shared);
            transport.mark_ready(link);
            while transport.serve_past_deadline(now, link) {
                streams::handle_news(now, link, peers, transport, slots, shared);
            }
            arm_quic(now, link, &mut self.transport, &mut self.shared);
        } else if let Some(key) = shared.budget.next_to_read() {
            if let Some(peer) = peers.get_mut(key) {
                peer.is_held_back = false;
                transport.mark_all_dirty(peer.links.confirmed());
            }
        } else if let Some(link) = shared.work.next_ended() {
            streams::handle_end(now, link, peers, transport, slots, shared);
        } else {
            return ending::go_on(now, peers, transport, slots, shared);
        }
        true
    }

    // The end

    /// Flushes every peer, says goodbye, and ends with [`Event::Closed`], after `close_timeout` at
    /// the latest. That event is the last one; the packets that follow it in the same drain tell
    /// the peers.
    pub fn close(&mut self, now: Instant) {
        self.now = now;
        ending::flush_all(now, &mut self.peers, &mut self.shared);
    }

    /// Like [`close`](Self::close), without flushing: the next drain says goodbye and ends.
    pub fn abort(&mut self, now: Instant) {
        self.now = now;
        let Self {
            peers,
            transport,
            slots,
            shared,
            ..
        } = self;
        ending::end_all(now, peers, transport, slots, shared);
    }
}

/// Arms the deadline of a connection, which is later than `now`.
fn arm_quic(now: Instant, link: LinkId, transport: &mut Transport, shared: &mut Shared) {
    let deadline = transport.deadline(now, link);
    shared.timers.set(Timer::Quic(link), deadline);
}

fn is_undrained(manager: &Manager) -> bool {
    let shared = &manager.shared;
    !shared.report.events.is_empty()
        || !manager.transport.is_drained()
        || has_marks(&manager.slots, shared)
        || matches!(shared.closing, Closing::Ending { .. })
}

/// Whether anything is marked that the loop works off, but for connections.
fn has_marks(slots: &Slots, shared: &Shared) -> bool {
    !shared.work.is_empty()
        || slots.is_awake()
        || shared.budget.is_room_to_read()
        || room::is_to_report(shared)
}
