//! Whole handshakes of two endpoints of quinn-proto over a network in memory: which ends are accepted, and what
//! each learns of the other.

use std::{
    collections::VecDeque,
    hint::black_box,
    net::{Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use rustls::{
    AlertDescription, KeyLog, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::CertificateDer,
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
};

use super::{Identity, TlsSources, tls};
use crate::{
    Credentials, PeerId,
    credentials::crypto,
    testing::epoch,
    transport::bare::{
        ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Endpoint,
        EndpointConfig, Event, ServerConfig, TransportErrorCode,
    },
};
#[cfg(target_os = "linux")]
use crate::{
    keys_in_memory::{
        depth::depth,
        search::{Masked, alone, parts_in_memory},
    },
    wire::aead::SCRUBBED_LEN,
};

const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];
const MALLORY: [u8; 32] = [3; 32];

#[test]
fn both_ends_read_who_the_other_is() {
    let mut net = Net::new(credentials(ALICE), credentials(BOB));
    net.connect();
    assert_eq!(net.dialler().met(), Some(id(BOB)));
    assert_eq!(net.acceptor().met(), Some(id(ALICE)));
}

#[test]
fn whoever_answers_is_reported_and_not_refused() {
    let mut net = Net::new(credentials(ALICE), credentials(MALLORY));
    // The second one is resumed: a ticket of the wrong peer does not make it the right one.
    for _ in 0..2 {
        net.connect();
        assert_eq!(net.dialler().met(), Some(id(MALLORY)));
    }
}

#[test]
fn both_ends_export_the_same_secret() {
    let mut net = Net::new(credentials(ALICE), credentials(BOB));
    net.connect();
    let secret = net.dialler().export(b"context");
    assert_eq!(secret, net.acceptor().export(b"context"));
    assert_ne!(secret, net.dialler().export(b"another"));

    net.connect();
    assert_ne!(secret, net.dialler().export(b"context"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_scrub_reaches_as_deep_as_the_exporter() {
    let mut net = Net::new(credentials(ALICE), credentials(BOB));
    net.connect();
    for link in [net.dialler(), net.acceptor()] {
        let depth = depth(|| {
            black_box(link.export(b"context"));
        });
        assert!(depth > 0, "nothing was measured");
        // A debug build uses more of the stack, and proves nothing of keys.
        if !cfg!(debug_assertions) {
            assert!(depth <= SCRUBBED_LEN, "{depth} bytes deep");
        }
    }
}

/// Holds what ARCHITECTURE.md states. When this fails, see whether rustls erases all of its secrets.
#[cfg(target_os = "linux")]
#[test]
fn tls_leaves_the_secret_of_its_exporter_behind() {
    let _alone = alone();
    let log = Arc::new(ExporterLog::default());
    let dialler = Altered::client(ALICE, |config| config.key_log = log.clone());
    let mut net = Net::new(dialler, credentials(BOB));
    for _ in 0..10 {
        net.connect();
    }
    drop(net);
    let secrets = log.0.lock().unwrap();
    assert_eq!(secrets.len(), 10);
    assert_ne!(parts_in_memory(&secrets), 0);
}

#[test]
fn a_later_handshake_offers_no_early_data_and_both_ends_still_read_who_the_other_is() {
    let mut net = Net::new(credentials(ALICE), credentials(BOB));
    for _ in 0..3 {
        net.connect();
        assert!(!net.early_data_offered);
        assert!(!net.dialler().connection.accepted_0rtt());
        assert!(!net.acceptor().connection.has_0rtt());
        assert_eq!(net.dialler().met(), Some(id(BOB)));
        assert_eq!(net.acceptor().met(), Some(id(ALICE)));
    }
}

#[test]
fn a_dialler_without_a_certificate_is_refused() {
    let dialler = Altered::client(ALICE, |config| {
        config.client_auth_cert_resolver = Arc::new(NoCertificate);
    });
    refused_by_acceptor(dialler, AlertDescription::CertificateRequired);
}

#[test]
fn a_dialler_with_another_or_no_application_protocol_is_refused() {
    for protocols in [vec![], vec![b"quicpool/0".to_vec()], vec![b"h3".to_vec()]] {
        let dialler = Altered::client(ALICE, |config| config.alpn_protocols = protocols);
        refused_by_acceptor(dialler, AlertDescription::NoApplicationProtocol);
    }
}

#[test]
fn a_dialler_that_shows_a_certificate_of_another_is_refused() {
    let stolen = shown(vec![certificate(BOB)], key(MALLORY));
    let dialler = Altered::client(MALLORY, |config| config.client_auth_cert_resolver = stolen);
    refused_by_acceptor(dialler, AlertDescription::DecryptError);
}

#[test]
fn an_acceptor_that_shows_a_certificate_of_another_is_refused() {
    let stolen = shown(vec![certificate(BOB)], key(MALLORY));
    let acceptor = Altered::server(MALLORY, |config| config.cert_resolver = stolen);
    refused_by_dialler(acceptor, AlertDescription::DecryptError);
}

#[test]
fn a_chain_of_certificates_is_refused() {
    let chain = || shown(vec![certificate(MALLORY), certificate(BOB)], key(MALLORY));
    let dialler = Altered::client(MALLORY, |config| config.client_auth_cert_resolver = chain());
    refused_by_acceptor(dialler, AlertDescription::AccessDenied);
    let acceptor = Altered::server(MALLORY, |config| config.cert_resolver = chain());
    refused_by_dialler(acceptor, AlertDescription::AccessDenied);
}

#[test]
fn failure_38_a_certificate_over_a_kibibyte_is_refused_by_both_ends() {
    for len in [1_025, 60_000] {
        let long = || shown(vec![padded(MALLORY, len)], key(MALLORY));
        let dialler = Altered::client(MALLORY, |config| config.client_auth_cert_resolver = long());
        refused_by_acceptor(dialler, AlertDescription::CertificateUnknown);
        let acceptor = Altered::server(MALLORY, |config| config.cert_resolver = long());
        refused_by_dialler(acceptor, AlertDescription::CertificateUnknown);
    }
    let fitting = shown(vec![padded(MALLORY, 1_024)], key(MALLORY));
    let dialler = Altered::client(MALLORY, |config| config.client_auth_cert_resolver = fitting);
    let mut net = Net::new(dialler, credentials(BOB));
    net.connect();
    assert_eq!(net.acceptor().met(), Some(id(MALLORY)));
}

/// Credentials of which one configuration was tampered with.
struct Altered {
    honest: Arc<dyn Credentials>,
    client: Option<Arc<dyn crypto::ClientConfig>>,
    server: Option<Arc<dyn crypto::ServerConfig>>,
}

impl Altered {
    fn client(
        seed: [u8; 32],
        alter: impl FnOnce(&mut rustls::ClientConfig),
    ) -> Arc<dyn Credentials> {
        let mut config = tls::client(
            &TlsSources::system(),
            shown(vec![certificate(seed)], key(seed)),
        );
        alter(&mut config);
        let config = crypto::rustls::QuicClientConfig::try_from(config).unwrap();
        Arc::new(Self {
            honest: credentials(seed),
            client: Some(Arc::new(config)),
            server: None,
        })
    }

    fn server(
        seed: [u8; 32],
        alter: impl FnOnce(&mut rustls::ServerConfig),
    ) -> Arc<dyn Credentials> {
        let mut config = tls::server(
            &TlsSources::system(),
            shown(vec![certificate(seed)], key(seed)),
        );
        alter(&mut config);
        let config = crypto::rustls::QuicServerConfig::try_from(config).unwrap();
        Arc::new(Self {
            honest: credentials(seed),
            client: None,
            server: Some(Arc::new(config)),
        })
    }
}

impl Credentials for Altered {
    fn local_id(&self) -> PeerId {
        self.honest.local_id()
    }

    fn client_config(&self, peer: PeerId) -> Arc<dyn crypto::ClientConfig> {
        let altered = self.client.clone();
        altered.unwrap_or_else(|| self.honest.client_config(peer))
    }

    fn server_name(&self, peer: PeerId) -> String {
        self.honest.server_name(peer)
    }

    fn server_config(&self) -> Arc<dyn crypto::ServerConfig> {
        let altered = self.server.clone();
        altered.unwrap_or_else(|| self.honest.server_config())
    }

    fn reset_key(&self) -> Arc<dyn crypto::HmacKey> {
        self.honest.reset_key()
    }

    fn token_key(&self) -> Arc<dyn crypto::HandshakeTokenKey> {
        self.honest.token_key()
    }

    fn peer_id(&self, session: &dyn crypto::Session) -> Option<PeerId> {
        self.honest.peer_id(session)
    }
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// The secrets that exporters derive from, masked.
#[cfg(target_os = "linux")]
#[derive(Debug, Default)]
struct ExporterLog(Mutex<Vec<Masked>>);

#[cfg(target_os = "linux")]
impl KeyLog for ExporterLog {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        if label == "EXPORTER_SECRET" {
            let secret = secret.try_into().unwrap();
            self.0.lock().unwrap().push(Masked::of(secret));
        }
    }
}

/// Alice, or an end in her place, at 0 dials Bob at 1.
struct Net {
    now: Instant,
    ends: [End; 2],
    early_data_offered: bool,
}

struct End {
    credentials: Arc<dyn Credentials>,
    endpoint: Endpoint,
    link: Option<Link>,
    arriving: VecDeque<BytesMut>,
}

struct Link {
    handle: ConnectionHandle,
    connection: Connection,
    credentials: Arc<dyn Credentials>,
    connected: bool,
    lost: Option<ConnectionError>,
}

impl Net {
    fn new(dialler: Arc<dyn Credentials>, acceptor: Arc<dyn Credentials>) -> Self {
        Self {
            now: epoch(),
            ends: [End::new(dialler), End::new(acceptor)],
            early_data_offered: false,
        }
    }

    /// Dials anew and asks that both ends agree.
    fn connect(&mut self) {
        self.dial();
        for end in &self.ends {
            let link = end.link.as_ref().unwrap();
            assert!(link.connected && link.lost.is_none(), "{:?}", link.lost);
        }
    }

    /// Dials anew, and runs both ends for longer than a handshake takes.
    fn dial(&mut self) {
        let [dialler, acceptor] = &mut self.ends;
        acceptor.link = None;
        let credentials = dialler.credentials.clone();
        let config = ClientConfig::new(credentials.client_config(id(BOB)));
        let name = credentials.server_name(id(BOB));
        let (handle, connection) = dialler
            .endpoint
            .connect(self.now, config, address(1), &name)
            .unwrap();
        self.early_data_offered = connection.has_0rtt();
        dialler.link = Some(Link::new(handle, connection, credentials));
        for _ in 0..200 {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(1);
        for from in 0..2 {
            let sent = self.ends[from].turn(self.now, address(1 - from));
            self.ends[1 - from].arriving.extend(sent);
        }
    }

    fn dialler(&self) -> &Link {
        self.ends[0].link.as_ref().unwrap()
    }

    fn acceptor(&self) -> &Link {
        self.ends[1].link.as_ref().unwrap()
    }
}

impl End {
    fn new(credentials: Arc<dyn Credentials>) -> Self {
        let server = ServerConfig::new(credentials.server_config(), credentials.token_key());
        let config = EndpointConfig::new(credentials.reset_key());
        let endpoint = Endpoint::new(Arc::new(config), Some(Arc::new(server)), false, None);
        Self {
            credentials,
            endpoint,
            link: None,
            arriving: VecDeque::new(),
        }
    }

    /// Takes what has arrived, and returns the datagrams to send to `other`.
    fn turn(&mut self, now: Instant, other: SocketAddr) -> Vec<BytesMut> {
        let mut sent = Vec::new();
        for data in std::mem::take(&mut self.arriving) {
            sent.extend(self.receive(now, other, data));
        }
        if let Some(link) = &mut self.link {
            sent.extend(link.turn(now, &mut self.endpoint));
        }
        sent
    }

    /// Takes one datagram; the endpoint's own answer, if it has one, is to be sent.
    fn receive(&mut self, now: Instant, other: SocketAddr, data: BytesMut) -> Option<BytesMut> {
        let mut answer = Vec::new();
        match self
            .endpoint
            .handle(now, other, None, None, data, &mut answer)?
        {
            DatagramEvent::ConnectionEvent(handle, event) => {
                let link = self.link.as_mut().filter(|link| link.handle == handle)?;
                link.connection.handle_event(event);
                None
            }
            DatagramEvent::NewConnection(incoming) => {
                match self.endpoint.accept(incoming, now, &mut answer, None) {
                    Ok((handle, connection)) => {
                        let credentials = self.credentials.clone();
                        self.link = Some(Link::new(handle, connection, credentials));
                        None
                    }
                    Err(error) => error.response.map(|sent| answer[..sent.size].into()),
                }
            }
            DatagramEvent::Response(sent) => Some(answer[..sent.size].into()),
        }
    }
}

impl Link {
    fn new(
        handle: ConnectionHandle,
        connection: Connection,
        credentials: Arc<dyn Credentials>,
    ) -> Self {
        Self {
            handle,
            connection,
            credentials,
            connected: false,
            lost: None,
        }
    }

    fn met(&self) -> Option<PeerId> {
        self.credentials.peer_id(self.connection.crypto_session())
    }

    fn export(&self, context: &[u8]) -> [u8; 32] {
        let mut secret = [0; 32];
        self.connection
            .crypto_session()
            .export_keying_material(&mut secret, b"EXPORTER-quicpool-test", context)
            .unwrap();
        secret
    }

    fn turn(&mut self, now: Instant, endpoint: &mut Endpoint) -> Vec<BytesMut> {
        if self.connection.poll_timeout().is_some_and(|at| at <= now) {
            self.connection.handle_timeout(now);
        }
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        while let Some(event) = self.connection.poll() {
            self.note(event);
        }
        let mut sent = Vec::new();
        let mut buffer = Vec::new();
        while let Some(datagram) = self.connection.poll_transmit(now, 1, &mut buffer) {
            sent.push(BytesMut::from(&buffer[..datagram.size]));
            buffer.clear();
        }
        sent
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::ConnectionLost { reason } => self.lost = Some(reason),
            Event::HandshakeDataReady
            | Event::Stream(_)
            | Event::DatagramReceived
            | Event::DatagramsUnblocked => {}
        }
    }
}

fn refused_by_acceptor(dialler: Arc<dyn Credentials>, alert: AlertDescription) {
    let mut net = Net::new(dialler, credentials(BOB));
    net.dial();
    assert_eq!(closed_by_other(net.dialler()), alert_code(alert));
    let acceptor = net.ends[1].link.as_ref();
    assert!(acceptor.is_none_or(|link| !link.connected && link.met().is_none()));
}

fn refused_by_dialler(acceptor: Arc<dyn Credentials>, alert: AlertDescription) {
    let mut net = Net::new(credentials(ALICE), acceptor);
    net.dial();
    assert_eq!(closed_by_other(net.acceptor()), alert_code(alert));
    assert!(!net.dialler().connected && net.dialler().met().is_none());
}

fn closed_by_other(link: &Link) -> TransportErrorCode {
    let Some(ConnectionError::ConnectionClosed(close)) = &link.lost else {
        panic!("not closed by the other end: {:?}", link.lost);
    };
    close.error_code
}

fn alert_code(alert: AlertDescription) -> TransportErrorCode {
    TransportErrorCode::crypto(alert.into())
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 4433 + end as u16)
}

fn credentials(seed: [u8; 32]) -> Arc<dyn Credentials> {
    Identity::from_seed(&seed).credentials()
}

fn id(seed: [u8; 32]) -> PeerId {
    Identity::from_seed(&seed).peer_id()
}

fn certificate(seed: [u8; 32]) -> CertificateDer<'static> {
    Identity::from_seed(&seed).certificate
}

/// A certificate of this length, in bytes.
fn padded(seed: [u8; 32], len: usize) -> CertificateDer<'static> {
    let key = rcgen::KeyPair::try_from(super::pkcs8(&seed).as_slice()).unwrap();
    let with = |padding: usize| {
        let mut params = rcgen::CertificateParams::default();
        let padding = rcgen::CustomExtension::from_oid_content(&[1, 2, 3], vec![0; padding]);
        params.custom_extensions.push(padding);
        params.self_signed(&key).unwrap().der().clone()
    };
    // The lengths that name a length vary, too.
    let padding = (0..len).rev().find(|padding| with(*padding).len() <= len);
    let certificate = with(padding.unwrap());
    assert_eq!(certificate.len(), len);
    certificate
}

fn key(seed: [u8; 32]) -> Arc<dyn SigningKey> {
    Identity::from_seed(&seed).key
}

fn shown(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Arc<SingleCertAndKey> {
    Arc::new(CertifiedKey::new(chain, key).into())
}
