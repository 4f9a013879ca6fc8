//! Seals records as a dialler does, by docs/wire.md, section 7.

use anyhow::{Result, anyhow};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::wire::{self, RECORD_HEADER_LEN, TAG_LEN};

/// The exporter label of the key.
pub const LABEL: &[u8] = b"EXPORTER-quicpool-seal";
pub const KEY_LEN: usize = 32;

/// Stream 6 is the second unidirectional one of a dialler.
const ORDINAL: u32 = 1;

/// The id of a half, the index of a line, and the header of a plain record.
const PLACE_LEN: usize = 16 + 8 + RECORD_HEADER_LEN;

/// The key of the stream of line 0, and how far it has come.
pub struct Sealer {
    key: LessSafeKey,
    half: [u8; 16],
    records: u64,
    /// The number of the next message.
    next: u64,
}

impl Sealer {
    pub fn new(key: &[u8; KEY_LEN], half: [u8; 16]) -> Result<Self> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key);
        Ok(Self {
            key: LessSafeKey::new(key.map_err(|_| anyhow!("no key"))?),
            half,
            records: 0,
            next: 0,
        })
    }

    /// Appends the next record: a body with so many messages, header and tag.
    pub fn append(&mut self, count: usize, body: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let header = wire::record_header(body.len(), count, self.next);
        let mut place = [0; PLACE_LEN];
        place[..16].copy_from_slice(&self.half);
        place[24..].copy_from_slice(&header);
        out.reserve(RECORD_HEADER_LEN + body.len() + TAG_LEN);
        out.extend(header);
        let start = out.len();
        out.extend(body);
        let sealed =
            self.key
                .seal_in_place_separate_tag(self.nonce(), Aad::from(place), &mut out[start..]);
        out.extend(sealed.map_err(|_| anyhow!("it does not seal"))?.as_ref());
        self.records += 1;
        self.next += count as u64;
        Ok(())
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..4].copy_from_slice(&ORDINAL.to_be_bytes());
        nonce[4..].copy_from_slice(&self.records.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_those_of_the_document() {
        // The example of section 7: the half a0 to af, the key 00 to 1f, the messages `hello` and an empty
        // one with the numbers 5 and 6, sealed twice in a row.
        let key = std::array::from_fn(|at| at as u8);
        let half = std::array::from_fn(|at| 0xa0 + at as u8);
        let mut sealer = Sealer::new(&key, half).expect("a key");
        for expected in [
            "00000007000000020000000000000005ae2ef88565e9e6d12f2cf0cc058642c9f7b717ece5076d",
            "00000007000000020000000000000005e462806393bb77bcfd41a270a3606a19340d5be26fd60e",
        ] {
            sealer.next = 5;
            let mut record = Vec::new();
            let sealed = sealer.append(2, b"\x05hello\x00", &mut record);
            sealed.expect("it seals");
            let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected);
        }
    }
}
