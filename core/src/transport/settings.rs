//! What we ask of QUIC: every knob of quinn-proto that we turn, and why.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use quinn_proto::{
    ClientConfig, ConnectionId, EndpointConfig, IdleTimeout, ServerConfig, TimeSource,
    TransportConfig, VarInt, crypto,
};

use super::{
    allowance::CONTROL_WINDOW,
    ids::Ids,
    lane,
    quirks::window::{InFlight, Windows},
    tokens::{self, OurTokens, UsedTokens},
};
use crate::{
    Config, Credentials, Incarnation,
    rng::{self, Rng},
};

/// The only version of QUIC that we speak (RFC 9000).
const QUIC_V1: u32 = 1;

/// Streams that the other end may open before its greeting is accepted: control and line 0.
const STREAMS: u32 = 2;

/// Streams that it may have open from then on: some of types that we do not know, too.
pub(super) const STREAMS_MAX: u32 = 8;

/// The length of the id that a dial makes up for the other end, as RFC 9000 section 7.2 asks: at
/// least 8 bytes, unpredictable.
const INITIAL_CID_LEN: usize = 20;

/// The shortest time between two stateless resets (RFC 9000 section 10.3): 5,000 a second are less than a hundredth of
/// a core. A process that has restarted answers all peers of its predecessor within moments, and packets of no
/// connection have to be many to keep it from that.
const RESET_INTERVAL: Duration = Duration::from_micros(200);

/// What first flights of handshakes that we have not looked at may hold.
const INCOMING_BYTES_MAX: u64 = 64 * 1024;

/// Settings that every connection shares.
pub(super) struct Settings {
    pub(super) endpoint: Arc<EndpointConfig>,
    pub(super) server: Arc<ServerConfig>,
    transport: Arc<TransportConfig>,
    pub(super) clock: Arc<WallClock>,
    /// Knows the connection ids that this end chooses.
    pub(super) ids: Ids,
    our_tokens: Arc<OurTokens>,
    used_tokens: Arc<UsedTokens>,
    /// What the connections have sent and may have to send again.
    pub(super) in_flight: InFlight,
}

impl Settings {
    pub(super) fn new(
        config: &Config,
        credentials: &dyn Credentials,
        incarnation: Incarnation,
        seed: &[u8; 32],
    ) -> Self {
        let salt = incarnation.random.to_be_bytes();
        let mut endpoint = EndpointConfig::new(credentials.reset_key());
        endpoint
            .min_reset_interval(RESET_INTERVAL)
            .rng_seed(Some(rng::derive(seed, "endpoint", &salt)))
            .supported_versions(vec![QUIC_V1]);
        let id_seed = rng::derive(seed, "connection ids", &salt);
        let ids = Ids::new(&rng::derive(seed, "marks of connection ids", &salt));
        endpoint.cid_generator(move || Box::new(ids.generator(id_seed)));

        let in_flight = InFlight::default();
        let transport = Arc::new(transport(config, in_flight.clone()));
        let clock = Arc::new(WallClock::new(incarnation.started_ms));
        let mut server = ServerConfig::new(credentials.server_config(), credentials.token_key());
        server
            .transport_config(transport.clone())
            .time_source(clock.clone())
            .max_incoming(config.handshakes_max)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_MAX * config.handshakes_max as u64);
        let used_tokens = Arc::new(UsedTokens::new(config));
        server
            .validation_token
            .sent(1)
            .lifetime(tokens::LIFETIME)
            .log(used_tokens.clone());
        Self {
            endpoint: Arc::new(endpoint),
            server: Arc::new(server),
            transport,
            clock,
            ids,
            our_tokens: Arc::new(OurTokens::new(config)),
            used_tokens,
            in_flight,
        }
    }

    /// Bytes of memory in tokens.
    pub(super) fn memory(&self) -> usize {
        self.our_tokens.memory() + self.used_tokens.memory()
    }

    /// The settings of one dial.
    pub(super) fn client(
        &self,
        crypto: Arc<dyn crypto::ClientConfig>,
        rng: &mut Rng,
    ) -> ClientConfig {
        let cid = ConnectionId::new(&rng.bytes::<INITIAL_CID_LEN>());
        let mut client = ClientConfig::new(crypto);
        client
            .version(QUIC_V1)
            .transport_config(self.transport.clone())
            .token_store(self.our_tokens.clone())
            .initial_dst_cid_provider(Arc::new(move || cid));
        client
    }
}

fn transport(config: &Config, in_flight: InFlight) -> TransportConfig {
    let stream_window = stream_window(config);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .stream_receive_window(varint(stream_window))
        .receive_window(VarInt::from_u32(CONTROL_WINDOW))
        .send_window(send_window(config) as u64)
        // The default, written down since the order in packets depends on it. Without it a stream that was
        // begun goes on until it has no data, whatever its priority: under load the data stream always
        // has some, and acknowledgements would wait for as long.
        .send_fairness(true)
        .congestion_controller_factory(Arc::new(Windows::new(in_flight)))
        .datagram_receive_buffer_size(datagram_buffer(config))
        .datagram_send_buffer_size(lane::SEND_BUFFER_BYTES)
        // Silence is judged by us (silence.rs); this is for a process that stood still, which gets a
        // third more, and for what is not confirmed.
        .max_idle_timeout(Some(idle_timeout(config.liveness_timeout * 4 / 3)))
        .keep_alive_interval(Some(config.liveness_timeout / 3));
    transport
}

