//! Names what datagrams bring: the place that one goes to, and events of connections.

use super::Ending;
use crate::PeerId;

/// Where a datagram went.
pub(crate) enum Arrival {
    /// To a connection, or it was answered.
    Routed,
    /// It belongs to nothing.
    Ignored,
    /// Its answer found the queue full.
    ReplyDropped,
    /// It was dropped: its connection has brought more than may wait for its turns.
    Overrun,
    /// It was dropped: it came from another address than the path of its connection has, which may not change now.
    PathRefused,
    /// It begins a handshake, about which the caller decides.
    Handshake(Incoming),
}

/// A handshake of which the first packet has arrived.
pub(crate) struct Incoming(pub(super) Box<quinn_proto::Incoming>);

impl Incoming {
    /// Whether the other end has proved that it receives at its address.
    pub(crate) fn is_address_validated(&self) -> bool {
        self.0.remote_address_validated()
    }
}

/// Something that has happened to a connection.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// TLS is done, and the other end has proved this identity, if any.
    Established { peer: Option<PeerId> },
    /// It ended: by the other end, or by an error.
    Ended(Ending),
}
