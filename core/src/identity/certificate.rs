//! The certificate that carries a key: X.509 v3 (RFC 5280), written from a template.
//!
//! Nothing in it is used but the key. It is a certificate at all because every QUIC stack can show one, and few
//! can show a bare key (RFC 7250).

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The length of the public key info of an Ed25519 key, in bytes.
pub(super) const KEY_INFO_LEN: usize = KEY_INFO_PREFIX.len() + 32;

/// What the public key info of every Ed25519 key begins with; the 32 bytes of the key follow.
///
/// RFC 8410 section 3 wants the parameters absent, so no other encoding of such a key is valid.
pub(super) const KEY_INFO_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// Bytes of the key that are repeated in the serial number.
const SERIAL_KEY_LEN: usize = 15;

/// From the beginning to the signed part.
const OUTER: &[u8] = b"\x30\x81\xe3";

/// From the beginning of the signed part into the serial number.
///
/// RFC 5280 wants no two certificates of one issuer name to have the same number, so it is made of
/// the key. The leading 1 keeps it positive.
const VERSION_AND_SERIAL: &[u8] = b"\x30\x81\x96\
    \xa0\x03\x02\x01\x02\
    \x02\x10\x01";

/// From the serial number to the public key info. Valid from 1970 to 9999, which RFC 5280 section
/// 4.1.2.5 has for "no expiry": what ends a key's life is that it is blocked.
const NAMES_AND_VALIDITY: &[u8] = b"\
    \x30\x05\x06\x03\x2b\x65\x70\
    \x30\x13\x31\x11\x30\x0f\x06\x03\x55\x04\x03\x0c\x08quicpool\
    \x30\x20\x17\x0d700101000000Z\x18\x0f99991231235959Z\
    \x30\x13\x31\x11\x30\x0f\x06\x03\x55\x04\x03\x0c\x08quicpool";

/// From the public key info to the signature.
const SIGNATURE: &[u8] = b"\
    \x30\x05\x06\x03\x2b\x65\x70\
    \x03\x41\x00";

/// The certificate of the key with this public key info, signed with `sign` by the key itself.
pub(super) fn write(
    key_info: &[u8; KEY_INFO_LEN],
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> CertificateDer<'static> {
    let serial = &key_info[KEY_INFO_PREFIX.len()..][..SERIAL_KEY_LEN];
    let signed = [VERSION_AND_SERIAL, serial, NAMES_AND_VALIDITY, key_info].concat();
    let signature = sign(&signed);
    let certificate = [OUTER, &signed, SIGNATURE, &signature].concat();
    CertificateDer::from(certificate)
}

/// The public key info in a certificate, if it is well formed and the key is Ed25519.
///
/// The certificate's own signature is not checked: what proves the key is the signature of the
/// handshake (RFC 8446 section 4.4.3), and nothing else in the certificate is believed.
pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<[u8; KEY_INFO_LEN]> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let key_info = certificate.subject_public_key_info();
    let key_info: [u8; KEY_INFO_LEN] = key_info.as_ref().try_into().ok()?;
    key_info.starts_with(&KEY_INFO_PREFIX).then_some(key_info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, TlsSources, identity::provider::provider};
    use proptest::prelude::*;
    use rustls::pki_types::UnixTime;
    use std::time::Duration;
    use webpki::{KeyUsage, anchor_from_trusted_cert};

    const KEY_INFO_AT: usize =
        OUTER.len() + VERSION_AND_SERIAL.len() + SERIAL_KEY_LEN + NAMES_AND_VALIDITY.len();

    fn certificate() -> CertificateDer<'static> {
        Identity::from_seed(&[7; 32]).certificate
    }

    fn key_info_of(bytes: &[u8]) -> &[u8] {
        &bytes[KEY_INFO_AT..][..KEY_INFO_LEN]
    }

    #[test]
    fn what_is_written_is_read() {
        let identity = Identity::from_seed(&[7; 32]);
        let key_info = identity.key.public_key().unwrap();
        let certificate = certificate();
        assert_eq!(key_info_of(&certificate), key_info.as_ref());
        assert_eq!(read(&certificate).unwrap(), key_info.as_ref());
    }

    #[test]
    fn the_certificate_is_signed_by_its_key_and_valid_at_all_times() {
        let certificate = certificate();
        let anchor = anchor_from_trusted_cert(&certificate).unwrap();
        let parsed = EndEntityCert::try_from(&certificate).unwrap();
        let year_9998 = Duration::from_secs(8_028 * 31_556_952);
        for time in [Duration::ZERO, Duration::from_secs(1 << 31), year_9998] {
            for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
                let verified = parsed.verify_for_usage(
                    provider(&TlsSources::system())
                        .signature_verification_algorithms
                        .all,
                    std::slice::from_ref(&anchor),
                    &[],
                    UnixTime::since_unix_epoch(time),
                    usage,
                    None,
                    None,
                );
                assert!(verified.is_ok(), "{:?}", verified.err());
            }
        }
    }

    #[test]
    fn a_key_that_is_not_ed25519_is_not_read() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap();
        assert_eq!(read(certificate.der()), None);
    }

    #[test]
    fn a_certificate_cut_short_or_continued_is_not_read() {
        let whole = certificate();
        for len in 0..whole.len() {
            assert_eq!(read(&CertificateDer::from(&whole[..len])), None, "{len}");
        }
        let continued = [&whole, &[0][..]].concat();
        assert_eq!(read(&CertificateDer::from(continued)), None);
    }

    #[test]
    fn a_flipped_bit_outside_the_key_changes_no_key() {
        let whole = certificate();
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Some(key_info) = read(&CertificateDer::from(flipped.as_slice())) {
                assert_eq!(key_info, key_info_of(&flipped), "bit {bit}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_mangled_certificate_is_read_without_panic(
            changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..8),
        ) {
            let mut mangled = certificate().to_vec();
            for (at, byte) in changes {
                let at = at.index(mangled.len());
                mangled[at] = byte;
            }
            let read = read(&CertificateDer::from(mangled.as_slice()));
            prop_assert!(read.is_none_or(|read| mangled.windows(KEY_INFO_LEN).any(|part| part == read)));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&CertificateDer::from(bytes));
        }
    }
}
