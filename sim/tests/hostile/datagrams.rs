//! Datagrams that no machine would send: each is dropped and counted, and nothing else happens.

use bytes::Bytes;
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit, Nonce,
    aead::{Aead, Payload},
};
use quicpool_core::{Config, Sealing, UnreliableCounters};
use quicpool_sim::{Net, ms};
use quinn_proto::ConnectionError;

use crate::{
    raw::{RawHello, RawPeer},
    scene::Scene,
};

/// The flow of the application, before its bytes.
const FLOW: u8 = 0;

#[test]
fn one_of_an_unknown_flow_is_dropped() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    let flows: [&'static [u8]; 5] = [b"", b"\x01x", b"\x40", b"\x40\x01x", b"\x00good"];
    send(&mut scene, &mut peer, &flows.map(Bytes::from_static));
    let counted = unreliable(&scene);
    assert_eq!((counted.received, counted.unknown_flow), (1, 4));
    assert_eq!(scene.net.datagrams(scene.victim)[0].payload, b"good"[..]);
    assert_lives(&mut scene, &mut peer);
}

#[test]
fn what_is_sealed_as_documented_is_taken() {
    let (mut scene, mut peer) = greeted();
    let sealed = [0, 7, 3].map(|counter| seal(&mut peer, counter, b"good"));
    send(&mut scene, &mut peer, &sealed);
    let counted = unreliable(&scene);
    assert_eq!((counted.received, counted.taken), (3, 3));
    let datagrams = scene.net.datagrams(scene.victim);
    assert!(
        datagrams
            .iter()
            .all(|datagram| datagram.payload == b"good"[..])
    );
    assert_eq!(datagrams[0].from, peer.id);
}

#[test]
fn one_that_comes_again_is_dropped() {
    let (mut scene, mut peer) = greeted();
    let [old, new] = [0, 5_000].map(|counter| seal(&mut peer, counter, b"once"));
    let again = [old.clone(), old.clone(), new.clone(), new, old];
    send(&mut scene, &mut peer, &again);
    let counted = unreliable(&scene);
    assert_eq!((counted.received, counted.replayed), (2, 3));
    assert_lives(&mut scene, &mut peer);
}

#[test]
fn one_that_does_not_open_is_dropped() {
    let (mut scene, mut peer) = greeted();
    let good = seal(&mut peer, 1, b"good");
    let mut forged = good.to_vec();
    *forged.last_mut().expect("a tag") ^= 1;
    let other_counter = [&2u64.to_be_bytes()[..], &good[8..]].concat();
    let last_counter = seal(&mut peer, u64::MAX, b"sealed, and beyond all counters");
    let bad = [
        Bytes::new(),
        Bytes::from_static(b"in clear, and longer than a tag"),
        good.slice(..23),
        forged.into(),
        other_counter.into(),
        last_counter,
    ];
    send(&mut scene, &mut peer, &bad);
    send(&mut scene, &mut peer, &[good]);
    let counted = unreliable(&scene);
    assert_eq!((counted.received, counted.forged), (1, 6));
    assert_eq!(scene.net.datagrams(scene.victim)[0].payload, b"good"[..]);
    assert_lives(&mut scene, &mut peer);
}

#[test]
fn one_that_comes_before_hello_is_dropped() {
    let mut scene = Scene::new(Sealing::On);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    let early = seal(&mut peer, 0, b"too early");
    send(&mut scene, &mut peer, &[early]);
    assert_eq!(unreliable(&scene).early, 1);
    peer.greet(&RawHello::sealed());
    let later = seal(&mut peer, 1, b"in time");
    send(&mut scene, &mut peer, &[later]);
    let counted = unreliable(&scene);
    assert_eq!((counted.early, counted.received), (1, 1));
    assert_lives(&mut scene, &mut peer);
}

#[test]
fn a_flood_of_empty_ones_takes_no_more_than_its_queue() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    scene.net.pause_reader(scene.victim);
    for _ in 0..50 {
        send(
            &mut scene,
            &mut peer,
            &vec![Bytes::from_static(&[FLOW]); 500],
        );
    }
    let max = Config::default().datagram_queue_bytes_max;
    let held = scene.net.occupancy(scene.victim).expect("it is up");
    assert!((max - 64..=max).contains(&held.queued_bytes), "{held:?}");
    let counted = unreliable(&scene);
    assert_eq!(counted.received, 25_000);
    assert_eq!(counted.received - counted.overrun, max as u64 / 64);
    scene.net.resume_reader(scene.victim);
    assert_lives(&mut scene, &mut peer);
}

#[test]
fn whoever_sends_one_where_there_are_none_breaks_quic() {
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    config.datagram_queue_bytes_max = 0;
    let mut net = Net::new(1);
    let victim = net.node(config);
    let mut peer = RawPeer::greeted(9, &mut net, victim);
    assert_eq!(peer.connection().datagrams().max_size(), None);
    assert!(
        peer.connection()
            .datagrams()
            .send(Bytes::new(), true)
            .is_err()
    );
    peer.run(&mut net, ms(100));
    assert_eq!(peer.lost, None::<ConnectionError>);
}

// Helpers

fn greeted() -> (Scene, RawPeer) {
    let mut scene = Scene::new(Sealing::On);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    peer.greet(&RawHello::sealed());
    peer.run(&mut scene.net, ms(100));
    (scene, peer)
}

fn seal(peer: &mut RawPeer, counter: u64, payload: &[u8]) -> Bytes {
    let mut key = [0; 32];
    peer.export(b"EXPORTER-quicpool-datagram", &mut key);
    let aad = &counter.to_be_bytes();
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(aad);
    let msg = &[&[FLOW], payload].concat();
    let payload = Payload { msg, aad };
    let sealed = ChaCha20Poly1305::new((&key).into()).encrypt(&Nonce::from(nonce), payload);
    [&aad[..], &sealed.expect("it is short")].concat().into()
}

fn send(scene: &mut Scene, peer: &mut RawPeer, datagrams: &[Bytes]) {
    for datagram in datagrams {
        let sent = peer.connection().datagrams().send(datagram.clone(), false);
        assert_eq!(sent, Ok(()));
    }
    peer.run(&mut scene.net, ms(100));
}

fn unreliable(scene: &Scene) -> UnreliableCounters {
    let metrics = scene.net.metrics(scene.victim).expect("it is up");
    assert_eq!(metrics.counters.violations, 0);
    metrics.counters.unreliable
}

fn assert_lives(scene: &mut Scene, peer: &mut RawPeer) {
    peer.run(&mut scene.net, ms(100));
    assert_eq!(peer.lost, None);
    scene.assert_undisturbed();
    scene.assert_forgets(peer);
}
