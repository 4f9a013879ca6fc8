//! Failures that connection pools before this one had, numbers 13 to 22: each is shown not to
//! happen to whole machines.

use std::collections::BTreeSet;

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Connecting, Disconnected},
    Event,
};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{changes, closed_well, introduced, numbers, send_many_of};

/// Some fill a packet together, and many do not fit into what the network takes at once.
const MESSAGE_BYTES: usize = 200;

#[test]
fn failure_13_dials_from_both_ends_at_once_end_with_one_shared_connection() {
    for seed in 0..200 {
        let (mut net, a, b) = introduced(Net::new(seed).latency(ms(240)), Config::default());

        net.send(a, b, b"from a");
        net.advance(ms(seed % 20 * 13));
        net.send(b, a, b"from b");
        net.run_until(secs(5), |n| n.are_connected(a, b));
        net.advance(secs(10));

        assert!(net.are_connected(a, b), "seed {seed}: {net:?}");
        for (node, other) in [(a, b), (b, a)] {
            assert_eq!(net.received(node).len(), 1, "seed {seed}: {net:?}");
            let metrics = net.metrics(node).expect("it is up");
            assert!(metrics.counters.dials <= 2, "seed {seed}: {metrics:?}");
            let occupancy = net.occupancy(node).expect("it is up");
            assert_eq!(occupancy.connections, 1, "seed {seed}: no ghosts; {net:?}");
            assert_eq!(
                changes(&net, node, other),
                [Connecting, Connected],
                "seed {seed}"
            );
        }
    }
}

#[test]
fn failure_13_dials_from_both_ends_at_once_survive_loss() {
    for seed in 0..60 {
        let (mut net, a, b) = introduced(Net::new(seed).latency(ms(240)), Config::default());
        net.loss(0.2);

        for number in 0..20u8 {
            net.send(a, b, &[number]);
            net.send(b, a, &[number]);
            net.advance(ms(seed % 50));
        }
        net.advance(secs(10));
        net.loss(0.0);
        net.advance(secs(30));
        // A connection that the loss has cost is not missed until there is something to send.
        net.send(a, b, &[20]);
        net.send(b, a, &[20]);
        net.advance(secs(60));

        assert!(net.are_connected(a, b), "seed {seed}: {net:?}");
        for node in [a, b] {
            let numbers: Vec<u8> = net.received(node).iter().map(|m| m.payload[0]).collect();
            assert_eq!(numbers, (0..=20).collect::<Vec<u8>>(), "seed {seed}");
            let occupancy = net.occupancy(node).expect("it is up");
            assert_eq!(occupancy.connections, 1, "seed {seed}: no ghosts; {net:?}");
        }
    }
}

#[test]
fn failure_16_nobody_waits_for_a_dial_that_hangs() {
    let mut net = Net::new(16).latency(ms(10));
    let nodes = net.nodes(4, &Config::default());
    let (a, b, hole, other) = (nodes[0], nodes[1], nodes[2], nodes[3]);
    net.introduce_all();
    net.connect(a, b);
    net.run_until(secs(1), |n| n.are_connected(a, b));

    net.cut(a, hole);
    net.connect(a, hole);
    net.advance(secs(1));

    assert_eq!(net.status(a, hole), Some(Connecting), "it hangs");
    assert_eq!(net.status(a, b), Some(Connected));
    net.send(a, b, b"meanwhile");
    net.advance(ms(10));
    assert_eq!(net.received(b).len(), 1, "one way of the link later");
    net.send(a, hole, b"later");
    assert_eq!(net.peer_metrics(a, hole).map(|peer| peer.dials), Some(1));
    net.connect(a, other);
    net.run_until(ms(50), |n| n.are_connected(a, other));
}

#[test]
fn failure_19_the_tail_of_whoever_closes_is_taken_and_that_of_the_other_end_is_accounted_for() {
    for seed in 0..100 {
        let (mut net, a, b) = lossy_pair(seed);
        send_many_of(&mut net, a, b, 500, MESSAGE_BYTES);
        send_many_of(&mut net, b, a, 400, MESSAGE_BYTES);
        net.advance(ms(seed % 10 * 40));

        net.close(a);
        // A goodbye that is lost each time is made up for by the end of the session.
        net.advance(Config::default().session_timeout + secs(60));

        assert_eq!(net.received(b).len(), 500, "seed {seed}: {net:?}");
        let unaccounted = unaccounted(&mut net, b, a, 400);
        assert!(
            unaccounted.is_empty(),
            "seed {seed}: {unaccounted:?} {net:?}"
        );
        assert_eq!(
            net.events(a).last(),
            Some(&closed_well()),
            "seed {seed}: {net:?}"
        );
    }
}

