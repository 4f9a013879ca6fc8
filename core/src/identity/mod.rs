//! The default identity: an Ed25519 key, pinned by no authority.

mod certificate;
#[cfg(feature = "fuzz-internals")]
pub(crate) mod fuzzing;
#[cfg(test)]
mod handshake_tests;
mod keys;
mod provider;
mod sources;
mod tickets;
mod tls;
mod verifier;

use std::{fmt, sync::Arc};

use rustls::{
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::SigningKey,
};
use zeroize::Zeroizing;

pub use sources::TlsSources;

use crate::{Credentials, PeerId};

/// A peer's own key, from which all proofs of its identity follow.
///
/// The key is Ed25519 (RFC 8032). It is shown to others in a self-signed certificate, so that a QUIC stack in
/// any language can be a peer; no authority vouches for it. Others know its [`PeerId`], the hash of the public
/// half, and accept an end that proves to have the secret half.
///
/// The seed is kept in one place in memory, zeroized on drop, and never printed or cloned. The TLS
/// library keeps the key that it computes from the seed for as long as the identity or credentials
/// made from it live, and does not erase it.
///
/// ```
/// use quicpool_core::Identity;
///
/// let seed = [7; 32]; // in earnest: 32 secret random bytes
/// let identity = Identity::from_seed(&seed);
/// assert_eq!(identity.peer_id(), Identity::from_seed(&seed).peer_id());
/// assert_ne!(identity.peer_id(), Identity::generate().peer_id());
/// ```
pub struct Identity {
    seed: Box<Zeroizing<[u8; Self::SEED_LEN]>>,
    key: Arc<dyn SigningKey>,
    certificate: CertificateDer<'static>,
    id: PeerId,
}

impl Identity {
    /// The length of a seed, in bytes.
    pub const SEED_LEN: usize = 32;

    /// The identity of a seed: an Ed25519 private key as RFC 8032 section 5.1.5 has it.
    ///
    /// The same seed always makes the same key, the same [`PeerId`] and the same certificate. It
    /// is taken by reference, since a value that is passed on leaves a copy behind; erase your own.
    #[must_use]
    pub fn from_seed(seed: &[u8; Self::SEED_LEN]) -> Self {
        let mut place = Box::new(Zeroizing::new([0; Self::SEED_LEN]));
        place.copy_from_slice(seed);
        Self::new(place)
    }

    /// Generates a new identity from randomness of the operating system.
    ///
    /// To be found under the same [`PeerId`] after a restart, keep its [`seed`](Self::seed).
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no randomness to give.
    #[must_use]
    pub fn generate() -> Self {
        let mut place = Box::new(Zeroizing::new([0; Self::SEED_LEN]));
        provider::fill_random(&mut place[..]);
        Self::new(place)
    }

    /// The name under which others know us.
    pub fn peer_id(&self) -> PeerId {
        self.id
    }

    /// The secret from which [`from_seed`](Self::from_seed) makes this identity again.
    ///
    /// With it any process can be this peer. It is here to be written to a file that only its owner can read;
    /// copy it nowhere else, and erase the copy.
    pub fn seed(&self) -> &[u8; Self::SEED_LEN] {
        &self.seed
    }

    /// Mutual TLS 1.3 with this identity and no authority: an end that proves to have an Ed25519 key is the
    /// peer with its [`PeerId`].
    ///
    /// Whether that is the peer that was dialled, or one that may come in, is decided by the
    /// machine after the handshake. Each call makes credentials with a store of their own for
    /// session tickets, so a manager gets its own. Early data (0-RTT) is neither sent nor taken.
    ///
    /// With feature `aws-lc-rs` the key exchange is the post-quantum hybrid X25519MLKEM768 where
    /// both ends have it; with `ring` it is X25519.
    #[must_use]
    pub fn credentials(&self) -> Arc<dyn Credentials> {
        self.dangerous_credentials_with(&TlsSources::system())
    }

    /// [`credentials`](Self::credentials) that take randomness and time from elsewhere.
    ///
    /// **Dangerous**: with randomness that others can guess every connection can be read. This is
    /// for simulators, where the same sources give the same bytes; all else is as in production.
    #[must_use]
    pub fn dangerous_credentials_with(&self, sources: &TlsSources) -> Arc<dyn Credentials> {
        Arc::new(tls::TlsCredentials::new(self, sources))
    }

    fn new(seed: Box<Zeroizing<[u8; Self::SEED_LEN]>>) -> Self {
        let key = signing_key(&seed);
        let key_info = provider::key_info(&*key);
        Self {
            id: PeerId::from_public_key_info(&key_info),
            certificate: certificate::write(&key_info, |message| provider::sign(&*key, message)),
            key,
            seed,
        }
    }
}

/// Shows the peer id, and not the secret.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, ..)", self.id)
    }
}

