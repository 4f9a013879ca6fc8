//! What a bare endpoint asks of QUIC: the same as the machine does, in `transport/settings.rs` of
//! the core.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use quicpool_core::{Config, Credentials};
use quinn_proto::{
    ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, NoneTokenLog,
    NoneTokenStore, ServerConfig, TimeSource, TransportConfig, VarInt, crypto,
};

use crate::Hasher;

const QUIC_V1: u32 = 1;
/// The machine's connections have a stream for control beside that for data.
const STREAMS: u32 = 2;
const CID_LEN: usize = 8;
const INITIAL_CID_LEN: usize = 20;
/// Header and tag of a record.
const RECORD_FRAME_LEN: usize = 32;
/// The length of the length of a message that is not empty and below a gigabyte.
const LENGTH_LEN_MAX: usize = 4;
const INCOMING_BYTES_MAX: u64 = 64 * 1024;

/// The settings that all connections of an endpoint share.
pub(super) struct Settings {
    pub(super) endpoint: Arc<EndpointConfig>,
    pub(super) server: Arc<ServerConfig>,
    transport: Arc<TransportConfig>,
    cids: Cids,
}

impl Settings {
    pub(super) fn new(config: &Config, credentials: &dyn Credentials, seed: [u8; 32]) -> Self {
        let purpose = |name: &[u8]| Hasher::new(0).bytes(&seed).bytes(name);
        let mut endpoint = EndpointConfig::new(credentials.reset_key());
        endpoint
            .rng_seed(Some(seed))
            .supported_versions(vec![QUIC_V1]);
        let cids = Cids::new(purpose(b"connection ids"));
        endpoint.cid_generator(move || Box::new(cids));

        let transport = Arc::new(transport(config));
        let mut server = ServerConfig::new(credentials.server_config(), credentials.token_key());
        server
            .transport_config(transport.clone())
            .time_source(Arc::new(NoClock))
            .max_incoming(config.handshakes_max)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_MAX * config.handshakes_max as u64);
        server.validation_token.sent(0).log(Arc::new(NoneTokenLog));
        Self {
            endpoint: Arc::new(endpoint),
            server: Arc::new(server),
            transport,
            cids: Cids::new(purpose(b"dials")),
        }
    }

    /// The settings of one dial.
    pub(super) fn client(&mut self, crypto: Arc<dyn crypto::ClientConfig>) -> ClientConfig {
        let cid = ConnectionId::new(&self.cids.next::<INITIAL_CID_LEN>());
        let mut client = ClientConfig::new(crypto);
        client
            .version(QUIC_V1)
            .transport_config(self.transport.clone())
            .token_store(Arc::new(NoneTokenStore))
            .initial_dst_cid_provider(Arc::new(move || cid));
        client
    }
}

fn transport(config: &Config) -> TransportConfig {
    let message = LENGTH_LEN_MAX + config.message_bytes_max;
    let record = RECORD_FRAME_LEN + config.batch_bytes_max.max(message);
    let stream_window = config.inbox_bytes_max.max(record) + record;
    let send_window = 2 * (config.outbox_bytes_max + record) + config.tuning.control_reserve;
    let idle_timeout = IdleTimeout::try_from(config.liveness_timeout * 4 / 3);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .stream_receive_window(varint(stream_window))
        // The machine begins with 16 KiB, and follows the credit that it grants: a bare endpoint has no credit.
        .receive_window(varint(
            (stream_window + 2 * config.tuning.control_reserve) * 8 / 7,
        ))
        .send_window(send_window as u64)
        .send_fairness(true)
        .datagram_receive_buffer_size(Some(131_070))
        .max_idle_timeout(Some(idle_timeout.expect("the configuration is valid")))
        .keep_alive_interval(Some(config.liveness_timeout / 3));
    transport
}

fn varint(value: usize) -> VarInt {
    VarInt::from_u64(value as u64).unwrap_or(VarInt::MAX)
}

/// Connection ids by counter.
#[derive(Debug, Clone, Copy)]
struct Cids {
    key: Hasher,
    count: u64,
}

impl Cids {
    fn new(key: Hasher) -> Self {
        Self { key, count: 0 }
    }

    fn next<const N: usize>(&mut self) -> [u8; N] {
        self.count += 1;
        self.key.word(self.count).array()
    }
}

