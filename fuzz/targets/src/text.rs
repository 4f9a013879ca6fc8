//! Text that a user brings: ids, addresses, and the file of an identity.

use quicpool_core::{PeerAddr, PeerId};
use quicpool_driver::{Damage, lab::parse_identity};

/// A peer has one name in lower case, and what is read is written again.
pub(crate) fn ids(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match text.parse::<PeerId>() {
        Ok(id) => assert_eq!(id.to_string(), text.to_lowercase()),
        Err(error) => assert!(error.to_string().len() < 200),
    }
    if let Ok(addr) = text.parse::<PeerAddr>() {
        assert_eq!(addr.to_string().parse(), Ok(addr));
    }
}

/// Characters of the line of an identity: prefix, separator, seed and checksum.
const SECRET_LEN: usize = 8 + 1 + 52 + 6;

/// Only the line of an identity is one, and blanks behind it.
pub(crate) fn identity_file(input: &[u8]) {
    let line = input.trim_ascii_end();
    match parse_identity(input) {
        Ok(identity) => {
            assert!(line.starts_with(b"qpsecret1") && line.len() == SECRET_LEN);
            assert_eq!(identity.peer_id().to_string().len(), PeerId::TEXT_LEN);
        }
        Err(Damage::Empty) => assert!(line.is_empty()),
        Err(Damage::Length { found }) => assert_eq!(found, line.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
