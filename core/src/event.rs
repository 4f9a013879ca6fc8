//! The output of the machine: events for the application, packets for the network.

use std::{
    fmt, net::IpAddr, net::SocketAddr, ops::Range, slice::Chunks, time::Duration, time::Instant,
};

use bytes::BytesMut;

pub use crate::transport::EcnCodepoint;
use crate::{Health, HealthReason, Losses, PeerId, address};

/// One thing for the driver to do.
#[derive(Debug)]
pub enum Action {
    /// Pass this on to the application.
    Notify(Event),
    /// Send the bytes that `poll_action` left in the caller's buffer.
    Transmit(Transmit),
}

/// Where the bytes in the caller's buffer go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The receiver.
    pub destination: SocketAddr,
    /// Congestion marks to set (RFC 3168).
    pub ecn: Option<EcnCodepoint>,
    /// Bytes in the buffer, all datagrams together.
    pub size: usize,
    /// The length of each datagram but the last, if there is more than one (GSO).
    pub segment_size: Option<usize>,
    /// The local address to send from, if the packet must not leave from another.
    pub src_ip: Option<IpAddr>,
}

impl Transmit {
    /// The bytes of each datagram, in the order to send them: for a socket that does not split them
    /// by itself. `buf` is the buffer of the [`poll_action`](crate::Manager::poll_action) that gave
    /// the transmit.
    pub fn datagrams<'a>(&self, buf: &'a [u8]) -> Chunks<'a, u8> {
        let longest = self.segment_size.unwrap_or(self.size);
        buf[..self.size].chunks(longest.max(1))
    }

    /// The receiver as a socket that is bound to `local` names it: one of IPv6 reaches IPv4 by
    /// mapped addresses (RFC 4291 section 2.5.5.2), which some systems insist on.
    #[must_use]
    pub fn destination_from(&self, local: SocketAddr) -> SocketAddr {
        address::mapped_for(local, self.destination)
    }
}

/// A datagram that has arrived.
#[derive(Debug)]
pub struct Datagram {
    /// The address of the sender.
    pub remote: SocketAddr,
    /// The local address it was sent to, if the socket knows.
    pub local_ip: Option<IpAddr>,
    /// Congestion marks (RFC 3168).
    pub ecn: Option<EcnCodepoint>,
    /// Its bytes.
    pub payload: BytesMut,
}

impl Datagram {
    /// A datagram of which no more is known than its sender and its bytes, which are copied.
    pub fn new(remote: SocketAddr, payload: &[u8]) -> Self {
        Self {
            remote,
            local_ip: None,
            ecn: None,
            payload: payload.into(),
        }
    }
}

/// The state of a peer's connection, as the specification names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionStatus {
    /// Known, and never connected.
    New,
    /// A dial or a handshake is under way.
    Connecting,
    /// A connection is confirmed by both ends.
    Connected,
    /// The last connection ended as intended: idle, evicted, called off, goodbye.
    Disconnected,
    /// The last connection or dial ended with an error.
    Failed,
}

