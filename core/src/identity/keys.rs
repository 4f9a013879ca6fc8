//! Keys of the endpoint, derived from the seed of the identity.

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce, Tag};
use rustls::crypto::tls13::{Hkdf, OkmBlock};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Identity, provider};
use crate::credentials::crypto::{AeadKey, CryptoError, HandshakeTokenKey, HmacKey};

/// The length of a key and of the hash, in bytes.
const KEY_LEN: usize = 32;

const TAG_LEN: usize = 16;

const _: () = {
    const fn is_zeroized_on_drop<T: ZeroizeOnDrop>() {}
    is_zeroized_on_drop::<Sha256>();
};

/// A key that stays in its place and is zeroized on drop.
///
/// Not the key types of the TLS provider: those of ring are not erased.
struct Secret(Box<Zeroizing<[u8; KEY_LEN]>>);

impl Secret {
    /// The SHA-256 hash of `label` and the seed. The labels are of different lengths, and the seed
    /// is secret and always 32 bytes, so a plain hash makes independent keys.
    fn derive(label: &str, seed: &[u8; Identity::SEED_LEN]) -> Self {
        let mut key = Box::new(Zeroizing::new([0; KEY_LEN]));
        let mut hash = Sha256::new();
        hash.update(label);
        hash.update(seed);
        hash.finalize_into((&mut **key).into());
        Self(key)
    }

    /// The key as HMAC and HKDF want it; erased by itself.
    fn block(&self) -> OkmBlock {
        OkmBlock::new(&self.0[..])
    }
}

/// Makes the stateless reset tokens of this identity (RFC 9000 section 10.3.2).
pub(super) struct ResetKey {
    secret: Secret,
    hkdf: &'static dyn Hkdf,
}

impl ResetKey {
    pub(super) fn new(seed: &[u8; Identity::SEED_LEN]) -> Self {
        Self {
            secret: Secret::derive("quicpool reset key", seed),
            hkdf: provider::hkdf_sha256(),
        }
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let tag = self.hkdf.hmac_sign(&self.secret.block(), data);
        signature_out.copy_from_slice(tag.as_ref());
    }

    fn signature_len(&self) -> usize {
        KEY_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let tag = self.hkdf.hmac_sign(&self.secret.block(), data);
        if tag.as_ref().ct_eq(signature).into() {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

/// Makes the key of each Retry and NEW_TOKEN token (RFC 9000 section 8.1).
pub(super) struct TokenKey {
    secret: Secret,
    hkdf: &'static dyn Hkdf,
}

impl TokenKey {
    pub(super) fn new(seed: &[u8; Identity::SEED_LEN]) -> Self {
        Self {
            secret: Secret::derive("quicpool address token key", seed),
            hkdf: provider::hkdf_sha256(),
        }
    }
}

impl HandshakeTokenKey for TokenKey {
    fn aead_from_hkdf(&self, random_bytes: &[u8]) -> Box<dyn AeadKey> {
        let expander = self.hkdf.expander_for_okm(&self.secret.block());
        let key = expander.expand_block(&[random_bytes]);
        let cipher = ChaCha20Poly1305::new_from_slice(key.as_ref())
            .expect("invariant: SHA-256 is as long as a key of ChaCha20");
        Box::new(SealedToken(Box::new(cipher)))
    }
}

/// The cipher of one token. It seals nothing else, so the nonce may be zero.
struct SealedToken(Box<ChaCha20Poly1305>);

impl AeadKey for SealedToken {
    fn seal(&self, data: &mut Vec<u8>, additional_data: &[u8]) -> Result<(), CryptoError> {
        let tag = self
            .0
            .encrypt_inout_detached(
                &Nonce::default(),
                additional_data,
                data.as_mut_slice().into(),
            )
            .map_err(|_| CryptoError)?;
        data.extend_from_slice(&tag);
        Ok(())
    }

    fn open<'a>(
        &self,
        data: &'a mut [u8],
        additional_data: &[u8],
    ) -> Result<&'a mut [u8], CryptoError> {
        let (body, tag) = data.split_last_chunk_mut::<TAG_LEN>().ok_or(CryptoError)?;
        self.0
            .decrypt_inout_detached(
                &Nonce::default(),
                additional_data,
                (&mut *body).into(),
                &Tag::from(*tag),
            )
            .map_err(|_| CryptoError)?;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signature(key: &ResetKey, data: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; key.signature_len()];
        key.sign(data, &mut signature);
        signature
    }

    #[test]
    fn a_restarted_process_makes_the_reset_tokens_of_its_predecessor() {
        let [before, after] = [ResetKey::new(&[7; 32]), ResetKey::new(&[7; 32])];
        let other = ResetKey::new(&[8; 32]);
        assert_eq!(signature(&before, b"cid"), signature(&after, b"cid"));
        assert_ne!(signature(&before, b"cid"), signature(&before, b"dic"));
        assert_ne!(signature(&before, b"cid"), signature(&other, b"cid"));
    }

    #[test]
    fn the_reset_tokens_of_an_identity_never_change() {
        // HMAC-SHA-256 with the key SHA-256("quicpool reset key" || seed), computed in Python.
        let token = signature(&ResetKey::new(&[7; 32]), b"cid");
        let beginning = [
            0x9f, 0x4b, 0xed, 0xca, 0x78, 0xde, 0xba, 0x4d, 0xdd, 0x34, 0x2a, 0x0b, 0x70, 0x85,
            0x2e, 0x2c,
        ];
        assert_eq!(token[..16], beginning);
    }

    #[test]
    fn a_reset_token_is_verified() {
        let key = ResetKey::new(&[7; 32]);
        let mut token = signature(&key, b"cid");
        assert!(key.verify(b"cid", &token).is_ok());
        assert!(key.verify(b"dic", &token).is_err());
        assert!(key.verify(b"cid", &token[..16]).is_err());
        token[0] ^= 1;
        assert!(key.verify(b"cid", &token).is_err());
    }

    #[test]
    fn the_keys_of_one_identity_differ() {
        let reset = ResetKey::new(&[7; 32]).secret;
        let token = TokenKey::new(&[7; 32]).secret;
        assert_ne!(**reset.0, **token.0);
    }

    #[test]
    fn a_token_opens_with_its_own_key_only() {
        let key = TokenKey::new(&[7; 32]);
        let mut sealed = b"where you are".to_vec();
        key.aead_from_hkdf(b"1").seal(&mut sealed, b"ad").unwrap();

        let open = |seed: u8, random: &[u8], ad: &[u8]| {
            let key = TokenKey::new(&[seed; 32]).aead_from_hkdf(random);
            key.open(&mut sealed.clone(), ad).map(|body| body.to_vec())
        };
        assert_eq!(open(7, b"1", b"ad").unwrap(), b"where you are");
        assert!(open(8, b"1", b"ad").is_err());
        assert!(open(7, b"2", b"ad").is_err());
        assert!(open(7, b"1", b"da").is_err());
    }

    proptest! {
        #[test]
        fn any_token_is_opened_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let key = TokenKey::new(&[7; 32]).aead_from_hkdf(b"1");
            prop_assert!(key.open(&mut bytes, b"").is_err());
        }
    }
}
