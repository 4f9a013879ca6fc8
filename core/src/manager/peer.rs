//! Holds the state of one peer, and the table of all peers.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use slab::Slab;

use crate::{
    Config, ConnectionStatus, Health, HealthReason, Incarnation, PeerId, Reason,
    index::LookUp,
    peer::{
        PeerKey,
        addresses::Addresses,
        backoff::Failures,
        batch::BatchLimits,
        datagrams::Datagrams,
        flushes::Flushes,
        health::Monitor,
        inbox::Inbox,
        links::{Dialling, Links},
        outbox::Outbox,
        processes::Processes,
    },
    slots::{Class, Hold, HoldTime, Priority},
    wire::{
        hello::{Accepts, HalfId},
        record,
    },
};

/// One peer.
pub(super) struct Peer {
    /// Its place in the table.
    pub(super) key: PeerKey,
    pub(super) id: PeerId,
    pub(super) standing: Standing,
    pub(super) addresses: Addresses,
    pub(super) status: ConnectionStatus,
    pub(super) links: Links,
    pub(super) processes: Processes,
    pub(super) failures: Failures,
    /// A dial has given its slot away since one was confirmed or failed.
    pub(super) has_given_way: bool,
    /// How well it can be reached, while it is connected.
    pub(super) monitor: Option<Box<Monitor>>,
    /// No dial begins before this moment.
    pub(super) not_before: Option<Instant>,
    /// Why the last attempt or connection failed.
    pub(super) last_failure: Option<Box<Reason>>,
    pub(super) redial: Redial,
    /// The priority of the next dial, or of the one that is under way.
    pub(super) priority: Priority,
    pub(super) last_used: Instant,
    /// Whether its slot may be taken away for no other peer.
    pub(super) is_protected: bool,
    pub(super) hold_time: HoldTime,
    /// What had passed when the present connection began.
    pub(super) passed_before: Passed,
    /// Since when it dials us and is refused for want of room.
    pub(super) refused_since: Option<Instant>,
    pub(super) session: Session,
    /// Only of a peer that is connected, or that has some queued.
    pub(super) datagrams: Option<Box<Datagrams>>,
    /// Hardly any peer has some, and there may be many peers.
    pub(super) flushes: Option<Box<Flushes>>,
    pub(super) wanted_room: Option<Box<Wanted>>,
    /// It gets no credit until other inboxes hold less.
    pub(super) is_held_back: bool,
    /// `Readable` was reported since the inbox was last empty.
    pub(super) is_readable_reported: bool,
    /// It is on the work list.
    pub(super) is_stale: bool,
    /// Random streams drawn for it.
    pub(super) draws: u32,
    pub(super) counts: Counts,
    pub(super) latency: Average,
    /// How far the peer had come when its deadline for coming further was armed; above all numbers if none was.
    pub(super) stalled_at: u64,
    /// Its part in the machine's count of what is queued.
    pub(super) counted: Queued,
}

/// What is in queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Queued {
    /// Bytes of messages.
    pub(super) bytes: usize,
    /// Bytes of memory behind them, and of all else that is there for one peer.
    pub(super) memory: usize,
    /// Bytes that outboxes hold, with what batches cost.
    pub(super) outbox: usize,
    /// Bytes that inboxes hold, with what records cost, and those that peers may send at any time.
    pub(super) inbox: usize,
    /// Messages that were read and are not taken.
    pub(super) handed: usize,
}

/// Room in an outbox that a caller waits for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) bytes: usize,
    /// Set while it is for other peers to make it.
    pub(super) place: Option<Place>,
}

/// A place among the callers that wait for other peers to hold less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Bytes that must be free.
    pub(super) needed: usize,
    pub(super) came: u64,
}

impl Queued {
    /// Counts `after` in place of `before`.
    pub(super) fn replace(&mut self, before: Self, after: Self) {
        self.bytes = self.bytes + after.bytes - before.bytes;
        self.memory = self.memory + after.memory - before.memory;
        self.outbox = self.outbox + after.outbox - before.outbox;
        self.inbox = self.inbox + after.inbox - before.inbox;
        self.handed = self.handed + after.handed - before.handed;
    }
}

/// Counters of a peer, as [`PeerMetrics`](crate::PeerMetrics) reports them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) messages_accepted: u64,
    pub(super) messages_delivered: u64,
    pub(super) messages_received: u64,
    pub(super) messages_taken: u64,
    pub(super) dials: u32,
    pub(super) connections: u32,
    pub(super) failures: u32,
    pub(super) pool_hits: u64,
    pub(super) pool_misses: u64,
}

