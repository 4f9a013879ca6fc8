//! Noise and damage against a whole machine: nothing happens to it or its peers.

use proptest::prelude::*;
use quicpool_core::{Config, Sealing};
use quicpool_sim::{Net, ms, secs};

use crate::{
    bytes::{ack, record},
    raw::RawPeer,
    scene::Scene,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn datagrams_of_noise_are_ignored(
        datagrams in prop::collection::vec(datagram(), 1..40),
        from_friend: bool,
    ) {
        let mut scene = Scene::new(Sealing::Off);
        let from = match from_friend {
            true => scene.net.addr(scene.friend),
            false => ([198, 51, 100, 7], 9).into(),
        };
        for datagram in datagrams {
            scene.net.inject(scene.victim, from, &datagram);
            scene.net.advance(ms(1));
        }
        scene.assert_undisturbed();
        scene.net.advance(secs(10));
        let occupancy = scene.net.occupancy(scene.victim).expect("it is up");
        prop_assert_eq!((occupancy.connections, occupancy.handshakes, occupancy.actions), (1, 0, 0));
    }

    #[test]
    fn a_flood_of_frames_and_records_of_noise_ends_one_connection_at_most(
        control in prop::collection::vec(any::<u8>(), 0..300),
        data in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut scene = Scene::new(Sealing::Off);
        let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
        peer.write_control(&control);
        peer.write_data(&data);
        peer.run(&mut scene.net, ms(50));
        scene.assert_undisturbed();
    }

    #[test]
    fn damaged_records_are_refused_or_read_and_never_more(
        bodies in prop::collection::vec(0..60u8, 1..10),
        flip in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        acks: bool,
    ) {
        let mut scene = Scene::new(Sealing::Off);
        let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
        let mut stream = Vec::new();
        for (number, len) in bodies.iter().enumerate() {
            let body = [&[*len][..], &vec![1; usize::from(*len)]].concat();
            stream.extend(record(body.len() as u32, 1, number as u64, &body));
        }
        let bit = flip.index(stream.len() * 8);
        stream[bit / 8] ^= 1 << (bit % 8);
        stream.truncate(1 + cut.index(stream.len()));
        peer.write_data(&stream);
        if acks {
            peer.write_control(&ack(0, 0));
        }
        peer.run(&mut scene.net, ms(50));
        let received = scene.net.received(scene.victim);
        prop_assert!(received.len() <= bodies.len() + 1);
        scene.assert_undisturbed();
    }
}

#[test]
fn damaged_datagrams_of_real_traffic_are_dropped_and_made_up_for() {
    for seed in 0..20 {
        let mut config = Config::default();
        config.sealing = if seed % 2 == 0 {
            Sealing::On
        } else {
            Sealing::Off
        };
        let mut net = Net::new(seed);
        let (a, b) = (net.node(config.clone()), net.node(config));
        net.introduce(a, b);
        net.corrupt(0.2);
        for number in 0..500u32 {
            net.send(a, b, &number.to_be_bytes());
            net.advance(ms(1));
        }
        net.advance(secs(60));
        let numbers: Vec<u32> = net
            .received(b)
            .iter()
            .map(|m| u32::from_be_bytes(m.payload[..].try_into().expect("four bytes")))
            .collect();
        assert_eq!(numbers, (0..500).collect::<Vec<_>>(), "seed {seed}");
        for node in [a, b] {
            let metrics = net.metrics(node).expect("it is up");
            assert_eq!(
                metrics.counters.violations, 0,
                "damage is none, seed {seed}"
            );
        }
    }
}

// Helpers

/// Noise, or noise that looks like the beginning of QUIC.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let noise = || prop::collection::vec(any::<u8>(), 0..1_500);
    let initial = prop::collection::vec(any::<u8>(), 1_200..1_400).prop_map(|mut bytes| {
        bytes[0] = bytes[0] & 0x0f | 0xc0;
        bytes[1..6].copy_from_slice(&[0, 0, 0, 1, 8]);
        bytes
    });
    let other_version = noise()
        .prop_map(|noise| [&[0xc0, 0xba, 0xba, 0xba, 0xba, 8][..], &noise, &[0; 1_200]].concat());
    let short = noise().prop_map(|noise| [&[0x40][..], &noise].concat());
    prop_oneof![noise(), initial, other_version, short]
}
