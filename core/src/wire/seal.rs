//! Sealing: ChaCha20-Poly1305 (RFC 8439) over each record, below the protection of QUIC.
//!
//! Each direction of each connection has a key of its own, which lives and dies with the
//! connection. The nonce is the stream's ordinal and the count of records on it, so no pair of key and nonce
//! recurs; a batch that is sent again on another connection is sealed again under that one's key.

use zeroize::Zeroizing;

use super::{
    WIRE_VERSION,
    aead::{AeadKey, Forged, NONCE_LEN, TAG_LEN},
    code::CloseCode,
    hello::HalfId,
    record::{HEADER_LEN_MAX, Header},
};
use crate::MeshKey;

/// Records after which a connection is replaced, far below what the nonce can count.
pub(crate) const RECORDS_MAX: u64 = 1 << 48;

/// The exporter label (RFC 8446 section 7.5) of sealing keys.
pub(crate) const KEY_LABEL: &[u8] = b"EXPORTER-quicpool-seal";

/// The exporter label of the values by which hello shows that both ends have the same keys.
pub(crate) const CHECK_LABEL: &[u8] = b"EXPORTER-quicpool-check";

const CONTEXT_LEN: usize = 2 + 1 + 1 + MESH_KEY_LEN;
const MESH_KEY_LEN: usize = 32;

/// Which way a key seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the end that dialled.
    FromDialler,
    /// From the end that answered.
    FromAcceptor,
}

impl Direction {
    /// The other way.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::FromDialler => Self::FromAcceptor,
            Self::FromAcceptor => Self::FromDialler,
        }
    }
}

/// The exporter context: everything that both ends must agree on for their keys to be equal.
pub(crate) fn context(
    direction: Direction,
    mesh_key: Option<&MeshKey>,
) -> Zeroizing<[u8; CONTEXT_LEN]> {
    let mut context = Zeroizing::new([0; CONTEXT_LEN]);
    context[..2].copy_from_slice(&WIRE_VERSION.to_be_bytes());
    context[2] = match direction {
        Direction::FromDialler => 0,
        Direction::FromAcceptor => 1,
    };
    if let Some(key) = mesh_key {
        context[3] = 1;
        context[4..].copy_from_slice(key.as_bytes());
    }
    context
}

/// A key and the count of records that it has sealed or opened. Neither printed nor cloned.
pub(crate) struct RecordKey {
    key: AeadKey,
    records: u64,
}

impl RecordKey {
    /// The key that `fill` writes into the place it is given.
    pub(crate) fn derive<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let key = AeadKey::derive(fill)?;
        Ok(Self { key, records: 0 })
    }

    /// Seals `body` in place, as the next record of its stream. `None` after [`RECORDS_MAX`] records: the
    /// connection must end.
    #[must_use]
    pub(crate) fn seal(
        &mut self,
        stream: &mut Stream,
        header: &Header,
        body: &mut [u8],
    ) -> Option<[u8; TAG_LEN]> {
        self.count()?;
        let (place, place_len) = stream.place(header);
        Some(
            self.key
                .seal(stream.next_nonce(), &place[..place_len], body),
        )
    }

    /// Opens `body` in place, if the other end sealed it as the next record of this stream.
    pub(crate) fn open(
        &mut self,
        stream: &mut Stream,
        header: &Header,
        body: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> Result<(), CloseCode> {
        self.count().ok_or(CloseCode::SealBroken)?;
        let (place, place_len) = stream.place(header);
        self.key
            .open(stream.next_nonce(), &place[..place_len], body, tag)
            .map_err(|Forged| CloseCode::SealBroken)
    }

    /// Whether the connection should be replaced.
    pub(crate) const fn is_exhausted(&self) -> bool {
        self.records >= RECORDS_MAX
    }

    /// Leaves one record.
    #[cfg(test)]
    pub(crate) const fn wear_out(&mut self) {
        self.records = RECORDS_MAX - 1;
    }

    fn count(&mut self) -> Option<()> {
        if self.is_exhausted() {
            return None;
        }
        self.records += 1;
        Some(())
    }
}

/// A stream of a line, as its records are sealed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    half: HalfId,
    /// The index of the line.
    index: u64,
    /// Which of the unidirectional streams of its end it is. QUIC uses none twice.
    ordinal: u32,
    records: u64,
}

impl Stream {
    /// The stream of a line, from its first record on.
    pub(crate) const fn new(half: HalfId, index: u64, ordinal: u32) -> Self {
        Self {
            half,
            index,
            ordinal,
            records: 0,
        }
    }

    fn next_nonce(&mut self) -> [u8; NONCE_LEN] {
        let mut nonce = nonce(self.records.to_be_bytes());
        nonce[..4].copy_from_slice(&self.ordinal.to_be_bytes());
        self.records += 1;
        nonce
    }