/// Messages that have passed: sent and known to have arrived, and received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// How a peer became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It dialled us.
    Stranger,
    /// The user added it.
    Added,
    /// The user does not want it.
    Blocked,
}

/// Whether the machine dials by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redial {
    /// While messages wait at either end.
    OnDemand,
    /// Also after a loss, since the user asked for a connection.
    Wanted,
    /// Not until the user asks again: trying would not help.
    Barred,
}

/// What outlives connections.
pub(super) struct Session {
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    /// Credit that the peer has and has not used, on all connections.
    pub(super) granted: u32,
    /// Which process we are to the peer, if not the one that we have been from the start.
    pub(super) ours: Option<Box<Incarnation>>,
    /// The peer's half as its last hello named it.
    pub(super) their_half: Option<HalfId>,
    /// What the peer accepts, by its last hello.
    pub(super) accepts: Option<Accepts>,
    /// Bytes that the peer holds for us, by its last frame.
    pub(super) their_held: u64,
    /// Bytes that we hold for it, as last reported to it.
    pub(super) held_reported: u64,
    /// The smaller of both ends' timeouts.
    pub(super) timeout: Duration,
    pub(super) expiry: Expiry,
    pub(super) reachability: Reachability,
}

/// Whether the peer can dial us, by its last hello of this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reachability {
    /// Its hello has not come.
    Unknown,
    /// It knows an address of ours.
    CanDialUs,
    /// It knows none: if we are to meet, we have to dial.
    CannotDialUs,
}

/// How close to its end a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    NotDue,
    /// Its dial waits for its turn at this end, and its clock stands still.
    Paused {
        left: Duration,
    },
    /// Its time is up, and one last dial decides.
    LastDial,
}

/// An exponential average of delays, in nanoseconds; 0 without a sample.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Average(u64);

impl Average {
    /// Adds a sample with a weight of one eighth, as RFC 6298 does for round-trip times.
    pub(super) fn add(&mut self, sample: Duration) {
        // No delay of a process that runs is longer than 2^60 ns, which are 36 years.
        let sample = u64::try_from(sample.as_nanos()).map_or(1 << 60, |nanos| nanos.min(1 << 60));
        self.0 = match self.0 {
            0 => sample,
            mean => (mean * 7 + sample) / 8,
        };
    }

