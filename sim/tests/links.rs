//! What links and processes can suffer, seen from whole machines: each fault as a small picture.

use std::time::Duration;

use quicpool_core::{Config, ConnectionStatus::Connected};
use quicpool_sim::{
    BlackHole, Burst, FirstLost, Net, NodeId, Path, Queue, Rate, StageCounts, ms, secs,
};

#[test]
fn a_message_gets_through_every_preset_in_due_time() {
    for (name, path, latest) in [
        ("lan", Path::lan(), ms(5)),
        ("datacenter", Path::datacenter(), ms(5)),
        ("dsl", Path::dsl(), ms(500)),
        ("lte", Path::lte(), ms(500)),
        ("wifi_fade", Path::wifi_fade(), secs(10)),
        ("satellite", Path::satellite(), secs(10)),
    ] {
        for seed in 0..20 {
            let (mut net, a, b) = pair(Net::new(seed).path(path.clone()));
            net.send(a, b, &[7; 20_000]);
            net.send(b, a, &[7; 20_000]);
            let took = arrival(&mut net, b).max(arrival(&mut net, a));
            assert!(took < latest, "{name}, seed {seed}: {took:?}");
        }
    }
}

#[test]
fn up_and_down_differ() {
    let (mut net, a, b) = pair(Net::new(1).path(Path::dsl()));
    connect(&mut net, a, b);
    let time = |net: &mut Net, from, to| {
        let start = net.now();
        (0..40).for_each(|_| net.send(from, to, &[7; 10_000]));
        let mut count = 0;
        while count < 40 {
            net.advance(ms(1));
            count += net.received(to).len();
        }
        net.now() - start
    };
    let (up, down) = (time(&mut net, a, b), time(&mut net, b, a));
    // 400 kB at 250 kB/s and at 2 MB/s.
    assert!(up > ms(1_600), "{up:?}");
    assert!(down < ms(1_000), "{down:?}");
}

#[test]
fn the_first_packets_of_each_kind_are_made_up_for() {
    for kind in 0..3 {
        let (mut net, a, b) = pair(Net::new(1));
        net.faults(|faults| {
            faults.first = FirstLost {
                initial: 2 * u32::from(kind == 0),
                handshake: 2 * u32::from(kind == 1),
                one_rtt: 2 * u32::from(kind == 2),
            };
        });
        net.send(a, b, b"late");
        assert!(arrival(&mut net, b) < secs(20), "kind {kind}");
        assert!(net.faults_injected()["first"] >= 2, "kind {kind}");
    }
}

#[test]
fn bursts_of_loss_are_made_up_for() {
    let (mut net, a, b) = pair(Net::new(1));
    connect(&mut net, a, b);
    net.faults(|faults| {
        faults.burst = Some(Burst {
            to_bad: 0.01,
            to_good: 0.3,
            loss: 1.0,
        });
    });
    (0..50).for_each(|_| net.send(a, b, &[7; 5_000]));
    net.advance(secs(60));
    assert_eq!(net.received(b).len(), 50);
    assert!(stage(&net, a, b, "burst").dropped > 0);
}

#[test]
fn a_full_queue_drops_and_a_long_one_marks() {
    let (mut net, a, b) = pair(Net::new(1));
    connect(&mut net, a, b);
    net.faults(|faults| {
        faults.rate = Some(Rate {
            bytes_per_second: 100_000,
            queue: Queue::Packets(8),
            mark_above: Some(3),
        });
    });
    (0..50).for_each(|_| net.send(a, b, &[7; 5_000]));
    net.advance(secs(30));
    assert_eq!(net.received(b).len(), 50);
    let counts = net.link_counts(a, b);
    assert!(counts.overflowed > 0 && counts.marked > 0, "{counts:?}");
}

#[test]
fn a_connection_outlives_a_black_hole() {
    let (mut net, a, b) = pair(Net::new(1));
    connect(&mut net, a, b);
    // The time in which both ends find out how long a datagram may be.
    net.advance(secs(5));
    let from = net.now();
    net.faults(|faults| {
        faults.black_hole = Some(BlackHole {
            mtu: 1_250,
            from,
            until: from + secs(60),
        });
    });
    for _ in 0..30 {
        net.send(a, b, &[7; 5_000]);
        net.advance(secs(1));
    }
    net.advance(secs(20));
    assert_eq!(net.received(b).len(), 30, "{net:?}");
    assert!(stage(&net, a, b, "mtu").dropped > 0);
}

#[test]
fn what_is_clogged_comes_late_and_is_all_there() {
    let (mut net, a, b) = pair(Net::new(1));
    connect(&mut net, a, b);
    net.clog(a, b, secs(2));
    (0..20).for_each(|_| net.send(a, b, b"stuck"));
    net.advance(ms(1_990));
    assert_eq!(net.received(b).len(), 0);
    net.advance(ms(10));
    assert_eq!(net.received(b).len(), 20);
}

#[test]
fn a_client_may_move_to_another_port_without_a_new_connection() {
    let (mut net, a, b) = pair(Net::new(1));
    connect(&mut net, a, b);
    net.rebind(a);
    net.send(a, b, b"from elsewhere");
    net.advance(secs(1));
    net.send(b, a, b"back");
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 1);
    assert_eq!(net.received(a).len(), 1);
    assert_eq!(net.peer_metrics(a, b).map(|peer| peer.dials), Some(1));
}

