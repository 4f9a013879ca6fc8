//! Failure 11: a pooled connection outlives the other end's idle timeout, so that every lull leaves
//! a pool of dead connections, and the next send hangs for seconds.

use std::time::Duration;

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Disconnected},
};
use quicpool_sim::{Net, NodeId, ms, secs};

/// Keep-alives come in time for whichever end is less patient, so a lull costs nothing.
#[test]
fn failure_11_a_lull_leaves_no_dead_connections() {
    let (mut net, patient, hasty) = pair(secs(600), secs(3), secs(3_600));
    net.send(patient, hasty, b"see you");
    net.advance(secs(1));

    // Longer than either would wait for a word.
    net.advance(secs(1_500));
    assert!(net.are_connected(patient, hasty), "{net:?}");

    for (from, to) in [(patient, hasty), (hasty, patient)] {
        net.received(to);
        net.send(from, to, b"it has been a while");
        net.advance(ms(30));
        assert_eq!(net.received(to).len(), 1, "one way of the link later");
    }
    let metrics = net.metrics(patient).expect("it is up");
    assert_eq!(metrics.counters.dials, 1, "the pool had it all the time");
}

/// An end that gives a connection up closes it: the other does not find out by a send that hangs.
#[test]
fn failure_11_what_one_end_lets_go_is_not_kept_by_the_other() {
    let (mut net, keeper, leaver) = pair(secs(15), secs(15), secs(10));
    net.send(keeper, leaver, b"see you");
    net.run_until(secs(1), |n| n.are_connected(keeper, leaver));

    net.advance(secs(15));
    assert_eq!(net.status(leaver, keeper), Some(Disconnected), "its TTL");
    assert_eq!(net.status(keeper, leaver), Some(Disconnected));

    net.send(keeper, leaver, b"it has been a while");
    net.run_until(ms(200), |n| n.status(leaver, keeper) == Some(Connected));
    net.advance(ms(100));
    assert_eq!(net.received(leaver).len(), 2, "a dial, and no timeout");
}

/// Two nodes 30 ms apart with a liveness timeout each. The first keeps connections for an hour, the
/// second for this long.
fn pair(first: Duration, second: Duration, ttl: Duration) -> (Net, NodeId, NodeId) {
    let mut net = Net::new(11).latency(ms(30));
    let mut config = Config::default();
    (config.liveness_timeout, config.pool_ttl) = (first, secs(3_600));
    let a = net.node(config.clone());
    (config.liveness_timeout, config.pool_ttl) = (second, ttl);
    let b = net.node(config);
    net.introduce(a, b);
    (net, a, b)
}
