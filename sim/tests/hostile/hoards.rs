//! Peers that make us hold what they send: no more than was granted to them.

use quicpool_core::{Config, Sealing};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::{
    bytes::{Heard, LINE, record},
    raw::{RawHello, RawPeer, run_all},
    scene::Scene,
};

/// What a connection may send before its greeting, and beside its lines.
const CONTROL_WINDOW: usize = 16 * 1024;

/// What the victim may hold for a connection beside that: an idle connection, and what pieces of streams take.
const CONNECTION_BYTES: usize = 32 * 1024;

#[test]
fn failure_39_a_peer_without_hello_fills_16_kib_and_no_more() {
    let mut scene = Scene::new(Sealing::Off);
    let before = usage(&scene);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    let mut written = 0;
    for _ in 0..10 {
        written += peer.write_what_fits(1 << 20);
        peer.run(&mut scene.net, ms(100));
    }
    assert!(written <= CONTROL_WINDOW, "{written}");
    let held = usage(&scene) - before;
    assert!(held >= written + 20 * 1024, "it is counted: {held}");
    assert!(held < CONNECTION_BYTES + CONTROL_WINDOW, "{held}");
    scene.assert_undisturbed();
}

#[test]
fn failure_39_a_gap_holds_no_more_than_was_granted_and_is_counted() {
    let mut scene = Scene::new(Sealing::Off);
    let before = usage(&scene);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    let credit = Heard::credit(&peer.read_control()) as usize;
    peer.greet(&RawHello::default());
    peer.run(&mut scene.net, secs(1));
    peer.write_data(&[7; 1_000]);
    peer.lose_packets(&mut scene.net);
    let written = 1_002 + peer.write_what_fits(1 << 22);
    peer.send_without_hearing(&mut scene.net, secs(2));
    let most = credit + Config::default().tuning.control_reserve + CONTROL_WINDOW;
    assert!(written >= credit, "all of the credit can be used");
    assert!(written <= most, "{written} bytes, and {credit} of credit");
    let held = usage(&scene) - before;
    assert!(held >= written, "it is counted: {held} of {written}");
    assert!(held < CONNECTION_BYTES + most * 5 / 4, "{held}");
    scene.assert_undisturbed();
}

#[test]
fn failure_39_records_that_are_never_completed_stay_within_the_budget() {
    let mut scene = Scene::with(tight());
    let mut peers = hoarders(&mut scene, 60);
    assert!(usage(&scene) < MEMORY_MAX, "{}", usage(&scene));
    let inboxes = MEMORY_MAX / 4 + MIB;
    let connections = 62 * CONNECTION_BYTES;
    assert!(usage(&scene) < inboxes + connections, "{}", usage(&scene));
    scene.assert_undisturbed();

    // The record of an honest peer that has no room is completed all the same.
    let (friend, victim) = (scene.friend, scene.victim);
    scene.net.pause_reader(victim);
    let id = scene.net.peer_id(friend);
    let message = vec![1; MIB];
    scene.net.send(friend, victim, &message);
    let mut waited = 0;
    let has_come = |scene: &Scene| {
        let metrics = scene.net.machine(victim).and_then(|m| m.peer_metrics(id));
        metrics.is_some_and(|metrics| metrics.inbox_bytes >= MIB)
    };
    while !has_come(&scene) {
        assert!(waited < 40, "{:?}", scene.net);
        run_all(
            &mut peers.iter_mut().collect::<Vec<_>>(),
            &mut scene.net,
            secs(1),
        );
        waited += 1;
    }
    assert!(usage(&scene) < MEMORY_MAX, "{}", usage(&scene));
}