#[test]
fn a_server_that_moves_is_found_again() {
    let (mut net, a, b) = pair(Net::new(1));
    connect(&mut net, a, b);
    net.rebind(b);
    net.introduce_one_way(a, b);
    net.send(a, b, b"to the new place");
    net.run_until(secs(120), |n| {
        n.peer_metrics(b, a)
            .is_some_and(|peer| peer.messages_received == 1)
    });
    assert!(net.faults_injected()["outdated"] > 0);
}

#[test]
fn a_paused_process_goes_on_where_it_stopped() {
    let (mut net, a, b) = pair(Net::new(1));
    connect(&mut net, a, b);
    net.pause(b);
    net.send(a, b, b"meanwhile");
    net.advance(secs(2));
    assert_eq!(net.received(b).len(), 0);
    net.resume(b);
    assert_eq!(net.received(b).len(), 1, "it waited in the socket");
    assert!(net.are_connected(a, b));
}

#[test]
fn a_process_that_is_paused_for_long_comes_back() {
    let (mut net, a, b) = pair(Net::new(1));
    connect(&mut net, a, b);
    net.pause(b);
    net.send(a, b, b"meanwhile");
    net.advance(secs(100));
    assert_ne!(net.status(a, b), Some(Connected));
    net.resume(b);
    net.run_until(secs(60), |n| n.are_connected(a, b));
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 1);
}

/// Found by histories with pauses: the machine gave the place of such a handshake back twice.
#[test]
fn a_handshake_that_ends_as_its_deadline_passes_is_counted_once() {
    for moment in 0..60 {
        let (mut net, a, b) = pair(Net::new(1));
        net.connect(a, b);
        net.advance(ms(moment));
        net.pause(b);
        net.advance(secs(8));
        net.resume(b);
        net.send(a, b, b"after");
        net.run_until(secs(60), |n| n.are_connected(a, b));
        let handshakes = net.occupancy(b).expect("it is up").handshakes;
        assert_eq!(handshakes, 0, "paused after {moment} ms");
    }
}

#[test]
fn nothing_leaves_a_blocked_socket_and_nothing_is_lost() {
    let (mut net, a, b) = pair(Net::new(1));
    connect(&mut net, a, b);
    net.advance(secs(1));
    let before = net.link_counts(a, b).offered;
    net.block_socket(a, secs(2));
    (0..20).for_each(|_| net.send(a, b, b"waits"));
    net.send(b, a, b"arrives");
    net.advance(ms(1_999));
    assert_eq!(net.link_counts(a, b).offered, before);
    assert_eq!(net.received(a).len(), 1, "it can receive");
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 20);
}

/// Found by storms with blocked sockets: a connection that ended while packets were asked for was
/// forgotten before its peer had learnt of it.
#[test]
fn a_driver_that_asks_for_packets_long_after_a_deadline_leaves_no_ghost() {
    for late in 5..60 {
        let (mut net, a, b) = pair(Net::new(1));
        connect(&mut net, a, b);
        net.cut(a, b);
        net.block_socket(a, secs(100));
        (0..20).for_each(|_| net.send(a, b, &[7; 5_000]));
        net.advance(secs(late));
        net.with(a, |machine, now| {
            let mut buf = Vec::new();
            while machine.poll_action(now, &mut buf).is_some() {}
        });
        net.advance(secs(100));
        let occupancy = net.occupancy(a).expect("it is up");
        let is_connected = net.status(a, b) == Some(Connected);
        assert!(
            !is_connected || occupancy.connections > 0,
            "{late} s late: {net:?}"
        );
    }
}

#[test]
fn the_seed_decides_who_is_first_of_those_that_arrive_together() {
    let first = |net: Net| {
        let mut net = net.latency(ms(10));
        let nodes = net.nodes(3, &Config::default());
        net.introduce_all();
        for sender in [nodes[0], nodes[1]] {
            net.connect(sender, nodes[2]);
        }
        net.advance(secs(1));
        // Both connections have done the same, so both messages arrive at one instant.
        for sender in [nodes[0], nodes[1]] {
            net.send(sender, nodes[2], b"first");
        }
        net.advance(secs(1));
        let received = net.received(nodes[2]);
        assert_eq!(received.len(), 2);
        received[0].from == net.peer_id(nodes[0])
    };
    let count = |net: fn(u64) -> Net| (0..100).filter(|seed| first(net(*seed))).count();
    assert_eq!(count(Net::new), 100, "as they were sent");
    let drawn = count(|seed| Net::new(seed).draw_ties());
    assert!((30..70).contains(&drawn), "{drawn} of 100");
}

fn pair(mut net: Net) -> (Net, NodeId, NodeId) {
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce(a, b);
    (net, a, b)
}

fn connect(net: &mut Net, a: NodeId, b: NodeId) {
    net.connect(a, b);
    net.run_until(secs(5), |n| n.are_connected(a, b));
}

/// When the first message has come to a node.
fn arrival(net: &mut Net, node: NodeId) -> Duration {
    let received = |net: &Net| {
        let metrics = net.metrics(node).expect("it is up");
        metrics.counters.messages_received > 0
    };
    net.run_until(secs(60), received);
    net.now()
}

fn stage(net: &Net, from: NodeId, to: NodeId, name: &str) -> StageCounts {
    let stages = net.stage_counts(from, to);
    let (_, counts) = stages
        .into_iter()
        .find(|(stage, _)| *stage == name)
        .expect("it is there");
    counts
}