impl ConnectionIdGenerator for Cids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.next::<CID_LEN>())
    }

    fn cid_len(&self) -> usize {
        CID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The time by which tokens age. There are none.
struct NoClock;

impl TimeSource for NoClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Mutex, time::Instant};

    use quicpool_core::{Incarnation, Manager, PeerAddr, PeerId};
    use quicpool_sim::Checksum;
    use quinn_proto::{
        ConnectError,
        crypto::{ClientConfig, HandshakeTokenKey, HmacKey, ServerConfig, Session},
        transport_parameters::TransportParameters,
    };

    use super::*;
    use crate::bench::bare::Bare;

    const PEER: PeerId = PeerId::from_bytes([2; 32]);

    #[test]
    fn a_bare_endpoint_states_the_transport_parameters_of_the_machine() {
        let mut other = Config::default();
        other.inbox_bytes_max = 2 << 20;
        other.batch_bytes_max = 1 << 20;
        other.message_bytes_max = 20_000;
        other.tuning.control_reserve = 8 << 10;
        other.liveness_timeout = Duration::from_secs(33);
        let [default, other] = [Config::default(), other].map(|config| {
            let stated = stated_by_machine(&config);
            let bare = stated_by_bare(&config);
            assert_eq!(
                but_for_the_first_window(&bare),
                but_for_the_first_window(&stated)
            );
            stated
        });
        assert_ne!(default, other);
    }

    /// The parameters without `initial_max_data`.
    fn but_for_the_first_window(stated: &str) -> Vec<&str> {
        let parameters = stated.split(", ");
        parameters
            .filter(|parameter| !parameter.starts_with("initial_max_data:"))
            .collect()
    }

    fn stated_by_machine(config: &Config) -> String {
        let (recorder, now) = (Recorder::new(), Instant::now());
        let incarnation = Incarnation {
            started_ms: 0,
            random: 0,
        };
        let credentials = recorder.clone();
        let machine = Manager::new(config.clone(), credentials, incarnation, [1; 32], now);
        let mut machine = machine.expect("the configuration is valid");
        let peer = PeerAddr::new(PEER, address());
        machine.add_address(now, peer).expect("it is a peer");
        machine.connect(now, PEER).expect("it has an address");
        while machine.driver().poll_event(now).is_some() {}
        recorder.stated()
    }

    fn stated_by_bare(config: &Config) -> String {
        let recorder = Recorder::new();
        let mut bare = Bare::new(config, recorder.clone(), [1; 32]);
        bare.connect(Instant::now(), PEER, address());
        recorder.stated()
    }

    fn address() -> SocketAddr {
        ([10, 0, 0, 2], 1).into()
    }

    /// Credentials that note what a dialler states.
    struct Recorder {
        inner: Checksum,
        stated: Arc<Mutex<String>>,
    }

    impl Recorder {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                inner: Checksum::new(PeerId::from_bytes([1; 32]), 1),
                stated: Arc::default(),
            })
        }

        /// Everything before what is drawn at random: the connection id and what follows it.
        fn stated(&self) -> String {
            let stated = self.stated.lock().expect("nobody panics");
            let (settings, _) = stated
                .split_once("initial_src_cid")
                .expect("a dial was made");
            settings.to_owned()
        }
    }

    impl Credentials for Recorder {
        fn local_id(&self) -> PeerId {
            self.inner.local_id()
        }

        fn client_config(&self, peer: PeerId) -> Arc<dyn ClientConfig> {
            Arc::new(Recording {
                inner: self.inner.client_config(peer),
                stated: self.stated.clone(),
            })
        }

        fn server_name(&self, peer: PeerId) -> String {
            self.inner.server_name(peer)
        }

        fn server_config(&self) -> Arc<dyn ServerConfig> {
            self.inner.server_config()
        }

        fn reset_key(&self) -> Arc<dyn HmacKey> {
            self.inner.reset_key()
        }

        fn token_key(&self) -> Arc<dyn HandshakeTokenKey> {
            self.inner.token_key()
        }

        fn peer_id(&self, session: &dyn Session) -> Option<PeerId> {
            self.inner.peer_id(session)
        }
    }

    struct Recording {
        inner: Arc<dyn ClientConfig>,
        stated: Arc<Mutex<String>>,
    }

    impl ClientConfig for Recording {
        fn start_session(
            self: Arc<Self>,
            version: u32,
            server_name: &str,
            params: &TransportParameters,
        ) -> Result<Box<dyn Session>, ConnectError> {
            *self.stated.lock().expect("nobody panics") = format!("{params:?}");
            let inner = self.inner.clone();
            inner.start_session(version, server_name, params)
        }
    }
}
