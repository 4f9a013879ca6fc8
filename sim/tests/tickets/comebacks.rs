//! Failure 21, "resumption tickets filed under one server name for all peers", and its kin: whole
//! machines with the TLS of production that part and come back.

use std::sync::Arc;

use quicpool_core::{Accept, Config, Event, Identity, PeerAddr, Reason};
use quicpool_sim::{
    Crypto, Handshake,
    HandshakeKind::{self, Full, Resumed},
    HandshakeLog, Net, NodeId, SeededTls, ms, secs,
};

/// Longer than a connection of [`config`] lives without use.
const A_LULL: std::time::Duration = secs(15);

#[test]
fn failure_21_each_of_many_peers_is_met_again_by_its_own_ticket() {
    let mut net = Net::new(21).crypto(Crypto::Tls);
    let (hub, at_hub) = node(&mut net, config());
    let peers = [(); 6].map(|()| node(&mut net, config()));
    for (peer, _) in &peers {
        net.introduce(hub, *peer);
    }
    for round in 0u64..4 {
        let kind = match round {
            0 => Full,
            _ => Resumed,
        };
        // In another order each time: one slot for all would be filled by the last one.
        for place in 0..6 {
            let place = (place * 5 + round as usize) % 6;
            net.send(hub, peers[place].0, b"round");
            net.advance(ms(50));
        }
        net.advance(A_LULL);
        let mut expected: Vec<_> = peers.iter().map(|(peer, _)| net.peer_id(*peer)).collect();
        let mut dialled = Vec::new();
        for handshake in at_hub.take() {
            assert_eq!(handshake.kind, kind, "round {round}");
            dialled.extend(handshake.dialled);
        }
        expected.sort();
        dialled.sort();
        assert_eq!(dialled, expected, "round {round}");
        for (peer, at_peer) in &peers {
            assert_eq!(at_peer.take(), [answered(kind)], "round {round}");
            let messages = net.received(*peer);
            assert_eq!(messages.len(), 1, "round {round}");
            assert_eq!(messages[0].from, net.peer_id(hub));
        }
    }
    let counters = net.metrics(hub).expect("it is up").counters;
    assert_eq!(
        (counters.connections_confirmed, counters.wrong_peers),
        (24, 0)
    );
}

#[test]
fn failure_21_whoever_is_blocked_meanwhile_is_refused_though_its_ticket_is_good() {
    let mut scene = Scene::parted(config());
    let Scene { net, a, b, .. } = &mut scene;
    net.block(*b, *a);
    net.send(*a, *b, b"let me in");
    net.advance(secs(1));
    assert_eq!(scene.comeback(), Resumed);
    scene.is_refused();
}

#[test]
fn failure_21_a_stranger_is_refused_though_its_ticket_is_from_when_it_was_known() {
    let mut config = config();
    config.accept = Accept::Known;
    let mut scene = Scene::parted(config);
    let Scene { net, a, b, .. } = &mut scene;
    net.forget(*b, *a);
    net.send(*a, *b, b"let me in");
    net.advance(secs(1));
    assert_eq!(scene.comeback(), Resumed);
    scene.is_refused();
}

#[test]
fn failure_21_whoever_answers_in_the_place_of_a_peer_is_found_out_and_its_ticket_is_of_no_use() {
    let mut scene = Scene::parted(config());
    let Scene { net, a, b, at_a } = &mut scene;
    let (impostor, _) = node(net, config());
    let (right, wrong) = (net.peer_id(*b), net.peer_id(impostor));
    let [here, there] = [*b, impostor].map(|node| PeerAddr::new(right, net.addr(node)));
    net.with(*a, |machine, now| {
        machine.remove_address(now, here).expect("a known peer");
        machine.add_address(now, there)
    })
    .expect("there is room");
    net.send(*a, *b, b"for the right one");
    for _ in 0..3 {
        net.advance(secs(4));
        let machine = net.machine(*a).expect("it is up");
        let told = machine.explain(net.instant(), right);
        let failure = told.and_then(|told| told.last_failure);
        let found = Some(wrong);
        assert_eq!(failure, Some(Reason::WrongPeer { found }));
    }
    assert_eq!(net.received(impostor), []);
    // The ticket of the right one was offered, and only its maker can take it.
    let kinds: Vec<_> = at_a.take().iter().map(|done| done.kind).collect();
    assert_eq!(kinds.first(), Some(&Full));

    net.with(*a, |machine, now| {
        machine.remove_address(now, there).expect("a known peer");
        machine.add_address(now, here)
    })
    .expect("there is room");
    net.run_until(secs(200), |net| net.are_connected(*a, *b));
    net.advance(secs(1));
    assert_eq!(net.received(*b).len(), 1);
}

/// Two that were connected, and are not.
struct Scene {
    net: Net,
    a: NodeId,
    b: NodeId,
    at_a: Arc<HandshakeLog>,
}

impl Scene {
    fn parted(config_of_b: Config) -> Self {
        let mut net = Net::new(7).crypto(Crypto::Tls);
        let (a, at_a) = node(&mut net, config());
        let (b, _) = node(&mut net, config_of_b);
        net.introduce(a, b);
        net.send(a, b, b"before");
        net.advance(A_LULL);
        assert_eq!(net.received(b).len(), 1);
        assert!(!net.are_connected(a, b));
        let dialled = Some(net.peer_id(b));
        let kind = Full;
        assert_eq!(at_a.take(), [Handshake { dialled, kind }]);
        net.events(a);
        Self { net, a, b, at_a }
    }

    /// Returns the kind of the first handshake since.
    fn comeback(&self) -> HandshakeKind {
        let handshakes = self.at_a.take();
        handshakes.first().expect("it has dialled").kind
    }

    fn is_refused(&mut self) {
        let told = self.net.events(self.a);
        let is_refusal = |event: &Event| {
            matches!(
                event,
                Event::StatusChanged {
                    reason: Reason::NotAccepted,
                    ..
                }
            )
        };
        assert!(told.iter().any(is_refusal), "{:?}", self.net);
        assert_eq!(self.net.received(self.b), []);
        assert!(!self.net.are_connected(self.a, self.b));
    }
}

fn answered(kind: HandshakeKind) -> Handshake {
    let dialled = None;
    Handshake { dialled, kind }
}

fn config() -> Config {
    let mut config = Config::default();
    config.pool_ttl = secs(5);
    config
}

/// A node, and what kind of handshakes it has.
fn node(net: &mut Net, config: Config) -> (NodeId, Arc<HandshakeLog>) {
    let number = net.ids().count() as u8 + 1;
    let identity = Identity::from_seed(&[number; 32]);
    let log = Arc::new(HandshakeLog::default());
    let shared = log.clone();
    let node = net.node_as(config, move |process| {
        let clock = Arc::new(process.wall_clock.clone());
        let log = shared.clone();
        Arc::new(SeededTls::logged(&identity, process.seed, clock, log))
    });
    (node, log)
}
