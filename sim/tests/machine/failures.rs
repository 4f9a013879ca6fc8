//! Failures that connection pools before this one had, numbers 1 to 6: each is shown not to happen
//! to whole machines.

use std::time::Duration;

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Disconnected, Failed},
    Event, Flush, SendError,
};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{closed_well, connected, counters, hits, misses, send_many_of};

#[test]
fn failure_01_a_dial_to_a_peer_whose_pool_entry_has_expired_succeeds() {
    let mut config = Config::default();
    config.pool_ttl = secs(2);
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), config);

    for round in 1..=5 {
        net.run_until(secs(3), |n| n.status(a, b) == Some(Disconnected));
        net.connect(a, b);
        net.run_until(ms(100), |n| n.are_connected(a, b));
        assert_eq!(counters(&net, a).expirations, round);
    }
}

#[test]
fn failure_02_sending_goes_on_for_ever_after_the_first_flush() {
    let mut config = Config::default();
    config.message_bytes_max = 4_096;
    config.batch_bytes_max = 4_096;
    config.outbox_bytes_max = 8_192;
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), config);

    let (mut sent, mut first) = (0u64, None);
    for token in 0..200 {
        while net.try_send(a, b, &[1; 700]).is_ok() {
            sent += 1;
        }
        assert_eq!(net.try_send(a, b, &[1; 700]), Err(SendError::Full));
        first.get_or_insert(sent);
        net.flush(a, b, token);
        net.run_until(secs(1), |n| is_flushed(n, a, token));
        assert_eq!(
            net.peer_metrics(a, b).map(|peer| peer.outbox_bytes),
            Some(0)
        );
        assert_eq!(net.occupancy(a).map(|held| held.queued_bytes), Some(0));
    }

    // A full outbox each time, but for what batches cost beside messages: the room comes back to the
    // byte.
    assert_eq!(first, Some(8_192 / 702 - 1));
    assert_eq!(first.map(|first| 200 * first), Some(sent));
    assert_eq!(net.received(b).len() as u64, sent);
}

#[test]
fn failure_03_batches_reach_the_other_end_and_open_there() {
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), Config::default());
    let message = |number: usize| vec![number as u8; number * 7 % 3_000];

    for number in 0..5_000 {
        if net.try_send(a, b, &message(number)) == Err(SendError::Full) {
            let half = |n: &Net| {
                n.peer_metrics(a, b)
                    .is_some_and(|p| p.outbox_bytes < 1 << 21)
            };
            net.run_until(secs(5), half);
            net.send(a, b, &message(number));
        }
        net.advance(Duration::from_micros(20));
    }
    net.advance(secs(1));

    let received = net.received(b);
    assert_eq!(received.len(), 5_000);
    for (number, received) in received.iter().enumerate() {
        assert_eq!(received.payload, message(number), "message {number}");
    }
    assert_eq!(counters(&net, b).violations, 0);
}

#[test]
fn failure_04_a_batch_is_128_messages_and_leaves_after_50_ms_at_the_latest() {
    let mut config = Config::default();
    config.flush = Flush::Fixed;
    config.batch_bytes_max = 1024 * 1024;
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), config);
    // From here on the receiver grants more than a batch.
    for _ in 0..5 {
        send_many_of(&mut net, a, b, 128, 1_024);
        net.advance(secs(1));
    }
    assert_eq!(net.received(b).len(), 640);
    let before = counters(&net, a).batches_sent;

    // Nothing calls the machine meanwhile: its own deadline sends them.
    send_many_of(&mut net, a, b, 127, 1_024);
    net.advance(ms(50) - Duration::from_nanos(1));
    assert_eq!(counters(&net, a).batches_sent, before);
    net.advance(Duration::from_nanos(1));
    assert_eq!(counters(&net, a).batches_sent, before + 1);

    // 128 messages of 1 KiB do not wait, and neither 128 messages nor 128 KiB are exceeded.
    send_many_of(&mut net, a, b, 128, 1_024);
    assert_eq!(counters(&net, a).batches_sent, before + 2);
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 255);
    assert_eq!(counters(&net, a).batches_sent, before + 2);
}

