//! What the machine counts.

use std::time::Duration;

use crate::{ConnectionStatus, Health, Incarnation, PeerId};

/// A manager's state in numbers. Counters run from its start.
///
/// # Memory
///
/// `memory_usage` has all of these, and [`Config::memory_max`](crate::Config::memory_max) bounds it:
///
/// | what is held | bounded by |
/// |---|---|
/// | messages to peers | `outbox_bytes_max` each, half of `memory_max` together |
/// | messages of peers, granted credit, records in part | `inbox_bytes_max` each, a quarter of `memory_max` together, a first credit of each connected peer and one record apart |
/// | datagrams | `datagram_queue_bytes_max` each, a sixteenth of `memory_max` together, the newest of each peer apart |
/// | a connection | 22 KiB, and in QUIC what was granted and at most 32 KiB more; before its greeting 16 KiB |
/// | connections | `connections_max`, up to 4 of each peer before their greeting, and `handshakes_max` |
/// | closed connections | 3 s each, and less while memory is short |
/// | certificates and tickets | 1 KiB each; a sixteenth of `memory_max` |
/// | peers that are only known | about 1.2 KiB each, `peers_max` |
///
/// From seven eighths of `memory_max` on strangers are refused. While more is used than `memory_max`, idle connections
/// are evicted, the least recently used first and protected ones never, and no credit is raised.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct NetworkMetrics {
    /// Messages sent to and taken from peers per second, over the last ten seconds.
    pub messages_per_second: f64,
    /// Peers connected at this moment.
    pub connections: usize,
    /// The mean time from `send` until the peer's application has taken the message, as an
    /// exponential average over acknowledgements; zero until there is one.
    pub avg_latency: Duration,
    /// The mean time from `send` until the message's batch is handed to QUIC, as an exponential
    /// average over batches; zero until there is one.
    pub avg_queue_delay: Duration,
    /// Bytes of memory behind queues and buffers, reserved ones included: of messages that were not
    /// taken, of records in part, of events. Counted, and within 2 % of the truth.
    pub memory_queues: usize,
    /// `memory_queues`, what is known about peers, tickets for resumption, and an estimate of what connections
    /// hold in QUIC and TLS. Within 25 % of the truth, and never more than 10 % under it.
    pub memory_usage: usize,
    /// Every counter.
    pub counters: Counters,
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages accepted by `send`.
    pub messages_accepted: u64,
    /// Messages that the other end's application has taken.
    pub messages_delivered: u64,
    /// Messages reported as undelivered.
    pub messages_undelivered: u64,
    /// Messages that our application has cancelled before they were written.
    pub messages_withdrawn: u64,
    /// Messages that arrived in our inboxes.
    pub messages_received: u64,
    /// Messages that our application has taken.
    pub messages_taken: u64,
    /// Batches written, repeated ones included.
    pub batches_sent: u64,
    /// Messages written again after their connection was lost.
    pub messages_resent: u64,
    /// `send` or `connect` found a live connection.
    pub pool_hits: u64,
    /// `send` or `connect` had to dial, or to join a dial.
    pub pool_misses: u64,
    /// Dials begun.
    pub dials: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Connections confirmed.
    pub connections_confirmed: u64,
    /// Connections confirmed to a peer that had been connected before.
    pub reconnects: u64,
    /// Connections lost to an error.
    pub connections_lost: u64,
    /// Connections closed because they were idle for `pool_ttl`.
    pub expirations: u64,
    /// Connections closed to make room for another peer.
    pub evictions: u64,
    /// Peers connected at one time, at most.
    pub connections_peak: u64,
    /// Handshakes refused because a limit was reached.
    pub handshakes_refused: u64,
    /// Handshakes of others that failed or timed out.
    pub handshakes_failed: u64,
    /// First packets of handshakes that were dropped unread: there were more than 1,000 a second, and their source
    /// had sent several lately. Their senders send them again.
    pub first_packets_dropped: u64,
    /// Datagrams that belong to no connection and begin none.
    pub datagrams_ignored: u64,
    /// Datagrams dropped because their connection has brought more than may wait for its turns.
    pub datagrams_overrun: u64,
    /// Datagrams dropped because they came from another address than the path of their connection has, before it was
    /// confirmed or more than a few a second.
    pub path_changes_refused: u64,
    /// Replies without a connection (Retry, version negotiation, refusals, stateless reset) that
    /// found their queue full.
    pub replies_dropped: u64,
    /// Connections closed because the other end broke the protocol.
    pub violations: u64,
    /// Control frames of unknown types, which were skipped.
    pub frames_skipped: u64,
    /// Streams of unknown types, which were dropped.
    pub streams_dropped: u64,
    /// Connections closed because another peer answered.
    pub wrong_peers: u64,
    /// Datagrams of `send_datagram`, which are sent once.
    pub unreliable: UnreliableCounters,
}