    pub(super) fn get(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl Peer {
    pub(super) fn new(
        id: PeerId,
        standing: Standing,
        line: HalfId,
        config: &Config,
        now: Instant,
    ) -> Self {
        let outbox = Outbox::new(line, BatchLimits::of(config), config.outbox_bytes_max);
        Self {
            key: PeerKey::new(0),
            id,
            standing,
            addresses: Addresses::new(),
            status: ConnectionStatus::New,
            links: Links::default(),
            processes: Processes::default(),
            failures: Failures::default(),
            has_given_way: false,
            monitor: None,
            not_before: None,
            last_failure: None,
            redial: Redial::OnDemand,
            priority: Priority::Background,
            last_used: now,
            is_protected: false,
            hold_time: HoldTime::default(),
            passed_before: Passed::default(),
            refused_since: None,
            session: Session {
                outbox,
                inbox: Inbox::new(config.inbox_bytes_max),
                granted: 0,
                ours: None,
                their_half: None,
                accepts: None,
                their_held: 0,
                held_reported: 0,
                timeout: config.session_timeout,
                expiry: Expiry::NotDue,
                reachability: Reachability::Unknown,
            },
            datagrams: None,
            flushes: None,
            wanted_room: None,
            is_held_back: false,
            is_readable_reported: false,
            is_stale: false,
            draws: 0,
            counts: Counts::default(),
            latency: Average::default(),
            stalled_at: u64::MAX,
            counted: Queued::default(),
        }
    }

    /// What it is to the application, as far as slots are concerned.
    pub(super) const fn class(&self) -> Class {
        match (self.is_protected, self.standing) {
            (true, _) => Class::Protected,
            (false, Standing::Stranger) => Class::Stranger,
            (false, Standing::Added | Standing::Blocked) => Class::Known,
        }
    }

    /// Whether messages can be sent at this moment.
    pub(super) fn is_live(&self) -> bool {
        self.links.is_live()
    }

    /// How well it can be reached; `None` while it is not connected.
    pub(super) fn health(&self) -> Option<Health> {
        Some(self.monitor.as_ref()?.health())
    }

    /// What is wrong with it, if it is connected and anything is.
    pub(super) fn ailment(&self) -> Option<(Health, HealthReason)> {
        let monitor = self.monitor.as_ref()?;
        let health = monitor.health();
        (health != Health::Healthy).then(|| (health, monitor.symptom()))
    }

    /// Whether a dial of ours waits for our dial rate, or for a slot.
    pub(super) fn awaits_dial(&self) -> bool {
        matches!(self.links.dialling(), Dialling::Waiting { .. })
    }

    /// Whether a dial of ours is under way.
    pub(super) fn is_dialling(&self) -> bool {
        self.links.running().is_some()
    }

    /// Whether any connection of the peer is open, confirmed or not.
    pub(super) fn has_links(&self) -> bool {
        self.links.are_open()
    }

    /// Whether messages are held for the peer.
    pub(super) fn is_owed(&self) -> bool {
        let outbox = &self.session.outbox;
        outbox.first_held() < outbox.next()
    }

    /// Whether a handshake is under way with a peer of which messages have come: it may have replaced
    /// the connection that they were acknowledged on.
    pub(super) fn is_about_to_learn(&self) -> bool {
        self.links.unconfirmed().next().is_some() && self.session.inbox.known().is_some()
    }

    /// Whether a connection would be of use.
    pub(super) fn wants_connection(&self) -> bool {
        let wanted = match self.redial {
            Redial::OnDemand => self.is_owed() || self.session.their_held > 0,
            Redial::Wanted => true,
            Redial::Barred => false,
        };
        wanted && self.standing != Standing::Blocked && !self.addresses.is_empty()
    }

    /// Removes an address. A peer without any does not wait for a slot: there is nothing to dial.
    pub(super) fn remove_address(&mut self, address: SocketAddr) {
        self.addresses.remove(address);
        if self.addresses.is_empty() && self.awaits_dial() {
            self.links.stop_waiting();
        }
    }

    /// The flushes of the peer, which are made if there are none.
    pub(super) fn made_flushes(&mut self) -> &mut Flushes {
        self.flushes.get_or_insert_default()
    }

    /// Takes the first flush, if the peer's application has taken everything that it covers.
    pub(super) fn next_flushed(&mut self) -> Option<u64> {
        let first_held = self.session.outbox.first_held();
        self.flushes.as_mut()?.next_taken(first_held)
    }

    /// Whether nothing waits at either end.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_owed() && self.session.their_held == 0 && self.session.inbox.bytes() == 0
    }

    /// What has passed so far.
    pub(super) fn passed(&self) -> Passed {
        Passed {
            sent: self.session.outbox.received(),
            received: self.counts.messages_received,
        }
    }

    /// Whether messages have passed in the hold that has ended, if an end had any. What waits for an
    /// application to read has not waited for the connection.
    pub(super) fn hold(&self) -> Hold {
        let Passed { sent, received } = self.passed_before;
        let passed = self.passed();
        let outbox = &self.session.outbox;
        let theirs = self.session.their_held > 0 && self.session.inbox.bytes() == 0;
        let stuck =
            outbox.awaits_passage() && passed.sent == sent || theirs && passed.received == received;
        match stuck {
            true => Hold::Unproductive,
            false => Hold::Productive,
        }
    }

    /// Bytes of datagrams that wait.
    pub(super) fn datagram_bytes(&self) -> usize {
        let datagrams = self.datagrams.as_ref();
        datagrams.map_or(0, |datagrams| datagrams.bytes())
    }

    /// Bytes of a message that the peer is known not to refuse, if we would not.
    pub(super) fn message_bytes_max(&self, config: &Config) -> usize {
        let theirs = self.session.accepts.map_or(usize::MAX, |accepts| {
            let by_record = record::message_max(accepts.body_bytes as usize);
            by_record.min(accepts.message_bytes as usize)
        });
        theirs.min(config.message_bytes_max)
    }

    /// What is queued for it and from it.
    pub(super) fn queued(&self) -> Queued {
        let (outbox, inbox) = (&self.session.outbox, &self.session.inbox);
        let flushes = self.flushes.as_ref();
        let flushes = flushes.map_or(0, |flushes| flushes.memory());
        let beside = self.addresses.memory() + flushes;
        Queued {
            bytes: outbox.bytes() + inbox.bytes(),
            outbox: outbox.held(),
            inbox: inbox.held() + self.session.granted as usize,
            handed: inbox.handed_out(),
            memory: outbox.memory() + inbox.memory() + beside,
        }
    }

    /// Gives back memory that nothing is in: there may be many peers that are at rest.
    pub(super) fn rest(&mut self) {
        self.session.outbox.rest();
        self.session.inbox.rest();
        self.links.rest();
        self.addresses.rest();
        self.flushes = self.flushes.take().filter(|flushes| !flushes.is_empty());
    }
}

/// Strangers that are looked at for one that makes way.
const STRANGERS_SEEN: usize = 64;

/// All peers.
pub(super) struct Peers {
    /// Each in a place of its own, so that a table that grows has nothing to move, and reserves little.
    table: Slab<Box<Peer>>,
    keys: LookUp<PeerId, PeerKey>,
    strangers: usize,
    /// Strangers in the order in which they came, with some that are none any more.
    came: VecDeque<(PeerKey, PeerId)>,
}

impl Peers {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            table: Slab::new(),
            keys: LookUp::new(seed),
            strangers: 0,
            came: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.table.len(), self.keys.len(), "one key per peer");
        self.table.len()
    }

    pub(super) fn key(&self, id: PeerId) -> Option<PeerKey> {
        self.keys.get(&id)
    }

    pub(super) fn find(&self, id: PeerId) -> Option<&Peer> {
        self.get(self.key(id)?)
    }

    pub(super) fn find_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.get_mut(self.key(id)?)
    }

    pub(super) fn get(&self, key: PeerKey) -> Option<&Peer> {
        self.table.get(key.index()).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.table.get_mut(key.index()).map(Box::as_mut)
    }

    /// Adds a peer, and gives it its key.
    pub(super) fn insert(&mut self, mut peer: Peer) -> &mut Peer {
        let place = self.table.vacant_entry();
        let index = u32::try_from(place.key()).expect("invariant: peers_max is below 2^32");
        peer.key = PeerKey::new(index);
        self.keys.insert(peer.id, peer.key);
        if peer.standing == Standing::Stranger {
            self.strangers += 1;
            self.came.push_back((peer.key, peer.id));
        }
        place.insert(Box::new(peer)).as_mut()
    }

    /// Changes how a peer is known.
    pub(super) fn set_standing(&mut self, key: PeerKey, standing: Standing) {
        let peer = self.owner(key);
        let before = std::mem::replace(&mut peer.standing, standing);
        // No peer becomes a stranger.
        let was_stranger = before == Standing::Stranger && standing != Standing::Stranger;
        self.strangers -= usize::from(was_stranger);
    }

    /// Peers that were not added.
    pub(super) const fn strangers(&self) -> usize {
        self.strangers
    }

    /// Finds a stranger that makes way for a peer that is added: of those that came first, one without a connection
    /// if there is one.
    pub(super) fn stranger_to_go(&mut self) -> Option<PeerKey> {
        let Self { table, came, .. } = self;
        let of = |(key, id): &(PeerKey, PeerId)| {
            let peer = table.get(key.index())?;
            (peer.id == *id && peer.standing == Standing::Stranger).then_some(peer)
        };
        if came.len() > 2 * self.strangers + STRANGERS_SEEN {
            came.retain(|entry| of(entry).is_some());
        }
        while came.front().is_some_and(|entry| of(entry).is_none()) {
            came.pop_front();
        }
        let first = came.iter().take(STRANGERS_SEEN).filter_map(of);
        let first = first.min_by_key(|peer| peer.has_links())?;
        Some(first.key)
    }

    /// The peer that a connection or a deadline belongs to.
    pub(super) fn owner(&mut self, key: PeerKey) -> &mut Peer {
        let peer = self.get_mut(key);
        peer.expect("invariant: a peer is removed after its connections and deadlines")
    }

    pub(super) fn remove(&mut self, key: PeerKey) -> Option<Peer> {
        let peer = self.table.try_remove(key.index())?;
        self.keys.remove(&peer.id);
        self.strangers -= usize::from(peer.standing == Standing::Stranger);
        if self.strangers == 0 {
            self.came = VecDeque::new();
        }
        Some(*peer)
    }

    /// Bytes of memory for the table and what is in it, but for queues.
    pub(super) fn memory(&self) -> usize {
        // A place of a slab has a mark beside its content: taken or free.
        let place = size_of::<(usize, Box<Peer>)>();
        let came = self.came.capacity() * size_of::<(PeerKey, PeerId)>();
        let table = self.table.len() * size_of::<Peer>() + self.table.capacity() * place;
        table + self.keys.memory() + came
    }

    /// Every key, in order of the table.
    pub(super) fn keys(&self) -> Vec<PeerKey> {
        let index = |(index, _)| PeerKey::new(index as u32);
        self.table.iter().map(index).collect()
    }
}