#[test]
fn failure_39_a_connection_that_was_closed_is_forgotten_in_3_s_whatever_its_round_trip() {
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    config.handshake_timeout = secs(30);
    let mut net = Net::new(1).latency(secs(2));
    let [one, other] = [(); 2].map(|()| net.node(config.clone()));
    net.introduce(one, other);
    net.connect(one, other);
    net.run_until(secs(20), |net| net.are_connected(one, other));
    net.advance(secs(20));
    let connections = |net: &Net, node| net.occupancy(node).map_or(0, |held| held.connections);
    net.disconnect(one, other);
    net.advance(ms(2_900));
    let open = [one, other].map(|node| connections(&net, node));
    assert_eq!(open, [1, 1], "for packets that are on their way");
    net.advance(ms(200));
    assert_eq!(connections(&net, one), 0);
    net.advance(secs(2));
    assert_eq!(connections(&net, other), 0);
}

#[test]
fn failure_39_strangers_are_refused_while_memory_is_short() {
    let mut scene = Scene::with(least());
    let mut peers = Vec::new();
    for number in 0..60 {
        let mut peer = RawPeer::new(number + 20);
        peer.dial(&mut scene.net, scene.victim);
        peers.push(peer);
        let mut all: Vec<_> = peers.iter_mut().collect();
        run_all(&mut all, &mut scene.net, ms(100));
        let peer = peers.last_mut().expect("it was pushed");
        if peer.is_connected() && peer.lost.is_none() {
            peer.greet(&RawHello::default());
        }
        assert!(usage(&scene) <= MIB, "{}", usage(&scene));
    }
    let refused = peers.iter().filter(|peer| peer.close_code == Some(0x04));
    assert!((20..50).contains(&refused.count()));
    scene.assert_undisturbed();
}

#[test]
fn failure_39_idle_connections_make_way_while_memory_is_exceeded() {
    let mut net = Net::new(1);
    let hub = net.node(least());
    let others = net.nodes(60, &least());
    for other in &others {
        net.introduce(hub, *other);
        net.connect(hub, *other);
        net.advance(ms(100));
        let used = net.metrics(hub).expect("it is up").memory_usage;
        assert!(used <= MIB + CONNECTION_BYTES, "{used}");
    }
    let metrics = net.metrics(hub).expect("it is up");
    assert!(metrics.counters.evictions > 10, "{metrics:?}");
    assert!(metrics.connections > 20, "{metrics:?}");
    assert!(net.are_connected(hub, others[59]), "the last one to come");
    assert!(!net.are_connected(hub, others[0]), "the first one to go");
}

#[test]
fn idle_strangers_make_way_before_known_peers_while_memory_is_exceeded() {
    let mut net = Net::new(1);
    let hub = net.node(least());
    let [known, strangers, newcomers] = [15, 10, 30].map(|count| net.nodes(count, &least()));
    let meet = |net: &mut Net, node, other| {
        net.introduce_one_way(node, other);
        net.connect(node, other);
        net.advance(ms(100));
    };
    let count = |net: &Net, others: &[NodeId]| {
        let connected = others
            .iter()
            .filter(|other| net.are_connected(hub, **other));
        connected.count()
    };
    for peer in &known {
        meet(&mut net, hub, *peer);
    }
    for stranger in &strangers {
        meet(&mut net, *stranger, hub);
    }
    assert_eq!((count(&net, &known), count(&net, &strangers)), (15, 10));
    for newcomer in &newcomers {
        meet(&mut net, hub, *newcomer);
        let left = count(&net, &strangers);
        assert!(
            left == 0 || count(&net, &known) == 15,
            "{left} strangers stay"
        );
    }
    assert_eq!(count(&net, &strangers), 0);
}

/// Memory of a message that was read, with what the machine keeps for it.
const HANDED_BYTES: usize = 112;

