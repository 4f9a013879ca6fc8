//! Failure 23: both ends dial at once, and the winner of the tie-break dies right after the loser
//! was closed: the survivor is stranded.

use std::time::Duration;

use quicpool_core::Config;
use quicpool_sim::{Net, NodeId, ms, secs};

/// The path goes at every moment of the tie-break, and comes back when both ends have noticed.
#[test]
fn failure_23_a_winner_that_dies_strands_nobody() {
    for moment in (0..900).step_by(10) {
        let (mut net, a, b) = tie(ms(moment));

        net.cut(a, b);
        net.advance(secs(20));
        assert!(!net.are_connected(a, b), "at {moment} ms: {net:?}");
        net.heal(a, b);

        net.send(a, b, b"still there?");
        net.send(b, a, b"still there?");
        net.advance(secs(60));
        agree(&mut net, a, b, moment);
    }
}

/// The winner dies at one end only, before the other can know: its process is another one.
#[test]
fn failure_23_an_end_that_dies_with_the_winner_strands_nobody() {
    for moment in (0..900).step_by(10) {
        for survivor in [0, 1] {
            let (mut net, a, b) = tie(ms(moment));
            let (stays, dies) = [(a, b), (b, a)][survivor];

            net.restart(dies);
            net.introduce_one_way(dies, stays);
            net.received(dies);
            for node in [a, b] {
                net.events(node);
            }
            net.advance(secs(30));
            net.send(stays, dies, b"still there?");
            net.send(dies, stays, b"still there?");
            net.advance(secs(30));
            let last = net.received(dies).pop().map(|message| message.payload);
            assert_eq!(last.as_deref(), Some(&b"still there?"[..]), "{net:?}");
            share_one(&net, a, b, moment);
        }
    }
}

/// Two nodes 120 ms apart that dial each other, this long ago.
fn tie(ago: Duration) -> (Net, NodeId, NodeId) {
    let mut net = Net::new(23).latency(ms(120));
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce(a, b);
    net.send(a, b, b"hello");
    net.send(b, a, b"hello");
    net.advance(ago);
    (net, a, b)
}

/// Everything has arrived once, on one connection.
fn agree(net: &mut Net, a: NodeId, b: NodeId, moment: u64) {
    for node in [a, b] {
        let received = net.received(node);
        assert_eq!(received.len(), 2, "at {moment} ms: {net:?}");
    }
    share_one(net, a, b, moment);
    for node in [a, b] {
        let metrics = net.metrics(node).expect("it is up");
        let dials = metrics.counters.dials;
        assert!(dials <= 9, "at {moment} ms {node} dialled {dials} times");
    }
}

fn share_one(net: &Net, a: NodeId, b: NodeId, moment: u64) {
    assert!(net.are_connected(a, b), "at {moment} ms: {net:?}");
    for node in [a, b] {
        let connections = net.occupancy(node).map(|held| held.connections);
        assert_eq!(connections, Some(1), "at {moment} ms: {net:?}");
    }
    let [ours, theirs] = [(a, b), (b, a)].map(|(node, of)| {
        let machine = net.machine(node).expect("it is up");
        let connections = machine.connections(net.peer_id(of));
        connections.into_iter().flatten().collect::<Vec<_>>()
    });
    assert_eq!(ours, theirs, "at {moment} ms: {net:?}");
}
