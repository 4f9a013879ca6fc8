//! The TLS of production, made repeatable: its configuration is that of the core, its randomness
//! comes from a seed and its time from the simulated clock.

mod draws;
mod exchange;
mod log;
mod session;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use quicpool_core::{Credentials, Identity, PeerId, TlsSources};
use quinn_proto::{
    ConnectError, ConnectionId,
    crypto::{
        ClientConfig, HandshakeTokenKey, HmacKey, Keys, ServerConfig, Session, UnsupportedVersion,
    },
    transport_parameters::TransportParameters,
};
use rustls::time_provider::TimeProvider;

pub use self::log::{Handshake, HandshakeKind, HandshakeLog};
use self::{
    draws::{Draws, SeededRandom},
    exchange::SeededX25519,
};
use crate::hash::Hasher;

/// [`Credentials`] with the TLS 1.3 of an [`Identity`], whose sessions are deterministic.
///
/// Everything but the sources of randomness and time is what [`Identity::credentials`] has: cipher
/// suites, certificates, verifier, tickets. All that a session sends is a function of the identity,
/// the seed, the peer, the number of sessions begun before it, and of what it receives and when. The
/// key exchange is X25519 always, which is what production has with the feature `ring`.
///
/// **Restarts.** A process that is started again must get another seed, or its randoms and ephemeral
/// keys are those of its predecessor; [`Net`](crate::Net) sees to it. It has no tickets, as in
/// production, where a store of tickets lives as long as the credentials: the first handshakes after
/// a restart are full ones, and others find that their tickets for it are not accepted. Within the
/// life of both processes handshakes are resumed, until a ticket is a day old.
///
/// ```
/// use quicpool_core::{Credentials, Identity};
/// use quicpool_sim::SeededTls;
/// use rustls::time_provider::DefaultTimeProvider; // a test will rather have its own
/// use std::sync::Arc;
///
/// let identity = Identity::from_seed(&[7; 32]);
/// let credentials = SeededTls::new(&identity, 42, Arc::new(DefaultTimeProvider));
/// assert_eq!(credentials.local_id(), identity.peer_id());
/// ```
pub struct SeededTls {
    tls: Arc<dyn Credentials>,
    sessions: Arc<Sessions>,
}

/// The sessions of one process.
struct Sessions {
    /// The key of all draws.
    seed: u128,
    /// How many have begun; no two have the same draws.
    begun: AtomicU64,
    log: Arc<HandshakeLog>,
}

impl SeededTls {
    /// Credentials of an identity, with sessions derived from `seed`.
    pub fn new(identity: &Identity, seed: u64, time: Arc<dyn TimeProvider>) -> Self {
        Self::altered(identity, seed, time, |_| ())
    }

    /// The same, with a note of each handshake that is completed.
    pub fn logged(
        identity: &Identity,
        seed: u64,
        time: Arc<dyn TimeProvider>,
        log: Arc<HandshakeLog>,
    ) -> Self {
        Self::make(identity, seed, time, |_| (), log)
    }

    /// The same with other sources of randomness or time, for instance to see that one matters.
    pub fn altered(
        identity: &Identity,
        seed: u64,
        time: Arc<dyn TimeProvider>,
        alter: impl FnOnce(&mut TlsSources),
    ) -> Self {
        Self::make(identity, seed, time, alter, Arc::default())
    }

    fn make(
        identity: &Identity,
        seed: u64,
        time: Arc<dyn TimeProvider>,
        alter: impl FnOnce(&mut TlsSources),
        log: Arc<HandshakeLog>,
    ) -> Self {
        let mut sources = TlsSources {
            random: &SeededRandom,
            kx_groups: vec![&SeededX25519],
            time,
        };
        alter(&mut sources);
        let id = identity.peer_id();
        Self {
            tls: identity.dangerous_credentials_with(&sources),
            sessions: Arc::new(Sessions {
                seed: Hasher::new(seed.into()).bytes(id.as_bytes()).finish(),
                begun: AtomicU64::new(0),
                log,
            }),
        }
    }
}

impl Credentials for SeededTls {
    fn local_id(&self) -> PeerId {
        self.tls.local_id()
    }

    fn client_config(&self, peer: PeerId) -> Arc<dyn ClientConfig> {
        Arc::new(Dialler {
            tls: self.tls.client_config(peer),
            sessions: self.sessions.clone(),
            peer,
        })
    }

    fn server_name(&self, peer: PeerId) -> String {
        self.tls.server_name(peer)
    }

    fn server_config(&self) -> Arc<dyn ServerConfig> {
        Arc::new(Listener {
            tls: self.tls.server_config(),
            sessions: self.sessions.clone(),
        })
    }

    fn reset_key(&self) -> Arc<dyn HmacKey> {
        self.tls.reset_key()
    }

    fn token_key(&self) -> Arc<dyn HandshakeTokenKey> {
        self.tls.token_key()
    }

    fn peer_id(&self, session: &dyn Session) -> Option<PeerId> {
        self.tls.peer_id(session)
    }

    fn set_memory_max(&self, bytes: usize) {
        self.tls.set_memory_max(bytes);
    }

    fn memory(&self) -> usize {
        self.tls.memory()
    }
}

impl Sessions {
    /// The draws of the next session, which is for this purpose.
    fn next(&self, purpose: &[u8]) -> Draws {
        let session = self.begun.fetch_add(1, Ordering::Relaxed);
        let key = Hasher::new(self.seed).bytes(purpose).word(session);
        Draws::new(key.finish())
    }
}

/// Opens sessions towards one peer.
struct Dialler {
    tls: Arc<dyn ClientConfig>,
    sessions: Arc<Sessions>,
    peer: PeerId,
}

impl ClientConfig for Dialler {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let mut draws = self.sessions.next(self.peer.as_bytes());
        let tls = self.tls.clone();
        let tls = draws.during(|| tls.start_session(version, server_name, params))?;
        let log = self.sessions.log.clone();
        let peer = Some(self.peer);
        Ok(Box::new(session::Session::new(tls, draws, peer, log)))
    }
}

/// Answers sessions opened by others.
struct Listener {
    tls: Arc<dyn ServerConfig>,
    sessions: Arc<Sessions>,
}

impl ServerConfig for Listener {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        self.tls.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.tls.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn Session> {
        let mut draws = self.sessions.next(b"answer");
        let tls = self.tls.clone();
        let tls = draws.during(|| tls.start_session(version, params));
        let log = self.sessions.log.clone();
        Box::new(session::Session::new(tls, draws, None, log))
    }
}
