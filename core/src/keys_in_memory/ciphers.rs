//! The keys of each cipher of this build, one alone and thousands at a time.

use std::{convert::Infallible, hint::black_box};

use super::{
    assert_gone,
    depth::depth,
    search::{Masked, WHOLE, alone, parts_in_memory},
};
use crate::wire::aead::{AeadKey, Cipher, Forged, NONCE_LEN, SCRUBBED_LEN, TAG_LEN};

/// Enough that a leftover in one of a hundred does not escape.
const KEYS: usize = 2_000;

macro_rules! ciphers {
    ($($(#[$condition:meta])* $name:ident: $cipher:ty,)*) => {
        $($(#[$condition])* mod $name {
            #[test]
            fn a_key_is_in_one_place_and_is_erased() {
                super::a_key_is_in_one_place_and_is_erased::<$cipher>();
            }

            #[test]
            fn the_scrub_reaches_as_deep_as_a_call() {
                super::the_scrub_reaches_as_deep_as_a_call::<$cipher>();
            }

            #[test]
            fn thousands_of_keys_are_erased() {
                super::thousands_of_keys_are_erased::<$cipher>();
            }

            #[test]
            fn one_of_thousands_that_is_kept_is_found() {
                super::one_of_thousands_that_is_kept_is_found::<$cipher>();
            }
        })*
    };
}

ciphers! {
    portable: crate::wire::aead::portable::Portable,
    #[cfg(feature = "ring")]
    ring: crate::wire::aead::ring::Ring,
    #[cfg(feature = "aws-lc-rs")]
    aws_lc_rs: crate::wire::aead::aws_lc_rs::AwsLcRs,
}

fn a_key_is_in_one_place_and_is_erased<C: Cipher>() {
    let _alone = alone();
    let secret = Masked::fresh();
    let key = key::<C>(&secret);
    for len in 0..300 {
        use_key(&key, len);
    }
    if !cfg!(debug_assertions) {
        assert_eq!(parts_in_memory(&[secret]), WHOLE, "all of it, once");
    }
    drop(key);
    assert_gone(&[secret]);
}

fn the_scrub_reaches_as_deep_as_a_call<C: Cipher>() {
    let key = C::new(Masked::fresh().reveal());
    let made = depth(|| drop(black_box(C::new(Masked::fresh().reveal()))));
    assert_scrubbed(made);
    for len in [0, 16, 300, 70_000] {
        let (nonce, mut body) = ([3; NONCE_LEN], vec![1; len]);
        let mut tag = [0; TAG_LEN];
        assert_scrubbed(depth(|| tag = key.seal(nonce, b"place", &mut body)));
        let mut opened = Err(Forged);
        assert_scrubbed(depth(|| opened = key.open(nonce, b"place", &mut body, tag)));
        assert_eq!(opened, Ok(()));
    }
}

fn thousands_of_keys_are_erased<C: Cipher>() {
    let _alone = alone();
    let secrets = secrets();
    use_keys::<C>(&secrets);
    assert_gone(&secrets);
}

fn one_of_thousands_that_is_kept_is_found<C: Cipher>() {
    let _alone = alone();
    let secrets = secrets();
    let kept = secrets[secrets.len() / 2].reveal();
    use_keys::<C>(&secrets);
    let parts = parts_in_memory(&secrets);
    assert!(parts >= WHOLE, "all of the one that is kept: {parts}");
    if !cfg!(debug_assertions) {
        assert_eq!(parts, WHOLE, "and nothing else");
    }
    drop(kept);
    assert_gone(&secrets);
}

/// ring does not erase its keys, which is why [`Ring`](crate::wire::aead::ring::Ring) makes one for
/// each call. When this fails, see whether it may hold one.
#[cfg(feature = "ring")]
#[test]
fn keys_that_ring_holds_are_left_behind() {
    use ::ring::aead::{CHACHA20_POLY1305, LessSafeKey, UnboundKey};

    let _alone = alone();
    let secrets = secrets();
    let keys: Vec<Box<LessSafeKey>> = secrets
        .iter()
        .map(|secret| UnboundKey::new(&CHACHA20_POLY1305, &secret.reveal()[..]))
        .map(|key| Box::new(LessSafeKey::new(key.expect("a key of 32 bytes"))))
        .collect();
    drop(black_box(keys));
    assert_ne!(parts_in_memory(&secrets), 0);
}

#[track_caller]
fn assert_scrubbed(depth: usize) {
    assert!(depth > 0, "nothing was measured");
    // See above: a debug build copies as it likes.
    if !cfg!(debug_assertions) {
        assert!(depth <= SCRUBBED_LEN, "{depth} bytes deep");
    }
}

fn secrets() -> Vec<Masked> {
    (0..KEYS).map(|_| Masked::fresh()).collect()
}

/// Makes, moves, uses and drops keys, as many at a time as a busy process has.
#[inline(never)]
fn use_keys<C: Cipher>(secrets: &[Masked]) {
    for some in secrets.chunks(100) {
        let keys: Vec<AeadKey<C>> = some.iter().map(key).collect();
        for (index, key) in keys.iter().enumerate() {
            use_key(key, index);
            use_key(key, index * index);
        }
        // Moved about, as links are.
        let moved: Vec<_> = keys.into_iter().map(Some).rev().collect();
        drop(black_box(moved));
    }
}

/// Seals and opens a body, and refuses a forged one.
#[inline(never)]
fn use_key<C: Cipher>(key: &AeadKey<C>, len: usize) {
    let (nonce, mut body) = ([3; NONCE_LEN], vec![1; len]);
    let tag = key.seal(nonce, b"place", &mut body);
    let mut forged = body.clone();
    assert!(key.open(nonce, b"other", &mut forged, tag).is_err());
    assert_eq!(key.open(nonce, b"place", &mut body, tag), Ok(()));
    assert!(body.iter().all(|byte| *byte == 1));
}

#[inline(never)]
fn key<C: Cipher>(secret: &Masked) -> AeadKey<C> {
    let Ok(key) = AeadKey::derive(|place| {
        secret.write(place);
        Ok::<_, Infallible>(())
    });
    key
}
