//! Failure 14: backoff that is cleared when a dial starts and not when it proved good, no jitter
//! before the first retry, and 100,000s of dials a second to a peer that closes at once.

use std::time::Duration;

use quicpool_core::{
    Accept, Config,
    ConnectionStatus::{self, Connecting, Failed},
    Event,
};
use quicpool_sim::{Net, NodeId, ms, secs};

/// A peer whose every connection dies young is dialled ever more rarely, although every dial
/// succeeds. One connection that lasts, and it is as if nothing had been.
#[test]
fn failure_14_only_a_connection_that_lasts_clears_the_backoff() {
    let mut net = Net::new(14).latency(ms(10));
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce_one_way(a, b);

    net.connect(a, b);
    for _ in 0..12 {
        net.run_until(secs(130), |n| n.are_connected(a, b));
        net.advance(secs(4));
        die(&mut net, a, b);
    }
    let dials = dials(&net, a);
    let waits: Vec<Duration> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (early, late) = (waits[..4].iter().sum(), waits[8..].iter().sum());
    assert!(secs(60) + early < late, "{waits:?}");

    net.run_until(secs(130), |n| n.are_connected(a, b));
    net.advance(secs(11));
    die(&mut net, a, b);
    net.run_until(secs(1), |n| n.status(a, b) == Some(Connecting));
}

/// Nodes that lose a peer together do not return together.
#[test]
fn failure_14_the_first_retry_is_jittered() {
    let mut net = Net::new(14).latency(ms(10));
    let herd = net.nodes(40, &Config::default());
    let hub = net.node(Config::default());
    for node in &herd {
        net.introduce_one_way(*node, hub);
        net.connect(*node, hub);
    }
    net.advance(secs(20));

    // The new process resets all connections at the next keep-alive.
    net.restart(hub);
    net.advance(secs(20));

    let mut waits: Vec<Duration> = herd.iter().map(|node| first_retry(&net, *node)).collect();
    waits.sort();
    assert!(waits[39] <= secs(1), "{waits:?}");
    for quarter in 0..4 {
        let range = ms(250 * quarter)..ms(250 * (quarter + 1));
        let count = waits.iter().filter(|wait| range.contains(wait)).count();
        assert!((3..20).contains(&count), "in {range:?}: {waits:?}");
    }
}

/// A peer that refuses all costs the dialler a handshake now and then, however eager the user is.
#[test]
fn failure_14_a_peer_that_closes_at_once_is_not_stormed() {
    let mut closed = Config::default();
    closed.accept = Accept::Known;
    let mut net = Net::new(14).latency(ms(1));
    let (eager, door) = (net.node(Config::default()), net.node(closed));
    net.introduce_one_way(eager, door);

    for _ in 0..60_000 {
        let _ = net.try_connect(eager, door);
        net.advance(ms(1));
    }

    let metrics = net.metrics(eager).expect("it is up");
    let dials = metrics.counters.dials;
    assert!((4..25).contains(&dials), "{dials} dials in a minute");
}

/// The connection ends with an error, and the network is well again at once.
fn die(net: &mut Net, a: NodeId, b: NodeId) {
    net.restart(b);
    let _ = net.try_send(a, b, b"who is there?");
    net.run_until(secs(1), |n| n.status(a, b) == Some(Failed));
}

/// When a node's dials began.
fn dials(net: &Net, node: NodeId) -> Vec<Duration> {
    moves(net, node, Connecting)
}

/// How long a node waited after it first lost its connection.
fn first_retry(net: &Net, node: NodeId) -> Duration {
    let lost = moves(net, node, Failed)[0];
    let retry = dials(net, node).into_iter().find(|at| *at > lost);
    retry.expect("it dials again") - lost
}

fn moves(net: &Net, node: NodeId, to: ConnectionStatus) -> Vec<Duration> {
    let is_it = |event: &Event| matches!(event, Event::StatusChanged { to: t, .. } if *t == to);
    let history = net.history(node).iter();
    let moves = history.filter(|(_, event)| is_it(event));
    moves.map(|(at, _)| *at).collect()
}
