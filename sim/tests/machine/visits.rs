//! Nodes that others have no address of, as behind NAT: what waits for them reaches them all the same.

use std::time::Duration;

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Disconnected, Failed},
    NextAttempt, PeerError, SendError, Undeliverable,
};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{counters, news, numbers, send_many, undelivered};

#[test]
fn who_cannot_be_dialled_keeps_its_connection_and_comes_back_when_the_other_closes_it() {
    let mut config = Config::default();
    config.pool_ttl = secs(20);
    let (mut net, hidden, b) = hidden(Net::new(1), [config.clone(), config]);
    net.advance(secs(22));
    assert_eq!(net.status(hidden, b), Some(Disconnected));
    assert_eq!(counters(&net, hidden).expirations, 0);
    assert_eq!(counters(&net, b).expirations, 1);

    let told = explanation(&mut net, hidden, b);
    assert!(
        told.contains("it cannot dial us; next reconnect in"),
        "{told}"
    );
    net.advance(secs(31));
    assert_eq!(net.status(hidden, b), Some(Connected));
    assert_eq!(counters(&net, hidden).dials, 2);
}

#[test]
fn a_connection_whose_end_cannot_be_dialled_lasts_if_the_other_has_no_time_to_live() {
    let mut patient = Config::default();
    patient.pool_ttl = secs(86_400);
    let mut hasty = Config::default();
    hasty.pool_ttl = secs(1);
    let (mut net, hidden, b) = hidden(Net::new(2), [hasty, patient]);
    net.advance(secs(3_600));
    assert_eq!(net.status(hidden, b), Some(Connected));
    assert_eq!(counters(&net, hidden).dials, 1);
}

#[test]
fn messages_for_a_hidden_peer_are_accepted_while_it_is_away_and_taken_when_it_looks_in() {
    let (mut net, hidden, b) = hidden(Net::new(3), short_lived());
    net.advance(secs(3));
    assert_eq!(net.status(b, hidden), Some(Disconnected));
    send_many(&mut net, b, hidden, 5);
    let to = net.peer_id(hidden);
    assert_eq!(net.try_connect(b, hidden), Err(PeerError::NoAddress(to)));
    net.advance(secs(1));
    assert_eq!(numbers(&net.received(hidden)), [0; 0], "it is away");
    net.advance(secs(30));
    assert_eq!(numbers(&net.received(hidden)), [0, 1, 2, 3, 4]);
    assert_eq!(counters(&net, b).dials, 0);
}

#[test]
fn one_slot_serves_many_hidden_peers_that_have_nothing_to_say() {
    let mut config = Config::default();
    config.connections_max = 1;
    let mut net = Net::new(4);
    let hub = net.node(config);
    let hidden = net.nodes(6, &Config::default());
    for node in &hidden {
        net.introduce_one_way(*node, hub);
        net.connect(*node, hub);
    }
    net.run_until(secs(60), |net| {
        let met = |node: &NodeId| connections(net, *node, hub) > 0;
        hidden.iter().all(met)
    });
    for round in 0..5 {
        for node in &hidden {
            send_many(&mut net, hub, *node, 3);
        }
        net.advance(secs(90));
        let expected: Vec<u64> = (round * 3..round * 3 + 3).collect();
        for node in &hidden {
            assert_eq!(numbers(&net.received(*node)), expected, "{node}: {net:?}");
        }
    }
    assert_eq!(counters(&net, hub).dials, 0);
    assert!(counters(&net, hub).evictions > 10);
}

#[test]
fn a_hidden_peer_finds_a_process_that_was_restarted_and_knows_nobody() {
    let (mut net, hidden, b) = hidden(Net::new(5), [(); 2].map(|()| Config::default()));
    net.crash(b);
    net.restart(b);
    net.advance(secs(60));
    assert_eq!(net.status(b, hidden), Some(Connected));
    send_many(&mut net, b, hidden, 1);
    net.advance(secs(1));
    assert_eq!(numbers(&net.received(hidden)), [0]);
}

#[test]
fn whose_session_is_over_is_not_visited_and_accepts_nothing() {
    for ends in 0..2 {
        let (mut net, hidden, b) = hidden(Net::new(6), short_lived());
        match ends {
            0 => net.disconnect(hidden, b),
            _ => net.disconnect(b, hidden),
        }
        net.advance(secs(600));
        assert_eq!(counters(&net, hidden).dials, 1, "{ends}");
        let to = net.peer_id(hidden);
        let refused = net.try_send(b, hidden, b"who are you");
        assert_eq!(refused, Err(SendError::Peer(PeerError::UnknownPeer(to))));
    }
}

