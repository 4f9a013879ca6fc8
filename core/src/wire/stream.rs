//! The header of each stream but the control stream: what the stream carries.

use super::varint;

/// The type of a stream with the entries of a line.
const ENTRIES: u64 = 0x01;

/// The bytes of a header at most: two varints.
const BYTES_MAX: usize = 16;

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// The entries of the line with this index.
    Entries(u64),
    /// Nothing that this end knows: it is read and dropped.
    Unknown,
}

/// Appends the header of a stream with the entries of a line.
pub(crate) fn put_entries(out: &mut Vec<u8>, index: u64) {
    varint::put(out, ENTRIES);
    varint::put(out, index);
}

/// Puts a header together from what its stream delivers.
#[derive(Debug, Default)]
pub(crate) struct HeaderReader {
    bytes: [u8; BYTES_MAX],
    filled: usize,
}

impl HeaderReader {
    /// The bytes of the header that have come. A peer may write its varints longer than they need be.
    pub(crate) const fn len(&self) -> usize {
        self.filled
    }

    /// Takes bytes of the stream. Returns how many belonged to the header, and the header if it is whole.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> (usize, Option<Header>) {
        for (used, byte) in (1..).zip(bytes) {
            self.bytes[self.filled] = *byte;
            self.filled += 1;
            if let Some(header) = self.header() {
                return (used, Some(header));
            }
        }
        (bytes.len(), None)
    }

    fn header(&self) -> Option<Header> {
        let (kind, at) = varint::get(&self.bytes[..self.filled])?;
        if kind != ENTRIES {
            return Some(Header::Unknown);
        }
        let (index, _) = varint::get(&self.bytes[at..self.filled])?;
        Some(Header::Entries(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_comes_out_as_it_went_in() {
        for index in [0, 1, 63, 64, varint::MAX] {
            let mut bytes = Vec::new();
            put_entries(&mut bytes, index);
            let length = bytes.len();
            bytes.extend_from_slice(b"record");
            let mut reader = HeaderReader::default();
            for byte in &bytes[..length - 1] {
                assert_eq!(reader.push(&[*byte]), (1, None));
            }
            let whole = (1, Some(Header::Entries(index)));
            assert_eq!(reader.push(&bytes[length - 1..]), whole);
            assert_eq!(reader.len(), length);
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..100), step in 1usize..9) {
            let mut reader = HeaderReader::default();
            for piece in noise.chunks(step) {
                if reader.push(piece).1.is_some() {
                    break;
                }
            }
        }
    }
}
