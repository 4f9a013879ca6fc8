//! The cryptography that the features of this build chose.

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as backend;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as backend;

use std::sync::Arc;

use rustls::{
    SignatureScheme,
    crypto::{CryptoProvider, SecureRandom, SupportedKxGroup, tls13::Hkdf},
    pki_types::PrivatePkcs8KeyDer,
    sign::SigningKey,
};

use super::{TlsSources, certificate::KEY_INFO_LEN};

/// The provider of this build, never the one that some other part of the process has installed.
///
/// A suite with SHA-256 comes first: against SHA-384 it saves 7 % of a handshake.
pub(super) fn provider(sources: &TlsSources) -> CryptoProvider {
    use backend::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };

    CryptoProvider {
        cipher_suites: vec![
            TLS13_AES_128_GCM_SHA256,
            TLS13_CHACHA20_POLY1305_SHA256,
            TLS13_AES_256_GCM_SHA384,
        ],
        kx_groups: sources.kx_groups.clone(),
        secure_random: sources.random,
        ..backend::default_provider()
    }
}

/// Randomness of the operating system.
pub(super) fn system_random() -> &'static dyn SecureRandom {
    backend::default_provider().secure_random
}

/// The key exchanges of this build, the preferred one first.
pub(super) fn kx_groups() -> Vec<&'static dyn SupportedKxGroup> {
    backend::default_provider().kx_groups
}

/// Fills `place` from the operating system; panics if that has no randomness.
pub(super) fn fill_random(place: &mut [u8]) {
    system_random()
        .fill(place)
        .expect("the operating system gives randomness");
}

/// HKDF and HMAC with SHA-256.
pub(super) fn hkdf_sha256() -> &'static dyn Hkdf {
    backend::cipher_suite::TLS13_AES_128_GCM_SHA256
        .tls13()
        .expect("invariant: the suite is one of TLS 1.3")
        .hkdf_provider
}

pub(super) fn ed25519_key(pkcs8: &PrivatePkcs8KeyDer<'_>) -> Arc<dyn SigningKey> {
    backend::sign::any_eddsa_type(pkcs8).expect("invariant: any 32 bytes are an Ed25519 key")
}

/// The public half of an Ed25519 key.
pub(super) fn key_info(key: &dyn SigningKey) -> [u8; KEY_INFO_LEN] {
    key.public_key()
        .and_then(|info| info.as_ref().try_into().ok())
        .expect("invariant: every provider knows the public half of an Ed25519 key")
}

/// The signature of an Ed25519 key.
pub(super) fn sign(key: &dyn SigningKey, message: &[u8]) -> Vec<u8> {
    key.choose_scheme(&[SignatureScheme::ED25519])
        .and_then(|signer| signer.sign(message).ok())
        .expect("invariant: an Ed25519 key signs anything")
}
