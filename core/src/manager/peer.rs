//! What the machine knows about one peer, and the table of all of them.

use std::{collections::VecDeque, net::SocketAddr, ops::Range, time::Duration, time::Instant};

use slab::Slab;

use crate::{
    Config, ConnectionStatus, Incarnation, PeerId, PeerMetrics, Reason,
    index::LookUp,
    peer::{
        PeerKey,
        backoff::Failures,
        datagrams::Datagrams,
        doubt::Doubt,
        inbox::Inbox,
        links::Links,
        outbox::Outbox,
        pool::Evictable,
        processes::Processes,
        tenure::{Tenure, Turn},
    },
    wire::frame::{Accepts, LineId},
};

/// One peer.
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) standing: Standing,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) status: ConnectionStatus,
    pub(super) links: Links,
    pub(super) processes: Processes,
    pub(super) failures: Failures,
    pub(super) doubt: Doubt,
    /// No dial before this moment, whoever asks.
    pub(super) not_before: Option<Instant>,
    /// Why the last attempt or connection failed.
    pub(super) last_failure: Option<Reason>,
    pub(super) redial: Redial,
    pub(super) last_used: Instant,
    pub(super) evictable: Evictable,
    pub(super) tenure: Tenure,
    /// What had passed when the present connection began.
    pub(super) passed_before: Passed,
    /// Since when it comes and finds no room.
    pub(super) turned_away: Option<Instant>,
    pub(super) session: Session,
    pub(super) datagrams: Datagrams,
    pub(super) flushes: VecDeque<Flush>,
    pub(super) wanted_room: Option<usize>,
    pub(super) readable: Announced,
    pub(super) counts: PeerMetrics,
    pub(super) latency: Average,
    /// How far the peer had come when its deadline for coming further was armed.
    pub(super) stalled_at: Option<u64>,
    /// Its part in the machine's count of queued bytes.
    pub(super) counted_bytes: usize,
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

/// Whether `Readable` was said since the inbox was last empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced {
    No,
    Yes,
}

/// What outlives connections.
pub(super) struct Session {
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    /// Which process we are to the peer, if not the one that we have been from the start.
    pub(super) ours: Option<Incarnation>,
    /// The peer's line as its last hello named it.
    pub(super) their_line: Option<LineId>,
    /// What the peer accepts, as its last hello said.
    pub(super) accepts: Option<Accepts>,
    /// Above zero while the peer holds something for us, as it last said: bytes, or messages in a
    /// hello.
    pub(super) their_held: u64,
    /// What we last said that we hold for it.
    pub(super) held_reported: u64,
    /// The smaller of both ends' timeouts.
    pub(super) timeout: Duration,
    pub(super) expiry: Expiry,
}

/// How close to its end a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    NotDue,
    /// Its time is up, and one last dial decides.
    LastDial,
}

/// A `flush` that waits, or a message that is to be confirmed.
#[derive(Debug, Clone)]
pub(super) struct Flush {
    pub(super) token: u64,
    /// The numbers of the messages that it covers.
    pub(super) messages: Range<u64>,
}

impl Flush {
    /// Whether it covers one of these.
    pub(super) fn covers(&self, messages: &Range<u64>) -> bool {
        self.messages.start < messages.end && messages.start < self.messages.end
    }
}

/// An exponential average of delays.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Average(Option<Duration>);

impl Average {
    /// Adds a sample with a weight of one eighth, as RFC 6298 does for round-trip times.
    pub(super) fn add(&mut self, sample: Duration) {
        self.0 = Some(self.0.map_or(sample, |mean| (mean * 7 + sample) / 8));
    }

    pub(super) fn get(self) -> Duration {
        self.0.unwrap_or_default()
    }
}

impl Peer {
    pub(super) fn new(
        id: PeerId,
        standing: Standing,
        line: LineId,
        config: &Config,
        now: Instant,
    ) -> Self {
        let outbox = Outbox::new(line, config.batch_limits(), config.outbox_bytes_max);
        Self {
            id,
            standing,
            addresses: Vec::new(),
            status: ConnectionStatus::New,
            links: Links::default(),
            processes: Processes::default(),
            failures: Failures::default(),
            doubt: Doubt::default(),
            not_before: None,
            last_failure: None,
            redial: Redial::OnDemand,
            last_used: now,
            evictable: Evictable::Yes,
            tenure: Tenure::default(),
            passed_before: Passed::default(),
            turned_away: None,
            session: Session {
                outbox,
                inbox: Inbox::new(config.inbox_bytes_max),
                ours: None,
                their_line: None,
                accepts: None,
                their_held: 0,
                held_reported: 0,
                timeout: config.session_timeout,
                expiry: Expiry::NotDue,
            },
            datagrams: Datagrams::default(),
            flushes: VecDeque::new(),
            wanted_room: None,
            readable: Announced::No,
            counts: PeerMetrics::new(),
            latency: Average::default(),
            stalled_at: None,
            counted_bytes: 0,
        }
    }

    /// Whether messages can be sent at this moment.
    pub(super) fn is_live(&self) -> bool {
        self.links.is_live()
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
        !self.session.outbox.outstanding().is_empty()
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

    /// Whether the connection that has ended was of use to whichever end had something to say. What
    /// waits for an application to read has not waited for the connection.
    pub(super) fn turn(&self) -> Turn {
        let Passed { sent, received } = self.passed_before;
        let passed = self.passed();
        let outbox = &self.session.outbox;
        let theirs = self.session.their_held > 0 && self.session.inbox.bytes() == 0;
        let stuck =
            outbox.awaits_passage() && passed.sent == sent || theirs && passed.received == received;
        match stuck {
            true => Turn::Fruitless,
            false => Turn::Fruitful,
        }
    }

    /// Bytes of a message that the peer is known not to refuse, if we would not.
    pub(super) fn message_bytes_max(&self, config: &Config) -> usize {
        let theirs = self.session.accepts.map(|accepts| accepts.message_bytes);
        let theirs = theirs.map_or(usize::MAX, |bytes| bytes as usize);
        theirs.min(config.message_bytes_max)
    }

    /// Bytes in its queues.
    pub(super) fn queued_bytes(&self) -> usize {
        self.session.outbox.bytes() + self.session.inbox.bytes()
    }
}

/// All peers.
pub(super) struct Peers {
    table: Slab<Peer>,
    keys: LookUp<PeerId, PeerKey>,
}

impl Peers {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            table: Slab::new(),
            keys: LookUp::new(seed),
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

    pub(super) fn get(&self, key: PeerKey) -> Option<&Peer> {
        self.table.get(key.index())
    }

    pub(super) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.table.get_mut(key.index())
    }

    pub(super) fn insert(&mut self, peer: Peer) -> PeerKey {
        let id = peer.id;
        let index = self.table.insert(peer);
        let key = PeerKey::new(u32::try_from(index).expect("invariant: peers_max is below 2^32"));
        self.keys.insert(id, key);
        key
    }

    pub(super) fn remove(&mut self, key: PeerKey) -> Option<Peer> {
        let peer = self.table.try_remove(key.index())?;
        self.keys.remove(&peer.id);
        Some(peer)
    }

    /// Every key, in order of the table.
    pub(super) fn keys(&self) -> Vec<PeerKey> {
        let index = |(index, _)| PeerKey::new(index as u32);
        self.table.iter().map(index).collect()
    }
}
