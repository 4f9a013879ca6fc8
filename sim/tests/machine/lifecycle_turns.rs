//! Peers that take turns in pools which are too small: every peer gets somewhere, and none waits
//! for what is there already.

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Disconnected},
    PeerError, Reason,
};
use quicpool_sim::{Delay, Net, NodeId, Queue, Rate, ms, secs};

use crate::support::{counters, reasons, send_many_of};

#[test]
fn a_turn_is_long_enough_for_the_slowest_path() {
    let mut config = Config::default();
    config.connections_max = 1;
    config.tuning.hold_time_min = ms(0);
    let (mut net, nodes) = ring(Net::new(1).latency(ms(300)), config);

    net.advance(secs(120));

    for node in nodes {
        assert_eq!(net.received(node).len(), 1, "{net:?}");
    }
}

#[test]
fn a_turn_becomes_long_enough_for_the_longest_record() {
    let mut config = Config::default();
    config.connections_max = 1;
    let (mut net, nodes) = ring(Net::new(1).latency(ms(20)), config);
    net.faults(|faults| {
        faults.rate = Some(Rate {
            bytes_per_second: 200_000,
            queue: Queue::Bytes(40_000),
            mark_above: None,
        });
    });

    // Each needs more than five seconds, and a busy connection is safe for one.
    for (from, to) in around(&nodes) {
        send_many_of(&mut net, from, to, 1, 1024 * 1024);
    }
    net.advance(secs(290));

    for node in nodes {
        assert_eq!(net.received(node).len(), 2, "{net:?}");
    }
}

#[test]
fn a_peer_that_comes_again_gets_a_turn_where_somebody_never_stops_talking() {
    let mut config = Config::default();
    config.connections_max = 1;
    let mut net = Net::new(1).latency(ms(10));
    let hub = net.node(config);
    let [talker, shy] = [(); 2].map(|()| net.node(Config::default()));
    for node in [talker, shy] {
        net.introduce(hub, node);
    }

    net.connect(talker, hub);
    net.run_until(secs(1), |n| n.are_connected(talker, hub));
    net.send(shy, hub, b"may I?");
    let mut waited = 0;
    while net.received(hub).iter().all(|m| m.from != net.peer_id(shy)) {
        let _ = net.try_send(talker, hub, &[1; 1_000]);
        net.advance(ms(5));
        waited += 5;
        assert!(waited < 30_000, "{net:?}");
    }
    net.send(talker, hub, b"where was I?");
    net.run_until(secs(10), |n| n.are_connected(talker, hub));
}

#[test]
fn strangers_take_the_slot_of_nobody_who_is_busy() {
    let mut config = Config::default();
    config.connections_max = 1;
    let mut net = Net::new(1).latency(ms(10));
    let hub = net.node(config);
    let [friend, stranger] = [(); 2].map(|()| net.node(Config::default()));
    net.introduce(hub, friend);
    net.introduce_one_way(stranger, hub);
    net.pause_reader(hub);
    net.send(friend, hub, b"unread");
    net.advance(secs(1));

    net.connect(stranger, hub);
    net.advance(secs(60));

    assert!(net.are_connected(friend, hub), "{net:?}");
    assert!(counters(&net, hub).handshakes_refused > 3);
}

#[test]
fn whoever_comes_gets_the_slot_of_a_dial_that_nobody_answers() {
    let (mut net, hub, _, [friend, stranger]) = hub_that_dials_two_that_are_gone();
    for (node, within) in [(friend, secs(1)), (stranger, secs(30))] {
        net.send(node, hub, b"I am here");
        net.run_until(within, |n| {
            let metrics = n.peer_metrics(node, hub);
            metrics.is_some_and(|hub| hub.messages_delivered == 1)
        });
    }
    let evicted = counters(&net, hub).evictions;
    assert!(evicted > 0, "the dial that was called off had its turn");
}

#[test]
fn a_peer_that_is_back_is_reached_though_somebody_else_comes_all_the_time() {
    let (mut net, hub, [back, _], [friend, _]) = hub_that_dials_two_that_are_gone();
    for (from, to) in [(hub, back), (back, hub)] {
        // Half a round trip that is longer than the turns of the other.
        net.faults_between(from, to, |faults| faults.delay = Delay::Constant(ms(400)));
    }
    net.heal(hub, back);
    let mut waited = 0;
    while net.received(back).is_empty() {
        let _ = net.try_send(friend, hub, &[1; 1_000]);
        net.advance(ms(5));
        waited += 5;
        assert!(waited < 300_000, "{net:?}");
    }
    assert!(!net.received(hub).is_empty());
}

#[test]
fn a_dial_to_a_peer_that_never_failed_makes_way_for_nobody() {
    let mut config = Config::default();
    config.connections_max = 1;
    let mut net = Net::new(1).latency(ms(10));
    let hub = net.node(config);
    let [far, near] = [(); 2].map(|()| net.node(Config::default()));
    for other in [far, near] {
        net.introduce(hub, other);
    }
    net.faults_between(hub, far, |faults| faults.delay = Delay::Constant(secs(2)));

    net.connect(hub, far);
    net.connect(near, hub);
    net.run_until(secs(5), |n| n.are_connected(hub, far));
    assert!(!reasons(&net, hub).contains(&Reason::CalledOff), "{net:?}");
    assert!(counters(&net, hub).handshakes_refused > 0);
}