#[test]
fn failure_04_the_tail_is_not_lost_on_close() {
    let mut config = Config::default();
    config.flush = Flush::Fixed;
    config.batch_delay_max = secs(10);
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), config);

    send_many_of(&mut net, a, b, 130, 1_024);
    net.close(a);
    net.advance(secs(1));

    assert_eq!(net.received(b).len(), 130);
    assert_eq!(net.events(a).last(), Some(&closed_well()));
}

#[test]
fn failure_05_a_dead_connection_is_never_a_pool_hit() {
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), Config::default());
    net.send(a, b, b"hit");
    assert_eq!((hits(&net, a), misses(&net, a)), (1, 1));
    net.advance(secs(1));

    net.crash(b);
    net.run_until(secs(20), |n| n.status(a, b) == Some(Failed));
    net.send(a, b, b"miss");
    assert_eq!((hits(&net, a), misses(&net, a)), (1, 2));

    net.restart(b);
    net.run_until(secs(20), |n| n.status(a, b) == Some(Connected));
    net.advance(secs(1));
    net.disconnect(b, a);
    net.run_until(secs(1), |n| n.status(a, b) == Some(Disconnected));
    net.send(a, b, b"miss");
    assert_eq!((hits(&net, a), misses(&net, a)), (1, 3));
    net.advance(secs(5));
    assert_eq!(net.received(b).len(), 3);
}

#[test]
fn failure_05_using_a_connection_refreshes_its_time_to_live() {
    let mut config = Config::default();
    config.pool_ttl = secs(10);
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), config);

    for _ in 0..10 {
        net.advance(secs(7));
        net.send(a, b, b"used");
        assert_eq!(net.status(a, b), Some(Connected));
    }
    net.advance(secs(9));
    assert!(net.are_connected(a, b));
    net.advance(secs(2));
    assert!(!net.are_connected(a, b));
    assert_eq!(counters(&net, a).connections_confirmed, 1);
}

#[test]
fn failure_06_nothing_passes_the_connection_limit() {
    let mut config = Config::default();
    config.connections_max = 3;
    let mut net = Net::new(6).latency(ms(20));
    let nodes = net.nodes(9, &config);
    net.introduce_all();

    // All at once, again and again, with messages both ways and losses in between.
    for round in 0..20u64 {
        for (a, b) in pairs(&nodes) {
            let _ = net.try_send(a, b, &round.to_be_bytes());
        }
        net.loss(0.1 * (round % 3) as f64);
        for _ in 0..50 {
            net.advance(ms(10));
            for node in &nodes {
                let occupancy = net.occupancy(*node).expect("it is up");
                assert!(occupancy.slots <= 3, "{occupancy:?}; {net:?}");
            }
        }
    }
    for node in nodes {
        let metrics = net.metrics(node).expect("it is up");
        assert!(metrics.counters.connections_peak <= 3, "{metrics:?}");
    }
}

#[test]
fn failure_06_failed_and_cancelled_dials_give_their_slots_back() {
    let mut config = Config::default();
    config.connections_max = 4;
    let mut net = Net::new(6);
    let (a, b) = (net.node(config.clone()), net.node(config));
    let gone = net.nodes(12, &Config::default());
    net.introduce_all();
    for node in &gone {
        net.crash(*node);
    }

    for node in &gone[..6] {
        net.connect(a, *node);
    }
    net.advance(ms(10));
    for node in &gone[..6] {
        net.disconnect(a, *node);
    }
    assert_eq!(net.occupancy(a).map(|held| held.slots), Some(0));

    for node in &gone[6..] {
        let _ = net.try_send(a, *node, b"into the void");
    }
    net.advance(secs(60));
    for node in &gone[6..] {
        net.disconnect(a, *node);
    }
    let occupancy = net.occupancy(a).expect("it is up");
    assert_eq!((occupancy.slots, occupancy.waiting_dials), (0, 0));
    net.connect(a, b);
    net.run_until(secs(1), |n| n.are_connected(a, b));
}

// Helpers

fn pairs(nodes: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    let all = nodes.iter().flat_map(|a| nodes.iter().map(|b| (*a, *b)));
    all.filter(|(a, b)| a != b).collect()
}

fn is_flushed(net: &Net, node: NodeId, wanted: u64) -> bool {
    let last = net.history(node).last();
    matches!(last, Some((_, Event::Flushed { token, result: Ok(()), .. })) if *token == wanted)
}
