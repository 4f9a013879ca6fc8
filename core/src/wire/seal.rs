//! Sealing: ChaCha20-Poly1305 (RFC 8439) over each record, below the protection of QUIC.
//!
//! Each direction of each connection has a key of its own, which lives and dies with the
//! connection. The nonce counts the records sealed with it, so no pair of key and nonce recurs;
//! a batch that is sent again on another connection is sealed again under that one's key.

use zeroize::Zeroizing;

use super::{
    WIRE_VERSION,
    aead::{AeadKey, Forged, NONCE_LEN, TAG_LEN},
    code::CloseCode,
    frame::LineId,
    record::{HEADER_LEN, Header},
};
use crate::MeshKey;

/// Records after which a connection is replaced, far below what the nonce can count.
pub(crate) const RECORDS_MAX: u64 = 1 << 48;

/// The exporter label (RFC 8446 section 7.5) of sealing keys.
pub(crate) const KEY_LABEL: &[u8] = b"EXPORTER-quicpool-seal";

/// The exporter label of the value by which hello shows that both ends have the same keys.
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

    /// Seals `body` in place. `None` after [`RECORDS_MAX`] records: the connection must end.
    #[must_use]
    pub(crate) fn seal(
        &mut self,
        line: LineId,
        header: &Header,
        body: &mut [u8],
    ) -> Option<[u8; TAG_LEN]> {
        let nonce = self.next_nonce()?;
        Some(self.key.seal(nonce, &place(line, header), body))
    }

    /// Opens `body` in place, if the other end sealed it for this place.
    pub(crate) fn open(
        &mut self,
        line: LineId,
        header: &Header,
        body: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> Result<(), CloseCode> {
        let nonce = self.next_nonce().ok_or(CloseCode::SealBroken)?;
        self.key
            .open(nonce, &place(line, header), body, tag)
            .map_err(|Forged| CloseCode::SealBroken)
    }

    /// Whether the connection should be replaced.
    pub(crate) const fn is_exhausted(&self) -> bool {
        self.records >= RECORDS_MAX
    }

    fn next_nonce(&mut self) -> Option<[u8; NONCE_LEN]> {
        if self.is_exhausted() {
            return None;
        }
        let nonce = nonce(self.records.to_be_bytes());
        self.records += 1;
        Some(nonce)
    }
}

/// The nonce of the record or datagram with this number, big-endian.
pub(super) fn nonce(number: [u8; 8]) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - number.len()..].copy_from_slice(&number);
    nonce
}

/// Associated data: where the record belongs.
fn place(line: LineId, header: &Header) -> [u8; 16 + HEADER_LEN] {
    let mut place = [0; 16 + HEADER_LEN];
    place[..16].copy_from_slice(&line.0);
    place[16..].copy_from_slice(&header.encode());
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, convert::Infallible};

    const LINE: LineId = LineId([7; 16]);

    fn key(byte: u8) -> RecordKey {
        let Ok(key) = RecordKey::derive(|bytes| {
            bytes.fill(byte);
            Ok::<_, Infallible>(())
        });
        key
    }

    fn header(body: &[u8]) -> Header {
        Header {
            len: body.len() as u32,
            count: 1,
            first: 5,
        }
    }

    #[test]
    fn failure_03_the_receiver_opens_what_the_sender_sealed() {
        let (mut sender, mut receiver) = (key(1), key(1));
        for round in 0..100u8 {
            let plain = vec![round; 1 + usize::from(round)];
            let mut body = plain.clone();
            let tag = sender
                .seal(LINE, &header(&plain), &mut body)
                .expect("young key");
            assert_ne!(body, plain);
            assert_eq!(receiver.open(LINE, &header(&plain), &mut body, tag), Ok(()));
            assert_eq!(body, plain);
        }
    }

    #[test]
    fn a_record_opens_only_in_its_place() {
        let plain = b"hello".to_vec();
        let sealed = || {
            let mut body = plain.clone();
            let tag = key(1)
                .seal(LINE, &header(&plain), &mut body)
                .expect("young key");
            (body, tag)
        };
        let refused =
            |opened: Result<(), CloseCode>| assert_eq!(opened, Err(CloseCode::SealBroken));

        let (mut body, tag) = sealed();
        refused(key(2).open(LINE, &header(&plain), &mut body, tag));
        let (mut body, tag) = sealed();
        refused(key(1).open(LineId([8; 16]), &header(&plain), &mut body, tag));
        let (mut body, tag) = sealed();
        refused(key(1).open(
            LINE,
            &Header {
                first: 6,
                ..header(&plain)
            },
            &mut body,
            tag,
        ));
        let (mut body, tag) = sealed();
        refused(key(1).open(
            LINE,
            &Header {
                count: 2,
                ..header(&plain)
            },
            &mut body,
            tag,
        ));

        let mut later = key(1);
        let (mut body, tag) = sealed();
        assert_eq!(later.open(LINE, &header(&plain), &mut body, tag), Ok(()));
        let (mut body, tag) = sealed();
        refused(later.open(LINE, &header(&plain), &mut body, tag));
    }

    #[test]
    fn no_nonce_is_used_twice_and_the_last_one_ends_the_key() {
        let mut young = key(1);
        let nonces: BTreeSet<[u8; NONCE_LEN]> = (0..10_000)
            .map(|_| young.next_nonce().expect("young key"))
            .collect();
        assert_eq!(nonces.len(), 10_000);

        let mut old = key(1);
        old.records = RECORDS_MAX - 1;
        assert!(old.seal(LINE, &header(b"x"), &mut [0]).is_some());
        assert!(old.is_exhausted());
        assert!(old.seal(LINE, &header(b"x"), &mut [0]).is_none());
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
            let mut tag = key(1).seal(LINE, &header(&plain), &mut body).expect("young key");
            let bit = flip.index((body.len() + TAG_LEN) * 8);
            match body.get_mut(bit / 8) {
                Some(byte) => *byte ^= 1 << (bit % 8),
                None => tag[bit / 8 - plain.len()] ^= 1 << (bit % 8),
            }
            prop_assert_eq!(key(1).open(LINE, &header(&plain), &mut body, tag), Err(CloseCode::SealBroken));
        }
    }
}