#[test]
fn a_dial_that_waits_for_a_slot_begins_when_the_other_has_read() {
    let (mut net, hub, [reader, next]) = full_hub();
    net.send(hub, next, b"your turn");
    net.advance(secs(1));
    assert!(net.are_connected(hub, reader), "it is safe for its tenure");

    net.resume_reader(reader);
    net.run_until(ms(150), |n| n.are_connected(hub, next));
}

#[test]
fn a_dial_that_waits_for_a_slot_begins_when_one_is_unprotected() {
    let (mut net, hub, [reader, next]) = full_hub();
    let protected = net.peer_id(reader);
    net.with(hub, |machine, _| {
        machine.protect(protected).expect("a known peer")
    });
    net.send(hub, next, b"your turn");
    net.advance(secs(100));
    assert_ne!(net.status(hub, next), Some(Connected));

    net.with(hub, |machine, _| {
        machine.unprotect(protected).expect("a known peer")
    });
    net.run_until(ms(150), |n| n.are_connected(hub, next));
    assert_eq!(net.status(hub, reader), Some(Disconnected));
}

#[test]
fn nobody_is_evicted_for_a_dial_that_the_rate_holds_back() {
    let mut config = Config::default();
    config.connections_max = 1;
    config.dial_rate = 1;
    let mut net = Net::new(1).latency(ms(10));
    let hub = net.node(config);
    let [first, next] = [(); 2].map(|()| net.node(Config::default()));
    for other in [first, next] {
        net.introduce(hub, other);
    }
    net.connect(hub, first);
    net.run_until(ms(100), |n| n.are_connected(hub, first));

    net.connect(hub, next);
    net.advance(ms(800));
    assert!(net.are_connected(hub, first), "its slot is of no use yet");
    net.run_until(ms(300), |n| n.are_connected(hub, next));
}

#[test]
fn a_peer_without_room_does_not_open_the_breaker() {
    let mut config = Config::default();
    config.connections_max = 1;
    let mut net = Net::new(1).latency(ms(10));
    let hub = net.node(config);
    let [friend, other] = [(); 2].map(|()| net.node(Config::default()));
    net.introduce(hub, friend);
    net.introduce_one_way(other, hub);
    net.pause_reader(hub);
    net.send(friend, hub, b"unread");
    net.advance(secs(1));

    net.connect(other, hub);
    for _ in 0..60 {
        net.advance(secs(1));
        let hub = net.peer_id(hub);
        let verdict = net.with(other, |machine, _| machine.verdict(hub));
        assert_eq!(verdict, Ok::<(), PeerError>(()));
    }
    assert!(counters(&net, other).dials_failed > 5, "{net:?}");
}

// Helpers

/// Three nodes, each with a message for the next one.
fn ring(mut net: Net, config: Config) -> (Net, Vec<NodeId>) {
    let nodes = net.nodes(3, &config);
    net.introduce_all();
    for (from, to) in around(&nodes) {
        net.send(from, to, b"pass it on");
    }
    (net, nodes)
}

fn around(nodes: &[NodeId]) -> impl Iterator<Item = (NodeId, NodeId)> {
    let next = |place: usize| nodes[(place + 1) % nodes.len()];
    (0..nodes.len()).map(move |place| (nodes[place], next(place)))
}

/// A hub with one slot, held by a peer that does not read, and another that it knows.
fn full_hub() -> (Net, NodeId, [NodeId; 2]) {
    let mut config = Config::default();
    config.connections_max = 1;
    config.tuning.hold_time_min = secs(60);
    let mut net = Net::new(1).latency(ms(10));
    let hub = net.node(config);
    let others = [(); 2].map(|()| net.node(Config::default()));
    for other in others {
        net.introduce(hub, other);
    }
    net.pause_reader(others[0]);
    net.send(hub, others[0], b"unread");
    net.run_until(secs(1), |n| n.are_connected(hub, others[0]));
    (net, hub, others)
}

/// A hub with one slot and messages for two peers that cannot be reached, each of which has failed to
/// answer; and two that can, of which it knows the first.
fn hub_that_dials_two_that_are_gone() -> (Net, NodeId, [NodeId; 2], [NodeId; 2]) {
    let mut config = Config::default();
    config.connections_max = 1;
    config.backoff.max = secs(2);
    config.tuning.hold_time_min = ms(0);
    let mut net = Net::new(1).latency(ms(10));
    let hub = net.node(config.clone());
    let [gone, others] = [(); 2].map(|()| [(); 2].map(|()| net.node(config.clone())));
    for node in gone {
        net.introduce(hub, node);
        net.cut(hub, node);
        net.send(hub, node, b"are you there?");
    }
    net.introduce(hub, others[0]);
    net.introduce_one_way(others[1], hub);
    let has_failed = |n: &Net, node| n.peer_metrics(hub, node).is_some_and(|p| p.failures > 0);
    net.run_until(secs(60), |n| gone.iter().all(|node| has_failed(n, *node)));
    (net, hub, gone, others)
}
