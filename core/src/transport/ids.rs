//! Connection ids: random, and marked so that this end knows its own without a look at a table.
//!
//! Packets of a connection that exists pass the gate for first packets. The mark keeps senders that have seen none of
//! our packets from making ids that pass. An id that was seen can be repeated: such packets have a rate of their own.

use std::{
    hash::{DefaultHasher, Hasher},
    time::Duration,
};

use quinn_proto::{ConnectionId, ConnectionIdGenerator};

use crate::rng::Rng;

/// Random bytes of an id: with 10,000 ids at a time two are the same once in 20,000 draws, and QUIC draws again.
const RANDOM_LEN: usize = 5;

/// Bytes of the mark: of guesses one in 16 million passes the gate.
const MARK_LEN: usize = 3;

/// Marks connection ids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    key: [u8; 16],
}

impl Ids {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let key = Rng::new(*seed).bytes();
        Self { key }
    }

    /// Makes ids from the machine's own seed: quinn-proto's generators draw from the system.
    pub(super) fn generator(self, seed: [u8; 32]) -> Generator {
        let rng = Rng::new(seed);
        Generator { ids: self, rng }
    }

    /// Whether this end has chosen the id, or it was guessed.
    pub(super) fn are_ours(&self, id: &[u8]) -> bool {
        let parts = id.split_first_chunk::<RANDOM_LEN>();
        parts.is_some_and(|(random, mark)| *mark == self.mark(random))
    }

    fn mark(&self, random: &[u8; RANDOM_LEN]) -> [u8; MARK_LEN] {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.key);
        hasher.write(random);
        let [a, b, c, ..] = hasher.finish().to_be_bytes();
        [a, b, c]
    }
}

/// Draws ids.
pub(super) struct Generator {
    ids: Ids,
    rng: Rng,
}

impl ConnectionIdGenerator for Generator {
    fn generate_cid(&mut self) -> ConnectionId {
        let random = self.rng.bytes::<RANDOM_LEN>();
        let mut id = [0; RANDOM_LEN + MARK_LEN];
        id[..RANDOM_LEN].copy_from_slice(&random);
        id[RANDOM_LEN..].copy_from_slice(&self.ids.mark(&random));
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        RANDOM_LEN + MARK_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_this_end_are_known_and_guesses_are_not() {
        let ids = Ids::new(&[1; 32]);
        let mut generator = ids.generator([2; 32]);
        let mut guesses = Rng::new([3; 32]);
        for _ in 0..10_000 {
            let id = generator.generate_cid();
            assert!(ids.are_ours(&id));
            assert!(!Ids::new(&[4; 32]).are_ours(&id), "of another process");
            assert!(!ids.are_ours(&guesses.bytes::<8>()));
            assert!(!ids.are_ours(&id[..7]));
        }
    }
}