#[test]
fn failure_19_both_ends_close_at_once_and_each_says_what_was_not_taken() {
    for seed in 0..100 {
        let (mut net, a, b) = lossy_pair(seed);
        send_many_of(&mut net, a, b, 500, MESSAGE_BYTES);
        send_many_of(&mut net, b, a, 300, MESSAGE_BYTES);
        net.advance(ms(seed % 10 * 40));

        net.close(a);
        net.close(b);
        net.advance(secs(60));

        for (node, other, sent) in [(a, b, 500), (b, a, 300)] {
            let unaccounted = unaccounted(&mut net, node, other, sent);
            assert!(unaccounted.is_empty(), "seed {seed}: {unaccounted:?}");
            let reported = reported(&net, node).len() as u64;
            let last = net.events(node).pop();
            let undelivered = reported;
            let Some(Event::Closed {
                undelivered: counted,
                losses,
            }) = last
            else {
                panic!("seed {seed}: {last:?}");
            };
            let named = losses.iter().map(|(_, losses)| losses.messages());
            assert_eq!(
                (counted, named.sum()),
                (undelivered, undelivered),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn failure_22_nothing_is_said_of_a_connection_that_is_closed() {
    for moment in 0..60 {
        let (mut net, a, b) = introduced(Net::new(22).latency(ms(10)), Config::default());
        net.pause_reader(a);
        net.connect(a, b);
        net.run_until(secs(1), |n| n.are_connected(a, b));
        // Packets of b are under way when a closes, and go on to come after it has.
        for _ in 0..50 {
            send_many_of(&mut net, b, a, 20, MESSAGE_BYTES);
            net.advance(ms(1));
        }
        net.advance(ms(moment));
        net.disconnect(a, b);
        let last = net.events(a).pop();
        assert!(is_disconnected(last.as_ref()), "{last:?}");
        send_many_of(&mut net, b, a, 20, MESSAGE_BYTES);

        // b's next dial would be another connection.
        net.cut_one_way(a, b);
        net.advance(secs(3));
        assert_eq!(net.events(a), [], "closed after {moment} ms");
    }
}

#[test]
fn failure_22_nothing_is_said_after_the_end() {
    let mut net = Net::new(22).latency(ms(10));
    let nodes = net.nodes(5, &Config::default());
    net.introduce_all();
    for node in &nodes[1..] {
        send_many_of(&mut net, nodes[0], *node, 10, MESSAGE_BYTES);
        send_many_of(&mut net, *node, nodes[0], 500, MESSAGE_BYTES);
    }
    net.advance(ms(45));

    net.abort(nodes[0]);

    let last = net.events(nodes[0]).pop();
    assert!(matches!(last, Some(Event::Closed { .. })), "{last:?}");
    net.advance(secs(400));
    assert_eq!(net.events(nodes[0]), []);
    let occupancy = net.occupancy(nodes[0]).expect("it is up");
    assert_eq!((occupancy.connections, occupancy.slots), (0, 0));
}

// Helpers

fn lossy_pair(seed: u64) -> (Net, NodeId, NodeId) {
    let mut config = Config::default();
    config.close_timeout = secs(30);
    let (mut net, a, b) = introduced(Net::new(seed).latency(ms(1 + seed % 70)), config);
    net.loss(0.02 * (seed % 5) as f64);
    (net, a, b)
}

fn reported(net: &Net, node: NodeId) -> BTreeSet<u64> {
    let numbers = |(_, event): &(_, Event)| {
        if let Event::Undelivered { messages, .. } = event {
            messages.clone()
        } else {
            0..0
        }
    };
    net.history(node).iter().flat_map(numbers).collect()
}

fn unaccounted(net: &mut Net, from: NodeId, to: NodeId, sent: u64) -> Vec<u64> {
    let taken: BTreeSet<u64> = numbers(&net.received(to)).into_iter().collect();
    let reported = reported(net, from);
    (0..sent)
        .filter(|n| !taken.contains(n) && !reported.contains(n))
        .collect()
}

fn is_disconnected(event: Option<&Event>) -> bool {
    matches!(
        event,
        Some(
            Event::StatusChanged {
                to: Disconnected,
                ..
            } | Event::Undelivered { .. }
        )
    )
}
