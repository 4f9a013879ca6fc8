//! Grease: numbers that are reserved for nothing, sent so that peers keep the ability to skip what they do not
//! know (RFC 8701; as RFC 9114 section 7.2.8 does).

use super::{parameters::put_bytes, parameters::put_number, varint};
use crate::rng::Rng;

/// The first reserved type of frames and streams, and the distance to the next one.
const TYPES: (u64, u64) = (0x21, 0x1f);

/// The first reserved key of hello, and the distance to the next one.
const KEYS: (u64, u64) = (27, 31);

/// Connections of which one has a stream of a reserved type.
const CONNECTIONS_PER_STREAM: u8 = 16;

/// Bytes of a body and of a value. All grease is of one length, so that it changes no packet's.
const BYTES: usize = 8;

/// How many reserved numbers are drawn from: those that are a varint of two bytes.
const NUMBERS: std::ops::Range<u64> = 2..500;

/// What one greeting has beside its own, drawn at random.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grease {
    key: u64,
    value: [u8; BYTES],
    frame: u64,
    /// Where its frame stands in the greeting.
    pub(super) place: Place,
    stream: Option<u64>,
}

/// Where the frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    BeforeHello,
    BeforeLines,
    AfterLines,
}

impl Grease {
    /// Draws the grease of one connection.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut reserved = |(first, distance): (u64, u64)| {
            let n = u64::from(u16::from_be_bytes(rng.bytes()));
            first + distance * (NUMBERS.start + n % (NUMBERS.end - NUMBERS.start))
        };
        let (key, frame, stream) = (reserved(KEYS), reserved(TYPES), reserved(TYPES));
        let [place, one_of] = rng.bytes();
        Self {
            key,
            value: rng.bytes(),
            frame,
            place: match place % 3 {
                0 => Place::BeforeHello,
                1 => Place::BeforeLines,
                _ => Place::AfterLines,
            },
            stream: (one_of % CONNECTIONS_PER_STREAM == 0).then_some(stream),
        }
    }

    /// Appends the parameter of hello, whose key is above all others.
    pub(super) fn put_parameter(&self, out: &mut Vec<u8>) {
        match self.key.is_multiple_of(2) {
            true => put_number(out, self.key, varint::MAX),
            // With its length as long as the other.
            false => put_bytes(out, self.key, &self.value[1..]),
        }
    }

    /// Appends the frame.
    pub(super) fn put_frame(&self, out: &mut Vec<u8>) {
        varint::put(out, self.frame);
        varint::put(out, BYTES as u64);
        out.extend_from_slice(&self.value);
    }

    /// Returns the bytes of the stream, if the connection has one.
    pub(crate) fn stream(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(8 + BYTES);
        varint::put(&mut bytes, self.stream?);
        bytes.extend_from_slice(&self.value);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        frame::{Frame, FrameReader},
        stream::{Header, HeaderReader},
    };

    #[test]
    fn everything_drawn_is_skipped_by_a_reader() {
        let mut rng = Rng::new([7; 32]);
        let mut streams = 0;
        let mut parameters = std::collections::BTreeSet::new();
        for _ in 0..1_000 {
            let grease = Grease::draw(&mut rng);
            assert_eq!(grease.key % 31, 27);
            assert_eq!(grease.frame % 0x1f, 0x21 % 0x1f);
            let mut bytes = Vec::new();
            grease.put_parameter(&mut bytes);
            parameters.insert(bytes.len());
            bytes.clear();
            grease.put_frame(&mut bytes);
            let mut reader = FrameReader::new();
            reader.push(&bytes);
            assert_eq!(reader.next(), Ok(None::<Frame>));
            assert_eq!(reader.take_skipped(), 1);
            assert_eq!(reader.memory_in_use(), 0);
            if let Some(bytes) = grease.stream() {
                streams += 1;
                let mut reader = HeaderReader::default();
                assert_eq!(reader.push(&bytes).1, Some(Header::Unknown));
            }
        }
        assert!((20..=120).contains(&streams), "{streams}");
        assert_eq!(parameters.len(), 1, "all of one length");
    }
}
