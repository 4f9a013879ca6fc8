//! What a user may tune: one table of defaults, checked once.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use zeroize::Zeroizing;

use crate::{
    PeerId,
    wire::{hello::Accepts, record},
};

/// Every limit and delay of a manager.
///
/// ```
/// use quicpool_core::Config;
/// use std::time::Duration;
///
/// let mut config = Config::default();
/// config.pool_ttl = Duration::from_secs(60);
/// config.connections_max = 64;
/// assert!(config.check().is_ok());
///
/// config.connections_max = 0;
/// let error = config.check().unwrap_err();
/// assert_eq!(error.field(), "connections_max");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Peers that may be connected at one time. Own dials hold at most three quarters of them.
    /// 1 to 1,000,000; default 1,024.
    pub connections_max: usize,
    /// Handshakes in progress at one time that others began, until their greeting has come. 1 to 65,536; default 64.
    /// Half of them are for addresses that were proved (Retry, RFC 9000 section 8.1.2). While all are taken, one makes
    /// way that has made no progress for 100 ms, of the source with the most of them (an IPv4 address, or the /64 of
    /// an IPv6 address), for a source with fewer.
    pub handshakes_max: usize,
    /// Peers known at one time, connected or not. 1 to 16,777,216; default 65,536. Strangers, which have dialled us and
    /// were not added, are at most three quarters of them, and make way for peers that are added.
    pub peers_max: usize,
    /// Addresses of one peer. At the bound a new one takes the place of the oldest that has never worked.
    /// 1 to 1,024; default 32.
    pub addresses_max: usize,
    /// Messages in a batch. 1 to 65,536; default 128.
    pub batch_messages_max: usize,
    /// Bytes in a batch, framing included. 1 KiB to 1 MiB; default 64 KiB.
    /// A larger message travels as a record of its own.
    pub batch_bytes_max: usize,
    /// How long a message may wait for company, counted from the first of its batch.
    /// 0 to 10 s; default 50 ms.
    pub batch_delay_max: Duration,
    /// When a batch leaves. Default [`Flush::Adaptive`].
    pub flush: Flush,
    /// Bytes of one message. 1 B to 16 MiB; default 1 MiB.
    pub message_bytes_max: usize,
    /// Bytes of messages that one peer has not yet taken. At least one largest record, at most
    /// half of `memory_max`; default 4 MiB.
    pub outbox_bytes_max: usize,
    /// Bytes of messages of one peer that this application has not yet taken, beyond which it gets no
    /// credit to send more. 1 KiB to 1 GiB; default 1 MiB; never under one largest record. Of tiny
    /// messages the application holds or is offered one for each 112 B at a time.
    pub inbox_bytes_max: usize,
    /// Bytes of datagrams that wait in each direction, for each peer, each counted with 64 B more.
    /// Beyond it the oldest are dropped; all peers together have a sixteenth of `memory_max`, and
    /// the newest one of each peer as much again.
    /// 4 KiB to 16 MiB, or 0 for no datagrams at all; default 64 KiB.
    pub datagram_queue_bytes_max: usize,
    /// Bytes of memory for everything that peers make this end hold. 1 MiB, and two largest records, to 1 TiB;
    /// default 256 MiB. All outboxes together hold at most half of it; the less of it is free, the smaller a part of
    /// that may each have. All inboxes together hold a quarter, a first credit of each connected peer and one record
    /// apart, and tickets for resumption a sixteenth. From seven eighths on, or while inboxes hold half, no
    /// stranger comes in but those for which something waits. Beyond it no credit is raised, and idle
    /// connections are evicted, the least recently used first, until it is kept again.
    pub memory_max: usize,
    /// How long a connection may be idle before it leaves the pool. The specification calls it
    /// `pool_timeout`. 100 ms to 24 h; default 300 s.
    pub pool_ttl: Duration,
    /// How long a session outlives its last connection. More than the largest backoff and one
    /// handshake together, at most 24 h; default 300 s.
    pub session_timeout: Duration,
    /// How long the other end may be silent before its connection counts as dead.
    /// 1 s to 10 min; default 15 s. Keep-alives are sent at a third of it.
    pub liveness_timeout: Duration,
    /// How long a dial may take until the other end has confirmed it. 100 ms to 60 s; default 5 s.
    pub handshake_timeout: Duration,
    /// The delays between dials that fail.
    pub backoff: Backoff,
    /// Dials per second over all peers, and a burst of a tenth of them. Those that the user asks for do not
    /// wait for those that the machine does by itself. A dial to the next address of a peer does not wait, and
    /// counts. 1 to 1,000,000; default 100.
    pub dial_rate: u32,
    /// Failures in a row after which `send` fails at once; a peer that has no room at this moment
    /// has not failed. 1 to 1,000; default 5.
    pub breaker_failures: u32,
    /// Delay of the reconnect poll: a peer that cannot dial us is dialled so long after its connection has
    /// ended, to fetch what waits for us there. Up to a quarter earlier, so that connections that were
    /// lost together do not return together, and not later than half of the session timeout of both
    /// ends. 1 s to 24 h; default 30 s.
    pub reconnect_poll: Duration,
    /// How long `close` may flush. 0 to 1 h; default 5 s.
    pub close_timeout: Duration,
    /// How long `taken` may stand still before the peer is reported as stalled.
    /// 1 s to 24 h; default 60 s.
    pub stall_timeout: Duration,
    /// Whether messages are sealed below TLS too. Default [`Sealing::On`].
    pub sealing: Sealing,
    /// A secret shared by all peers of a mesh, mixed into the sealing keys. Default none.
    pub mesh_key: Option<MeshKey>,
    /// What becomes of sent but unacknowledged messages when a peer has lost its state.
    pub on_peer_restart: OnPeerRestart,
    /// Which strangers may connect. Default [`Accept::Anyone`].
    pub accept: Accept,
    /// Knobs that follow from measurements of the machine, and not from what an application needs.
    pub tuning: Tuning,
}

