//! Failure 20: background re-dials starved the user's own dial.

use std::time::Duration;

use quicpool_core::{Config, ConnectionStatus::Connected, NextAttempt, WaitingFor};
use quicpool_sim::{Net, NodeId, ms, secs};

/// A handshake and both hellos, at 10 ms each way, and nothing else.
const DIAL: Duration = ms(50);

/// Re-dials to dead peers hold every slot that dials may have, for as long as a handshake may take.
/// The user's dial takes the place of one of them.
#[test]
fn failure_20_redials_that_hold_every_slot_make_way_for_the_users_dial() {
    let mut config = Config::default();
    config.connections_max = 8;
    let (mut net, me, _) = redialling(config, 20);
    let alive = net.nodes(20, &Config::default());
    for node in alive {
        net.run_until(secs(60), |n| slots(n, me) == 6);
        net.introduce_one_way(me, node);
        net.connect(me, node);
        net.run_until(DIAL, |n| n.status(me, node) == Some(Connected));
        net.disconnect(me, node);
        net.advance(ms(700));
    }
}

/// The same if there is one slot only, and the whole pool is one dead peer after the other.
#[test]
fn failure_20_a_redial_in_the_only_slot_makes_way_for_the_users_message() {
    let mut config = Config::default();
    config.connections_max = 1;
    let (mut net, me, _) = redialling(config, 5);
    let alive = net.node(Config::default());
    net.introduce_one_way(me, alive);
    for _ in 0..10 {
        net.run_until(secs(60), |n| slots(n, me) == 1);
        net.send(me, alive, b"now");
        net.advance(DIAL);
        assert_eq!(net.received(alive).len(), 1, "{net:?}");
        net.disconnect(me, alive);
        net.advance(ms(1_300));
    }
}

/// A dial rate that re-dials use up is not used up for the user.
#[test]
fn failure_20_redials_that_use_up_the_dial_rate_leave_the_users_dial_its_own() {
    let mut config = Config::default();
    config.dial_rate = 2;
    let (mut net, me, _) = redialling(config, 60);
    let alive = net.nodes(20, &Config::default());
    for node in alive {
        net.run_until(secs(60), |n| waiting(n, me) > 10);
        net.introduce_one_way(me, node);
        net.connect(me, node);
        net.run_until(DIAL, |n| n.status(me, node) == Some(Connected));
        net.disconnect(me, node);
        net.advance(ms(700));
    }
}

/// A re-dial that waits behind others is the user's as soon as the user asks for it.
#[test]
fn failure_20_a_redial_that_the_user_asks_for_waits_behind_no_other() {
    let mut config = Config::default();
    config.dial_rate = 1;
    let (mut net, me, mut dead) = redialling(config, 60);
    for _ in 0..10 {
        let last = |n: &Net| {
            let waits =
                |node: &&NodeId| matches!(waits_for(n, me, **node), Some(WaitingFor::DialRate));
            dead.iter().copied().rfind(|node| waits(&node))
        };
        net.run_until(secs(60), |n| waiting(n, me) > 10 && last(n).is_some());
        let back = last(&net).expect("one waits");
        dead.retain(|node| *node != back);
        net.restart(back);
        net.send(me, back, b"are you back?");
        net.run_until(DIAL, |n| n.status(me, back) == Some(Connected));
        net.advance(ms(1_700));
    }
}

/// A re-dial under way that the user asks for is the user's, too, and does not make way.
#[test]
fn failure_20_a_redial_that_the_user_joins_is_left_alone() {
    let mut config = Config::default();
    config.connections_max = 4;
    let (mut net, me, dead) = redialling(config, 5);
    net.run_until(secs(60), |n| slots(n, me) == 3);
    let joined: Vec<_> = dead
        .into_iter()
        .filter(|node| {
            matches!(
                next_attempt(&net, me, *node),
                Some(NextAttempt::Dialling { .. })
            )
        })
        .collect();
    let failures = |n: &Net, node| n.peer_metrics(me, node).map(|peer| peer.failures);
    let before: Vec<_> = joined.iter().map(|node| failures(&net, *node)).collect();
    assert_eq!(joined.len(), 3);
    for node in &joined {
        net.connect(me, *node);
    }
    let alive = net.node(Config::default());
    net.introduce_one_way(me, alive);
    net.connect(me, alive);
    net.run_until(secs(6), |n| n.status(me, alive) == Some(Connected));
    let after: Vec<_> = joined.iter().map(|node| failures(&net, *node)).collect();
    let failed = after
        .iter()
        .zip(&before)
        .filter(|(after, before)| after > before);
    assert!(failed.count() > 0, "it has waited for one of them to fail");
}

/// Re-dials that made way come again, and reach peers that are back.
#[test]
fn failure_20_redials_that_made_way_are_not_forgotten() {
    let mut config = Config::default();
    config.connections_max = 4;
    let (mut net, me, dead) = redialling(config, 6);
    let alive = net.nodes(30, &Config::default());
    for node in &dead {
        net.send(me, *node, b"for when you are back");
    }
    net.advance(secs(30));
    for node in &dead {
        net.restart(*node);
    }
    for node in alive {
        net.introduce_one_way(me, node);
        net.connect(me, node);
        net.advance(ms(300));
        net.disconnect(me, node);
    }
    net.advance(secs(60));
    for node in dead {
        assert_eq!(net.received(node).len(), 1, "{net:?}");
    }
}

// Helpers

/// A node that was asked for connections to peers which are gone, and has tried each of them in
/// vain: from here on it tries by itself.
fn redialling(mut config: Config, count: usize) -> (Net, NodeId, Vec<NodeId>) {
    config.breaker_failures = 1_000;
    config.backoff.max = secs(5);
    config.backoff.initial = secs(5);
    config.session_timeout = secs(3_600);
    let mut net = Net::new(20).latency(ms(10));
    let me = net.node(config);
    let dead = net.nodes(count, &Config::default());
    for node in &dead {
        net.introduce_one_way(me, *node);
        net.crash(*node);
        net.connect(me, *node);
    }
    let failed = |n: &Net, node| {
        n.peer_metrics(me, node)
            .is_some_and(|peer| peer.failures > 0)
    };
    net.run_until(secs(120), |n| dead.iter().all(|node| failed(n, *node)));
    (net, me, dead)
}

fn slots(net: &Net, node: NodeId) -> usize {
    net.occupancy(node).map_or(0, |held| held.slots)
}

fn waiting(net: &Net, node: NodeId) -> usize {
    net.occupancy(node).map_or(0, |held| held.waiting_dials)
}

fn next_attempt(net: &Net, node: NodeId, of: NodeId) -> Option<NextAttempt> {
    let now = net.instant();
    let explanation = net.machine(node)?.explain(now, net.peer_id(of))?;
    Some(explanation.next_attempt)
}

/// What a dial waits for, if it waits in the row.
fn waits_for(net: &Net, node: NodeId, of: NodeId) -> Option<WaitingFor> {
    let next_attempt = next_attempt(net, node, of)?;
    if let NextAttempt::Waiting { waits_for, .. } = next_attempt {
        return Some(waits_for);
    }
    None
}
