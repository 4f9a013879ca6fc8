//! A small, fast, keyed hash. It tells simulated things apart and finds damage; it is not secure.

/// Gathers words and bytes into 128 bits.
///
/// Each step is a bijection of the state, so damage within one word is always found, and any
/// other with odds of 2^-64 or so of being missed.
#[derive(Debug, Clone, Copy)]
pub struct Hasher {
    even: u64,
    odd: u64,
}

/// Multipliers with well-mixed bits: the fractions of the golden ratio and of pi.
const EVEN: u64 = 0x9e37_79b9_7f4a_7c15;
const ODD: u64 = 0x2436_a885_a308_d313_u64 | 1;
/// Marks that keep a word, a length and a block of bytes apart.
const WORD: u64 = 0x57;
const LENGTH: u64 = 0x4c;

impl Hasher {
    /// A hash of nothing under a key.
    pub const fn new(key: u128) -> Self {
        Self {
            even: key as u64,
            odd: (key >> 64) as u64,
        }
    }

    /// Absorbs a word.
    pub const fn word(mut self, word: u64) -> Self {
        self.absorb(word, WORD);
        self
    }

    /// Absorbs a length and then the bytes, so that neighbours cannot lend each other bytes.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.absorb(bytes.len() as u64, LENGTH);
        let (blocks, tail) = bytes.as_chunks();
        blocks.iter().for_each(|block| self.absorb_block(block));
        if !tail.is_empty() {
            let mut block = [0; 16];
            block[..tail.len()].copy_from_slice(tail);
            self.absorb_block(&block);
        }
        self
    }

    /// Returns the hash.
    pub const fn finish(self) -> u128 {
        let low = avalanche(self.even.wrapping_add(self.odd.rotate_left(32)));
        let high = avalanche(self.odd ^ low);
        (high as u128) << 64 | low as u128
    }

    /// Fills `out` with as much of the hash as it holds.
    pub fn fill(self, out: &mut [u8]) {
        for (n, block) in out.chunks_mut(16).enumerate() {
            let bytes = self.word(n as u64).finish().to_le_bytes();
            block.copy_from_slice(&bytes[..block.len()]);
        }
    }

    /// The first bytes of the hash.
    pub fn array<const N: usize>(self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    fn absorb_block(&mut self, block: &[u8; 16]) {
        let block = u128::from_le_bytes(*block);
        self.absorb(block as u64, (block >> 64) as u64);
    }

    /// Two lanes that do not wait for each other: twice the speed of one.
    const fn absorb(&mut self, even: u64, odd: u64) {
        self.even = scramble(self.even ^ even, EVEN);
        self.odd = scramble(self.odd ^ odd, ODD);
    }
}

const fn scramble(lane: u64, multiplier: u64) -> u64 {
    // The addition keeps a lane of zeros from staying zero.
    let lane = lane.wrapping_add(EVEN).wrapping_mul(multiplier);
    lane ^ (lane >> 32)
}

/// The finalizer of MurmurHash3: each bit of the input moves half of the bits of the output.
const fn avalanche(mut word: u64) -> u64 {
    word ^= word >> 33;
    word = word.wrapping_mul(0xff51_afd7_ed55_8ccd);
    word ^= word >> 33;
    word = word.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_do_not_lend_each_other_bytes() {
        let left = Hasher::new(7).bytes(b"ab").bytes(b"c").finish();
        let right = Hasher::new(7).bytes(b"a").bytes(b"bc").finish();
        assert_ne!(left, right);
    }

    #[test]
    fn counters_give_unlike_words() {
        let words: BTreeSet<u64> = (0..10_000)
            .map(|n| Hasher::new(0).word(n).finish() as u64)
            .collect();
        assert_eq!(words.len(), 10_000);
        let ones: u32 = words.iter().map(|word| word.count_ones()).sum();
        let mean = f64::from(ones) / 10_000.0;
        assert!((31.5..32.5).contains(&mean), "{mean} bits are set");
    }

    proptest! {
        #[test]
        fn one_flipped_bit_is_always_found(
            key: u128,
            bytes in prop::collection::vec(any::<u8>(), 1..200),
            bit in 0usize..1_600,
        ) {
            let mut damaged = bytes.clone();
            let bit = bit % (bytes.len() * 8);
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(
                Hasher::new(key).bytes(&bytes).finish(),
                Hasher::new(key).bytes(&damaged).finish()
            );
        }
    }
}