/// What has become of the datagrams of `send_datagram` at this end. They are not the datagrams of
/// UDP, which carry everything.
///
/// What was accepted is `sent`, `crowded_out`, `abandoned`, or waits. What was `received` is `taken`,
/// `overrun`, `discarded`, or waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreliableCounters {
    /// Accepted by `send_datagram`.
    pub accepted: u64,
    /// Put into a packet, which may be lost.
    pub sent: u64,
    /// Dropped unsent: newer ones took their place in a full queue.
    pub crowded_out: u64,
    /// Dropped unsent: their connection ended, or its path carries none so long any more.
    pub abandoned: u64,
    /// Arrived for our application.
    pub received: u64,
    /// Taken by our application.
    pub taken: u64,
    /// Dropped unread: newer ones took their place in a full queue.
    pub overrun: u64,
    /// Dropped unread: our application has disconnected or forgotten their sender, or its session
    /// has ended.
    pub discarded: u64,
    /// Dropped as they arrived: before the connection was confirmed at this end.
    pub early: u64,
    /// Dropped as they arrived: they had arrived before, or were older than the replay window.
    pub replayed: u64,
    /// Dropped as they arrived: the other end has not sealed them.
    pub forged: u64,
    /// Dropped as they arrived: they belong to a flow that this version does not know.
    pub unknown_flow: u64,
}

/// One peer's state in numbers. Counters run from the moment it became known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerMetrics {
    /// The state of its connection.
    pub status: ConnectionStatus,
    /// How well it can be reached; `None` while it is not connected.
    pub health: Option<Health>,
    /// Smoothed round-trip time of the live connection.
    pub rtt: Option<Duration>,
    /// The mean time from `send` until taken; zero until there is one.
    pub avg_latency: Duration,
    /// Messages accepted for it.
    pub messages_accepted: u64,
    /// Messages that its application has taken.
    pub messages_delivered: u64,
    /// Messages that arrived from it.
    pub messages_received: u64,
    /// Messages of it that our application has taken.
    pub messages_taken: u64,
    /// Bytes of messages that it has not taken, and one for each that was taken back or has expired and whose number
    /// it has not acknowledged.
    pub outbox_bytes: usize,
    /// Messages that it is not known to have taken.
    pub outbox_messages: u64,
    /// Bytes of its messages that our application has not taken.
    pub inbox_bytes: usize,
    /// What datagrams to and from it count for while they wait, in bytes.
    pub datagram_bytes: usize,
    /// Dials begun.
    pub dials: u64,
    /// Connections confirmed.
    pub connections: u64,
    /// Dials and connections that ended with an error.
    pub failures: u64,
    /// `send` or `connect` found a live connection.
    pub pool_hits: u64,
    /// `send` or `connect` had to dial, or to join a dial.
    pub pool_misses: u64,
}

/// What both ends call a connection that is confirmed, and no end calls another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionName {
    /// The end that dialled.
    pub dialler: PeerId,
    /// The run of that end's process.
    pub incarnation: Incarnation,
    /// The number of the dial in that run, from 1; later dials have greater ones.
    pub dial: u64,
}

/// How much the machine's maps and queues hold. All zero once every peer is forgotten and every
/// connection has drained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Occupancy {
    /// Peers known.
    pub peers: usize,
    /// Connections, those that are closing included.
    pub connections: usize,
    /// Slots of `connections_max` in use.
    pub slots: usize,
    /// Handshakes of others in progress.
    pub handshakes: usize,
    /// Deadlines armed.
    pub deadlines: usize,
    /// Dials that wait for their turn.
    pub waiting_dials: usize,
    /// Actions that wait to be polled.
    pub actions: usize,
    /// Bytes in outboxes and inboxes, and of datagrams that wait.
    pub queued_bytes: usize,
}
