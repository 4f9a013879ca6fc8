//! One small error per operation of the handle, and their sum.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use quicpool_core::{
    ConfigError, ConnectionStatus, Losses, ParsePeerAddrError, ParsePeerIdError, PeerError, PeerId,
    Reason, Undeliverable,
};

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
use crate::identity_file::IdentityFileError;

/// The manager has ended, and nothing can be done with it any more.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the manager has ended: {reason}")]
pub struct Closed {
    /// Why it has ended.
    pub reason: CloseReason,
}

/// Why a manager has ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// `close` was called.
    #[error("it was closed")]
    Closed,
    /// The last clone of the handle was dropped.
    #[error("its last handle was dropped")]
    Dropped,
    /// `abandon` was called.
    #[error("it was abandoned")]
    Abandoned,
    /// The socket has failed for good.
    #[error("its socket failed: {0}")]
    Socket(Arc<io::Error>),
    /// The runtime has dropped the task of the event loop.
    #[error("its runtime has stopped")]
    RuntimeStopped,
    /// The event loop has panicked, which is a bug of quicpool.
    #[error("its event loop panicked")]
    Panicked,
}

impl CloseReason {
    /// The state of peers that were connected at the end.
    pub(crate) const fn status(&self) -> ConnectionStatus {
        match self {
            Self::Closed | Self::Dropped | Self::Abandoned => ConnectionStatus::Disconnected,
            Self::Socket(_) | Self::RuntimeStopped | Self::Panicked => ConnectionStatus::Failed,
        }
    }
}

/// Why a call about a peer was not carried out.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// Nothing can be done for the peer. State is unchanged.
    #[error(transparent)]
    Peer(PeerError),
    /// The manager has ended, and why. State is unchanged.
    #[error(transparent)]
    Closed(#[from] Closed),
}

macro_rules! from_rejected {
    ($($error:ident),*) => {
        $(impl From<Rejected> for $error {
            fn from(rejected: Rejected) -> Self {
                match rejected {
                    Rejected::Peer(error) => Self::Peer(error),
                    Rejected::Closed(closed) => Self::Closed(closed),
                }
            }
        })*
    };
}

from_rejected!(ConnectError, SendError, SendDatagramError, FlushError);