    /// Associated data: where the record belongs. The number counts its bytes.
    fn place(&self, header: &Header) -> ([u8; PLACE_LEN_MAX], usize) {
        let mut place = [0; PLACE_LEN_MAX];
        place[..16].copy_from_slice(&self.half.0);
        place[16..24].copy_from_slice(&self.index.to_be_bytes());
        place[24..].copy_from_slice(&header.encode());
        (place, 24 + header.length())
    }
}

/// The half's id, the line's index, and the longest header.
const PLACE_LEN_MAX: usize = 16 + 8 + HEADER_LEN_MAX;

/// The nonce with this number at its end, big-endian.
pub(super) fn nonce(number: [u8; 8]) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - number.len()..].copy_from_slice(&number);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::Kind;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, convert::Infallible};

    const HALF: HalfId = HalfId([7; 16]);
    const STREAM: Stream = Stream::new(HALF, 0, 1);

    fn key(byte: u8) -> RecordKey {
        let Ok(key) = RecordKey::derive(|bytes| {
            bytes.fill(byte);
            Ok::<_, Infallible>(())
        });
        key
    }

    fn header(body: &[u8]) -> Header {
        Header::plain(body.len() as u32, 1, 5)
    }

    #[test]
    fn failure_03_the_receiver_opens_what_the_sender_sealed() {
        let (mut sender, mut receiver) = (key(1), key(1));
        let (mut sent, mut received) = (STREAM, STREAM);
        for round in 0..100u8 {
            let plain = vec![round; 1 + usize::from(round)];
            let mut body = plain.clone();
            let tag = sender
                .seal(&mut sent, &header(&plain), &mut body)
                .expect("young key");
            assert_ne!(body, plain);
            let opened = receiver.open(&mut received, &header(&plain), &mut body, tag);
            assert_eq!(opened, Ok(()));
            assert_eq!(body, plain);
        }
    }

    #[test]
    fn a_record_opens_only_in_its_place() {
        let plain = b"hello".to_vec();
        let opened = |by: u8, mut stream: Stream, header: Header| {
            let mut body = plain.clone();
            let tag = key(1)
                .seal(&mut { STREAM }, &super::tests::header(&plain), &mut body)
                .expect("young key");
            key(by).open(&mut stream, &header, &mut body, tag)
        };
        let header = header(&plain);
        assert_eq!(opened(1, STREAM, header), Ok(()));
        let mut later = STREAM;
        later.records = 1;
        let headed = Kind::Headed { age_ms: 0 };
        for (by, stream, header) in [
            (2, STREAM, header),
            (1, Stream::new(HalfId([8; 16]), 0, 1), header),
            (1, Stream::new(HALF, 1, 1), header),
            (1, Stream::new(HALF, 0, 2), header),
            (1, later, header),
            (1, STREAM, Header { first: 6, ..header }),
            (1, STREAM, Header { count: 2, ..header }),
            (
                1,
                STREAM,
                Header {
                    kind: headed,
                    ..header
                },
            ),
        ] {
            let refused = Err(CloseCode::SealBroken);
            assert_eq!(opened(by, stream, header), refused, "{stream:?} {header:?}");
        }
    }

    #[test]
    fn no_nonce_is_used_twice_and_the_last_one_ends_the_key() {
        let mut nonces = BTreeSet::new();
        for ordinal in 0..4 {
            let mut stream = Stream::new(HALF, 0, ordinal);
            nonces.extend((0..10_000).map(|_| stream.next_nonce()));
        }
        assert_eq!(nonces.len(), 40_000);

        let mut old = key(1);
        old.records = RECORDS_MAX - 1;
        let mut stream = STREAM;
        assert!(old.seal(&mut stream, &header(b"x"), &mut [0]).is_some());
        assert!(old.is_exhausted());
        assert!(old.seal(&mut stream, &header(b"x"), &mut [0]).is_none());
    }

    #[test]
    fn contexts_differ_by_direction_and_mesh_key() {
        let [one, two] = [MeshKey::new(&[1; 32]), MeshKey::new(&[2; 32])];
        let zero = MeshKey::new(&[0; 32]);
        let contexts: BTreeSet<[u8; CONTEXT_LEN]> = [
            *context(Direction::FromDialler, None),
            *context(Direction::FromAcceptor, None),
            *context(Direction::FromDialler, Some(&zero)),
            *context(Direction::FromDialler, Some(&one)),
            *context(Direction::FromDialler, Some(&two)),
        ]
        .into();
        assert_eq!(contexts.len(), 5);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(plain in prop::collection::vec(any::<u8>(), 1..200), flip in any::<prop::sample::Index>()) {
            let mut body = plain.clone();
            let mut stream = STREAM;
            let mut tag = key(1).seal(&mut stream, &header(&plain), &mut body).expect("young key");
            let bit = flip.index((body.len() + TAG_LEN) * 8);
            match body.get_mut(bit / 8) {
                Some(byte) => *byte ^= 1 << (bit % 8),
                None => tag[bit / 8 - plain.len()] ^= 1 << (bit % 8),
            }
            let mut stream = STREAM;
            prop_assert_eq!(key(1).open(&mut stream, &header(&plain), &mut body, tag), Err(CloseCode::SealBroken));
        }
    }
}
