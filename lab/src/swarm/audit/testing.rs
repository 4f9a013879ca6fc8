//! Events that auditors are tested with.

use quicpool_core::{
    ConnectionStatus::{self, Connected, Disconnected, Failed},
    Event, PeerId, Reason,
};

pub(super) const PEER: [u8; 32] = [1; 32];

pub(super) fn moved(from: ConnectionStatus, to: ConnectionStatus) -> Event {
    told(from, to, Reason::Confirmed)
}

pub(super) fn ended(reason: Reason) -> Event {
    told(Connected, Disconnected, reason)
}

pub(super) fn lost(reason: Reason) -> Event {
    told(Connected, Failed, reason)
}

fn told(from: ConnectionStatus, to: ConnectionStatus, reason: Reason) -> Event {
    Event::StatusChanged {
        peer: PeerId::from_bytes(PEER),
        from,
        to,
        reason,
    }
}
