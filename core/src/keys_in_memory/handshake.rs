//! The keys of a connection, from the TLS exporter to the end: in one place each, and then in none.

use std::{
    any::Any,
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Instant,
};

use super::{
    assert_gone,
    search::{Masked, WHOLE, alone, parts_in_memory},
};
use crate::{
    Action, Config, Credentials, Datagram, Identity, Incarnation, Manager, MeshKey, Message,
    PeerAddr, PeerError, PeerId,
    credentials::crypto::{
        self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, UnsupportedVersion,
    },
    testing::epoch,
    transport::bare::{ConnectError, ConnectionId, Side, TransportError, TransportParameters},
};

/// Two for records and two for datagrams.
const KEYS: usize = 4;

/// Datagrams in which all that a test does has happened.
const STEPS_MAX: usize = 10_000;

#[test]
fn the_keys_of_a_connection_leave_with_it() {
    let _alone = alone();
    let mut net = Net::new();
    net.talk();
    let keys = net.exported();
    assert_eq!(keys.len(), KEYS);
    if !cfg!(debug_assertions) {
        assert_eq!(
            parts_in_memory(&keys),
            KEYS * 2 * WHOLE,
            "all of each, once at each end"
        );
    }
    net.disconnect();
    assert_gone(&keys);
}

#[test]
fn the_keys_of_a_machine_leave_with_it() {
    let _alone = alone();
    let mut net = Net::new();
    net.talk();
    let mut keys = net.exported();
    keys.push(net.mesh_key);
    drop(net);
    assert_gone(&keys);
}

/// [`Manager::receive`], or [`Manager::receive_datagrams`].
type Receive =
    fn(&mut Manager, Instant, PeerId, usize, &mut Vec<Message>) -> Result<usize, PeerError>;

/// Two machines in a network that loses nothing.
struct Net {
    now: Instant,
    machines: [Manager; 2],
    mesh_key: Masked,
    exported: Arc<Exported>,
}

impl Net {
    fn new() -> Self {
        let (now, mesh_key, exported) = (epoch(), Masked::fresh(), Arc::default());
        let machines = [1, 2].map(|number| machine(now, number, &mesh_key, &exported));
        Self {
            now,
            machines,
            mesh_key,
            exported,
        }
    }

    /// Sends messages and a datagram each way, and waits until they have arrived.
    fn talk(&mut self) {
        let [alice, bob] = self.ids();
        let to = PeerAddr::new(bob, address(1));
        self.machines[0].add_address(self.now, to).expect("a peer");
        for (from, to) in [(0, bob), (1, alice)] {
            for len in 0..200 {
                self.machines[from]
                    .send(self.now, to, &vec![1; len])
                    .expect("there is room");
            }
            let messages = self.arrived(1 - from, 200, Manager::receive);
            assert_eq!(messages.len(), 200);
            self.machines[from]
                .send_datagram(self.now, to, b"datagram")
                .expect("both ends have datagrams");
            let datagrams = self.arrived(1 - from, 1, Manager::receive_datagrams);
            assert_eq!(datagrams.len(), 1);
        }
    }

    fn disconnect(&mut self) {
        let [_, bob] = self.ids();
        let ended = self.machines[0].disconnect(self.now, bob);
        ended.expect("bob is known");
        self.run_until(|net| {
            net.machines
                .iter()
                .all(|machine| machine.occupancy().connections == 0)
        });
    }

    /// The keys that both ends have exported, each once.
    fn exported(&self) -> Vec<Masked> {
        let exported = self.exported.0.lock().expect("no test panics with it");
        exported.iter().copied().collect()
    }

    fn ids(&self) -> [PeerId; 2] {
        [0, 1].map(|end| self.machines[end].local_id())
    }

    fn arrived(&mut self, at: usize, count: usize, receive: Receive) -> Vec<Message> {
        let from = self.ids()[1 - at];
        let mut arrived = Vec::new();
        self.run_until(|net| {
            let machine = &mut net.machines[at];
            // An error until the peer has dialled.
            let _ = receive(machine, net.now, from, usize::MAX, &mut arrived);
            arrived.len() >= count
        });
        arrived
    }

    fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..STEPS_MAX {
            self.deliver(0);
            self.deliver(1);
            if done(self) {
                return;
            }
            let deadlines = self.machines.iter().filter_map(Manager::poll_timeout);
            let next = deadlines.map(|deadline| deadline.at).min();
            self.now = next.expect("something is due").max(self.now);
            for machine in &mut self.machines {
                machine.handle_timeout(self.now);
            }
        }
        panic!("not done after {STEPS_MAX} steps");
    }

    /// Carries what one machine sends to the other.
    fn deliver(&mut self, from: usize) {
        let mut packets = Vec::new();
        while let Some(action) = self.machines[from].poll_action(self.now, &mut packets) {
            let Action::Transmit(transmit) = action else {
                continue;
            };
            let size = transmit.segment_size.unwrap_or(transmit.size);
            for payload in packets[..transmit.size].chunks(size) {
                let datagram = Datagram {
                    remote: address(from),
                    local_ip: None,
                    ecn: transmit.ecn,
                    payload: payload.into(),
                };
                self.machines[1 - from].handle_datagram(self.now, datagram);
            }
        }
    }
}

fn machine(now: Instant, number: u8, mesh_key: &Masked, exported: &Arc<Exported>) -> Manager {
    let credentials = Tapped {
        honest: Identity::from_seed(&[number; 32]).credentials(),
        exported: exported.clone(),
    };
    let incarnation = Incarnation {
        started_ms: 0,
        random: number.into(),
    };
    let config = Config {
        mesh_key: Some(MeshKey::new(&mesh_key.reveal())),
        ..Config::default()
    };
    Manager::new(
        config,
        Arc::new(credentials),
        incarnation,
        [number; 32],
        now,
    )
    .expect("the defaults are in range")
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 4433 + end as u16)
}

/// The keys that were exported, masked.
#[derive(Default)]
struct Exported(Mutex<BTreeSet<Masked>>);

/// Credentials of an identity whose sessions note the keys that they export.
struct Tapped {
    honest: Arc<dyn Credentials>,
    exported: Arc<Exported>,
}

impl Tapped {
    fn config<T: ?Sized>(&self, honest: Arc<T>) -> Arc<TappedConfig<T>> {
        let exported = self.exported.clone();
        Arc::new(TappedConfig { honest, exported })
    }
}

impl Credentials for Tapped {
    fn local_id(&self) -> PeerId {
        self.honest.local_id()
    }

    fn client_config(&self, peer: PeerId) -> Arc<dyn crypto::ClientConfig> {
        self.config(self.honest.client_config(peer))
    }

    fn server_name(&self, peer: PeerId) -> String {
        self.honest.server_name(peer)
    }

    fn server_config(&self) -> Arc<dyn crypto::ServerConfig> {
        self.config(self.honest.server_config())
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

struct TappedConfig<T: ?Sized> {
    honest: Arc<T>,
    exported: Arc<Exported>,
}

impl crypto::ClientConfig for TappedConfig<dyn crypto::ClientConfig> {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn crypto::Session>, ConnectError> {
        let honest = self
            .honest
            .clone()
            .start_session(version, server_name, params)?;
        let exported = self.exported.clone();
        Ok(Box::new(TappedSession { honest, exported }))
    }
}

impl crypto::ServerConfig for TappedConfig<dyn crypto::ServerConfig> {
    fn initial_keys(
        &self,
        version: u32,
        dst_cid: &ConnectionId,
    ) -> Result<Keys, UnsupportedVersion> {
        self.honest.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.honest.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        params: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        let honest = self.honest.clone().start_session(version, params);
        let exported = self.exported.clone();
        Box::new(TappedSession { honest, exported })
    }
}

struct TappedSession {
    honest: Box<dyn crypto::Session>,
    exported: Arc<Exported>,
}

impl crypto::Session for TappedSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.honest.initial_keys(dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.honest.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.honest.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.honest.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.honest.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.honest.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.honest.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.honest.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.honest.write_handshake(buf)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.honest.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.honest.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.honest.export_keying_material(output, label, context)?;
        // The check value is shorter, and goes over the wire.
        if let Ok(key) = (&*output).try_into() {
            let mut exported = self.exported.0.lock().expect("no test panics with it");
            exported.insert(Masked::of(key));
        }
        Ok(())
    }
}
