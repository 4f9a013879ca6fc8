//! Mutual TLS 1.3 over rustls, without authorities.

use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig,
    client::Resumption,
    pki_types::CertificateDer,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

use super::{
    Identity, TlsSources, certificate,
    keys::{ResetKey, TokenKey},
    provider::provider,
    tickets::{OurTickets, TheirTickets},
    verifier::AnyEd25519,
};
use crate::{
    Credentials, PeerId,
    credentials::crypto::{
        self,
        rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig},
    },
    wire::ALPN,
};

/// Peers whose tickets are kept for resumption, at each side: those that were met last. A peer beyond
/// them costs a full handshake, which is some hundred microseconds; one within them about a kilobyte.
const TICKET_PEERS_MAX: usize = 4_096;

/// Bytes of memory for these tickets at each side, at most, however long certificates and tickets are.
const TICKET_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What an [`Identity`] offers to the machine.
pub(super) struct TlsCredentials {
    id: PeerId,
    client: Arc<QuicClientConfig>,
    server: Arc<QuicServerConfig>,
    our_tickets: Arc<OurTickets>,
    their_tickets: Arc<TheirTickets>,
    reset_key: Arc<ResetKey>,
    token_key: Arc<TokenKey>,
}

impl TlsCredentials {
    pub(super) fn new(identity: &Identity, sources: &TlsSources) -> Self {
        let shown = shown(identity);
        let our_tickets = Arc::new(OurTickets::new(TICKET_PEERS_MAX, TICKET_BYTES_MAX));
        let their_tickets = Arc::new(TheirTickets::new(TICKET_PEERS_MAX, TICKET_BYTES_MAX));
        let mut client = client(sources, shown.clone());
        client.resumption = Resumption::store(our_tickets.clone());
        let mut server = server(sources, shown);
        server.session_storage = their_tickets.clone();
        Self {
            id: identity.id,
            client: Arc::new(initial_suite_is_there(client.try_into())),
            server: Arc::new(initial_suite_is_there(server.try_into())),
            our_tickets,
            their_tickets,
            reset_key: Arc::new(ResetKey::new(identity.seed())),
            token_key: Arc::new(TokenKey::new(identity.seed())),
        }
    }
}

impl Credentials for TlsCredentials {
    fn local_id(&self) -> PeerId {
        self.id
    }

    /// One for all peers: what differs is the server name, under which tickets are kept.
    fn client_config(&self, _peer: PeerId) -> Arc<dyn crypto::ClientConfig> {
        self.client.clone()
    }

    fn server_name(&self, peer: PeerId) -> String {
        base32(peer.as_bytes())
    }

    fn server_config(&self) -> Arc<dyn crypto::ServerConfig> {
        self.server.clone()
    }

    fn reset_key(&self) -> Arc<dyn crypto::HmacKey> {
        self.reset_key.clone()
    }

    fn token_key(&self) -> Arc<dyn crypto::HandshakeTokenKey> {
        self.token_key.clone()
    }

    /// Reads the certificate anew and not what a verifier saw, since a resumed handshake has no
    /// certificate in it: rustls brings the one of the handshake that made the ticket.
    fn peer_id(&self, session: &dyn crypto::Session) -> Option<PeerId> {
        let chain = session
            .peer_identity()?
            .downcast::<Vec<CertificateDer<'static>>>()
            .ok()?;
        let [certificate] = chain.as_slice() else {
            return None;
        };
        let key_info = certificate::read(certificate)?;
        Some(PeerId::from_public_key_info(&key_info))
    }

    fn set_memory_max(&self, bytes: usize) {
        let each = TICKET_BYTES_MAX.min(bytes / 2);
        self.our_tickets.set_bytes_max(each);
        self.their_tickets.set_bytes_max(each);
    }

    fn memory(&self) -> usize {
        self.our_tickets.memory() + self.their_tickets.memory()
    }
}

/// What an identity shows to the other end: its one certificate.
fn shown(identity: &Identity) -> Arc<SingleCertAndKey> {
    let chain = vec![identity.certificate.clone()];
    Arc::new(CertifiedKey::new(chain, identity.key.clone()).into())
}

