//! The identity of a peer, and where it may be found.

use std::{fmt, net::SocketAddr, str::FromStr};

use bech32::{
    Bech32m, Hrp,
    primitives::decode::{
        CharError, CheckedHrpstring, CheckedHrpstringError, UncheckedHrpstringError,
    },
};
use sha2::{Digest, Sha256};

/// The human-readable part of an identity in text.
const HRP: Hrp = Hrp::parse_unchecked("qp");

/// How an identity in text begins: the human-readable part and the separator.
const PREFIX: &str = "qp1";

/// The identity of a peer: the SHA-256 hash of its public key info (DER, byte-exact).
///
/// In text it is 61 characters of bech32m (BIP-350): `qp1`, the hash, and a checksum. The checksum
/// makes a mistyped identity an error, where plain hexadecimal would name another peer. Upper case
/// is read too, as BIP-350 asks for; lower case is written.
///
/// ```
/// use quicpool_core::PeerId;
///
/// let id = PeerId::from_bytes([7; PeerId::LEN]);
/// let text = id.to_string();
/// assert_eq!(text, "qp1qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurs7ryqsc");
/// assert_eq!(text.parse(), Ok(id));
/// assert!(text.replace("7ry", "7yr").parse::<PeerId>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; Self::LEN]);

impl PeerId {
    /// The length of an identity, in bytes.
    pub const LEN: usize = 32;

    /// The length of an identity in text, in characters.
    pub const TEXT_LEN: usize = 61;

    /// The identity with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The identity of the holder of this key: a `SubjectPublicKeyInfo` in DER (RFC 5280 section 4.1.2.7).
    ///
    /// The bytes are hashed as they are. Two encodings of one key would be two identities, so the
    /// caller accepts only one encoding.
    ///
    /// ```
    /// use quicpool_core::PeerId;
    ///
    /// // An Ed25519 key is always these twelve bytes and the key (RFC 8410 section 4).
    /// let mut info = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    /// info.extend([7; 32]);
    /// let id = PeerId::from_public_key_info(&info);
    /// assert!(id.to_string().starts_with("qp1"));
    /// ```
    #[must_use]
    pub fn from_public_key_info(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The bytes of this identity.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, HRP, &self.0).map_err(|_| fmt::Error)
    }
}

/// The beginning of the text: enough to distinguish peers in a log.
impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({:.11}..)", self.to_string())
    }
}

impl FromStr for PeerId {
    type Err = ParsePeerIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let len = text.chars().count();
        if len != Self::TEXT_LEN {
            return Err(ParsePeerIdError::Length { found: len });
        }
        let prefix = text.get(..PREFIX.len()).unwrap_or_default();
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return Err(ParsePeerIdError::Prefix);
        }
        let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(ParsePeerIdError::new)?;
        // A `1` among the data moves the separator, and then the prefix is a longer one.
        if checked.hrp() != HRP {
            return Err(ParsePeerIdError::Prefix);
        }
        // 52 characters of 5 bits hold the 256 bits of a hash and 4 more. Were these four not
        // looked at, one peer would have sixteen names.
        checked
            .validate_segwit_padding()
            .map_err(|_| ParsePeerIdError::Padding)?;
        let mut bytes = [0; Self::LEN];
        for (place, byte) in bytes.iter_mut().zip(checked.byte_iter()) {
            *place = byte;
        }
        Ok(Self(bytes))
    }
}

/// Why a text is not a [`PeerId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePeerIdError {
    /// The text is too short or too long.
    #[error("a peer id has {} characters, this text has {found}", PeerId::TEXT_LEN)]
    Length {
        /// Characters of the text.
        found: usize,
    },
    /// The text begins differently: it names something else.
    #[error("a peer id begins with `{PREFIX}`")]
    Prefix,
    /// The text has a character that no peer id has.
    #[error(
        "{found:?} is not a character of peer ids: after `{PREFIX}` come letters and digits, but none of 1, b, i, o"
    )]
    Character {
        /// The character.
        found: char,
    },
    /// Some letters are upper case and some are lower case.
    #[error("a peer id is all lower case or all upper case, this text is mixed")]
    MixedCase,
    /// The checksum does not match.
    #[error("the checksum does not match, so at least one character is mistyped")]
    Checksum,
    /// The bits after the hash are not zero, so that this is a second name for some peer.
    #[error("the unused bits of a peer id are zero, in this text they are not")]
    Padding,
}

