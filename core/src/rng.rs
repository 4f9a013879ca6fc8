//! The machine's only source of randomness: a stream from its seed.

use chacha20::{
    ChaCha12Rng,
    rand_core::{Rng as _, SeedableRng},
};
use sha2::{Digest, Sha256};

/// A seeded generator.
#[derive(Debug)]
pub(crate) struct Rng(ChaCha12Rng);

impl Rng {
    /// The stream that belongs to `seed`.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A number below 1 and not below 0.
    pub(crate) fn fraction(&mut self) -> f64 {
        // 53 bits are what the mantissa holds.
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A seed of its own for each purpose, so that one stream never shifts another.
pub(crate) fn derive(seed: &[u8; 32], purpose: &str, salt: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed);
    hash.update((purpose.len() as u64).to_be_bytes());
    hash.update(purpose);
    hash.update(salt);
    hash.finalize().into()
}
