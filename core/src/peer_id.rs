//! Who a peer is, and where it may be found.

use std::{fmt, net::SocketAddr};

/// The identity of a peer: the SHA-256 hash of its public key info (DER, byte-exact).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; Self::LEN]);

impl PeerId {
    /// The length of an identity, in bytes.
    pub const LEN: usize = 32;

    /// The identity with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes of this identity.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({:02x?})", &self.0[..4])
    }
}

/// A peer and one address at which it may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr {
    /// Who must answer at `addr`.
    pub id: PeerId,
    /// Where to dial.
    pub addr: SocketAddr,
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x?}", self.0)
    }
}
