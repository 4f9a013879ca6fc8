//! The cipher of aws-lc-rs.

use ::aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    error::Unspecified,
};
use zeroize::Zeroizing;

use super::{Cipher, Forged, KEY_LEN, NONCE_LEN, TAG_LEN};

/// Holds the key as AWS-LC has it, on its heap, which cleanses everything that it frees.
pub(crate) struct AwsLcRs(LessSafeKey);

impl Cipher for AwsLcRs {
    fn new(key: Box<Zeroizing<[u8; KEY_LEN]>>) -> Self {
        let bytes: &[u8; KEY_LEN] = &key;
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes)
            .expect("invariant: the key has the length of the algorithm's");
        Self(LessSafeKey::new(key))
    }

    fn seal(&self, nonce: [u8; NONCE_LEN], associated: &[u8], body: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
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
        let opened = self
            .0
            .open_in_place_separate_tag(nonce, Aad::from(associated), &tag, body);
        opened.map(drop).map_err(|Unspecified| Forged)
    }
}