pub(super) fn client(sources: &TlsSources, shown: Arc<SingleCertAndKey>) -> ClientConfig {
    let provider = Arc::new(provider(sources));
    let verifier = AnyEd25519::new(&provider);
    let mut config = ClientConfig::builder_with_details(provider, sources.time.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("invariant: our suites are those of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // The name would reveal the peer that is dialled, and the other end has one certificate only.
    config.enable_sni = false;
    config.enable_early_data = false;
    let tickets = OurTickets::new(TICKET_PEERS_MAX, TICKET_BYTES_MAX);
    config.resumption = Resumption::store(Arc::new(tickets));
    config
}

pub(super) fn server(sources: &TlsSources, shown: Arc<SingleCertAndKey>) -> ServerConfig {
    let provider = Arc::new(provider(sources));
    let verifier = AnyEd25519::new(&provider);
    let mut config = ServerConfig::builder_with_details(provider, sources.time.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("invariant: our suites are those of TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 0;
    // Kept at this end, so that a ticket works once and what it protects ends with the process.
    let tickets = TheirTickets::new(TICKET_PEERS_MAX, TICKET_BYTES_MAX);
    config.session_storage = Arc::new(tickets);
    // A peer has one connection at a time, and each connection brings the next ticket.
    config.send_tls13_tickets = 1;
    config
}

fn initial_suite_is_there<T>(config: Result<T, NoInitialCipherSuite>) -> T {
    config.expect("invariant: our provider has the suite of Initial packets")
}

/// Base32 (RFC 4648 section 6) in lower case without padding: 32 bytes are 52 letters and digits,
/// which a DNS label, of 63 at most, has room for.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let letter = |start: usize| (start..start + 5).fold(0, |value, at| value << 1 | bit(at));
    (0..bytes.len() * 8)
        .step_by(5)
        .map(|start| char::from(ALPHABET[usize::from(letter(start))]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{
        CipherSuite, Error, HandshakeKind, NamedGroup,
        crypto::{ActiveKeyExchange, GetRandomFailed, SecureRandom, SupportedKxGroup},
        pki_types::{ServerName, UnixTime},
        quic::{ClientConnection, Connection, ServerConnection, Version::V1},
        server::ProducesTickets,
        time_provider::TimeProvider,
    };
    use std::{
        slice::from_ref,
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    #[test]
    fn base32_is_that_of_the_rfc() {
        // RFC 4648 section 10, in lower case and without padding.
        for (plain, encoded) in [
            ("", ""),
            ("f", "my"),
            ("fo", "mzxq"),
            ("foo", "mzxw6"),
            ("foob", "mzxw6yq"),
            ("fooba", "mzxw6ytb"),
            ("foobar", "mzxw6ytboi"),
        ] {
            assert_eq!(base32(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn every_peer_has_a_server_name_of_its_own() {
        let credentials = Identity::from_seed(&[7; 32]).credentials();
        let [one, two] = [[0; 32], [255; 32]].map(PeerId::from_bytes);
        let name = credentials.server_name(one);
        assert_eq!(name.len(), 52);
        assert!(ServerName::try_from(name.as_str()).is_ok());
        assert_ne!(name, credentials.server_name(two));
    }

    #[test]
    fn a_second_handshake_is_resumed_without_early_data_and_brings_the_same_certificates() {
        let sources = TlsSources::system();
        let [alice, bob] = [[1; 32], [2; 32]].map(|seed| Identity::from_seed(&seed));
        let client = Arc::new(client(&sources, shown(&alice)));
        let server = Arc::new(server(&sources, shown(&bob)));

        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let [dialler, acceptor] = handshake(&client, &server);
            assert_eq!(dialler.handshake_kind(), Some(kind));
            assert_eq!(acceptor.handshake_kind(), Some(kind));
            assert_eq!(
                dialler.peer_certificates(),
                Some(from_ref(&bob.certificate))
            );
            assert_eq!(
                acceptor.peer_certificates(),
                Some(from_ref(&alice.certificate))
            );
            assert!(dialler.zero_rtt_keys().is_none() && acceptor.zero_rtt_keys().is_none());
        }
    }

    #[test]
    fn failure_38_a_ticket_that_another_end_has_made_long_is_not_kept() {
        let sources = TlsSources::system();
        let identity = Identity::from_seed(&[7; 32]);
        let tickets = Arc::new(OurTickets::new(TICKET_PEERS_MAX, TICKET_BYTES_MAX));
        let mut client = client(&sources, shown(&identity));
        client.resumption = Resumption::store(tickets.clone());
        let client = Arc::new(client);
        let mut kept = Vec::new();
        for len in [1_000, 2_000, 60_000] {
            let mut server = server(&sources, shown(&identity));
            server.ticketer = Arc::new(Padded(len));
            let [_, _] = handshake(&client, &Arc::new(server));
            kept.push(tickets.memory());
        }
        assert!(kept[1] - kept[0] >= 1_000, "{kept:?}");
        assert!(kept[2] < kept[1], "{kept:?}");
    }

    #[test]
    fn a_suite_with_sha_256_is_negotiated() {
        let sources = TlsSources::system();
        let identity = Identity::from_seed(&[7; 32]);
        let client = Arc::new(client(&sources, shown(&identity)));
        let server = Arc::new(server(&sources, shown(&identity)));
        let [dialler, _] = handshake(&client, &server);
        let suite = dialler.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
        let group = dialler.negotiated_key_exchange_group().unwrap().name();
        if cfg!(feature = "aws-lc-rs") {
            assert_eq!(group, NamedGroup::X25519MLKEM768);
        } else {
            assert_eq!(group, NamedGroup::X25519);
        }
    }

    #[test]
    fn both_ends_draw_from_their_sources_and_from_nowhere_else() {
        let identity = Identity::from_seed(&[7; 32]);
        let dry = TlsSources {
            random: &Dry,
            ..TlsSources::system()
        };
        let exhausted = Some(Error::FailedToGetRandomBytes);
        let dialler = |sources: &TlsSources| dialler(&Arc::new(client(sources, shown(&identity))));
        assert_eq!(dialler(&dry).err(), exhausted);

        let exchange_dry = TlsSources {
            kx_groups: vec![&Dry],
            ..TlsSources::system()
        };
        assert_eq!(dialler(&exchange_dry).err(), exhausted);

        let mut hello = Vec::new();
        let _ = dialler(&TlsSources::system()).unwrap().write_hs(&mut hello);
        for sources in [dry, exchange_dry] {
            let server = Arc::new(server(&sources, shown(&identity)));
            let answered = ServerConnection::new(server, V1, Vec::new())
                .and_then(|mut acceptor| acceptor.read_hs(&hello));
            assert!(answered.is_err());
        }
    }

    #[test]
    fn tickets_age_by_the_clock_of_the_sources() {
        let clock = Arc::new(Clock::default());
        let sources = TlsSources {
            time: clock.clone(),
            ..TlsSources::system()
        };
        let identity = Identity::from_seed(&[7; 32]);
        let client = Arc::new(client(&sources, shown(&identity)));
        let server = Arc::new(server(&sources, shown(&identity)));
        for (hours, kind) in [
            (0, HandshakeKind::Full),
            (23, HandshakeKind::Resumed),
            (48, HandshakeKind::Full),
        ] {
            clock.0.store(hours * 3_600, Ordering::Relaxed);
            let [dialler, _] = handshake(&client, &server);
            assert_eq!(dialler.handshake_kind(), Some(kind), "after {hours} hours");
        }
    }

    #[test]
    fn nothing_is_written_to_a_key_log() {
        let sources = TlsSources::system();
        let identity = Identity::from_seed(&[7; 32]);
        let client = client(&sources, shown(&identity));
        let server = server(&sources, shown(&identity));
        assert!(!client.key_log.will_log("CLIENT_TRAFFIC_SECRET_0"));
        assert!(!server.key_log.will_log("CLIENT_TRAFFIC_SECRET_0"));
    }

    /// Makes tickets of so many bytes.
    #[derive(Debug)]
    struct Padded(usize);

    impl ProducesTickets for Padded {
        fn enabled(&self) -> bool {
            true
        }

        fn lifetime(&self) -> u32 {
            3_600
        }

        fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
            Some(vec![7; self.0])
        }

        fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }

    /// A source that gives nothing.
    #[derive(Debug)]
    struct Dry;

    impl SecureRandom for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), GetRandomFailed> {
            Err(GetRandomFailed)
        }
    }

    impl SupportedKxGroup for Dry {
        fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
            Err(GetRandomFailed.into())
        }

        fn name(&self) -> NamedGroup {
            NamedGroup::X25519
        }
    }

    /// Seconds since the Unix epoch.
    #[derive(Debug, Default)]
    struct Clock(AtomicU64);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            let time = Duration::from_secs(self.0.load(Ordering::Relaxed));
            Some(UnixTime::since_unix_epoch(time))
        }
    }

    fn dialler(client: &Arc<ClientConfig>) -> Result<ClientConnection, Error> {
        let name = ServerName::try_from("bob").unwrap();
        ClientConnection::new(client.clone(), V1, name, Vec::new())
    }

    fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> [Connection; 2] {
        let acceptor = ServerConnection::new(server.clone(), V1, Vec::new()).unwrap();
        let mut ends = [dialler(client).unwrap().into(), Connection::from(acceptor)];
        for turn in 0..20 {
            let mut flight = Vec::new();
            let _ = ends[turn % 2].write_hs(&mut flight);
            ends[1 - turn % 2].read_hs(&flight).unwrap();
        }
        ends
    }
}