/// Why a manager could not be bound. Nothing was begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address could not be read or resolved.
    #[error("the address to bind cannot be resolved")]
    Address(#[source] io::Error),
    /// No socket could be bound there: the port is taken, or the address is not ours.
    #[error("cannot bind {addr}")]
    Bind {
        /// The address, the last one if there were several.
        addr: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The socket lacks something that QUIC needs.
    #[error("cannot prepare the socket")]
    Socket(#[source] io::Error),
    /// The runtime lacks what a manager needs, sockets or timers, or `bind` is called outside of it.
    #[error("the runtime lacks what a manager needs, or this is not in its context")]
    Runtime(#[source] io::Error),
    /// The operating system has no randomness to give.
    #[error("the operating system has no randomness to give")]
    Entropy(#[source] io::Error),
    /// A value of the configuration is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Why a peer could not be connected.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing can be done for the peer. State is unchanged.
    #[error(transparent)]
    Peer(PeerError),
    /// The dial has failed or was called off. One that has failed is tried again, with backoff,
    /// until it succeeds or the session ends; what is queued stays queued.
    #[error("cannot connect to {peer}: {reason}")]
    Failed {
        /// The peer that we dialled.
        peer: PeerId,
        /// Why it failed.
        reason: Reason,
    },
    /// The manager has ended.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a message was not accepted by `send` or `try_send`.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The peer's outbox has no room for the message at this moment: `try_send` alone does not wait for
    /// it. State is unchanged.
    #[error("the outbox is full")]
    Full,
    /// The message is longer than `message_bytes_max`, or than the peer has announced that it accepts.
    /// State is unchanged.
    #[error("message of {size} bytes exceeds the limit of {max}")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Nothing can be done for the peer. State is unchanged.
    #[error(transparent)]
    Peer(PeerError),
    /// The manager has ended. State is unchanged.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a datagram was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
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
    /// Nothing can be done for the peer. State is unchanged.
    #[error(transparent)]
    Peer(PeerError),
    /// The manager has ended. State is unchanged.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a flush has failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// Nothing can be done for the peer. State is unchanged.
    #[error(transparent)]
    Peer(PeerError),
    /// Some of the messages have left the outbox, and whether the peer's application took them is
    /// unknown. [`Undelivered`](quicpool_core::Event::Undelivered) events have reported them.
    #[error(transparent)]
    Undelivered(Losses),
    /// The manager has ended.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a message is not confirmed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// The message was not accepted. State is unchanged.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The message has left the outbox, and whether the peer's application took it is unknown.
    #[error("the message is undelivered: {0}")]
    Undelivered(Undeliverable),
    /// The manager has ended, and whether the peer's application took the message is unknown.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a `close` has failed. The manager has ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Messages are lost, and no flush has reported them.
    #[error(transparent)]
    Undelivered(CloseReport),
    /// The manager has ended in another way.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// What was lost at the end of a manager, or before it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// The messages to each peer of which some are lost.
    pub losses: Vec<(PeerId, Losses)>,
}

impl CloseReport {
    /// How many messages are lost.
    pub fn undelivered(&self) -> u64 {
        self.losses
            .iter()
            .map(|(_, losses)| losses.messages())
            .sum()
    }
}

impl fmt::Display for CloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} messages are undelivered", self.undelivered())?;
        let (first, others) = match &self.losses[..] {
            [] => return Ok(()),
            [first, others @ ..] => (first, others.len()),
        };
        write!(f, "; to {}, {}", first.0, first.1)?;
        match others {
            0 => Ok(()),
            others => write!(f, "; and to {others} other peers"),
        }
    }
}

impl std::error::Error for CloseReport {}

/// Why there is no next event.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The subscriber was so slow that this many events were dropped, the oldest first. The next
    /// call goes on with the oldest that is left; a new subscription brings a new snapshot.
    #[error("{0} events were missed")]
    Missed(u64),
    /// The manager has ended, and every event was handed out.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Any error of quicpool, for callers that do not distinguish them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// See [`BindError`].
    #[error(transparent)]
    Bind(#[from] BindError),
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`PeerError`].
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// See [`Rejected`].
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// See [`ConnectError`].
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// See [`SendError`].
    #[error(transparent)]
    Send(#[from] SendError),
    /// See [`SendDatagramError`].
    #[error(transparent)]
    SendDatagram(#[from] SendDatagramError),
    /// See [`FlushError`].
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// See [`ConfirmError`].
    #[error(transparent)]
    Confirm(#[from] ConfirmError),
    /// See [`CloseError`].
    #[error(transparent)]
    Close(#[from] CloseError),
    /// See [`EventsError`].
    #[error(transparent)]
    Events(#[from] EventsError),
    /// See [`Closed`].
    #[error(transparent)]
    Closed(#[from] Closed),
    /// See [`IdentityFileError`].
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    #[error(transparent)]
    IdentityFile(#[from] IdentityFileError),
    /// See [`ParsePeerIdError`].
    #[error(transparent)]
    ParsePeerId(#[from] ParsePeerIdError),
    /// See [`ParsePeerAddrError`].
    #[error(transparent)]
    ParsePeerAddr(#[from] ParsePeerAddrError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tasks pass errors between threads, and boxes want them without borrowed parts.
    #[test]
    fn errors_travel_between_threads() {
        fn travels<T: std::error::Error + Send + Sync + 'static>() {}
        travels::<Error>();
        travels::<Closed>();
    }

    #[test]
    fn a_failed_socket_is_named_with_its_cause() {
        let cause = Arc::new(io::Error::from(io::ErrorKind::NotConnected));
        let error = Error::from(SendError::from(Closed {
            reason: CloseReason::Socket(cause),
        }));
        assert_eq!(
            error.to_string(),
            "the manager has ended: its socket failed: not connected"
        );
    }
}