#[test]
fn what_waits_for_a_hidden_peer_that_never_comes_is_reported() {
    let (mut net, hidden, b) = hidden(Net::new(7), short_lived());
    net.advance(secs(3));
    net.crash(hidden);
    send_many(&mut net, b, hidden, 2);
    let accepted = net.peer_metrics(b, hidden).map(|of| of.messages_accepted);
    assert_eq!(accepted, Some(2));
    news(&mut net, b);
    net.advance(secs(301));
    let why = Undeliverable::SessionExpired;
    assert_eq!(news(&mut net, b), [undelivered(&net, hidden, 0..2, why)]);
}

#[test]
fn who_can_be_dialled_is_left_alone() {
    let mut config = Config::default();
    config.pool_ttl = secs(2);
    let mut net = Net::new(8);
    let (a, b) = (net.node(config.clone()), net.node(config));
    net.introduce(a, b);
    net.connect(a, b);
    net.advance(secs(600));
    assert_eq!(counters(&net, a).dials + counters(&net, b).dials, 1);
    assert!(matches!(
        next_attempt(&mut net, a, b),
        NextAttempt::Idle { .. }
    ));
}

#[test]
fn visits_go_on_until_the_session_expires_when_nobody_answers_and_not_for_ever() {
    let (mut net, hidden, b) = hidden(Net::new(9), [(); 2].map(|()| Config::default()));
    net.crash(b);
    net.advance(secs(700));
    assert_eq!(net.status(hidden, b), Some(Failed));
    let dials = counters(&net, hidden).dials;
    assert!((3..60).contains(&dials), "{dials} dials");
    net.advance(secs(700));
    assert_eq!(counters(&net, hidden).dials, dials);
}

#[test]
fn whatever_happens_hidden_peers_get_what_is_theirs_once_and_in_order() {
    for seed in 0..60 {
        let mut net = Net::new(seed).latency(ms(1 + seed * 13 % 90));
        let mut config = Config::default();
        config.connections_max = 1 + seed as usize % 3;
        config.pool_ttl = ms(700 + seed * 171 % 9_000);
        config.liveness_timeout = secs(3);
        config.session_timeout = secs(3_000);
        config.reconnect_poll = secs(1 + seed % 7);
        let hub = net.node(config.clone());
        let hidden = net.nodes(4, &config);
        net.loss(0.05 * (seed % 5) as f64);
        for node in &hidden {
            net.introduce_one_way(*node, hub);
            net.connect(*node, hub);
        }
        net.run_until(secs(120), |net| {
            let met = |node: &NodeId| connections(net, *node, hub) > 0;
            hidden.iter().all(met)
        });
        for round in 0..20u64 {
            let node = hidden[(seed * 7 + round * 3) as usize % hidden.len()];
            send_many(&mut net, hub, node, 1 + round % 4);
            if round % 5 == 1 {
                net.cut(hub, node);
            }
            if round % 5 == 3 {
                net.heal_all();
            }
            net.advance(ms(seed * 37 % 400 + round * 211 % 3_000));
        }
        net.heal_all();
        net.advance(secs(180));
        for node in hidden {
            let sent = net
                .peer_metrics(hub, node)
                .map_or(0, |of| of.messages_accepted);
            let taken = numbers(&net.received(node));
            assert_eq!(
                taken,
                (0..sent).collect::<Vec<_>>(),
                "seed {seed}, {node}: {net:?}"
            );
        }
    }
}

// Helpers

/// A node that has dialled another, which has no address of it.
fn hidden(mut net: Net, [own, others]: [Config; 2]) -> (Net, NodeId, NodeId) {
    let (hidden, b) = (net.node(own), net.node(others));
    net.introduce_one_way(hidden, b);
    net.connect(hidden, b);
    net.run_until(secs(1), |net| net.are_connected(hidden, b));
    (net, hidden, b)
}

/// Connections are closed after two seconds, and visits come every half a minute.
fn short_lived() -> [Config; 2] {
    let mut config = Config::default();
    config.pool_ttl = Duration::from_secs(2);
    [config.clone(), config]
}

fn connections(net: &Net, node: NodeId, to: NodeId) -> u64 {
    net.peer_metrics(node, to).map_or(0, |of| of.connections)
}

fn explanation(net: &mut Net, node: NodeId, of: NodeId) -> String {
    let of = net.peer_id(of);
    let told = net.with(node, |machine, now| machine.explain(now, of));
    told.expect("it is known").to_string()
}

fn next_attempt(net: &mut Net, node: NodeId, of: NodeId) -> NextAttempt {
    let of = net.peer_id(of);
    let told = net.with(node, |machine, now| machine.explain(now, of));
    told.expect("it is known").next_attempt
}
