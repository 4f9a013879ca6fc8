//! Packets of one connection from many addresses: a node is no reflector, and follows a peer that moves.

use std::{collections::BTreeSet, net::SocketAddr};

use quicpool_core::{Config, Sealing};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::{
    bytes::record,
    raw::{RawHello, RawPeer},
    scene::Scene,
};

/// Changes of the path that a connection has at once, and in each second from then on.
const BURST: usize = 8;
const PER_SECOND: usize = 4;

#[test]
fn failure_44_a_connection_from_many_addresses_reflects_nothing() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    let time = 5;
    let (mut met, mut bytes) = (BTreeSet::new(), 0);
    for number in 0..time * 100 {
        let [high, low] = (number as u16).to_be_bytes();
        let address = SocketAddr::from(([203, 0, high, low], 7));
        ping_from(&mut scene.net, scene.victim, &mut peer, address);
        scene.net.advance(ms(10));
        for astray in scene.net.take_astray() {
            if astray.to != peer.addr {
                met.insert(astray.to);
                bytes += astray.payload.len();
            }
        }
    }
    let most = BURST + time * PER_SECOND;
    assert!((1..=most).contains(&met.len()), "{} addresses", met.len());
    // One challenge each, and some packets while the path is not proved.
    assert!(bytes <= most * 3 * 1_200, "{bytes} bytes");
    let counters = scene.net.metrics(scene.victim).expect("it is up").counters;
    assert!(
        counters.path_changes_refused as usize >= time * 100 - most,
        "{counters:?}"
    );
    scene.assert_undisturbed();
}

#[test]
fn failure_44_no_path_changes_before_the_connection_is_confirmed() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    for number in 0..100 {
        let address = SocketAddr::from(([203, 0, 113, number], 7));
        ping_from(&mut scene.net, scene.victim, &mut peer, address);
        scene.net.advance(ms(10));
    }
    let astray = scene.net.take_astray();
    assert!(
        astray.iter().all(|astray| astray.to == peer.addr),
        "{:?}",
        astray.last().map(|last| last.to)
    );
    let counters = scene.net.metrics(scene.victim).expect("it is up").counters;
    assert_eq!(counters.path_changes_refused, 100);
    scene.assert_undisturbed();
}

#[test]
fn a_peer_that_moves_is_followed_within_a_round_trip() {
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    let mut scene = Scene::with(config);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    peer.greet(&RawHello::default());
    peer.run(&mut scene.net, ms(100));
    let (id, victim) = (peer.id, scene.victim);
    let received = |net: &Net| {
        let machine = net.machine(victim).expect("it is up");
        machine
            .peer_metrics(id)
            .map_or(0, |peer| peer.messages_received)
    };
    for number in 0..20u64 {
        // Another port, as behind a NAT, or another network.
        peer.addr = match number % 2 {
            0 => SocketAddr::from(([192, 0, 2, 9], 5_000 + number as u16)),
            _ => SocketAddr::from(([198, 51, 100, number as u8], 4433)),
        };
        peer.write_data(&record(2, 1, number, &[1, 7]));
        let before = scene.net.now();
        while received(&scene.net) == number {
            assert!(scene.net.now() - before < ms(50), "move {number}");
            peer.run(&mut scene.net, ms(1));
        }
        scene.net.with(victim, |machine, now| {
            machine.send(now, id, b"back").expect("it is connected");
        });
        peer.run(&mut scene.net, ms(50));
        assert!(!peer.read_data().is_empty(), "move {number}");
        peer.run(&mut scene.net, ms(300));
    }
    peer.run(&mut scene.net, secs(1));
    assert_eq!(peer.lost, None);
    let counters = scene.net.metrics(victim).expect("it is up").counters;
    assert_eq!(counters.path_changes_refused, 0);
}

// Helpers

/// Sends a packet of the connection as if from another address.
fn ping_from(net: &mut Net, victim: NodeId, peer: &mut RawPeer, address: SocketAddr) {
    peer.connection().ping();
    for (_, packet) in peer.packets(net) {
        net.inject(victim, address, &packet);
    }
}