/// Something the application may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer's connection has moved along an edge of the lifecycle.
    StatusChanged {
        /// The peer.
        peer: PeerId,
        /// The state it left.
        from: ConnectionStatus,
        /// The state it is in.
        to: ConnectionStatus,
        /// Why.
        reason: Reason,
    },
    /// A connected peer can be reached better or worse than before. Its connection goes on.
    ///
    /// Each connection begins as `Healthy` without this event, and ends without it. One that is lost
    /// because the other end did not answer was `Unresponsive` before, at the latest right before it is lost.
    HealthChanged {
        /// The peer.
        peer: PeerId,
        /// What it was.
        from: Health,
        /// What it is.
        to: Health,
        /// Why.
        reason: HealthReason,
    },
    /// Messages of a peer wait for `receive`.
    Readable {
        /// The sender.
        peer: PeerId,
    },
    /// An outbox that had no room for what `want_room` asked for has room.
    Writable {
        /// The receiver of the messages in the outbox.
        peer: PeerId,
    },
    /// A `flush` or `send_confirmed` has ended.
    Flushed {
        /// The receiver of the messages.
        peer: PeerId,
        /// The caller's name for it.
        token: u64,
        /// Whether the peer's application has taken every message that was accepted before, or the
        /// one that was to be confirmed.
        ///
        /// Each loss fails all flushes that wait for it, or else the next one, and none after.
        result: Result<(), Losses>,
    },
    /// Messages have left the outbox, and whether the peer's application took them is unknown.
    Undelivered {
        /// The receiver.
        peer: PeerId,
        /// Their numbers: the first message ever accepted for this peer has number 0.
        messages: Range<u64>,
        /// Why.
        reason: Undeliverable,
    },
    /// The peer has lost its state: it is a new process, or it has forgotten us.
    PeerRestarted {
        /// The peer.
        peer: PeerId,
        /// How many unacknowledged messages are sent again.
        resent: u64,
        /// How many are reported as undelivered.
        undelivered: u64,
    },
    /// The peer has not taken a message for `stall_timeout` although it is connected.
    Stalled {
        /// The peer.
        peer: PeerId,
    },
    /// Datagrams of a peer wait for `receive_datagrams`. Reported again only after all of them were read.
    DatagramsReadable {
        /// The sender.
        peer: PeerId,
    },
    /// The longest datagram that can be sent to a peer has changed: it has connected, the path has
    /// proved to carry longer or only shorter packets, or it is connected no longer.
    DatagramLimit {
        /// The peer.
        peer: PeerId,
        /// Bytes of a datagram; `None` if none can be sent.
        max: Option<usize>,
    },
    /// Another process with our identity is alive and has our place at this peer, which has closed
    /// our connection. Both have the same key: a copy of the process still runs, or the key file
    /// was copied.
    ///
    /// Of two that are alive the one that started later, by its wall clock, stays, and gets no such event. The
    /// other one gets this event from each peer that knows both, its queue for that peer is reported as
    /// undelivered, and it does not dial the peer again by itself. `send` and `connect` try once more each; a
    /// dial of the peer is answered.
    IdentityInUse {
        /// The peer that closed our connection.
        peer: PeerId,
    },
    /// The machine has ended: everything is flushed or its time was up.
    Closed {
        /// Messages that were accepted and not taken, since `close` was called.
        undelivered: u64,
        /// What no flush has reported before `close` was called, and what was lost since, of each
        /// peer. Without messages that were to be confirmed.
        losses: Vec<(PeerId, Losses)>,
    },
}

/// Why messages were not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Undeliverable {
    /// We ended the session with `disconnect`, `forget` or `block`.
    #[error("we disconnected")]
    Disconnected,
    /// The peer ended the session.
    #[error("the peer said goodbye")]
    Goodbye,
    /// The peer has lost its state.
    #[error("the peer has restarted")]
    PeerRestarted,
    /// Another process with our identity has our place at the peer.
    #[error("another process uses our identity")]
    IdentityInUse,
    /// The peer could not be reached for `session_timeout`.
    #[error("the session has expired")]
    SessionExpired,
    /// It is longer than the peer accepts, or than a record that it accepts can hold: its limits are smaller
    /// than ours, and were not known when it was accepted. Those before and behind it go on.
    #[error("a message of {size} bytes exceeds the peer's limit of {max}")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// Bytes that the peer accepts.
        max: usize,
    },
    /// Their lifetime ended before they were written: see [`Manager::send_until`](crate::Manager::send_until).
    /// The peer never sees them.
    #[error("its lifetime has ended")]
    Expired,
    /// The manager was closed before the peer had taken them.
    #[error("the manager was closed")]
    Closed,
}

/// What [`Manager::cancel`](crate::Manager::cancel) has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cancelled {
    /// It was never written on any connection: the peer never sees it, and no event reports it. Its number stays
    /// unused.
    Withdrawn,
    /// It was written, or a caller waits until it is taken ([`Manager::send_confirmed`](crate::Manager::send_confirmed)),
    /// or it is not held any more: it goes on, or has been reported. So is a number that was never given.
    TooLate,
}