/// The window of one stream, which quinn-proto cannot change later. It is never the one that binds: the connection's
/// is [`CONTROL_WINDOW`] at first and follows credit then. Room for one largest record beyond what the inbox
/// admits: its header is read before its body has all arrived.
pub(super) fn stream_window(config: &Config) -> usize {
    config.inbox_bytes_max.max(config.record_bytes_max()) + config.record_bytes_max()
}

/// What may be written and unacknowledged: twice what [`data_in_flight_max`] lets data take, since
/// the other end's application acknowledges a record slightly before QUIC does.
fn send_window(config: &Config) -> usize {
    2 * data_in_flight_max(config) + config.tuning.control_reserve
}

/// Bytes of records that may be written on a connection and not yet acknowledged by the peer.
pub(super) fn data_in_flight_max(config: &Config) -> usize {
    config.outbox_bytes_max + config.record_bytes_max()
}

/// What may arrive before we look; `None` for no datagrams at all. However short our own queue, it holds the
/// longest datagram that we announce: quinn-proto closes a connection on one that it does not.
fn datagram_buffer(config: &Config) -> Option<usize> {
    let bytes = config.datagram_queue_bytes_max;
    (bytes > 0).then(|| bytes.max(2 * lane::FRAME_BYTES_MAX))
}

fn idle_timeout(timeout: Duration) -> IdleTimeout {
    IdleTimeout::try_from(timeout).expect("invariant: liveness_timeout is at most 10 minutes")
}

fn varint(value: usize) -> VarInt {
    VarInt::from_u64(value as u64).unwrap_or(VarInt::MAX)
}

/// Wall-clock time for the age of Retry tokens, advanced by the machine's own clock.
pub(super) struct WallClock {
    started_ms: u64,
    elapsed_ms: AtomicU64,
}

impl WallClock {
    const fn new(started_ms: u64) -> Self {
        Self {
            started_ms,
            elapsed_ms: AtomicU64::new(0),
        }
    }

    pub(super) fn advance(&self, elapsed: Duration) {
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.elapsed_ms.store(elapsed, Ordering::Relaxed);
    }
}

impl TimeSource for WallClock {
    fn now(&self) -> SystemTime {
        let elapsed = self.elapsed_ms.load(Ordering::Relaxed);
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.started_ms.saturating_add(elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;

    /// The least and the most of what decides about windows, in every combination that is valid.
    fn configs() -> Vec<Config> {
        let mut configs = Vec::new();
        for message in [1, KIB, MIB, 16 * MIB] {
            for batch in [KIB, 64 * KIB, MIB] {
                for inbox in [KIB, MIB, 1024 * MIB] {
                    for reserve in [4 * KIB, 16 * KIB, MIB] {
                        let mut config = Config {
                            message_bytes_max: message,
                            batch_bytes_max: batch,
                            inbox_bytes_max: inbox,
                            ..Config::default()
                        };
                        config.tuning.control_reserve = reserve;
                        config.outbox_bytes_max = config.record_bytes_max();
                        assert_eq!(config.check(), Ok(()));
                        configs.push(config);
                    }
                }
            }
        }
        configs
    }

    #[test]
    fn no_window_is_smaller_than_what_has_to_pass_it() {
        for config in configs() {
            let record = config.record_bytes_max();
            let stream = stream_window(&config);
            // An inbox that is not full, and a record of which only the header has been read.
            assert!(stream >= config.inbox_bytes_max + record, "{config:?}");
            assert!(data_in_flight_max(&config) >= 2 * record, "{config:?}");
            let send = send_window(&config);
            assert!(send >= data_in_flight_max(&config) + config.tuning.control_reserve);
            assert!(VarInt::try_from(stream as u64).is_ok());
        }
    }

    #[test]
    fn default_windows_are_as_documented() {
        let document = include_str!("../../../docs/wire.md");
        let stream = stream_window(&Config::default()).to_string();
        let stream = [&stream[..1], &stream[1..4], &stream[4..]].join(",");
        let (thousands, rest) = (CONTROL_WINDOW / 1_000, CONTROL_WINDOW % 1_000);
        for expected in [
            format!(
                "| `initial_max_streams_uni` | {STREAMS}; MAX_STREAMS raises it to {STREAMS_MAX} once"
            ),
            format!("| `initial_max_stream_data_uni` | {stream} with the default limits |"),
            format!("| `initial_max_data` | {thousands},{rest}; MAX_DATA raises it"),
        ] {
            assert!(document.contains(&expected), "docs/wire.md: {expected}");
        }
    }
}