/// An empty message is one byte in its record, and a hundred once it was read.
#[test]
fn failure_39_tiny_messages_that_no_application_takes_stay_within_the_budget() {
    let mut scene = Scene::with(tight());
    let victim = scene.victim;
    scene.net.pause_reader(victim);
    let mut peers: Vec<_> = (20..120).map(RawPeer::new).collect();
    let count = 3_000;
    // No more at a time than there are places for handshakes.
    for peers in peers.chunks_mut(50) {
        let mut peers: Vec<_> = peers.iter_mut().collect();
        for peer in &mut peers {
            peer.dial(&mut scene.net, victim);
        }
        run_all(&mut peers, &mut scene.net, ms(300));
        for peer in &mut peers {
            peer.greet(&RawHello::default());
        }
        run_all(&mut peers, &mut scene.net, ms(300));
        for peer in &mut peers {
            peer.write_data(&record(count, count, 0, &vec![0; count as usize]));
        }
        run_all(&mut peers, &mut scene.net, ms(300));
    }
    let read = |scene: &mut Scene| {
        let ids = peers.iter().map(|peer| peer.id);
        scene.net.with(victim, |machine, now| {
            let mut out = Vec::new();
            for id in ids {
                machine
                    .receive_held(now, id, usize::MAX, &mut out)
                    .expect("it is connected");
            }
            out
        })
    };
    let mut held = read(&mut scene);
    let most = MEMORY_MAX / 4 + peers.len() * 16 * HANDED_BYTES;
    assert!(
        held.len() * HANDED_BYTES <= most,
        "{} were read",
        held.len()
    );
    assert!(held.len() > MEMORY_MAX / 8 / HANDED_BYTES, "{}", held.len());
    assert!(usage(&scene) < MEMORY_MAX, "{}", usage(&scene));

    // Each peer's go on as its own are taken, and none is lost.
    let mut taken = 0;
    while !held.is_empty() {
        scene.net.with(victim, |machine, now| {
            for message in &held {
                let key = message.key().expect("it is no datagram");
                machine.done(now, key).expect("it was read");
            }
        });
        taken += held.len();
        held = read(&mut scene);
    }
    assert_eq!(taken, peers.len() * count as usize);
}

// Helpers

const MIB: usize = 1 << 20;

const MEMORY_MAX: usize = 8 * MIB;

fn tight() -> Config {
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    config.memory_max = MEMORY_MAX;
    config
}

/// The least memory that there may be.
fn least() -> Config {
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    config.memory_max = MIB;
    config.message_bytes_max = 64 * 1024;
    config.outbox_bytes_max = 256 * 1024;
    config.inbox_bytes_max = 64 * 1024;
    config
}

/// Peers that have begun the longest record that there may be, and sent as much of it as they may.
fn hoarders(scene: &mut Scene, count: u8) -> Vec<RawPeer> {
    let mut peers: Vec<_> = (0..count).map(|number| RawPeer::new(number + 20)).collect();
    for peer in &mut peers {
        peer.dial(&mut scene.net, scene.victim);
    }
    let run = |peers: &mut Vec<RawPeer>, scene: &mut Scene, time| {
        run_all(
            &mut peers.iter_mut().collect::<Vec<_>>(),
            &mut scene.net,
            time,
        );
    };
    run(&mut peers, scene, ms(200));
    let mut written = vec![0; peers.len()];
    let mut credit = vec![0; peers.len()];
    let whole = record(MIB as u32 + 4, 1, 0, &[0; MIB]);
    for turn in 0..20 {
        for (place, peer) in peers.iter_mut().enumerate() {
            if turn == 0 {
                peer.greet(&RawHello::default());
                continue;
            }
            credit[place] = Heard::credit(&peer.read_control()).max(credit[place]);
            let most = (credit[place] as usize)
                .saturating_sub(LINE.len())
                .min(whole.len());
            let part = &whole[written[place]..most.max(written[place])];
            if !part.is_empty() {
                peer.write_data(part);
                written[place] += part.len();
            }
        }
        run(&mut peers, scene, ms(200));
    }
    assert!(written.iter().all(|written| *written > 1_000));
    peers
}

fn usage(scene: &Scene) -> usize {
    let metrics = scene.net.metrics(scene.victim).expect("it is up");
    metrics.memory_usage
}
