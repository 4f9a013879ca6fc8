//! Dials of whole machines: when, where, how often, and when not.

use std::{net::SocketAddr, time::Duration};

use quicpool_core::{
    Accept, Config,
    ConnectionStatus::{Connected, Connecting, Disconnected, Failed},
    Event, PeerAddr, PeerError, Reason, SendError,
};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{changes, counters, introduced, reasons};

#[test]
fn dials_to_a_peer_that_is_gone_grow_rare_and_are_spread() {
    let mut config = Config::default();
    config.breaker_failures = 1_000;
    let mut net = Net::new(1);
    let nodes = net.nodes(30, &config);
    let gone = net.node(config);
    net.introduce_all();
    net.crash(gone);

    for node in &nodes {
        net.connect(*node, gone);
    }
    net.advance(secs(600));

    let mut firsts = Vec::new();
    for node in &nodes {
        let dials = dials(&net, *node);
        // 5 s for each handshake that hangs, then up to 1 s, 1.6 s, 2.6 s and so on, up to 120 s.
        assert!((8..=40).contains(&dials.len()), "{} dials", dials.len());
        firsts.push(dials[1] - dials[0] - secs(5));
        for pair in dials.windows(2) {
            let wait = pair[1] - pair[0];
            assert!(wait >= secs(5) && wait <= secs(125), "{wait:?}");
        }
    }
    firsts.sort();
    assert!(
        firsts[5] < ms(500) && firsts[25] > ms(500),
        "jitter before the first: {firsts:?}"
    );
    assert!(firsts[29] <= secs(1), "{firsts:?}");
}

#[test]
fn a_peer_that_closes_at_once_is_not_stormed() {
    let mut closed = Config::default();
    closed.accept = Accept::Known;
    let mut net = Net::new(2);
    let (a, b) = (net.node(Config::default()), net.node(closed));
    net.introduce_one_way(a, b);

    for _ in 0..6_000 {
        let _ = net.try_send(a, b, b"let me in");
        let _ = net.try_connect(a, b);
        net.advance(ms(10));
    }

    let counters = counters(&net, a);
    assert!((5..25).contains(&counters.dials), "{counters:?}");
    assert!(reasons(&net, a).contains(&Reason::NotAccepted));
}

#[test]
fn backoff_is_reset_only_by_a_connection_that_proved_stable() {
    let mut config = Config::default();
    config.liveness_timeout = secs(1);
    config.tuning.stable_after = secs(10);
    let mut net = Net::new(3);
    let (a, b) = (net.node(config.clone()), net.node(config));
    net.introduce_one_way(a, b);

    // Each connection dies young, by turns of the network.
    net.connect(a, b);
    for _ in 0..8 {
        net.run_until(secs(200), |n| n.are_connected(a, b));
        net.cut(a, b);
        net.run_until(secs(10), |n| n.status(a, b) == Some(Failed));
        net.heal(a, b);
    }
    let young = dials(&net, a);
    let spent: Duration = young[young.len() - 1] - young[0];
    assert!(spent >= secs(15), "eight young deaths in {spent:?}");

    // One that lived clears it: the next dial comes within the first ceiling.
    net.run_until(secs(300), |n| n.are_connected(a, b));
    net.advance(secs(11));
    net.cut(a, b);
    net.run_until(secs(10), |n| n.status(a, b) == Some(Failed));
    net.heal(a, b);
    net.run_until(secs(1), |n| n.status(a, b) == Some(Connecting));
}

#[test]
fn dials_keep_the_rate_and_those_that_somebody_waits_for_go_first() {
    let mut config = Config::default();
    config.dial_rate = 2;
    let mut net = Net::new(4);
    let a = net.node(config);
    let others = net.nodes(21, &Config::default());
    for other in &others {
        net.introduce(a, *other);
    }
    let (last, first) = others.split_last().expect("there are some");
    for other in first {
        net.connect(a, *other);
    }
    net.run_until(secs(11), |n| {
        n.metrics(a).is_some_and(|m| m.connections == 20)
    });
    for window in dials(&net, a).windows(4) {
        assert!(window[3] - window[0] >= secs(1), "{window:?}");
    }

    // All are lost at once, and wanted again: their dials wait in the background.
    for other in first {
        net.restart(*other);
    }
    let waiting = |n: &Net| n.occupancy(a).map_or(0, |held| held.waiting_dials);
    net.run_until(secs(30), |n| waiting(n) >= 8);
    net.connect(a, *last);
    net.run_until(ms(600), |n| n.are_connected(a, *last));
    assert!(waiting(&net) >= 6, "{net:?}");
}

