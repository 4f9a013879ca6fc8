//! Names the machine's deadlines. Each is armed by the room that serves it; those of a peer end here.

use crate::{
    DeadlineReason,
    index::Deadlines,
    peer::{LinkId, PeerKey},
};

/// What a deadline belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    Quic(LinkId),
    Handshake(LinkId),
    Health(PeerKey),
    Flush(PeerKey),
    Acknowledge(PeerKey),
    Backoff(PeerKey),
    Idle(PeerKey),
    Session(PeerKey),
    Lifetime(PeerKey),
    Stable(PeerKey),
    Stall(PeerKey),
    Reconnect(PeerKey),
    /// The dial queue may be run again.
    Dials,
    Room,
    Close,
}

impl Timer {
    pub(super) const fn reason(self) -> DeadlineReason {
        match self {
            Self::Quic(_) => DeadlineReason::Transport,
            Self::Handshake(_) => DeadlineReason::Handshake,
            Self::Health(_) => DeadlineReason::Liveness,
            Self::Flush(_) => DeadlineReason::Flush,
            Self::Acknowledge(_) => DeadlineReason::Acknowledge,
            Self::Backoff(_) | Self::Reconnect(_) => DeadlineReason::Dial,
            Self::Idle(_) => DeadlineReason::Expiry,
            Self::Session(_) => DeadlineReason::Session,
            Self::Lifetime(_) => DeadlineReason::Lifetime,
            Self::Stable(_) => DeadlineReason::Stable,
            Self::Stall(_) => DeadlineReason::Stall,
            Self::Dials => DeadlineReason::Slot,
            Self::Room => DeadlineReason::Room,
            Self::Close => DeadlineReason::Close,
        }
    }

    /// The deadlines that only a connected peer has.
    const fn of_connection(key: PeerKey) -> [Self; 6] {
        [
            Self::Health(key),
            Self::Flush(key),
            Self::Acknowledge(key),
            Self::Idle(key),
            Self::Stable(key),
            Self::Stall(key),
        ]
    }

    /// The deadlines that a peer may have without a connection.
    const fn of_absence(key: PeerKey) -> [Self; 3] {
        [Self::Backoff(key), Self::Session(key), Self::Reconnect(key)]
    }
}

impl Deadlines<Timer> {
    /// Disarms the deadlines that only a connected peer has.
    pub(super) fn disconnected(&mut self, key: PeerKey) {
        for timer in Timer::of_connection(key) {
            self.set(timer, None);
        }
    }

    /// Disarms the deadlines that only an absent peer has.
    pub(super) fn connected(&mut self, key: PeerKey) {
        for timer in Timer::of_absence(key) {
            self.set(timer, None);
        }
    }

    /// Disarms every deadline of a peer.
    pub(super) fn disarm(&mut self, key: PeerKey) {
        self.connected(key);
        self.disconnected(key);
        self.set(Timer::Lifetime(key), None);
    }
}
