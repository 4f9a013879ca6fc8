//! Failure 17: small messages go one packet each (15,000 a second where batches reach 150,000); or
//! batching adds its timer to every lone message.

use quicpool_core::Config;
use quicpool_sim::{Net, NodeId, ms, secs};

/// What gathers between two turns of the loop goes together.
#[test]
fn failure_17_small_messages_share_packets() {
    let (mut net, a, b) = connected();
    let before = (net.link_counts(a, b).offered, batches(&net, a));

    // 150,000 a second for a tenth of one, as an application makes them: many to each turn.
    for _ in 0..100 {
        send_at_once(&mut net, a, b, 150);
        net.advance(ms(1));
    }
    net.advance(ms(100));

    assert_eq!(net.received(b).len(), 15_000);
    let packets = net.link_counts(a, b).offered - before.0;
    assert!(packets < 15_000 / 15, "{packets} packets");
    let batches = batches(&net, a) - before.1;
    assert!(batches <= 15_000 / 60, "{batches} batches");
}

/// A message that is alone leaves at once, and arrives after one way of the link.
#[test]
fn failure_17_a_lone_message_is_not_delayed() {
    let (mut net, a, b) = connected();

    for _ in 0..100 {
        net.send(a, b, b"alone");
        net.advance(ms(20));
        assert_eq!(net.received(b).len(), 1, "{net:?}");
        net.advance(ms(77));
    }

    // Also behind a flood, once that has passed.
    for _ in 0..100 {
        send_at_once(&mut net, a, b, 150);
        net.advance(ms(1));
    }
    net.advance(ms(100));
    net.received(b);
    net.send(a, b, b"alone again");
    net.advance(ms(20));
    assert_eq!(net.received(b).len(), 1, "{net:?}");
}

/// Two nodes 20 ms apart that have found out how much the path takes.
fn connected() -> (Net, NodeId, NodeId) {
    let mut net = Net::new(17).latency(ms(20));
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce(a, b);
    net.connect(a, b);
    net.run_until(secs(1), |n| n.are_connected(a, b));
    for _ in 0..50 {
        send_at_once(&mut net, a, b, 1_000);
        net.advance(ms(20));
    }
    net.advance(secs(2));
    net.received(b);
    (net, a, b)
}

/// Sends so many messages of 40 bytes in one turn of the loop.
fn send_at_once(net: &mut Net, from: NodeId, to: NodeId, count: usize) {
    let peer = net.peer_id(to);
    net.with(from, |machine, now| {
        for _ in 0..count {
            let sent = machine.send(now, peer, &[7; 40]);
            sent.expect("there is room");
        }
    });
}

fn batches(net: &Net, node: NodeId) -> u64 {
    let metrics = net.metrics(node).expect("it is up");
    metrics.counters.batches_sent
}
