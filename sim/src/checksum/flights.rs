//! How long the flights of a handshake are.

use super::message::MESSAGE_LEN_MAX;

/// How long each flight of a [`Checksum`](super::Checksum) session is, in bytes: padding makes up
/// for what TLS would send. A flight that has more to say is longer.
///
/// The default is what the TLS of production sends. Longer flights take several datagrams each, which
/// meet loss, and a server the limit against amplification (RFC 9000 section 8.1), one by one.
///
/// ```
/// use quicpool_core::Config;
/// use quicpool_sim::{Flights, Net};
///
/// // As with a chain of certificates.
/// let flights = Flights { server: 5_000, ..Flights::default() };
/// let mut net = Net::new(7);
/// net.node_with(Config::default(), move |credentials| credentials.with_flights(flights));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flights {
    /// ClientHello.
    pub client_hello: usize,
    /// ServerHello.
    pub server_hello: usize,
    /// EncryptedExtensions, CertificateRequest, Certificate, CertificateVerify, Finished.
    pub server: usize,
    /// Certificate, CertificateVerify, Finished.
    pub client: usize,
}

impl Flights {
    /// The longest flight, in bytes: what quinn-proto buffers of a handshake.
    pub const LEN_MAX: usize = MESSAGE_LEN_MAX;

    /// Full handshakes of an Ed25519 identity with X25519.
    pub const X25519: Self = Self {
        client_hello: 246,
        server_hello: 90,
        server: 508,
        client: 351,
    };

    /// The same with the post-quantum hybrid X25519MLKEM768, whose shares are 1,216 and 1,120 bytes
    /// long: a ClientHello takes two datagrams.
    pub const POST_QUANTUM: Self = Self {
        client_hello: Self::X25519.client_hello + 1_222,
        server_hello: Self::X25519.server_hello + 1_088,
        ..Self::X25519
    };

    /// # Panics
    ///
    /// If one is too long.
    pub(super) fn check(self) {
        let longest = self.client_hello.max(self.server_hello);
        let longest = longest.max(self.server).max(self.client);
        assert!(
            longest <= Self::LEN_MAX,
            "a flight of {longest} bytes is longer than {}",
            Self::LEN_MAX
        );
    }
}

impl Default for Flights {
    fn default() -> Self {
        Self::X25519
    }
}