/// What PKCS#8 (RFC 8410 section 7, version 1) has before the seed of an Ed25519 key.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, // PrivateKeyInfo, 46 bytes
    0x02, 0x01, 0x00, // version 1
    0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, // Ed25519
    0x04, 0x22, 0x04, 0x20, // the key: 32 bytes in 34
];

const PKCS8_LEN: usize = PKCS8_PREFIX.len() + Identity::SEED_LEN;

fn signing_key(seed: &[u8; Identity::SEED_LEN]) -> Arc<dyn SigningKey> {
    provider::ed25519_key(&PrivatePkcs8KeyDer::from(&pkcs8(seed)[..]))
}

fn pkcs8(seed: &[u8; Identity::SEED_LEN]) -> Zeroizing<[u8; PKCS8_LEN]> {
    let mut pkcs8 = Zeroizing::new([0; PKCS8_LEN]);
    pkcs8[..PKCS8_PREFIX.len()].copy_from_slice(&PKCS8_PREFIX);
    pkcs8[PKCS8_PREFIX.len()..].copy_from_slice(seed);
    pkcs8
}

#[cfg(test)]
pub(crate) use tests::examples;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Example, assert_documented, assert_stated};
    use rustls::pki_types::PrivateKeyDer;

    /// RFC 8032 section 7.1, test 1.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];
    const PUBLIC: [u8; 32] = [
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07,
        0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07,
        0x51, 0x1a,
    ];

    #[test]
    fn a_seed_makes_the_key_of_the_rfc() {
        let identity = Identity::from_seed(&SEED);
        let public = identity.key.public_key().unwrap();
        assert_eq!(public[..12], certificate::KEY_INFO_PREFIX);
        assert_eq!(public[12..], PUBLIC);
        assert_eq!(identity.seed(), &SEED);
    }

    #[test]
    fn the_peer_id_of_a_seed_never_changes() {
        assert_eq!(
            Identity::from_seed(&SEED).peer_id().to_string(),
            "qp1qm3lmr769xakp26e2477v8kmptkdkgc3xjlrpe6mg40cuxme975s5nqyuw"
        );
    }

    #[test]
    fn the_certificate_of_a_seed_never_changes() {
        // Ed25519 is deterministic, so the signature shows whether the signed part has changed.
        let certificate = Identity::from_seed(&SEED).certificate;
        let signature = &certificate[certificate.len() - 64..];
        assert_eq!(
            signature[..8],
            [0xec, 0x8e, 0xd6, 0x7d, 0x2f, 0x89, 0xa2, 0xbf]
        );
    }

    /// The examples of `docs/wire.md` that are about identities.
    pub(crate) fn examples() -> Vec<Example> {
        let identity = Identity::from_seed(&SEED);
        vec![
            (
                "the prefix of a key info",
                certificate::KEY_INFO_PREFIX.to_vec(),
            ),
            ("the seed", SEED.to_vec()),
            (
                "the public key info",
                provider::key_info(&*identity.key).to_vec(),
            ),
            ("the peer id", identity.peer_id().as_bytes().to_vec()),
            ("the certificate", identity.certificate.to_vec()),
            ("the application protocol", crate::wire::ALPN.to_vec()),
        ]
    }

    #[test]
    fn the_example_identity_is_as_documented() {
        for (what, bytes) in examples() {
            assert_documented(what, &bytes);
        }
        assert_stated(&Identity::from_seed(&SEED).peer_id().to_string());
    }

    #[test]
    fn an_identity_may_be_shared_by_threads() {
        fn is_shared<T: Send + Sync>() {}
        is_shared::<Identity>();
    }

    #[test]
    fn a_generated_identity_comes_back_from_its_seed() {
        let [one, two] = [Identity::generate(), Identity::generate()];
        assert_ne!(one.peer_id(), two.peer_id());
        let again = Identity::from_seed(one.seed());
        assert_eq!(again.peer_id(), one.peer_id());
        assert_eq!(again.certificate, one.certificate);
    }

    #[test]
    fn debug_shows_the_peer_id_and_no_secret() {
        let identity = Identity::from_seed(&SEED);
        let shown = format!("{identity:?}");
        assert_eq!(shown, format!("Identity({}, ..)", identity.peer_id()));
    }

    #[test]
    fn rcgen_gives_the_same_key_the_same_peer_id() {
        let identity = Identity::from_seed(&SEED);
        let mut pkcs8 = PKCS8_PREFIX.to_vec();
        pkcs8.extend(SEED);
        let der = PrivateKeyDer::Pkcs8(pkcs8.into());
        let key = rcgen::KeyPair::from_der_and_sign_algo(&der, &rcgen::PKCS_ED25519).unwrap();
        let theirs = rcgen::CertificateParams::new(["peer.example".to_owned()])
            .and_then(|params| params.self_signed(&key))
            .unwrap();

        let info = certificate::read(theirs.der()).unwrap();
        assert_eq!(PeerId::from_public_key_info(&info), identity.peer_id());
        assert_ne!(*theirs.der(), identity.certificate);
    }
}
