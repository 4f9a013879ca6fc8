//! Body of the fuzz target of certificates.

use rustls::pki_types::CertificateDer;

use super::certificate;
use crate::PeerId;

/// A certificate: what is read from it is in it, and is a key.
pub fn certificate(input: &[u8]) {
    let Some(key_info) = certificate::read(&CertificateDer::from(input)) else {
        return;
    };
    assert!(key_info.starts_with(&certificate::KEY_INFO_PREFIX));
    let mut parts = input.windows(certificate::KEY_INFO_LEN);
    assert!(parts.any(|part| part == key_info));
    let text = PeerId::from_public_key_info(&key_info).to_string();
    assert_eq!(text.len(), PeerId::TEXT_LEN);
}
