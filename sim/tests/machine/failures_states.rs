//! Failures that connection pools before this one had, numbers 7 to 10: each is shown not to happen
//! to whole machines.

use std::collections::BTreeMap;

use quicpool_core::{
    Config,
    ConnectionStatus::{self, Connected, Connecting, Disconnected, Failed, New},
    Event, PeerError, PeerId, SendError,
};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{connected, counters, hits, introduced, misses};

#[test]
fn failure_07_a_dial_to_a_live_peer_leaves_its_connection_alone() {
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), Config::default());
    net.events(a);

    for _ in 0..5 {
        net.connect(a, b);
        net.connect(b, a);
        net.advance(ms(100));
    }

    assert_eq!(net.events(a), []);
    for node in [a, b] {
        assert_eq!(counters(&net, node).connections_confirmed, 1);
    }
    assert_eq!((counters(&net, a).dials, counters(&net, b).dials), (1, 0));
    assert_eq!(hits(&net, a), 5);
}

#[test]
fn failure_07_disconnecting_while_connecting_is_not_undone_when_the_dial_ends() {
    // At whichever moment of the handshake it comes.
    for moment in 0..60 {
        let (mut net, a, b) = introduced(Net::new(7).latency(ms(10)), Config::default());
        net.connect(a, b);
        assert_eq!(net.status(a, b), Some(Connecting));
        net.advance(ms(moment));

        net.disconnect(a, b);
        net.advance(secs(10));

        assert_eq!(net.status(a, b), Some(Disconnected), "after {moment} ms");
        assert_ne!(net.status(b, a), Some(Connected), "after {moment} ms");
        assert_eq!(counters(&net, a).dials, 1);
    }
}

#[test]
fn failure_07_callers_for_one_peer_join_one_dial() {
    let (mut net, a, b) = introduced(Net::new(7), Config::default());

    for _ in 0..10 {
        net.connect(a, b);
        net.send(a, b, b"joins");
    }
    net.run_until(secs(1), |n| n.are_connected(a, b));
    net.advance(secs(1));

    assert_eq!((counters(&net, a).dials, misses(&net, a)), (1, 20));
    assert_eq!(net.received(b).len(), 10);
}

#[test]
fn failure_08_a_steady_latency_of_9_ms_reads_9_ms() {
    // 2 ms there, 5 ms until the acknowledgement, 2 ms back.
    let (mut net, a, b) = connected(Net::new(8).latency(ms(2)), Config::default());
    net.advance(secs(1));

    for count in 1..=100 {
        net.send(a, b, b"steady");
        net.advance(ms(20));
        let metrics = net.metrics(a).expect("it is up");
        assert_eq!(metrics.avg_latency, ms(9), "after {count} messages");
    }
    let peer = net.peer_metrics(a, b).expect("it is known");
    assert_eq!(peer.avg_latency, ms(9));
    assert_eq!(peer.rtt.map(|rtt| rtt.as_millis()), Some(4));
}

#[test]
fn failure_08_rates_and_memory_are_computed() {
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), Config::default());
    let idle = net.metrics(a).expect("it is up");
    assert_eq!(idle.messages_per_second, 0.0);
    assert!(idle.memory_usage > 0);

    for _ in 0..2_000 {
        net.send(a, b, &[0; 100]);
        net.advance(ms(10));
    }
    for node in [a, b] {
        let rate = net.metrics(node).expect("it is up").messages_per_second;
        assert!((95.0..105.0).contains(&rate), "{rate} a second");
    }

    net.cut(a, b);
    for _ in 0..10 {
        net.send(a, b, &[0; 10_000]);
    }
    let full = net.metrics(a).expect("it is up");
    assert!(full.memory_usage >= idle.memory_usage + 100_000, "{full:?}");
}

#[test]
fn failure_09_a_live_connection_stays_healthy_however_long_nobody_calls() {
    let mut config = Config::default();
    config.pool_ttl = secs(7_200);
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), config);
    net.events(a);

    net.advance(secs(3_600));

    assert_eq!(net.events(a), []);
    assert!(net.are_connected(a, b));
    net.send(a, b, b"still there");
    net.advance(ms(10));
    assert_eq!(net.received(b).len(), 1);
}

#[test]
fn failure_09_the_breaker_is_never_stuck_half_open() {
    let mut config = Config::default();
    config.breaker_failures = 2;
    config.backoff.max = secs(2);
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), config);
    net.crash(b);
    net.run_until(secs(20), |n| n.status(a, b) == Some(Failed));

    let mut refusals = 0;
    for failures in 2..20 {
        if let Err(error) = net.try_send(a, b, b"anyone?") {
            refusals += 1;
            let SendError::Peer(PeerError::CircuitOpen { retry_at, .. }) = error else {
                panic!("{error}; {net:?}");
            };
            let wait = retry_at - net.instant();
            assert!(wait <= secs(2), "{wait:?}");
            net.advance(wait);
            // It lets a probe through at `retry_at`.
            assert_eq!(net.try_send(a, b, b"anyone?"), Ok(()), "{net:?}");
        }
        let failed = |n: &Net| n.peer_metrics(a, b).is_some_and(|p| p.failures == failures);
        net.run_until(secs(10), failed);
        // With nothing queued no probe is made behind our back.
        net.disconnect(a, b);
    }
    assert!(refusals > 10, "{refusals}");

    net.restart(b);
    net.advance(secs(2));
    net.send(a, b, b"at last");
    net.advance(secs(1));
    assert_eq!(
        net.received(b).last().map(|m| &m.payload[..]),
        Some(&b"at last"[..])
    );
}

#[test]
fn failure_10_every_status_change_is_observed_once_and_in_order() {
    let mut config = Config::default();
    config.connections_max = 3;
    config.pool_ttl = secs(3);
    config.liveness_timeout = secs(2);
    config.backoff.max = secs(2);
    let mut net = Net::new(10).latency(ms(30));
    let nodes = net.nodes(7, &config);
    net.introduce_all();

    for round in 0..40 {
        let (a, b) = (nodes[round % 7], nodes[(round * 3 + 1) % 7]);
        if a != b {
            let _ = net.try_send(a, b, b"x");
            let _ = net.try_connect(b, a);
        }
        match round % 5 {
            0 => net.isolate(nodes[round % 7]),
            1 => net.heal_all(),
            2 if a != b => net.disconnect(a, b),
            _ => {}
        }
        net.advance(ms(700));
        for node in &nodes {
            let told = told_statuses(&net, *node);
            for other in net.ids().filter(|other| other != node) {
                let status = net.status(*node, other);
                let heard = told.get(&net.peer_id(other)).copied().or(Some(New));
                assert_eq!(status, heard, "{node} of {other}; {net:?}");
            }
            let connected = told.values().filter(|status| **status == Connected).count();
            let metrics = net.metrics(*node).expect("it is up");
            assert_eq!(metrics.connections, connected, "counted as they change");
        }
    }
}

// Helpers

fn told_statuses(net: &Net, node: NodeId) -> BTreeMap<PeerId, ConnectionStatus> {
    let mut told = BTreeMap::new();
    for (at, event) in net.history(node) {
        if let Event::StatusChanged { peer, from, to, .. } = event {
            let before = told.insert(*peer, *to).unwrap_or(New);
            assert_eq!(before, *from, "{node} at {at:?}: {event:?}");
            assert_ne!(from, to, "{node} at {at:?}: {event:?}");
        }
    }
    told
}
