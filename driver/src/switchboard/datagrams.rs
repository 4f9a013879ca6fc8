//! Datagrams from the machine to the application.

use std::time::Instant;

use quicpool_core::PeerId;

use super::{Switchboard, next_in_turn};

/// Datagrams of one peer that are handed out before it is the next one's turn.
const DATAGRAMS_PER_PEER: usize = 32;

impl Switchboard {
    /// Hands datagrams to the application as far as it has room, some of each peer in turn. The rest
    /// waits in the machine, which drops the oldest of each peer.
    pub(crate) fn hand_out_datagrams(&mut self, now: Instant) {
        while let Some(peer) = next_in_turn(&self.datagrams_readable, self.datagrams_read_last) {
            let max = self.shared.datagrams.room().min(DATAGRAMS_PER_PEER);
            if max == 0 {
                return;
            }
            self.datagrams_read_last = peer;
            let datagrams = &mut self.messages;
            // None of a peer that the machine has forgotten meanwhile.
            let count = self.core.receive_datagrams(now, peer, max, datagrams);
            let count = count.unwrap_or(0);
            if count < max {
                self.datagrams_readable.remove(&peer);
            }
            self.shared.datagrams.push(&mut self.messages);
        }
    }

    /// The application wants nothing more of a peer.
    pub(super) fn forget_datagrams(&mut self, peer: PeerId) {
        let dropped = self.shared.datagrams.forget(peer);
        self.core.driver().note_datagrams_discarded(dropped);
        self.datagrams_readable.remove(&peer);
    }
}
