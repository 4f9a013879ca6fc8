//! Draws random numbers, each from a stream of its own.
//!
//! A stream belongs to the machine's seed, a purpose, a peer, and the number of the draw. So a draw for one
//! peer changes none for another, in whichever order they are made.

use crate::{
    PeerId,
    rng::{self, Rng},
    wire::hello::HalfId,
};

/// The seed, and what has been drawn that must never be drawn again.
#[derive(Debug)]
pub(super) struct Draws {
    seed: [u8; 32],
    /// Lines so far: no two are equal, even of a peer that was forgotten and added again.
    lines: u64,
}

impl Draws {
    pub(super) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, lines: 0 }
    }

    /// The stream of one draw for a peer.
    pub(super) fn stream(&self, purpose: &str, peer: PeerId, draw: u64) -> Rng {
        let mut salt = [0; PeerId::LEN + 8];
        salt[..PeerId::LEN].copy_from_slice(peer.as_bytes());
        salt[PeerId::LEN..].copy_from_slice(&draw.to_be_bytes());
        Rng::new(rng::derive(&self.seed, purpose, &salt))
    }

    /// A line that no peer has had.
    pub(super) fn new_line(&mut self, peer: PeerId) -> HalfId {
        self.lines += 1;
        HalfId(self.stream("line", peer, self.lines).bytes())
    }
}
