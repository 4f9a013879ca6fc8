//! Failure 15: one failed dial kept 2.3 MB, rejected connections counted for ever, pending dials
//! were never removed on success, and each peer had a mailbox without bound.

use quicpool_core::{Accept, Config, Occupancy, SendError};
use quicpool_sim::{Net, NodeId, ms, secs};

/// Of a dial that has failed nothing is left but what is queued, and that it failed. Tables keep the
/// size that they had when all dials hung: some 300 bytes for each, once.
#[test]
fn failure_15_a_dial_that_failed_leaves_nothing_behind() {
    let mut net = Net::new(15);
    let me = net.node(Config::default());
    let gone = net.nodes(100, &Config::default());
    for node in &gone {
        net.introduce_one_way(me, *node);
        net.crash(*node);
    }

    let before = held(&net, me);
    let mut after = Vec::new();
    for round in 1..=3 {
        for node in &gone {
            net.connect(me, *node);
        }
        net.advance(secs(1));
        assert!(held(&net, me) > before + 100 * 1_024, "while they hang");
        let failed = |n: &Net| n.metrics(me).map_or(0, |all| all.counters.dials_failed);
        net.run_until(secs(10), |n| failed(n) >= round * 100);
        for node in &gone {
            // The node does not try again.
            net.disconnect(me, *node);
        }
        // The backoff of each is over.
        net.advance(secs(60));
        after.push(held(&net, me));
    }
    assert!(after[0] <= before + 100 * 400, "{before}, then {after:?}");
    assert_eq!(after[1..], [after[0]; 2], "{:?}", net.occupancy(me));
    let slots = net.occupancy(me).map_or(1, |held| held.slots);
    assert_eq!(slots, 0);

    for node in &gone {
        net.forget(me, *node);
    }
    assert_eq!(net.occupancy(me), Some(Occupancy::default()));
}

/// A rejected peer is forgotten, however often it comes.
#[test]
fn failure_15_rejected_connections_do_not_count() {
    let mut closed = Config::default();
    closed.accept = Accept::Known;
    closed.handshakes_max = 4;
    let mut net = Net::new(15);
    let door = net.node(closed.clone());
    let friend = net.node(Config::default());
    let strangers = net.nodes(20, &Config::default());
    net.introduce(door, friend);
    for stranger in &strangers {
        net.introduce_one_way(*stranger, door);
        net.connect(*stranger, door);
    }
    net.advance(secs(120));

    let metrics = net.metrics(door).expect("it is up");
    assert!(metrics.counters.handshakes_refused > 100, "{metrics:?}");
    net.connect(friend, door);
    net.run_until(secs(20), |n| n.are_connected(friend, door));
    for stranger in strangers {
        net.forget(stranger, door);
    }
    net.advance(secs(20));
    let occupancy = net.occupancy(door).expect("it is up");
    let counts = (occupancy.peers, occupancy.slots, occupancy.handshakes);
    assert_eq!((counts, occupancy.connections), ((1, 1, 0), 1));
}

/// A peer that begins a handshake and dies holds its place for as long as a handshake may take.
#[test]
fn failure_15_handshakes_that_never_end_do_not_count() {
    let mut config = Config::default();
    config.handshakes_max = 4;
    let mut net = Net::new(15).latency(ms(10));
    let door = net.node(config);
    let strangers = net.nodes(4, &Config::default());
    let friend = net.node(Config::default());
    for stranger in &strangers {
        net.introduce_one_way(*stranger, door);
        net.connect(*stranger, door);
    }
    net.advance(ms(15));
    let handshakes = net.occupancy(door).map(|held| held.handshakes);
    assert!(handshakes > Some(1), "{handshakes:?}");
    for stranger in strangers {
        net.crash(stranger);
    }

    net.advance(secs(15));
    assert_eq!(net.occupancy(door), Some(Occupancy::default()));
    net.introduce_one_way(friend, door);
    net.connect(friend, door);
    net.run_until(ms(100), |n| n.are_connected(friend, door));
}

/// A dial that has succeeded waits no more, wherever else its peer was to be found.
#[test]
fn failure_15_dials_that_succeed_are_no_longer_pending() {
    let mut config = Config::default();
    config.dial_rate = 20;
    let mut net = Net::new(15);
    let me = net.node(config);
    let others = net.nodes(30, &Config::default());
    for other in &others {
        net.introduce(me, *other);
        net.connect(me, *other);
        // The other end comes, too: the dial that waits for its turn is of no more use.
        net.connect(*other, me);
    }
    let waiting = |n: &Net| n.occupancy(me).map_or(0, |held| held.waiting_dials);
    assert!(waiting(&net) > 20, "{}", waiting(&net));

    net.advance(secs(5));
    let all = others.iter().all(|other| net.are_connected(me, *other));
    assert!(all && waiting(&net) == 0, "{net:?}");
    let dials = net.metrics(me).map_or(0, |metrics| metrics.counters.dials);
    assert!(dials < 10, "{dials} dials");
}

/// What waits for a peer that is away has a limit, and goes when the user lets it go.
#[test]
fn failure_15_a_mailbox_has_a_limit() {
    let mut config = Config::default();
    config.message_bytes_max = 4_096;
    config.outbox_bytes_max = 128 * 1_024;
    config.breaker_failures = 1_000;
    let limit = config.outbox_bytes_max;
    let mut net = Net::new(15);
    let (me, gone) = (net.node(config), net.node(Config::default()));
    net.introduce_one_way(me, gone);
    net.crash(gone);

    let mut accepted = 0;
    for _ in 0..1_000 {
        match net.try_send(me, gone, &[1; 1_000]) {
            Ok(()) => accepted += 1,
            Err(error) => assert_eq!(error, SendError::Full),
        }
        net.advance(ms(10));
    }
    let queued = net.occupancy(me).map_or(0, |held| held.queued_bytes);
    assert!((limit - 2_000..=limit).contains(&queued), "{queued}");
    assert_eq!(accepted, limit / 1_002);

    net.disconnect(me, gone);
    let queued = net.occupancy(me).map_or(0, |held| held.queued_bytes);
    assert_eq!(queued, 0);
}

/// Bytes that a node reports to hold.
fn held(net: &Net, node: NodeId) -> usize {
    net.metrics(node).map_or(0, |metrics| metrics.memory_usage)
}
