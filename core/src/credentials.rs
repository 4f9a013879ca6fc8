//! The seam for cryptography: our identity, and how a session proves that of the other end.

use std::sync::Arc;

/// The traits of cryptography that [`Credentials`] hands out. `identity` names them by this path, so
/// that no file outside of `transport` and this one depends on the QUIC library.
pub(crate) use quinn_proto::crypto;

use crate::PeerId;

/// Everything the machine needs to know about cryptography.
///
/// `Identity::credentials` makes one for TLS 1.3 with a pinned Ed25519 key, with the feature `ring`
/// or `aws-lc-rs`. A simulator makes its own with deterministic sessions, and a deployment with its
/// own public key infrastructure may implement this trait over its certificates.
///
/// An implementation must be a pure function of its inputs if runs are to be replayed; production
/// TLS is not, since it draws ephemeral keys from the operating system.
pub trait Credentials: Send + Sync + 'static {
    /// The identity that other peers will read from our sessions.
    fn local_id(&self) -> PeerId;

    /// How to open a session towards `peer`.
    ///
    /// The session need not check that the other end is `peer`: the machine compares
    /// [`peer_id`](Self::peer_id) after every handshake, resumed ones included.
    fn client_config(&self, peer: PeerId) -> Arc<dyn crypto::ClientConfig>;

    /// The server name to file tickets under; different for every peer.
    fn server_name(&self, peer: PeerId) -> String;

    /// How to answer sessions opened by others. Both ends must authenticate.
    fn server_config(&self) -> Arc<dyn crypto::ServerConfig>;

    /// The key for stateless reset tokens (RFC 9000 section 10.3), derived from the identity so
    /// that a restarted process resets the connections of its predecessor.
    fn reset_key(&self) -> Arc<dyn crypto::HmacKey>;

    /// The key for Retry tokens (RFC 9000 section 8.1).
    fn token_key(&self) -> Arc<dyn crypto::HandshakeTokenKey>;

    /// The identity that the other end of a completed handshake has proved, if it has proved one.
    fn peer_id(&self, session: &dyn crypto::Session) -> Option<PeerId>;

    /// Bounds what is kept for resumption, in bytes of memory, at both sides of the handshake
    /// together. A machine calls it once with its share of [`Config::memory_max`](crate::Config::memory_max).
    fn set_memory_max(&self, _bytes: usize) {}

    /// Bytes of memory that are kept for resumption. It is asked for often and must be cheap.
    fn memory(&self) -> usize {
        0
    }
}
