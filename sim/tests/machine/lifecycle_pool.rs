//! Pool, time to live and limits of whole machines: which connections are kept, and which given up.

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Disconnected},
    Event, Reason,
};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{connected, counters, reasons};

#[test]
fn idle_connection_expires_after_ttl_and_the_next_send_dials() {
    let mut config = Config::default();
    config.pool_ttl = secs(30);
    let (mut net, a, b) = connected(Net::new(3).latency(ms(10)), config);
    let start = net.now();

    net.run_until(secs(31), |n| n.status(a, b) == Some(Disconnected));
    assert!(
        (secs(29)..=secs(30)).contains(&(net.now() - start)),
        "{:?}",
        net.now()
    );
    net.advance(ms(100));
    assert_eq!(net.status(b, a), Some(Disconnected));
    assert!(reasons(&net, a).contains(&Reason::Idle));

    net.advance(secs(60));
    assert_eq!(
        counters(&net, a).dials,
        1,
        "nobody dials for an idle session"
    );
    net.send(a, b, b"again");
    net.run_until(secs(1), |n| n.are_connected(a, b));
    net.advance(ms(100));
    assert_eq!(net.received(b).len(), 1);
    let counters = counters(&net, a);
    assert_eq!(
        (counters.dials, counters.pool_misses, counters.reconnects),
        (2, 2, 1)
    );
}

#[test]
fn expiry_costs_the_session_nothing() {
    let mut config = Config::default();
    config.pool_ttl = secs(1);
    let (mut net, a, b) = connected(Net::new(3).latency(ms(10)), config);

    for number in 0..50u8 {
        net.send(a, b, &[number]);
        net.advance(ms(300 * u64::from(number % 8)));
    }
    net.advance(secs(2));

    let numbers: Vec<u8> = net.received(b).iter().map(|m| m.payload[0]).collect();
    assert_eq!(numbers, (0..50).collect::<Vec<u8>>());
    assert!(counters(&net, a).reconnects > 3);
    assert!(!restarted(&net, a) && !restarted(&net, b));
}

#[test]
fn unread_messages_keep_their_connection_in_use() {
    let mut config = Config::default();
    config.pool_ttl = secs(5);
    let (mut net, a, b) = connected(Net::new(3).latency(ms(10)), config);
    net.pause_reader(b);
    net.send(a, b, b"unread");

    net.advance(secs(60));
    assert!(net.are_connected(a, b));

    net.resume_reader(b);
    net.advance(secs(11));
    assert!(!net.are_connected(a, b));
}

#[test]
fn a_dead_peer_is_noticed_within_liveness_timeout() {
    let mut config = Config::default();
    config.liveness_timeout = secs(6);
    config.pool_ttl = secs(3_600);
    let (mut net, a, b) = connected(Net::new(3).latency(ms(10)), config);
    net.advance(secs(100));

    net.crash(b);
    let start = net.now();
    net.run_until(secs(7), |n| n.status(a, b) != Some(Connected));

    assert!(net.now() - start <= secs(6));
    assert!(reasons(&net, a).contains(&Reason::Unresponsive));
}

#[test]
fn a_dead_peer_is_noticed_in_time_after_the_path_was_held_up() {
    let mut config = Config::default();
    config.pool_ttl = secs(3_600);
    let (mut net, a, b) = connected(Net::new(3).latency(ms(10)), config);
    // What QUIC takes for the round-trip time of the path; its idle timeout follows it.
    for (from, to) in [(a, b), (b, a)] {
        net.send(from, to, b"late");
        net.clog(from, to, secs(8));
    }
    net.advance(secs(9));
    let rtt = net.peer_metrics(a, b).and_then(|peer| peer.rtt);
    assert!(rtt > Some(ms(500)), "{rtt:?}");

    net.crash(b);
    net.run_until(secs(16), |n| n.status(a, b) != Some(Connected));
    assert!(reasons(&net, a).contains(&Reason::Unresponsive));
}

#[test]
fn least_recently_used_idle_peer_is_evicted_at_the_limit() {
    let mut config = Config::default();
    config.connections_max = 4;
    let (mut net, hub, others) = hub(config, 5);
    for other in &others[..3] {
        net.connect(hub, *other);
        net.advance(secs(1));
    }
    // One that came in by itself, so that three quarters are no limit; then one is used again.
    net.connect(others[3], hub);
    net.advance(secs(1));
    net.send(hub, others[0], b"used");
    net.advance(secs(1));

    net.connect(hub, others[4]);
    net.run_until(ms(100), |n| n.are_connected(hub, others[4]));

    net.advance(ms(50));
    assert_eq!(net.status(hub, others[1]), Some(Disconnected));
    assert_eq!(net.status(others[1], hub), Some(Disconnected));
    for kept in [0, 2, 3] {
        assert!(net.are_connected(hub, others[kept]), "{kept}: {net:?}");
    }
    let counters = counters(&net, hub);
    assert_eq!((counters.evictions, counters.connections_peak), (1, 4));
    assert!(reasons(&net, hub).contains(&Reason::Evicted));
}