impl ParsePeerIdError {
    fn new(error: CheckedHrpstringError) -> Self {
        let CheckedHrpstringError::Parse(UncheckedHrpstringError::Char(error)) = error else {
            return Self::Checksum;
        };
        match error {
            CharError::InvalidChar(found) => Self::Character { found },
            CharError::MixedCase => Self::MixedCase,
            CharError::MissingSeparator | CharError::NothingAfterSeparator | _ => Self::Prefix,
        }
    }
}

/// A peer and one address at which it may be reached. In text: `ID@ADDR`.
///
/// ```
/// use quicpool_core::{PeerAddr, PeerId};
///
/// let bob = PeerAddr::new(PeerId::from_bytes([7; 32]), "[::1]:4433".parse()?);
/// let text = bob.to_string();
/// assert!(text.ends_with("@[::1]:4433"));
/// assert_eq!(text.parse(), Ok(bob));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr {
    /// The peer that must answer at `addr`.
    pub id: PeerId,
    /// Where to dial.
    pub addr: SocketAddr,
}

impl PeerAddr {
    /// The peer `id`, to be reached at `addr`.
    pub const fn new(id: PeerId, addr: SocketAddr) -> Self {
        Self { id, addr }
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.addr)
    }
}

impl FromStr for PeerAddr {
    type Err = ParsePeerAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, addr) = text.split_once('@').ok_or(ParsePeerAddrError::Separator)?;
        let addr = addr.parse().map_err(|_| ParsePeerAddrError::Addr {
            found: addr.to_owned(),
        })?;
        Ok(Self::new(id.parse()?, addr))
    }
}