#[test]
fn addresses_are_tried_in_order() {
    let mut net = Net::new(5);
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    let id = net.peer_id(b);
    for addr in ["10.9.9.1:1", "10.9.9.2:1"] {
        let addr: SocketAddr = addr.parse().expect("an address");
        net.with(a, |m, now| m.add_address(now, PeerAddr { id, addr }))
            .expect("known");
    }
    net.introduce_one_way(a, b);

    net.send(a, b, b"third time lucky");
    net.advance(secs(4));
    assert_eq!(net.status(a, b), Some(Connecting));
    assert_eq!(net.peer_metrics(a, b).map(|peer| peer.dials), Some(1));
    net.advance(secs(5));
    assert_eq!(net.peer_metrics(a, b).map(|peer| peer.dials), Some(2));
    net.run_until(secs(3), |n| n.are_connected(a, b));

    assert_eq!(net.peer_metrics(a, b).map(|peer| peer.dials), Some(3));
    assert_eq!(
        changes(&net, a, b),
        [Connecting, Connected],
        "one attempt, no failure"
    );
}

#[test]
fn somebody_else_at_the_address_is_told_apart_and_the_next_address_tried() {
    let mut net = Net::new(6);
    let nodes = net.nodes(3, &Config::default());
    let (a, b, other) = (nodes[0], nodes[1], nodes[2]);
    let wrong = PeerAddr {
        id: net.peer_id(b),
        addr: net.addr(other),
    };
    net.with(a, |m, now| m.add_address(now, wrong))
        .expect("known");

    net.send(a, b, b"for b alone");
    net.run_until(secs(1), |n| n.status(a, b) == Some(Failed));
    let found = Some(net.peer_id(other));
    assert!(reasons(&net, a).contains(&Reason::WrongPeer { found }));
    assert_eq!(counters(&net, a).wrong_peers, 1);

    net.introduce_one_way(a, b);
    net.run_until(secs(10), |n| n.are_connected(a, b));
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 1);
    assert!(net.received(other).is_empty());
}

#[test]
fn breaker_opens_after_failures_in_a_row_and_a_send_at_retry_at_probes() {
    let mut config = Config::default();
    config.breaker_failures = 3;
    let (mut net, a, b) = introduced(Net::new(7), config);
    net.crash(b);

    for failures in 0..3 {
        assert_eq!(
            net.try_send(a, b, b"x"),
            Ok(()),
            "after {failures} failures"
        );
        let failed = |n: &Net| n.peer_metrics(a, b).is_some_and(|p| p.failures > failures);
        net.run_until(secs(10), failed);
    }
    let Err(SendError::Peer(PeerError::CircuitOpen { retry_at, reason })) =
        net.try_send(a, b, b"x")
    else {
        panic!("the breaker is closed: {net:?}");
    };
    assert_eq!(reason, Reason::HandshakeTimeout);
    let accepted = net.peer_metrics(a, b).map(|peer| peer.messages_accepted);
    assert_eq!(accepted, Some(3), "a refusal changes nothing");

    // With nothing queued no probe is made until the application asks.
    net.disconnect(a, b);
    net.restart(b);
    let wait = retry_at - net.instant();
    net.advance(wait);
    net.try_send(a, b, b"probe")
        .expect("the probe is let through");
    net.run_until(secs(1), |n| n.status(a, b) == Some(Connected));
    net.send(a, b, b"closed again");
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 2);
}

