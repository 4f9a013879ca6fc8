//! The cipher of ring.

use ::ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Cipher, Forged, KEY_LEN, NONCE_LEN, TAG_LEN};

/// Holds the bytes of the key alone: ring's own key types are not erased when they are dropped, so
/// one is made on the stack for each call, which costs some 20 ns.
pub(crate) struct Ring(Box<Zeroizing<[u8; KEY_LEN]>>);

const _: () = {
    const fn is_zeroized_on_drop<T: ZeroizeOnDrop>() {}
    is_zeroized_on_drop::<Zeroizing<[u8; KEY_LEN]>>();
};

impl Ring {
    fn key(&self) -> LessSafeKey {
        let bytes: &[u8; KEY_LEN] = &self.0;
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes);
        LessSafeKey::new(key.expect("invariant: the key has the length of the algorithm's"))
    }
}

impl Cipher for Ring {
    fn new(key: Box<Zeroizing<[u8; KEY_LEN]>>) -> Self {
        Self(key)
    }

    fn seal(&self, nonce: [u8; NONCE_LEN], associated: &[u8], body: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key()
            .seal_in_place_separate_tag(nonce, Aad::from(associated), body)
            .expect("invariant: a body is shorter than the 256 GiB that one nonce may seal");
        tag.as_ref()
            .try_into()
            .expect("invariant: a tag has 16 bytes")
    }

    fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        associated: &[u8],
        body: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> Result<(), Forged> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.key().open_in_place_separate_tag(
            nonce,
            Aad::from(associated),
            tag.into(),
            body,
            0..,
        );
        opened
            .map(drop)
            .map_err(|::ring::error::Unspecified| Forged)
    }
}