/// Knobs whose values were found by measuring the machine. No need of an application sets them: leave
/// them unless a measurement shows that another value is better.
///
/// ```
/// use quicpool_core::Config;
/// use std::time::Duration;
///
/// let mut config = Config::default();
/// config.tuning.slot_wait = Duration::from_secs(1);
/// assert!(config.check().is_ok());
///
/// config.tuning.control_reserve = 0;
/// let error = config.check().unwrap_err();
/// assert_eq!(error.field(), "tuning.control_reserve");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tuning {
    /// Part of the connection's credit that data leaves free for acknowledgements.
    /// 4 KiB to 1 MiB; default 16 KiB.
    pub control_reserve: usize,
    /// How long a connection must live before it clears the backoff. 0 to 1 h; default 10 s.
    pub stable_after: Duration,
    /// Minimum hold time: how long a connection is safe from eviction while it is busy. 0 to 1 h;
    /// default 1 s. Never under four round trips; and twice as long after each hold in which
    /// nothing has passed, up to `stall_timeout`.
    pub hold_time_min: Duration,
    /// How long a dial waits for an idle slot before a busy one is evicted. 0 to 1 h; default 200 ms.
    pub slot_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            handshakes_max: 64,
            peers_max: 65_536,
            addresses_max: 32,
            batch_messages_max: 128,
            batch_bytes_max: 64 * KIB,
            batch_delay_max: Duration::from_millis(50),
            flush: Flush::Adaptive,
            message_bytes_max: MIB,
            outbox_bytes_max: 4 * MIB,
            inbox_bytes_max: MIB,
            datagram_queue_bytes_max: 64 * KIB,
            memory_max: 256 * MIB,
            pool_ttl: Duration::from_secs(300),
            session_timeout: Duration::from_secs(300),
            liveness_timeout: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(5),
            backoff: Backoff::default(),
            dial_rate: 100,
            breaker_failures: 5,
            reconnect_poll: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(60),
            sealing: Sealing::On,
            mesh_key: None,
            on_peer_restart: OnPeerRestart::Report,
            accept: Accept::Anyone,
            tuning: Tuning::default(),
        }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            control_reserve: 16 * KIB,
            stable_after: Duration::from_secs(10),
            hold_time_min: Duration::from_secs(1),
            slot_wait: Duration::from_millis(200),
        }
    }
}