/// Why a text is not a [`PeerAddr`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePeerAddrError {
    /// There is no `@` in the text.
    #[error("a peer's address is a peer id, `@`, and an address; this text has no `@`")]
    Separator,
    /// What comes before the `@` is not a peer id.
    #[error(transparent)]
    Id(#[from] ParsePeerIdError),
    /// What comes after the `@` is not an IP address and a port.
    #[error(
        "{found:?} is not an IP address and a port, such as 192.0.2.1:4433 or [2001:db8::1]:4433"
    )]
    Addr {
        /// The text after the `@`.
        found: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
    use proptest::prelude::*;

    const ID: PeerId = PeerId::from_bytes([7; 32]);

    fn parsed(text: &str) -> Result<PeerId, ParsePeerIdError> {
        text.parse()
    }

    #[test]
    fn debug_is_short_and_begins_as_the_text_does() {
        assert_eq!(format!("{ID:?}"), "PeerId(qp1qurswpc8..)");
        assert!(ID.to_string().starts_with("qp1qurswpc8"));
    }

    #[test]
    fn upper_case_is_read_and_mixed_case_is_not() {
        let text = ID.to_string();
        assert_eq!(parsed(&text.to_uppercase()), Ok(ID));
        assert_eq!(
            parsed(&text.replace("qp1", "QP1")),
            Err(ParsePeerIdError::MixedCase)
        );
        assert_eq!(
            parsed(&text.replacen('w', "W", 1)),
            Err(ParsePeerIdError::MixedCase)
        );
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let text = ID.to_string();
        assert_eq!(parsed(""), Err(ParsePeerIdError::Length { found: 0 }));
        assert_eq!(
            parsed(&text[1..]),
            Err(ParsePeerIdError::Length { found: 60 })
        );
        assert_eq!(
            parsed(&format!("{text} ")),
            Err(ParsePeerIdError::Length { found: 62 })
        );
        assert_eq!(
            parsed(&text.replace("qp1", "bc1")),
            Err(ParsePeerIdError::Prefix)
        );
        assert_eq!(
            parsed(&text.replacen('w', "b", 1)),
            Err(ParsePeerIdError::Character { found: 'b' })
        );
        assert_eq!(
            parsed(&text.replacen('w', "\u{e9}", 1)),
            Err(ParsePeerIdError::Character { found: '\u{e9}' })
        );
        assert_eq!(
            parsed(&text.replacen('w', "q", 1)),
            Err(ParsePeerIdError::Checksum)
        );
        assert_eq!(
            ParsePeerIdError::Length { found: 3 }.to_string(),
            "a peer id has 61 characters, this text has 3"
        );
    }

    #[test]
    fn a_peer_has_one_name_whatever_the_unused_bits_are() {
        let mut symbols: Vec<_> = ID.as_bytes().iter().copied().bytes_to_fes().collect();
        symbols[51] = bech32::Fe32::try_from(symbols[51].to_u8() | 1).unwrap();
        let alias: String = symbols
            .into_iter()
            .with_checksum::<Bech32m>(&HRP)
            .chars()
            .collect();
        assert_eq!(parsed(&alias), Err(ParsePeerIdError::Padding));
    }

    #[test]
    fn the_checksum_of_bech32_is_not_that_of_bech32m() {
        let text = bech32::encode::<bech32::Bech32>(HRP, ID.as_bytes()).unwrap();
        assert_eq!(parsed(&text), Err(ParsePeerIdError::Checksum));
    }

    #[test]
    fn a_peer_address_names_its_faulty_half() {
        let parsed = |text: &str| text.parse::<PeerAddr>();
        let id = ID.to_string();
        assert_eq!(parsed(&id), Err(ParsePeerAddrError::Separator));
        assert_eq!(
            parsed("bob@127.0.0.1:1"),
            Err(ParsePeerAddrError::Id(ParsePeerIdError::Length {
                found: 3
            }))
        );
        assert_eq!(
            parsed(&format!("{id}@localhost:1")),
            Err(ParsePeerAddrError::Addr {
                found: "localhost:1".into()
            })
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed(bytes: [u8; 32]) {
            let id = PeerId::from_bytes(bytes);
            prop_assert_eq!(id.to_string().len(), PeerId::TEXT_LEN);
            prop_assert_eq!(parsed(&id.to_string()), Ok(id));
        }

        #[test]
        fn a_peer_address_is_printed_and_parsed(bytes: [u8; 32], ip: std::net::IpAddr, port: u16) {
            let peer = PeerAddr::new(PeerId::from_bytes(bytes), SocketAddr::new(ip, port));
            prop_assert_eq!(peer.to_string().parse(), Ok(peer));
        }

        #[test]
        fn a_substituted_character_is_an_error(bytes: [u8; 32], at in 0..PeerId::TEXT_LEN) {
            let text = PeerId::from_bytes(bytes).to_string();
            for other in (0..=0x7f).map(char::from).filter(|other| !text[at..].starts_with(*other)) {
                let mut mistyped = text.clone();
                mistyped.replace_range(at..=at, other.encode_utf8(&mut [0; 4]));
                prop_assert!(parsed(&mistyped).is_err(), "{mistyped}");
            }
        }

        #[test]
        fn swapped_neighbours_are_an_error(bytes: [u8; 32], at in 0..PeerId::TEXT_LEN - 1) {
            let mut text = PeerId::from_bytes(bytes).to_string().into_bytes();
            prop_assume!(text[at] != text[at + 1]);
            text.swap(at, at + 1);
            let text = String::from_utf8(text).expect("ASCII");
            prop_assert!(parsed(&text).is_err(), "{text}");
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,70}") {
            let _ = parsed(&text);
            let _ = parsed(&format!("qp1{text}"));
        }
    }
}