/// Why a connection has changed its state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// We dial, because of `connect` or because messages wait.
    Dialling,
    /// The peer has dialled us and proved its identity.
    Arriving,
    /// Both ends have confirmed the connection.
    Confirmed,
    /// A dial that is no longer wanted.
    CalledOff,
    /// No message for `pool_ttl`.
    Idle,
    /// Another peer needed the slot.
    Evicted,
    /// `disconnect`, at this end or the other, or a manager that closes.
    Goodbye,
    /// The connection was replaced by another one to the same peer.
    Replaced,
    /// The peer has no slot for us; it may have one after `retry_after`.
    Busy {
        /// How long the peer asked us to wait, capped at the largest backoff.
        retry_after: Option<Duration>,
    },
    /// The end that answered at the address we dialled is not the peer.
    WrongPeer {
        /// The identity that it proved, if any.
        found: Option<PeerId>,
    },
    /// The peer, which has proved its identity, speaks another wire version.
    VersionMismatch,
    /// An answer refuses our protocol: another QUIC version (RFC 9000 section 6), or none that we offer (RFC 7301).
    /// It proves no identity, and can be forged: the peer is dialled again as after any failure.
    ProtocolRefused,
    /// One end seals and the other does not, or their mesh keys differ.
    SealingMismatch,
    /// The peer does not accept us.
    NotAccepted,
    /// Another process with our identity is alive there.
    IdentityInUse,
    /// Another process with our identity has had our place there: the peer has forgotten us, and we
    /// come again as a new process.
    Forgotten,
    /// No answer within `handshake_timeout`.
    HandshakeTimeout,
    /// The peer was silent for `liveness_timeout`, or acknowledged nothing for as long.
    Unresponsive,
    /// The peer has lost the connection's state (stateless reset, RFC 9000 section 10.3).
    Reset,
    /// The peer broke the protocol in this way.
    Violation(&'static str),
    /// The transport failed with this error. Printable ASCII only: text of the other end is escaped, and cut after
    /// 100 bytes.
    Transport(String),
}

impl Event {
    /// The peer that it is about; `None` if it is about none, as [`Closed`](Self::Closed).
    pub const fn peer(&self) -> Option<PeerId> {
        match self {
            Self::StatusChanged { peer, .. }
            | Self::HealthChanged { peer, .. }
            | Self::Readable { peer }
            | Self::Writable { peer }
            | Self::Flushed { peer, .. }
            | Self::Undelivered { peer, .. }
            | Self::PeerRestarted { peer, .. }
            | Self::Stalled { peer }
            | Self::DatagramsReadable { peer }
            | Self::DatagramLimit { peer, .. }
            | Self::IdentityInUse { peer } => Some(*peer),
            Self::Closed { .. } => None,
        }
    }
}

impl Reason {
    /// How long the peer asked us to stay away.
    pub const fn retry_after(&self) -> Option<Duration> {
        if let Self::Busy { retry_after } = self {
            *retry_after
        } else {
            None
        }
    }