impl Config {
    /// Checks every value against its range, and the values against each other.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] names the first field that is out of range, its value and the range.
    pub fn check(&self) -> Result<(), ConfigError> {
        count("connections_max", self.connections_max, 1..=1_000_000)?;
        count("handshakes_max", self.handshakes_max, 1..=65_536)?;
        count("peers_max", self.peers_max, 1..=16_777_216)?;
        count("addresses_max", self.addresses_max, 1..=1_024)?;
        count("batch_messages_max", self.batch_messages_max, 1..=65_536)?;
        count("batch_bytes_max", self.batch_bytes_max, KIB..=MIB)?;
        count("message_bytes_max", self.message_bytes_max, 1..=16 * MIB)?;
        count("dial_rate", self.dial_rate as usize, 1..=1_000_000)?;
        count(
            "breaker_failures",
            self.breaker_failures as usize,
            1..=1_000,
        )?;
        let record = self.record_bytes_max();
        // Half of it is for outboxes, and one must be able to hold a largest record.
        count(
            "memory_max",
            self.memory_max,
            MIB.max(2 * record)..=1024 * GIB,
        )?;
        count(
            "outbox_bytes_max",
            self.outbox_bytes_max,
            record..=self.outboxes_bytes_max(),
        )?;
        count("inbox_bytes_max", self.inbox_bytes_max, KIB..=GIB)?;
        if self.datagram_queue_bytes_max > 0 {
            count(
                "datagram_queue_bytes_max",
                self.datagram_queue_bytes_max,
                4 * KIB..=16 * MIB,
            )?;
        }

        delay("batch_delay_max", self.batch_delay_max, ZERO..=secs(10))?;
        delay("pool_ttl", self.pool_ttl, millis(100)..=DAY)?;
        delay(
            "liveness_timeout",
            self.liveness_timeout,
            secs(1)..=secs(600),
        )?;
        delay(
            "handshake_timeout",
            self.handshake_timeout,
            millis(100)..=secs(60),
        )?;
        delay("backoff.initial", self.backoff.initial, millis(1)..=HOUR)?;
        delay("backoff.max", self.backoff.max, self.backoff.initial..=HOUR)?;
        factor("backoff.factor", self.backoff.factor, 1.0..=10.0)?;
        delay("reconnect_poll", self.reconnect_poll, secs(1)..=DAY)?;
        delay("close_timeout", self.close_timeout, ZERO..=HOUR)?;
        delay("stall_timeout", self.stall_timeout, secs(1)..=DAY)?;
        self.tuning.check()?;
        if self.mesh_key.is_some() && self.sealing == Sealing::Off {
            // Mixed into nothing, it would protect nothing.
            return Err(ConfigError {
                field: "mesh_key",
                problem: "is set, and has no effect while sealing = Off".to_owned(),
            });
        }
        let longest_dial = self.backoff.max + self.handshake_timeout + millis(1);
        delay("session_timeout", self.session_timeout, longest_dial..=DAY)
    }

    /// The limits of what this configuration accepts, as hello announces them.
    pub(crate) fn accepts(&self) -> Accepts {
        let body = record::body_max(self.batch_bytes_max, self.message_bytes_max);
        let bytes = |bytes| u32::try_from(bytes).expect("invariant: records are below 17 MiB");
        Accepts {
            message_bytes: bytes(self.message_bytes_max),
            body_bytes: bytes(body),
        }
    }

    /// Bytes that all outboxes may hold together.
    pub(crate) const fn outboxes_bytes_max(&self) -> usize {
        self.memory_max / 2
    }

    /// Bytes that all inboxes may hold together, but for a first credit and one record of each connected peer.
    pub(crate) const fn inboxes_bytes_max(&self) -> usize {
        self.memory_max / 4
    }

    /// Bytes of memory that tickets for resumption may take.
    pub(crate) const fn tickets_bytes_max(&self) -> usize {
        self.memory_max / 16
    }

    /// Bytes that a connected peer may send before anything of it was read, whatever other inboxes hold. All of
    /// them together are half of what inboxes may hold, as long as that is within these bounds.
    pub(crate) fn first_credit(&self) -> usize {
        let share = self.inboxes_bytes_max() / 2 / self.connections_max.max(1);
        share
            .clamp(FIRST_CREDIT_MIN, FIRST_CREDIT_MAX)
            .min(self.inbox_bytes_max)
    }

    /// The longest record that this configuration can send or accept, in bytes.
    pub(crate) fn record_bytes_max(&self) -> usize {
        record::bytes_max(self.batch_bytes_max, self.message_bytes_max)
    }
}

/// A few small messages pass without waiting.
const FIRST_CREDIT_MIN: usize = 4 * 1024;

/// A full batch of the default size passes without waiting; more comes as it is used.
const FIRST_CREDIT_MAX: usize = 64 * 1024;

