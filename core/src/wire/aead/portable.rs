//! The cipher of the crate `chacha20poly1305`: for builds without a TLS provider, and the oracle of
//! tests in all others.

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, Error, KeyInit};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Cipher, Forged, KEY_LEN, NONCE_LEN, TAG_LEN};

/// Holds the cipher in a box, so that moving it leaves no copy behind.
pub(crate) struct Portable(Box<ChaCha20Poly1305>);

const _: () = {
    const fn is_zeroized_on_drop<T: ZeroizeOnDrop>() {}
    is_zeroized_on_drop::<ChaCha20Poly1305>();
};

impl Cipher for Portable {
    fn new(key: Box<Zeroizing<[u8; KEY_LEN]>>) -> Self {
        let bytes: &[u8; KEY_LEN] = &key;
        Self(Box::new(ChaCha20Poly1305::new(bytes.into())))
    }

    fn seal(&self, nonce: [u8; NONCE_LEN], associated: &[u8], body: &mut [u8]) -> [u8; TAG_LEN] {
        self.0
            .encrypt_inout_detached(&nonce.into(), associated, body.into())
            .expect("invariant: a body is shorter than the 256 GiB that one nonce may seal")
            .into()
    }

    fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        associated: &[u8],
        body: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> Result<(), Forged> {
        self.0
            .decrypt_inout_detached(&nonce.into(), associated, body.into(), &tag.into())
            .map_err(|Error| Forged)
    }
}
