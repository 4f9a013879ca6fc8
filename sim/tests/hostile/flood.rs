//! Floods of first packets: handshakes keep their limit, live peers go on, and honest peers come in.

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Failed},
    Event, Reason, Sealing,
};
use quicpool_sim::{ms, secs};

use crate::{
    raw::{RawHello, RawPeer},
    scene::Scene,
};

const HANDSHAKES_MAX: usize = 8;

/// Spoofed first packets in a millisecond.
const FLOOD: u8 = 20;

#[test]
fn a_flood_of_first_packets_keeps_the_limit_of_handshakes_and_disturbs_nobody() {
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    config.handshakes_max = HANDSHAKES_MAX;
    let mut scene = Scene::with(config);
    let mut peak = 0;
    for millis in 0..2_000u16 {
        spoof(&mut scene, millis);
        let held = scene.net.occupancy(scene.victim).expect("it is up");
        assert!(held.handshakes <= HANDSHAKES_MAX, "{held:?}");
        assert!(held.actions <= 64, "{held:?}");
        peak = peak.max(held.handshakes);
        scene.net.take_astray();
        if millis % 100 == 50 {
            scene.assert_undisturbed();
        }
        scene.net.advance(ms(1));
    }
    assert_eq!(
        peak,
        HANDSHAKES_MAX / 2,
        "the other half is for those who prove their address"
    );
    let metrics = scene.net.metrics(scene.victim).expect("it is up");
    assert!(metrics.memory_usage < 1 << 20, "{metrics:?}");

    // Nothing of it stays.
    scene.net.advance(secs(20));
    let held = scene.net.occupancy(scene.victim).expect("it is up");
    assert_eq!((held.handshakes, held.connections, held.peers), (0, 1, 1));
}

#[test]
fn somebody_honest_comes_in_amid_a_flood_of_first_packets() {
    let mut config = Config::default();
    config.handshakes_max = HANDSHAKES_MAX;
    let mut scene = Scene::with(config.clone());
    for millis in 0..200u16 {
        spoof(&mut scene, millis);
        scene.net.advance(ms(1));
    }
    let newcomer = scene.net.node(config);
    scene.net.introduce_one_way(newcomer, scene.victim);
    scene.net.connect(newcomer, scene.victim);
    for millis in 200..300u16 {
        spoof(&mut scene, millis);
        scene.net.advance(ms(1));
    }
    let status = scene.net.status(newcomer, scene.victim);
    assert_eq!(status, Some(Connected), "{:?}", scene.net);
}

/// Failure 43: its token passes the gate, and needs no Retry.
#[test]
fn a_peer_that_was_connected_before_comes_back_at_once_amid_a_flood() {
    let mut scene = Scene::with(Config::default());
    let (victim, friend) = (scene.victim, scene.friend);
    scene.net.disconnect(friend, victim);
    scene.net.advance(ms(10));
    // Until the buckets are empty: each holds 2,048 tokens.
    for millis in 0..400u16 {
        spoof(&mut scene, millis);
        scene.net.take_astray();
        scene.net.advance(ms(1));
    }
    let dropped = |scene: &Scene| {
        let metrics = scene.net.metrics(victim).expect("it is up");
        metrics.counters.first_packets_dropped
    };
    assert!(dropped(&scene) > 1_000, "{}", dropped(&scene));
    scene.net.connect(friend, victim);
    for millis in 400..450u16 {
        spoof(&mut scene, millis);
        scene.net.take_astray();
        scene.net.advance(ms(1));
    }
    assert!(scene.net.are_connected(friend, victim), "{:?}", scene.net);
    // What the flood has cost is given back when it is over.
    scene.net.advance(secs(30));
    spoof(&mut scene, 500);
    scene.net.advance(secs(30));
    let metrics = scene.net.metrics(victim).expect("it is up");
    assert!(metrics.memory_usage < 64 << 10, "{metrics:?}");
}

#[test]
fn who_is_asked_to_stay_away_for_a_year_comes_after_its_longest_backoff() {
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    config.backoff.max = secs(20);
    let mut scene = Scene::with(config);
    let mut peer = RawPeer::new(9);
    let (id, victim) = (peer.id, scene.victim);
    let at = peer.peer_addr();
    scene.net.with(victim, |machine, now| {
        machine.add_address(now, at).expect("there is room");
        machine.send(now, id, b"let me in").expect("it is accepted");
    });
    peer.run(&mut scene.net, ms(50));
    assert!(peer.is_connected());
    peer.greet(&RawHello::default());
    // A year in milliseconds, as a varint of eight bytes.
    let year = 31_536_000_000u64 | 0xc000_0000_0000_0000;
    peer.close_with(&mut scene.net, 0x04, &year.to_be_bytes());
    scene.net.advance(ms(10));
    let dials = |scene: &Scene| {
        let machine = scene.net.machine(victim).expect("it is up");
        machine.peer_metrics(id).map_or(0, |peer| peer.dials)
    };
    let history = scene.net.history(victim);
    let year = Some(secs(31_536_000));
    let told = |event: &Event| {
        matches!(event, Event::StatusChanged { to: Failed, reason: Reason::Busy { retry_after }, .. }
            if *retry_after == year)
    };
    assert!(history.iter().any(|(_, event)| told(event)), "{history:?}");
    assert_eq!(dials(&scene), 1);
    scene.net.advance(secs(20) - ms(11));
    assert_eq!(dials(&scene), 1, "and not earlier");
    scene.net.advance(ms(1));
    assert_eq!(dials(&scene), 2);
    scene.assert_undisturbed();
}

// Helpers

/// First packets of handshakes from addresses where no node is.
fn spoof(scene: &mut Scene, millis: u16) {
    for number in 0..FLOOD {
        let mut peer = RawPeer::new(number + 20);
        let [high, low] = millis.to_be_bytes();
        peer.addr = ([203, 0, high, low], 1_000 + u16::from(number)).into();
        peer.dial(&mut scene.net, scene.victim);
        peer.send_packets(&mut scene.net);
    }
}
