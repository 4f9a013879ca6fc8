//! Credentials without cryptography: deterministic sessions with the shape of TLS 1.3.
//!
//! ```text
//! client                                   server
//! ClientHello  (random, protocol, parameters)  ->      Initial
//!                                 <-  ServerHello (random)  Initial
//!          <-  ServerFlight (identity, protocol, parameters, Finished)   Handshake
//! ClientFlight (identity, Finished)            ->      Handshake
//! ```
//!
//! Packets carry a keyed 16-byte checksum where TLS has the tag of an AEAD, under keys that differ
//! by level, direction and generation and derive from both hellos. So damage, the wrong key, the
//! wrong packet number and key updates have the effects that they have with TLS; only secrecy and
//! forgery are not simulated. An identity is stated, not proved. There are no tickets: each
//! handshake is a full one, and nothing follows it.

mod flights;
mod keys;
mod message;
mod session;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use quicpool_core::{Credentials, PeerId};
use quinn_proto::{
    ConnectError, ConnectionId, Side,
    crypto::{
        ClientConfig, HandshakeTokenKey, HmacKey, Keys, ServerConfig, Session, UnsupportedVersion,
    },
    transport_parameters::TransportParameters,
};

pub use self::flights::Flights;
use self::keys::{IdentityKey, Level, Secret};
use crate::hash::Hasher;

/// QUIC version 1 (RFC 9000), the only one that is spoken.
const QUIC_V1: u32 = 1;
/// The protocol of quicpool's wire, as in its TLS sessions.
const PROTOCOL: &[u8] = b"quicpool/1-d1";
/// The length of a protocol name is one byte in ALPN (RFC 7301 section 3.1).
const PROTOCOL_LEN_MAX: usize = 255;

/// [`Credentials`] whose sessions are deterministic and need no TLS.
///
/// All that a session sends is a function of the identity, the seed, the peer and the number of
/// sessions begun before it. A process that is started again must get another seed, or it derives
/// the keys of its predecessor.
///
/// ```
/// use quicpool_core::{Credentials, PeerId};
/// use quicpool_sim::Checksum;
///
/// let id = PeerId::from_bytes([7; 32]);
/// assert_eq!(Checksum::new(id, 42).local_id(), id);
/// ```
#[derive(Debug)]
pub struct Checksum {
    id: PeerId,
    local: Local,
}

/// The part that the configurations of both sides share.
#[derive(Debug, Clone)]
struct Local {
    /// The identity that is stated to other ends.
    identity: Option<PeerId>,
    protocol: Vec<u8>,
    /// The key of all randoms.
    seed: u128,
    /// Sessions begun so far; no two have the same random.
    sessions: Arc<AtomicU64>,
    flights: Flights,
}

/// The [`Session::handshake_data`] of a [`Checksum`] session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeData {
    /// The protocol that both ends speak.
    pub protocol: Vec<u8>,
}

impl Checksum {
    /// Credentials of the peer `id`, with sessions derived from `seed`.
    pub fn new(id: PeerId, seed: u64) -> Self {
        let local = Local {
            identity: Some(id),
            protocol: PROTOCOL.to_vec(),
            seed: Hasher::new(seed.into()).bytes(id.as_bytes()).finish(),
            sessions: Arc::default(),
            flights: Flights::default(),
        };
        Self { id, local }
    }

    /// Speaks another protocol. A handshake between ends whose protocols differ fails with
    /// `no_application_protocol`, which is crypto error 0x178.
    ///
    /// # Panics
    ///
    /// If the name is longer than 255 bytes.
    #[must_use]
    pub fn with_protocol(mut self, protocol: &[u8]) -> Self {
        assert!(
            protocol.len() <= PROTOCOL_LEN_MAX,
            "the protocol name is too long"
        );
        self.local.protocol = protocol.to_vec();
        self
    }

    /// Sends flights of other lengths.
    ///
    /// # Panics
    ///
    /// If one is longer than [`Flights::LEN_MAX`].
    #[must_use]
    pub fn with_flights(mut self, flights: Flights) -> Self {
        flights.check();
        self.local.flights = flights;
        self
    }

    /// States no identity: handshakes succeed, and the other end finds no identity.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.local.identity = None;
        self
    }
}

impl Credentials for Checksum {
    fn local_id(&self) -> PeerId {
        self.id
    }

    fn client_config(&self, peer: PeerId) -> Arc<dyn ClientConfig> {
        let local = self.local.clone();
        Arc::new(Dialler { local, peer })
    }

    fn server_name(&self, peer: PeerId) -> String {
        let digits = peer.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    }

    fn server_config(&self) -> Arc<dyn ServerConfig> {
        let local = self.local.clone();
        Arc::new(Listener { local })
    }

    fn reset_key(&self) -> Arc<dyn HmacKey> {
        Arc::new(IdentityKey::new(self.id.as_bytes(), b"reset"))
    }

    fn token_key(&self) -> Arc<dyn HandshakeTokenKey> {
        Arc::new(IdentityKey::new(self.id.as_bytes(), b"token"))
    }

    fn peer_id(&self, session: &dyn Session) -> Option<PeerId> {
        let identity = session.peer_identity()?;
        identity.downcast().ok().map(|id| *id)
    }
}

impl Local {
    fn offer(&self, purpose: Hasher, params: &TransportParameters) -> session::Offer {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let mut encoded = Vec::new();
        params.write(&mut encoded);
        session::Offer {
            identity: self.identity,
            protocol: self.protocol.clone(),
            params: encoded,
            random: purpose.word(session).array(),
            flights: self.flights,
        }
    }
}

/// Opens sessions towards one peer.
struct Dialler {
    local: Local,
    peer: PeerId,
}

impl ClientConfig for Dialler {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        _server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        check(version)?;
        let purpose = Hasher::new(self.local.seed).bytes(self.peer.as_bytes());
        let offer = self.local.offer(purpose, params);
        Ok(Box::new(session::Session::client(version, offer)))
    }
}

/// Answers sessions opened by others.
struct Listener {
    local: Local,
}

impl ServerConfig for Listener {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        check(version)?;
        Ok(Secret::initial(dst_cid).keys(Level::Initial, Side::Server))
    }

    fn retry_tag(&self, _version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        keys::retry_tag(orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn Session> {
        let purpose = Hasher::new(self.local.seed).bytes(b"answer");
        let offer = self.local.offer(purpose, params);
        Box::new(session::Session::server(version, offer))
    }
}

fn check(version: u32) -> Result<(), UnsupportedVersion> {
    if version != QUIC_V1 {
        return Err(UnsupportedVersion);
    }
    Ok(())
}
