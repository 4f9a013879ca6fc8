//! Strangers that hold what others need: places of handshakes, slots, places in the table of peers.

use std::net::SocketAddr;

use quicpool_core::{
    Accept, Config, ConnectionStatus::Connected, PeerAddr, PeerError, PeerId, Sealing,
};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::{
    raw::{RawHello, RawPeer, run_all},
    scene::Scene,
};

/// Failure 37: one real address, which answers each Retry and goes silent.
#[test]
fn one_address_cannot_hold_all_places_of_handshakes() {
    let mut scene = Scene::with(Config::default());
    let mut last = None;
    for number in 0..1_000u16 {
        let addr: SocketAddr = ([203, 0, 113, 5], 1_000 + number).into();
        half_open(&mut scene, number as u8, addr);
        scene.net.advance(ms(1));
        if number == 500 {
            last = Some(newcomer(&mut scene));
        }
    }
    let newcomer = last.expect("it came amid the flood");
    let victim = scene.victim;
    let held = scene.net.occupancy(victim).expect("it is up");
    assert_eq!(
        held.handshakes,
        Config::default().handshakes_max,
        "all are taken"
    );
    let status = scene.net.status(newcomer, victim);
    assert_eq!(status, Some(Connected), "{:?}", scene.net);
    scene.assert_undisturbed();
    scene.net.advance(secs(10));
    let held = scene.net.occupancy(victim).expect("it is up");
    assert_eq!((held.handshakes, held.connections), (0, 2), "nothing stays");
}

/// Failure 41: identities whose TLS is done and that never greet.
#[test]
fn strangers_that_never_greet_take_no_slot_of_a_peer() {
    let mut config = Config::default();
    config.connections_max = 8;
    let mut scene = Scene::with(config.clone());
    let victim = scene.victim;
    let known: Vec<_> = (0..3)
        .map(|_| {
            let node = scene.net.node(config.clone());
            scene.net.introduce(node, victim);
            scene.net.connect(node, victim);
            node
        })
        .collect();
    scene.net.advance(secs(2));
    let mut strangers: Vec<_> = (20..44).map(RawPeer::new).collect();
    for stranger in &mut strangers {
        stranger.dial(&mut scene.net, victim);
    }
    let mut strangers: Vec<_> = strangers.iter_mut().collect();
    run_all(&mut strangers, &mut scene.net, ms(500));
    let silent = strangers.iter().filter(|peer| peer.is_connected()).count();
    assert!(silent >= 4, "they are there");
    for node in &known {
        assert!(scene.net.are_connected(*node, victim), "{:?}", scene.net);
    }
    let evictions = |net: &Net| net.metrics(victim).expect("it is up").counters.evictions;
    assert_eq!(evictions(&scene.net), 0);

    // An added peer that was never connected gets the slot of a silent stranger.
    let newcomer = scene.net.node(config);
    scene.net.introduce(newcomer, victim);
    scene.net.connect(newcomer, victim);
    run_all(&mut strangers, &mut scene.net, secs(1));
    assert!(scene.net.are_connected(newcomer, victim), "{:?}", scene.net);
    // And so does a dial of the user.
    let dialled = scene.net.node(Config::default());
    scene.net.introduce_one_way(victim, dialled);
    scene.net.connect(victim, dialled);
    run_all(&mut strangers, &mut scene.net, secs(1));
    assert!(scene.net.are_connected(dialled, victim), "{:?}", scene.net);
}

/// Failure 41: the limit of handshakes holds until the greeting has come.
#[test]
fn connections_without_a_greeting_keep_the_limit_of_handshakes() {
    let mut config = Config::default();
    config.handshakes_max = 4;
    let mut scene = Scene::with(config);
    let mut strangers: Vec<_> = (20..60).map(RawPeer::new).collect();
    for stranger in &mut strangers {
        stranger.dial(&mut scene.net, scene.victim);
    }
    let mut strangers: Vec<_> = strangers.iter_mut().collect();
    for _ in 0..40 {
        run_all(&mut strangers, &mut scene.net, ms(100));
        let held = scene.net.occupancy(scene.victim).expect("it is up");
        assert!(
            held.handshakes <= 4 && held.connections <= 1 + 4 + 40,
            "{held:?}"
        );
        assert!(held.slots <= 1 + 4, "{held:?}");
    }
    scene.assert_undisturbed();
}

