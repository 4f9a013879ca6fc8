//! No key outlives its owner: the process looks for key bytes in all of its own memory.
//!
//! Only a release build proves anything: without optimisation each move of a value leaves a copy
//! of it on the stack, and the libraries below move theirs. `.ci/keys` runs these tests for each
//! cipher and build profile.

mod ciphers;
pub(crate) mod depth;
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod handshake;
pub(crate) mod search;

use std::{convert::Infallible, hint::black_box};

use self::search::{Masked, WHOLE, alone, parts_in_memory};
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
use crate::Identity;
use crate::{
    MeshKey,
    wire::{
        datagram::{Opener, Sealer},
        hello::HalfId,
        record::Header,
        seal::{Direction, RecordKey, Stream, context},
    },
};

#[test]
fn a_key_that_is_copied_on_purpose_is_found() {
    let _alone = alone();
    let secret = Masked::fresh();
    let copy = secret.reveal();
    black_box(&copy);
    let parts = parts_in_memory(&[secret]);
    assert!(parts >= WHOLE, "all of it, in one place at least: {parts}");
    drop(copy);
    assert_gone(&[secret]);
}

#[test]
fn a_record_key_is_erased() {
    let _alone = alone();
    let secret = Masked::fresh();
    use_record_key(&secret);
    assert_gone(&[secret]);
}

#[test]
fn a_record_key_that_lives_is_in_one_place() {
    let _alone = alone();
    let secret = Masked::fresh();
    let mut key = record_key(&secret);
    seal(&mut key);
    if !cfg!(debug_assertions) {
        assert_eq!(parts_in_memory(&[secret]), WHOLE, "all of it, once");
    }
    drop(key);
    assert_gone(&[secret]);
}

#[test]
fn a_datagram_key_is_erased() {
    let _alone = alone();
    let secret = Masked::fresh();
    use_datagram_keys(&secret);
    assert_gone(&[secret]);
}

#[test]
fn a_mesh_key_is_erased() {
    let _alone = alone();
    let secret = Masked::fresh();
    use_mesh_key(&secret);
    assert_gone(&[secret]);
}

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#[test]
fn the_seed_of_an_identity_is_erased() {
    let _alone = alone();
    let secret = Masked::fresh();
    use_identity(&secret);
    assert_gone(&[secret]);
}

#[inline(never)]
fn record_key(secret: &Masked) -> RecordKey {
    let Ok(key) = RecordKey::derive(|bytes| {
        secret.write(bytes);
        Ok::<_, Infallible>(())
    });
    key
}

#[inline(never)]
fn seal(key: &mut RecordKey) {
    let header = Header::plain(300, 1, 0);
    let mut stream = Stream::new(HalfId([7; 16]), 0, 1);
    let tag = key.seal(&mut stream, &header, &mut [1; 300]);
    assert!(tag.is_some());
}

#[inline(never)]
fn use_record_key(secret: &Masked) {
    let mut ends = vec![record_key(secret), record_key(secret)];
    let [mut sent, mut received] = [Stream::new(HalfId([7; 16]), 0, 1); 2];
    for len in 1..200 {
        let header = Header::plain(len, 1, len.into());
        let mut body = vec![1; len as usize];
        let tag = ends[0]
            .seal(&mut sent, &header, &mut body)
            .expect("young key");
        let opened = ends[1].open(&mut received, &header, &mut body, tag);
        assert_eq!(opened, Ok(()));
    }
    // Moved about, as links are.
    let moved: Vec<_> = ends.into_iter().map(Some).collect();
    drop(black_box(moved));
}

#[inline(never)]
fn use_datagram_keys(secret: &Masked) {
    let write = |bytes: &mut [u8]| {
        secret.write(bytes);
        Ok::<_, Infallible>(())
    };
    let (Ok(sealer), Ok(opener)) = (Sealer::derive(write), Opener::derive(write));
    let mut ends = vec![(sealer, opener)];
    for len in 0..200 {
        let (sealer, opener) = &mut ends[0];
        let sealed = sealer.seal(&vec![1; len]).expect("young key");
        assert!(opener.open(&sealed).is_ok());
    }
    // Moved about, as links are.
    let moved: Vec<_> = ends.into_iter().map(Some).collect();
    drop(black_box(moved));
}

#[inline(never)]
fn use_mesh_key(secret: &Masked) {
    let key = MeshKey::new(&secret.reveal());
    let keys = vec![key.clone(), key];
    for key in black_box(keys) {
        let context = context(Direction::FromDialler, Some(&key));
        black_box(&context);
    }
}

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
#[inline(never)]
fn use_identity(secret: &Masked) {
    let identity = Identity::from_seed(&secret.reveal());
    let credentials = identity.credentials();
    let again = Identity::from_seed(identity.seed());
    assert_eq!(credentials.local_id(), again.peer_id());
    drop(black_box((identity, credentials, again)));
}

#[track_caller]
fn assert_gone(keys: &[Masked]) {
    // See above: a debug build copies as it likes.
    if !cfg!(debug_assertions) {
        assert_eq!(parts_in_memory(keys), 0);
    }
}