    /// Whether the peer is there and has no room.
    pub(crate) const fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// Whether no automatic retry can help: one of the ends has to be changed first.
    pub const fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::VersionMismatch | Self::SealingMismatch | Self::IdentityInUse
        )
    }

    /// Whether another address of the same peer may do better.
    pub(crate) const fn concerns_address(&self) -> bool {
        matches!(
            self,
            Self::HandshakeTimeout
                | Self::WrongPeer { .. }
                | Self::Transport(_)
                | Self::VersionMismatch
                | Self::ProtocolRefused
                | Self::Unresponsive
                | Self::Reset
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialling => f.write_str("dialling"),
            Self::Arriving => f.write_str("the peer has dialled us"),
            Self::Confirmed => f.write_str("confirmed by both ends"),
            Self::CalledOff => f.write_str("the dial was called off"),
            Self::Idle => f.write_str("idle for pool_ttl"),
            Self::Evicted => f.write_str("another peer needed the slot"),
            Self::Goodbye => f.write_str("goodbye"),
            Self::Replaced => f.write_str("replaced by another connection"),
            Self::Busy { retry_after: None } => f.write_str("the peer is busy"),
            Self::Busy {
                retry_after: Some(delay),
            } => {
                write!(f, "the peer is busy, and asks to wait {delay:?}")
            }
            Self::WrongPeer { found: Some(id) } => write!(f, "peer {id} answered instead"),
            Self::WrongPeer { found: None } => f.write_str("whoever answered proved no identity"),
            Self::VersionMismatch => f.write_str("the peer speaks another wire version"),
            Self::ProtocolRefused => f.write_str("an answer without identity refused the protocol"),
            Self::SealingMismatch => f.write_str("sealing or mesh key differ between the ends"),
            Self::NotAccepted => f.write_str("the peer does not accept us"),
            Self::IdentityInUse => f.write_str("another process uses our identity"),
            Self::Forgotten => f.write_str("another process has had our place"),
            Self::HandshakeTimeout => f.write_str("no answer within handshake_timeout"),
            Self::Unresponsive => f.write_str("silent for liveness_timeout"),
            Self::Reset => f.write_str("the peer has lost the connection's state"),
            Self::Violation(what) => write!(f, "protocol violation: {what}"),
            Self::Transport(what) => write!(f, "transport error: {what}"),
        }
    }
}

/// The next moment at which the machine wants to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When to call `handle_timeout`.
    pub at: Instant,
    /// What is due then.
    pub reason: DeadlineReason,
}

impl Deadline {
    /// The earlier one of both.
    pub(crate) fn earlier(self, other: Self) -> Self {
        if other.at < self.at { other } else { self }
    }
}

/// What is due at a [`Deadline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadlineReason {
    /// Actions wait in `poll_action`.
    Undrained,
    /// A connection has brought more than its turn had room for. A loop need not wait for this deadline: it calls
    /// [`handle_timeout`](crate::Manager::handle_timeout) as soon as it has passed on what else has arrived.
    Input,
    /// A timer of QUIC: loss detection, pacing, acknowledgement, idle.
    Transport,
    /// A batch reaches `batch_delay_max`.
    Flush,
    /// An acknowledgement is due.
    Acknowledge,
    /// A backoff ends, or a dial waits for its turn.
    Dial,
    /// A dial or handshake reaches `handshake_timeout`.
    Handshake,
    /// A peer's connections are looked at: whether it is heard and acknowledges, and how well.
    Liveness,
    /// An idle connection reaches `pool_ttl`.
    Expiry,
    /// A session reaches `session_timeout`.
    Session,
    /// A message that is not written yet may be worth nothing any more.
    Lifetime,
    /// A connection has proved stable.
    Stable,
    /// A peer that takes nothing reaches `stall_timeout`.
    Stall,
    /// A dial has waited `slot_wait` for a slot.
    Slot,
    /// Callers to which room that others have made was reported may not have taken it.
    Room,
    /// `close` reaches `close_timeout`.
    Close,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transmit_is_cut_into_datagrams_of_one_size_and_a_rest() {
        let transmit = |size, segment_size| Transmit {
            destination: SocketAddr::from(([10, 0, 0, 1], 1)),
            ecn: None,
            size,
            segment_size,
            src_ip: None,
        };
        let lens = |size, segment_size| {
            let transmit = transmit(size, segment_size);
            transmit
                .datagrams(&[0; 9])
                .map(<[u8]>::len)
                .collect::<Vec<_>>()
        };
        assert_eq!(lens(7, Some(3)), [3, 3, 1]);
        assert_eq!(lens(6, Some(3)), [3, 3]);
        assert_eq!(lens(7, None), [7]);
        assert_eq!(lens(0, None), []);
    }
}