/// Failure 42.
#[test]
fn strangers_leave_room_in_the_table_and_make_way_for_added_peers() {
    let mut config = Config::default();
    config.peers_max = 16;
    let mut scene = Scene::with(config);
    let victim = scene.victim;
    for stranger in scene.net.nodes(30, &Config::default()) {
        scene.net.introduce_one_way(stranger, victim);
        scene.net.send(stranger, victim, b"let me in");
        scene.net.advance(ms(50));
    }
    let peers = |net: &Net| net.occupancy(victim).expect("it is up").peers;
    assert_eq!(peers(&scene.net), 1 + 13, "three quarters, rounded up");
    let mut add = |number: u8| {
        scene.net.with(victim, |machine, now| {
            let addr = ([10, 9, 9, 9], 1).into();
            let id = PeerId::from_bytes([number; 32]);
            machine.add_address(now, PeerAddr { id, addr })
        })
    };
    for number in 101..=115 {
        assert_eq!(add(number), Ok(()), "{number}");
    }
    assert_eq!(add(116), Err(PeerError::TooManyPeers { max: 16 }));
    assert_eq!(peers(&scene.net), 16);
    assert!(scene.net.are_connected(victim, scene.friend));
}

#[test]
fn only_those_on_the_list_come_in() {
    let mut net = Net::new(3);
    let [listed, added] = [(); 2].map(|()| net.node(Config::default()));
    let mut config = Config::default();
    config.accept = Accept::only([net.peer_id(listed)]);
    let hub = net.node(config);
    net.introduce(added, hub);
    net.introduce_one_way(listed, hub);
    net.connect(listed, hub);
    net.connect(added, hub);
    net.advance(secs(5));
    assert!(net.are_connected(listed, hub));
    assert!(!net.are_connected(added, hub));
    // The list says who may come in, and not who may be dialled.
    net.connect(hub, added);
    net.run_until(secs(1), |net| net.are_connected(hub, added));
}

/// Failure 45.
#[test]
fn a_blocked_peer_that_is_forgotten_stays_blocked() {
    let mut net = Net::new(4);
    let (hub, other) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce(hub, other);
    net.connect(hub, other);
    net.advance(secs(1));
    let id = net.peer_id(other);
    net.with(hub, |machine, now| {
        machine.block(now, id).expect("it is another peer");
        machine.forget(now, id).expect("it is known");
        assert_eq!(machine.verdict(id), Err(PeerError::Blocked(id)));
    });
    net.connect(other, hub);
    net.advance(secs(30));
    assert!(!net.are_connected(other, hub), "{net:?}");
    net.with(hub, |machine, now| {
        machine.unblock(id).expect("it is known");
        machine.forget(now, id).expect("it is known");
        assert_eq!(machine.occupancy().peers, 0);
    });
}

/// Failure 45: it states that it holds messages for us, and closes as idle.
#[test]
fn a_peer_that_closes_as_idle_and_holds_messages_is_dialled_with_backoff() {
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    let mut scene = Scene::with(config);
    let mut peer = RawPeer::new(9);
    let (at, victim) = (peer.peer_addr(), scene.victim);
    scene.net.with(victim, |machine, now| {
        machine.add_address(now, at).expect("there is room");
        machine.connect(now, at.id).expect("there is an address");
    });
    let hello = RawHello {
        held: 100,
        ..RawHello::default()
    };
    for _ in 0..600 {
        peer.run(&mut scene.net, ms(100));
        if peer.is_connected() && peer.lost.is_none() {
            peer.greet(&hello);
            peer.run(&mut scene.net, ms(10));
            peer.close(&mut scene.net, 0x01);
            peer.forget_connection();
        }
    }
    let machine = scene.net.machine(victim).expect("it is up");
    let dials = machine.peer_metrics(at.id).map_or(0, |peer| peer.dials);
    assert!((3..=20).contains(&dials), "{dials} dials in a minute");
    scene.assert_undisturbed();
}

// Helpers

/// Begins a handshake, proves its address if it is asked to, and is silent from then on.
fn half_open(scene: &mut Scene, number: u8, addr: SocketAddr) {
    let mut peer = RawPeer::new(number);
    peer.addr = addr;
    peer.dial(&mut scene.net, scene.victim);
    peer.send_packets(&mut scene.net);
    scene.net.advance(ms(0));
    let from = scene.net.addr(scene.victim);
    for astray in scene.net.take_astray() {
        let is_retry = astray.payload[0] & 0xf0 == 0xf0;
        if astray.to == addr && is_retry {
            peer.handle_datagram(&mut scene.net, from, astray.payload);
            peer.send_packets(&mut scene.net);
        }
    }
}

fn newcomer(scene: &mut Scene) -> NodeId {
    let node = scene.net.node(Config::default());
    scene.net.introduce(node, scene.victim);
    scene.net.connect(node, scene.victim);
    node
}
