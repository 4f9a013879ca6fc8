//! Every cipher of this build writes the same bytes and refuses what is not authentic.

use proptest::{
    prelude::*,
    sample::{Index, select},
};
use std::convert::Infallible;

use super::{AeadKey, Cipher, Forged, KEY_LEN, NONCE_LEN, TAG_LEN, portable::Portable};

/// Lengths at which one of the implementations takes another path: blocks of Poly1305 and ChaCha20,
/// the two, four, eight and sixteen blocks of vectors, and one less and more.
const EDGES: [usize; 9] = [16, 64, 128, 192, 256, 320, 512, 1_024, 65_536];

#[test]
fn the_example_of_the_rfc_is_met() {
    let sealing = Sealing {
        key: std::array::from_fn(|at| 0x80 + at as u8),
        nonce: [7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47],
        associated: vec![
            0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7,
        ],
        body: b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for \
            the future, sunscreen would be it."
            .to_vec(),
    };
    // RFC 8439 section 2.8.2.
    let tag = [
        0x1a, 0xe1, 0x0b, 0x59, 0x4f, 0x09, 0xe2, 0x6a, 0x7e, 0x90, 0x2e, 0xcb, 0xd0, 0x60, 0x06,
        0x91,
    ];
    let beginning = [0xd3, 0x1a, 0x8d, 0x34, 0x64, 0x8e, 0x60, 0xdb];
    for implementation in IMPLEMENTATIONS {
        let sealed = (implementation.seal)(&sealing);
        assert_eq!(sealed.tag, tag, "{}", implementation.name);
        assert_eq!(sealed.body[..8], beginning, "{}", implementation.name);
    }
}

proptest! {
    #[test]
    fn each_opens_what_each_seals(sealing in sealing()) {
        let expected = (IMPLEMENTATIONS[0].seal)(&sealing);
        for implementation in IMPLEMENTATIONS {
            let name = implementation.name;
            // Equal bytes are opened by all if one implementation's are.
            prop_assert!((implementation.seal)(&sealing) == expected, "{name} seals otherwise");
            let opened = (implementation.open)(&sealing, &expected);
            prop_assert!(opened.as_ref() == Ok(&sealing.body), "{name} opens otherwise");
        }
    }

    #[test]
    fn each_refuses_a_flipped_bit(
        sealing in sealing(),
        part in any::<Index>(),
        bit in any::<Index>(),
    ) {
        let mut forged = (IMPLEMENTATIONS[0].seal)(&sealing);
        let mut other = sealing;
        let mut parts: Vec<&mut [u8]> = vec![
            &mut forged.body,
            &mut forged.tag,
            &mut other.associated,
            &mut other.nonce,
            &mut other.key,
        ];
        parts.retain(|part| !part.is_empty());
        let part = part.index(parts.len());
        flip(parts[part], bit);
        for implementation in IMPLEMENTATIONS {
            let opened = (implementation.open)(&other, &forged);
            prop_assert!(opened == Err(Forged), "{} opens it", implementation.name);
        }
    }
}

/// One of the ciphers of this build.
struct Implementation {
    name: &'static str,
    seal: fn(&Sealing) -> Sealed,
    open: fn(&Sealing, &Sealed) -> Result<Vec<u8>, Forged>,
}

impl Implementation {
    const fn of<C: Cipher>(name: &'static str) -> Self {
        let (seal, open) = (seal::<C>, open::<C>);
        Self { name, seal, open }
    }
}

/// The oracle first.
const IMPLEMENTATIONS: &[Implementation] = &[
    Implementation::of::<Portable>("chacha20poly1305"),
    #[cfg(feature = "ring")]
    Implementation::of::<super::ring::Ring>("ring"),
    #[cfg(feature = "aws-lc-rs")]
    Implementation::of::<super::aws_lc_rs::AwsLcRs>("aws-lc-rs"),
];

#[derive(Debug, Clone)]
struct Sealing {
    key: [u8; KEY_LEN],
    nonce: [u8; NONCE_LEN],
    associated: Vec<u8>,
    body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sealed {
    body: Vec<u8>,
    tag: [u8; TAG_LEN],
}

fn seal<C: Cipher>(sealing: &Sealing) -> Sealed {
    let mut body = sealing.body.clone();
    let tag = key::<C>(&sealing.key).seal(sealing.nonce, &sealing.associated, &mut body);
    Sealed { body, tag }
}

fn open<C: Cipher>(sealing: &Sealing, sealed: &Sealed) -> Result<Vec<u8>, Forged> {
    let mut body = sealed.body.clone();
    let (nonce, associated) = (sealing.nonce, &sealing.associated);
    key::<C>(&sealing.key).open(nonce, associated, &mut body, sealed.tag)?;
    Ok(body)
}

fn sealing() -> impl Strategy<Value = Sealing> {
    let associated = prop::collection::vec(any::<u8>(), 0..100);
    (
        any::<[u8; KEY_LEN]>(),
        any::<[u8; NONCE_LEN]>(),
        associated,
        body(),
    )
        .prop_map(|(key, nonce, associated, body)| Sealing {
            key,
            nonce,
            associated,
            body,
        })
}

/// Mostly short bodies and those about the edges; some of any length up to 70,000 bytes.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let edge = (select(&EDGES[..]), 0..3_usize).prop_map(|(edge, more)| edge - 1 + more);
    let len = prop_oneof![
        6 => 0..300_usize,
        6 => edge,
        2 => 300..10_000_usize,
        1 => 10_000..=70_000_usize,
    ];
    (len, any::<[u8; 32]>()).prop_map(|(len, seed)| {
        let byte = |at: usize| seed[at % seed.len()].wrapping_add((at / seed.len()) as u8);
        (0..len).map(byte).collect()
    })
}

fn flip(part: &mut [u8], bit: Index) {
    let bit = bit.index(part.len() * 8);
    part[bit / 8] ^= 1 << (bit % 8);
}

fn key<C: Cipher>(bytes: &[u8; KEY_LEN]) -> AeadKey<C> {
    let Ok(key) = AeadKey::derive(|place| {
        place.copy_from_slice(bytes);
        Ok::<_, Infallible>(())
    });
    key
}