impl Tuning {
    fn check(&self) -> Result<(), ConfigError> {
        count(
            "tuning.control_reserve",
            self.control_reserve,
            4 * KIB..=MIB,
        )?;
        delay("tuning.stable_after", self.stable_after, ZERO..=HOUR)?;
        delay("tuning.hold_time_min", self.hold_time_min, ZERO..=HOUR)?;
        delay("tuning.slot_wait", self.slot_wait, ZERO..=HOUR)
    }
}

/// When a batch leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// As soon as the connection asks for a packet to fill; what gathers meanwhile goes together.
    /// `batch_messages_max`, `batch_bytes_max` and `batch_delay_max` are ceilings.
    Adaptive,
    /// When the batch is full, or `batch_delay_max` after its first message.
    Fixed,
}

/// Whether each batch is sealed with ChaCha20-Poly1305 (RFC 8439) inside the QUIC connection.
///
/// QUIC already encrypts. The second layer protects messages from an observer of the plaintext of the QUIC
/// layer, outside of this process (a TLS key log, an offloading network card), and with a [`MeshKey`] from the
/// holder of a stolen identity key. Both ends must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealing {
    /// Seal each batch.
    On,
    /// Trust QUIC alone.
    Off,
}

/// What becomes of messages that were sent, but not acknowledged, to a peer that lost its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPeerRestart {
    /// Report them as undelivered: their fate is unknown. The default.
    Report,
    /// Send them again: the peer's earlier incarnation may have taken some of them.
    Resend,
}

/// Which strangers may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accept {
    /// Any peer that proves an identity, up to the limits.
    Anyone,
    /// Only peers that were added before.
    Known,
    /// Only these, whether they were added or not; see [`only`](Self::only).
    Only(Arc<BTreeSet<PeerId>>),
}

impl Accept {
    /// Accepts these peers alone. Without any, no peer comes in, and this end dials.
    ///
    /// ```
    /// use quicpool_core::{Accept, Config, PeerId};
    ///
    /// let bob = PeerId::from_bytes([7; 32]);
    /// let mut config = Config::default();
    /// config.accept = Accept::only([bob]);
    /// assert!(config.check().is_ok());
    /// ```
    pub fn only(peers: impl IntoIterator<Item = PeerId>) -> Self {
        Self::Only(Arc::new(peers.into_iter().collect()))
    }
}

/// Exponential backoff with full jitter: dial *n* waits a random part of
/// `initial * factor^(n-1)`, at most `max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The longest delay after the first failure. 1 ms to 1 h; default 1 s.
    pub initial: Duration,
    /// Growth per failure. 1 to 10; default 1.6.
    pub factor: f64,
    /// The longest delay. `initial` to 1 h; default 120 s.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            factor: 1.6,
            max: Duration::from_secs(120),
        }
    }
}

/// A secret that all peers of a mesh share. Zeroized on drop and never printed.
#[derive(Clone)]
pub struct MeshKey(Box<Zeroizing<[u8; 32]>>);

impl MeshKey {
    /// A key with these bytes, which should come from a cryptographic random generator.
    pub fn new(bytes: &[u8; 32]) -> Self {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        key.copy_from_slice(bytes);
        Self(key)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MeshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshKey(..)")
    }
}

/// A configuration value is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct ConfigError {
    field: &'static str,
    problem: String,
}

impl ConfigError {
    /// The name of the field that is out of range.
    pub fn field(&self) -> &'static str {
        self.field
    }

    fn new(field: &'static str, value: impl fmt::Debug, allowed: impl fmt::Debug) -> Self {
        Self {
            field,
            problem: format!("= {value:?} is out of range {allowed:?}"),
        }
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;
const ZERO: Duration = Duration::ZERO;
const HOUR: Duration = secs(3_600);
const DAY: Duration = secs(86_400);

const fn secs(value: u64) -> Duration {
    Duration::from_secs(value)
}

const fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn count(
    field: &'static str,
    value: usize,
    allowed: RangeInclusive<usize>,
) -> Result<(), ConfigError> {
    within(field, value, allowed)
}

fn delay(
    field: &'static str,
    value: Duration,
    allowed: RangeInclusive<Duration>,
) -> Result<(), ConfigError> {
    within(field, value, allowed)
}

fn factor(
    field: &'static str,
    value: f64,
    allowed: RangeInclusive<f64>,
) -> Result<(), ConfigError> {
    within(field, value, allowed)
}

fn within<T: PartialOrd + fmt::Debug>(
    field: &'static str,
    value: T,
    allowed: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(field, value, allowed))
}

#[cfg(test)]
mod tests;
