//! One small error per operation.

use std::time::Instant;

use crate::{PeerId, Reason};

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message is longer than `message_bytes_max`, or than the peer has announced that it accepts.
    /// State is unchanged.
    #[error("message of {size} bytes exceeds the limit of {max}")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The outbox has no room; [`Event::Writable`](crate::Event::Writable) follows `want_room`. State is
    /// unchanged.
    #[error("the outbox is full")]
    Full,
    /// See [`PeerError`]. State is unchanged.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

/// Why nothing can be done for a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The id is our own. State is unchanged.
    #[error("{0} is our own id")]
    OwnId(PeerId),
    /// The peer is not known: `add_address` makes it known. State is unchanged.
    #[error("{0} is not known; add an address with add_address")]
    UnknownPeer(PeerId),
    /// The peer is known, is not connected, and has no address. State is unchanged.
    #[error("no address is known for {0}; add one with add_address")]
    NoAddress(PeerId),
    /// `peers_max` peers are known already. State is unchanged.
    #[error("{max} peers are known already, which is peers_max")]
    TooManyPeers {
        /// The limit.
        max: usize,
    },
    /// The peer has failed `breaker_failures` times in a row. State is unchanged.
    #[error("the peer has failed too often; it is tried again by itself")]
    CircuitOpen {
        /// When the next attempt is made.
        retry_at: Instant,
        /// Why the last attempt failed.
        reason: Reason,
    },
    /// The peer was blocked. State is unchanged.
    #[error("{0} is blocked")]
    Blocked(PeerId),
    /// The manager is closed. State is unchanged.
    #[error("the manager is closed")]
    Closed,
}

/// Why a datagram was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendDatagramError {
    /// The peer is not connected, and datagrams dial no peer. State is unchanged.
    #[error("{0} is not connected, and datagrams do not dial")]
    NotConnected(PeerId),
    /// The datagram does not fit into a packet. State is unchanged.
    #[error("datagram of {size} bytes exceeds the limit of {max} on the present path")]
    TooLarge {
        /// Bytes of the datagram.
        size: usize,
        /// Bytes allowed at this moment: it depends on the path.
        max: usize,
    },
    /// Either end has no datagrams: `datagram_queue_bytes_max` is 0, or the peer is an older one. State is
    /// unchanged.
    #[error("there are no datagrams between {0} and us")]
    Unsupported(PeerId),
    /// See [`PeerError`]. State is unchanged.
    #[error(transparent)]
    Peer(#[from] PeerError),
}
