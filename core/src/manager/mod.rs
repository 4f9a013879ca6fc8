//! The machine: the face that the application and its driver see, and the loop behind it.
//!
//! `Manager` owns the rooms and decides nothing. A handler looks its peer up once, hands a room what it may
//! touch, and marks the peer; [`Manager::settle`] works the marks off, in one order. Rooms in the order in
//! which they may call each other, from the face down:
//!
//! - `driver`: what only an event loop asks for, on top of the verbs.
//! - `verbs`: what the application asks for; `views`: what it may look at.
//! - `streams`: what a connection delivers, and its end; `admission`: peers that dial us.
//! - `pressure`: memory within its bound; `slot_taking`: slots for dials and arrivals; `expiring`: connections and
//!   sessions whose time is up; `ending`: the end of the machine and of peers; `packets`: what goes into packets; `room`: callers that
//!   wait for room.
//! - `pairing`: the connections of one peer.
//! - `deriving`: what follows from a peer's state.
//! - `dialling`: addresses, attempts, backoff.
//! - `session`: the streams of messages of one peer; `datagrams`, `liveness`.
//! - `shared`: configuration, `timers`, `report`, `budget`, `work`, `closing`, `draws`; `peer`: state.

mod admission;
mod budget;
mod closing;
mod context;
mod datagrams;
mod deriving;
mod dialling;
mod draws;
mod driver;
mod ending;
mod expiring;
mod liveness;
mod packets;
mod pairing;
mod peer;
mod pressure;
mod receiving;
mod report;
mod room;
mod session;
mod shared;
mod slot_taking;
mod streams;
mod timers;
mod verbs;
mod views;
mod work;
#[cfg(all(test, any(feature = "ring", feature = "aws-lc-rs")))]
mod worn_keys;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::driver::Driver;
use self::{
    closing::Closing,
    context::Parts,
    peer::Peers,
    session::{acknowledging, batches, lifetimes},
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

/// When input that was left is gone on with: at once, and yet later than `now`, as every deadline after a drain.
const SOON: Duration = Duration::from_nanos(1);

/// The pure machine: facts and time in, actions out.
///
/// Feed it facts ([`handle_datagram`](Self::handle_datagram),
/// [`handle_timeout`](Self::handle_timeout)) and the application's verbs, then drain
/// [`poll_action`](Self::poll_action), then wait until [`poll_timeout`](Self::poll_timeout) or the
/// next fact. It has no clock, socket, thread or lock, and no randomness but its seed.
///
/// # Peers that are not known
///
/// A peer is known once it was added or blocked or has dialled us, until it is forgotten; one that has dialled
/// us and was not added is forgotten by itself once nothing of it is left. Of a peer that is not known
///
/// - a view returns `None`;
/// - a verb returns [`PeerError::UnknownPeer`](crate::PeerError::UnknownPeer), and changes nothing. Our own id is
///   [`PeerError::OwnId`](crate::PeerError::OwnId), and a verb that accepts nothing more after
///   [`close`](Self::close) returns [`PeerError::Closed`](crate::PeerError::Closed) first.
///
/// [`add_address`](Self::add_address) and [`block`](Self::block) make a peer known.
///
/// # Ways to end
///
/// | way | what ends | queued messages | the other end | a new connection |
/// |---|---|---|---|---|
/// | `disconnect` | the session with a peer, at both ends | `Undelivered` with `Disconnected` | `Disconnected` by `Goodbye`; what it had queued is `Undelivered` | with the next `send` or `connect` of either end |
/// | `forget` | as `disconnect`, and all that is known of the peer | as `disconnect` | as `disconnect` | once an address is added, or when it dials us |
/// | `block` | as `disconnect`, until `unblock` | as `disconnect` | as `disconnect`; its dials fail by `NotAccepted` | after `unblock`, as after `disconnect` |
/// | `close` | the manager, after `close_timeout` at the latest | delivered until then, the others `Undelivered` with `Closed` | as `disconnect` | with a new manager |
/// | `abort`; drop of the last handle | the manager, at once | `Undelivered` with `Closed` | as `disconnect` | with a new manager |
/// | `abandon`; drop of the machine | the manager, at once, as by a crash | lost without an event | `Unresponsive` after `liveness_timeout` | with a new manager, for the peers a `PeerRestarted` |
///
/// Messages of the peer that have arrived can be received after `disconnect` and `block`; `forget` drops them. A peer that is blocked stays blocked when it is forgotten.
/// The handle of quicpool has `abandon` and is dropped; the machine has [`abort`](Self::abort) and is dropped.
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

    /// A datagram has arrived. Bad bytes are counted, and never an error.
    ///
    /// An IPv4-mapped address, which a socket bound to `[::]` gives, is the IPv4 address.
    pub fn handle_datagram(&mut self, now: Instant, mut datagram: Datagram) {
        self.now = now;
        datagram.remote = address::canonical(datagram.remote);
        datagram.local_ip = datagram.local_ip.map(|ip| ip.to_canonical());
        admission::handle_datagram(&mut self.parts(now), datagram);
    }

    /// A deadline has come. Early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.transport.resume_input();
        while let Some(timer) = self.shared.timers.pop_due(now) {
            self.fire(now, timer);
        }
        self.settle(now);
    }

    /// The next thing to do. The bytes of a [`Transmit`](crate::Transmit) are in `buf`, which is cleared first.
    ///
    /// Every [`Action::Notify`] comes before the first [`Action::Transmit`]. Packets are built
    /// when they are asked for, from the state at that moment; connections take turns of as many
    /// bytes as one burst may have ([`set_segments_max`](crate::driver::Driver::set_segments_max)).
    pub fn poll_action(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Action> {
        if let Some(event) = self.next_event(now) {
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
        self.transport.begin_drain();
        None
    }

    fn next_event(&mut self, now: Instant) -> Option<Event> {
        self.now = now;
        self.settle(now);
        self.shared.report.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; at once while actions wait.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        if is_undrained(self) {
            return Some(Deadline {
                at: self.now,
                reason: DeadlineReason::Undrained,
            });
        }
        let first = self.shared.timers.first().map(|(at, timer)| Deadline {
            at,
            reason: timer.reason(),
        });
        if self.transport.has_more_input() {
            let input = Deadline {
                at: self.now + SOON,
                reason: DeadlineReason::Input,
            };
            return Some(first.map_or(input, |first| first.earlier(input)));
        }
        first
    }

    /// The parts of the machine, for functions that touch several.
    fn parts(&mut self, now: Instant) -> Parts<'_> {
        Parts {
            now,
            peers: &mut self.peers,
            transport: &mut self.transport,
            slots: &mut self.slots,
            shared: &mut self.shared,
        }
    }

    fn fire(&mut self, now: Instant, timer: Timer) {
        let parts = &mut self.parts(now);
        let Parts {
            peers,
            transport,
            shared,
            ..
        } = parts;
        match timer {
            Timer::Quic(link) => transport.handle_timeout(now, link),
            Timer::Handshake(link) => admission::handshake_timed_out(parts, link),
            Timer::Health(key) => {
                pairing::monitoring::is_due(now, peers.owner(key), transport, shared);
            }
            Timer::Flush(key) => batches::batch_is_due(now, peers.owner(key), shared),
            Timer::Acknowledge(key) => {
                acknowledging::acknowledge(peers.owner(key), transport, shared);
            }
            Timer::Backoff(key) => dialling::backoff_ended(peers.owner(key), shared),
            Timer::Idle(key) => expiring::idle_is_due(&mut parts.at(key)),
            Timer::Session(key) => expiring::session_is_due(&mut parts.at(key)),
            Timer::Lifetime(key) => lifetimes::are_due(now, peers.owner(key), shared),
            Timer::Stable(key) => dialling::proved_stable(peers.owner(key)),
            Timer::Stall(key) => acknowledging::stall_is_due(now, peers.owner(key), shared),
            Timer::Reconnect(key) => pairing::reconnect::is_due(peers.owner(key), shared),
            Timer::Dials => parts.slots.wake(),
            // Both are looked after by the loop.
            Timer::Room => {}
            Timer::Close => ending::end_all(parts),
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
        let parts = &mut self.parts(now);
        if let Some(key) = parts.shared.work.next_stale() {
            if parts.peers.get(key).is_some() {
                deriving::derive(&mut parts.at(key));
            }
        } else if let Some(key) = parts.shared.work.next_leaving() {
            ending::remove(parts, key);
        } else if parts.slots.is_awake() {
            slot_taking::run_dials(parts);
        } else {
            return false;
        }
        true
    }

    /// Handles what has arrived on one connection, or goes on with closing. Returns whether there was
    /// anything to do.
    fn handle_one(&mut self, now: Instant) -> bool {
        let parts = &mut self.parts(now);
        if let Some(link) = parts.transport.next_dirty() {
            streams::handle_news(parts, link);
            parts.transport.settle(link);
            parts.transport.end_turn(link);
            while parts.transport.serve_past_deadline(now, link) {
                streams::handle_news(parts, link);
            }
            arm_quic(now, link, parts.transport, parts.shared);
        } else if let Some(key) = parts.shared.budget.next_to_grant() {
            if let Some(peer) = parts.peers.get_mut(key) {
                peer.is_held_back = false;
                parts.transport.mark_all_dirty(peer.links.confirmed());
            }
        } else if let Some(key) = parts.shared.budget.next_unfinished() {
            if let Some(peer) = parts.peers.get_mut(key) {
                parts.transport.mark_all_dirty(peer.links.confirmed());
            }
        } else if let Some(link) = parts.shared.work.next_ended() {
            streams::handle_end(parts, link);
        } else {
            return ending::go_on(parts) || pressure::relieve(parts);
        }
        true
    }

    // The end

    /// Flushes every peer, sends goodbyes, and ends with [`Event::Closed`], after `close_timeout` at the
    /// latest. That event is the last one; the packets that follow it in the same drain carry the goodbyes.
    pub fn close(&mut self, now: Instant) {
        self.now = now;
        ending::flush_all(now, &mut self.peers, &mut self.shared);
    }

    /// Like [`close`](Self::close), without flushing: the next drain sends goodbyes and ends.
    pub fn abort(&mut self, now: Instant) {
        self.now = now;
        ending::end_all(&mut self.parts(now));
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

/// Whether anything is marked that the loop works off, but for connections. Asked at each poll: inlined it is one
/// percent less of an acknowledgement.
#[inline]
fn has_marks(slots: &Slots, shared: &Shared) -> bool {
    !shared.work.is_empty()
        || slots.is_awake()
        || shared.budget.is_room_to_grant()
        || room::is_to_report(shared)
}