#[test]
fn what_needs_a_change_by_somebody_is_not_tried_again_until_the_next_send() {
    let mut sealed = Config::default();
    sealed.sealing = quicpool_core::Sealing::On;
    let mut unsealed = Config::default();
    unsealed.sealing = quicpool_core::Sealing::Off;
    let mut keyed = Config::default();
    keyed.mesh_key = Some(quicpool_core::MeshKey::new(&[1; 32]));
    let mut keyed_otherwise = Config::default();
    keyed_otherwise.mesh_key = Some(quicpool_core::MeshKey::new(&[2; 32]));

    for (one, other) in [
        (sealed.clone(), unsealed),
        (keyed.clone(), keyed_otherwise),
        (sealed, keyed),
    ] {
        let mut net = Net::new(8);
        let (a, b) = (net.node(one), net.node(other));
        net.introduce_one_way(a, b);
        net.send(a, b, b"sealed or not");
        net.advance(secs(120));

        assert_eq!(net.status(a, b), Some(Failed));
        assert!(
            reasons(&net, a).contains(&Reason::SealingMismatch),
            "{net:?}"
        );
        assert_eq!(dials(&net, a).len(), 1);
        assert!(net.received(b).is_empty());

        net.send(a, b, b"now?");
        net.advance(secs(10));
        assert_eq!(dials(&net, a).len(), 2);
    }
}

#[test]
fn another_protocol_is_refused_and_dialled_again_with_backoff() {
    let mut net = Net::new(9);
    let a = net.node(Config::default());
    let b = net.node_with(Config::default(), |c| c.with_protocol(b"quicpool/9"));
    net.introduce(a, b);
    net.send(a, b, b"do you speak it?");
    net.advance(secs(120));

    assert_eq!(net.status(a, b), Some(Failed));
    assert!(
        reasons(&net, a).contains(&Reason::ProtocolRefused),
        "{net:?}"
    );
    // Anyone could have sent the answer.
    let dials = dials(&net, a).len();
    assert!((3..=12).contains(&dials), "{dials} dials");
    let metrics = net.metrics(b).expect("it is up");
    assert_eq!(metrics.counters.handshakes_failed, dials as u64);
}

#[test]
fn dials_refused_for_want_of_handshakes_say_busy_and_come_later() {
    let mut config = Config::default();
    config.handshakes_max = 2;
    let mut net = Net::new(10).latency(ms(100));
    let hub = net.node(config);
    let others = net.nodes(10, &Config::default());
    for other in &others {
        net.introduce_one_way(*other, hub);
        net.send(*other, hub, b"hello hub");
    }
    net.advance(ms(450));
    assert!(
        net.metrics(hub)
            .is_some_and(|m| m.counters.handshakes_refused > 0),
        "{net:?}"
    );
    let busy = |node: &NodeId| reasons(&net, *node).contains(&Reason::Busy { retry_after: None });
    assert!(others.iter().any(busy), "{net:?}");

    net.advance(secs(60));
    assert_eq!(net.received(hub).len(), 10, "{net:?}");
}

#[test]
fn a_dial_that_is_called_off_ends_at_both_ends() {
    let (mut net, a, b) = introduced(Net::new(11).latency(ms(50)), Config::default());
    net.connect(a, b);
    net.advance(ms(120));
    net.disconnect(a, b);
    assert_eq!(changes(&net, a, b), [Connecting, Disconnected]);
    net.advance(secs(20));
    for node in [a, b] {
        let occupancy = net.occupancy(node).expect("it is up");
        assert_eq!(
            (occupancy.connections, occupancy.slots, occupancy.handshakes),
            (0, 0, 0)
        );
    }
}

#[test]
fn a_session_that_expires_answers_whoever_asked_to_connect() {
    let mut config = Config::default();
    config.breaker_failures = 1_000;
    let mut net = Net::new(12);
    let (a, b) = (net.node(config.clone()), net.node(config.clone()));
    net.introduce_one_way(a, b);
    net.connect(a, b);
    net.run_until(secs(5), |n| n.are_connected(a, b));
    net.cut(a, b);
    net.run_until(secs(30), |n| n.status(a, b) == Some(Failed));

    // Nothing is queued, and the next dial is some time away.
    net.advance(config.session_timeout - secs(1));
    assert_eq!(net.status(a, b), Some(Failed));
    net.connect(a, b);
    net.events(a);
    net.advance(secs(20));
    let failed = |event: &Event| matches!(event, Event::StatusChanged { to: Failed, .. });
    assert!(net.events(a).iter().any(failed), "{net:?}");
}

// Helpers

/// When each dial of a node began, by its events.
fn dials(net: &Net, node: NodeId) -> Vec<Duration> {
    let begun = |(at, event): &(Duration, Event)| {
        matches!(
            event,
            Event::StatusChanged {
                reason: Reason::Dialling,
                ..
            }
        )
        .then_some(*at)
    };
    net.history(node).iter().filter_map(begun).collect()
}
