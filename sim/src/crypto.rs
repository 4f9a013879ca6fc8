//! Which cryptography a network runs with.

use std::{fmt, str::FromStr};

/// The cryptography of a network. Both are deterministic: the same seed gives the same bytes.
///
/// ```
/// use quicpool_sim::Crypto;
///
/// assert_eq!("checksum".parse(), Ok(Crypto::Checksum));
/// assert_eq!(Crypto::default().to_string(), "checksum");
/// assert_eq!(
///     "ssl".parse::<Crypto>().unwrap_err().to_string(),
///     "there is no cryptography \"ssl\": it is checksum or tls"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Crypto {
    /// Sessions with the flights and the sizes of TLS 1.3, and keyed checksums in place of encryption.
    /// Ten times as many handshakes a second.
    #[default]
    Checksum,
    /// TLS 1.3 as in production, with seeded randomness.
    #[cfg(feature = "tls")]
    Tls,
}

impl Crypto {
    /// Those of this build.
    #[doc(hidden)]
    pub const ALL: &[Self] = &[
        Self::Checksum,
        #[cfg(feature = "tls")]
        Self::Tls,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            #[cfg(feature = "tls")]
            Self::Tls => "tls",
        }
    }
}

impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is not that of a [`Crypto`] of this build.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseCryptoError {
    /// No build has it.
    Unknown(String),
    /// This build has been made without the feature `tls`.
    NotInThisBuild,
}

impl fmt::Display for ParseCryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(
                    f,
                    "there is no cryptography {name:?}: it is checksum or tls"
                )
            }
            Self::NotInThisBuild => write!(f, "this build has no TLS: enable the feature `tls`"),
        }
    }
}

impl std::error::Error for ParseCryptoError {}

impl FromStr for Crypto {
    type Err = ParseCryptoError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "checksum" => Ok(Self::Checksum),
            #[cfg(feature = "tls")]
            "tls" => Ok(Self::Tls),
            #[cfg(not(feature = "tls"))]
            "tls" => Err(ParseCryptoError::NotInThisBuild),
            _ => Err(ParseCryptoError::Unknown(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cryptography_is_read_as_it_is_shown() {
        assert_eq!(Crypto::Checksum.to_string().parse(), Ok(Crypto::Checksum));
        for name in ["", "TLS", "checksum "] {
            let unknown = ParseCryptoError::Unknown(name.to_owned());
            assert_eq!(name.parse::<Crypto>(), Err(unknown));
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_read_as_it_is_shown() {
        assert_eq!(Crypto::Tls.to_string().parse(), Ok(Crypto::Tls));
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn tls_says_which_feature_it_needs() {
        let missing = "tls".parse::<Crypto>();
        assert_eq!(missing, Err(ParseCryptoError::NotInThisBuild));
    }
}
