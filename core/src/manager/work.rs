//! Lists what is left to do before a drain is complete. Rooms mark; the loop in `Manager::settle` works.

use std::collections::VecDeque;

use super::peer::Peer;
use crate::peer::{LinkId, PeerKey};

/// The work list.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Peers whose state has changed, and from which something else is to be derived.
    stale: VecDeque<PeerKey>,
    /// Peers to be removed: nothing of them is open, or will be.
    leaving: Vec<PeerKey>,
    /// Connections that the other end, or an error, has ended.
    ended: VecDeque<LinkId>,
}

impl Work {
    /// Has what depends on the peer's state derived anew.
    pub(super) fn mark_stale(&mut self, peer: &mut Peer) {
        if !std::mem::replace(&mut peer.is_stale, true) {
            self.stale.push_back(peer.key);
        }
    }

    /// Has the peer removed.
    pub(super) fn mark_leaving(&mut self, peer: &Peer) {
        self.leaving.push(peer.key);
    }

    /// Has the end of a connection handled, once all others have delivered what has arrived on them.
    pub(super) fn mark_ended(&mut self, link: LinkId) {
        self.ended.push_back(link);
    }

    pub(super) fn next_stale(&mut self) -> Option<PeerKey> {
        self.stale.pop_front()
    }

    pub(super) fn next_leaving(&mut self) -> Option<PeerKey> {
        self.leaving.pop()
    }

    pub(super) fn next_ended(&mut self) -> Option<LinkId> {
        self.ended.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stale.is_empty() && self.leaving.is_empty() && self.ended.is_empty()
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.stale.capacity() * size_of::<PeerKey>()
            + self.leaving.capacity() * size_of::<PeerKey>()
            + self.ended.capacity() * size_of::<LinkId>()
    }
}