#[test]
fn protected_peers_stay_whoever_else_wants_their_slot() {
    let mut config = Config::default();
    config.connections_max = 3;
    let (mut net, hub, others) = hub(config, 8);
    let protected = net.peer_id(others[0]);
    net.with(hub, |m, _| m.protect(protected).expect("a known peer"));
    for node in [hub, others[0]] {
        let peer = net.peer_id(if node == hub { others[0] } else { hub });
        net.with(node, |m, _| m.protect(peer).expect("a known peer"));
    }
    net.connect(hub, others[0]);
    net.advance(secs(1));

    for _ in 0..5 {
        for other in &others[1..] {
            let _ = net.try_send(hub, *other, b"to each");
            let _ = net.try_send(*other, hub, b"to the hub");
            net.advance(ms(300));
            assert!(net.are_connected(hub, others[0]), "{net:?}");
        }
    }
    net.advance(secs(60));
    for other in &others[1..] {
        assert_eq!(net.received(*other).len(), 5, "{net:?}");
    }
    assert_eq!(net.received(hub).len(), 35);

    // Unprotected it goes as all others do.
    net.with(hub, |m, _| m.unprotect(protected).expect("a known peer"));
    for other in &others[1..4] {
        net.connect(hub, *other);
        net.advance(secs(2));
    }
    assert_eq!(net.status(hub, others[0]), Some(Disconnected));
}

#[test]
fn busy_peers_take_turns_after_their_tenure() {
    let mut config = Config::default();
    config.connections_max = 2;
    config.tuning.hold_time_min = secs(1);
    config.tuning.slot_wait = ms(200);
    let (mut net, hub, others) = hub(config, 6);
    // The others do not read, so no connection is ever idle.
    for other in &others {
        net.pause_reader(*other);
    }

    for other in &others {
        net.send(hub, *other, b"one for each");
    }
    let mut served = Vec::new();
    for _ in 0..600 {
        net.advance(ms(100));
        for other in &others {
            if net.are_connected(hub, *other) && !served.contains(other) {
                served.push(*other);
            }
        }
    }

    assert_eq!(served.len(), 6, "everybody had a turn; {net:?}");
    assert_tenures(&net, hub);
    assert_eq!(counters(&net, hub).connections_peak, 2);
    for other in others {
        net.resume_reader(other);
        assert_eq!(net.received(other).len(), 1);
    }
}

#[test]
fn own_dials_hold_at_most_three_quarters_of_the_slots() {
    let mut config = Config::default();
    config.connections_max = 8;
    let (mut net, hub, others) = hub(config, 12);
    for gone in &others[..10] {
        net.cut(hub, *gone);
    }

    for gone in &others[..10] {
        net.connect(hub, *gone);
    }
    net.advance(ms(500));
    let occupancy = net.occupancy(hub).expect("it is up");
    assert_eq!(
        (occupancy.slots, occupancy.waiting_dials),
        (6, 4),
        "{occupancy:?}"
    );

    // There is room for peers that dial.
    for other in &others[10..] {
        net.connect(*other, hub);
        net.run_until(ms(200), |n| n.are_connected(*other, hub));
    }
}

#[test]
fn arrivals_at_a_full_hub_are_told_busy_and_come_later() {
    let mut config = Config::default();
    config.connections_max = 2;
    config.tuning.hold_time_min = secs(1);
    let (mut net, hub, others) = hub(config, 5);
    net.pause_reader(hub);

    for other in &others {
        net.send(*other, hub, b"let me in");
    }
    net.advance(ms(200));
    let refused = counters(&net, hub).handshakes_refused;
    assert_eq!(refused, 3, "{net:?}");
    let busy = |node: &NodeId| {
        let asks = |reason: &Reason| reason.retry_after().is_some();
        reasons(&net, *node).iter().any(asks)
    };
    assert_eq!(others.iter().filter(|node| busy(node)).count(), 3);

    net.resume_reader(hub);
    net.advance(secs(30));
    for other in &others {
        let metrics = net.peer_metrics(*other, hub).expect("it is known");
        assert_eq!(metrics.messages_delivered, 1, "{net:?}");
    }
    assert_eq!(counters(&net, hub).connections_peak, 2);
}

// Helpers

/// One node with this configuration, and others with room for all.
fn hub(config: Config, others: usize) -> (Net, NodeId, Vec<NodeId>) {
    let mut net = Net::new(4).latency(ms(10));
    let hub = net.node(config);
    let others = net.nodes(others, &Config::default());
    for other in &others {
        net.introduce(hub, *other);
    }
    (net, hub, others)
}

fn restarted(net: &Net, node: NodeId) -> bool {
    let mut history = net.history(node).iter();
    history.any(|(_, event)| matches!(event, Event::PeerRestarted { .. }))
}

/// Every connection that was evicted had lasted for a second, dial included.
fn assert_tenures(net: &Net, node: NodeId) {
    let mut begun = std::collections::BTreeMap::new();
    for (at, event) in net.history(node) {
        let Event::StatusChanged {
            peer, from, reason, ..
        } = event
        else {
            continue;
        };
        if matches!(reason, Reason::Dialling | Reason::Arriving) && *from != Connected {
            begun.insert(*peer, *at);
        }
        if *reason == Reason::Evicted {
            let held = *at - begun[peer];
            assert!(held >= secs(1), "{peer:?} was evicted after {held:?}");
        }
    }
}
