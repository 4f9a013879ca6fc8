//! What a caller asks the event loop to do about one peer.

use std::{net::SocketAddr, time::Instant};

use quicpool_core::{Cancelled, Explanation, Losses, MessageNumber, PeerMetrics};

use crate::{
    error::{ConnectError, FlushError, Rejected},
    reply::Responder,
};

/// Something to do about a peer, in the order in which its callers asked for it.
#[derive(Debug)]
pub(crate) enum Order {
    /// The peer is to be known.
    Add,
    /// An address of the peer.
    AddAddress(SocketAddr),
    /// An address that the peer no longer has.
    RemoveAddress(SocketAddr),
    /// Connect, or count that it was connected already.
    Connect(Responder<Result<(), ConnectError>>),
    /// Let everything staged before be taken.
    Flush(u64, Responder<Result<(), FlushError>>),
    /// Report when the next message is taken.
    ConfirmNext(u64, Responder<Result<(), FlushError>>),
    /// Have the next message expire if it is not written by then.
    ExpireNext(Instant),
    /// Take a message back, if it was never written.
    Cancel(MessageNumber, Responder<Result<Cancelled, Rejected>>),
    /// Forget this flush: its caller has stopped waiting.
    CancelFlush(u64),
    /// Have these losses reported again: their report was not read.
    ReturnLosses(Losses),
    /// End the session.
    Disconnect(Responder<Result<(), Rejected>>),
    /// End the session, and forget the peer.
    Forget(Responder<Result<(), Rejected>>),
    /// End the session, and refuse the peer.
    Block(Responder<Result<(), Rejected>>),
    /// Refuse the peer no longer.
    Unblock(Responder<Result<(), Rejected>>),
    /// Keep the peer's slot from being taken away.
    Protect(Responder<Result<(), Rejected>>),
    /// Let the peer's slot be taken away again.
    Unprotect(Responder<Result<(), Rejected>>),
    /// Return the peer's numbers.
    Metrics(Responder<Option<PeerMetrics>>),
    /// Explain the state of the peer.
    Explain(Responder<Option<Explanation>>),
}
