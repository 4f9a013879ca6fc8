//! Several processes with one identity, whose clocks may be wrong: one of them stays, the others
//! get `IdentityInUse`, and nothing that was accepted is lost without a report or taken twice.

use std::{collections::BTreeSet, time::Duration};

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Failed},
    Event, Undeliverable,
};
use quicpool_sim::{Delay, Net, NodeId, Order, ms, secs};

use crate::support::{counters, news, numbers, send_many, undelivered};

/// How far the clock of the process that started first is ahead: it claims to have started last.
const AHEAD: Duration = secs(86_400);

#[test]
fn of_two_living_processes_the_one_that_started_earlier_is_told_so_once() {
    let mut config = Config::default();
    config.pool_ttl = secs(3_600);
    let (mut net, present, b) = ahead(config);
    let newcomer = twin_of(&mut net, present, &[b]);
    send_many(&mut net, newcomer, b, 3);
    net.advance(secs(1));

    assert_eq!(net.status(newcomer, b), Some(Failed));
    let lost = undelivered(&net, b, 0..3, Undeliverable::IdentityInUse);
    assert_eq!(news(&mut net, newcomer), [in_use(&net, b), lost]);
    // It neither comes again by itself, nor disturbs the other one.
    net.advance(secs(700));
    assert_eq!(counters(&net, newcomer).dials, 1);
    assert_eq!(counters(&net, b).connections_lost, 0);
    assert_eq!(news(&mut net, b), []);
    assert_eq!(news(&mut net, present), []);
}

#[test]
fn each_wish_for_the_peer_is_one_more_dial_of_a_process_that_was_superseded() {
    let (mut net, present, b) = ahead(Config::default());
    let newcomer = twin_of(&mut net, present, &[b]);
    for dials in 1..=4 {
        net.connect(newcomer, b);
        net.advance(secs(20));
        assert_eq!(counters(&net, newcomer).dials, dials);
        assert_eq!(news(&mut net, newcomer), [in_use(&net, b)]);
    }
    assert_eq!(counters(&net, b).connections_lost, 0);
}

#[test]
fn who_started_earlier_is_let_in_at_once_when_the_other_is_dead() {
    // Nothing answers at the address of the dead one, so that only its silence shows.
    let mut config = Config::default();
    config.liveness_timeout = secs(3);
    let (mut net, dead, b) = ahead(config);
    net.crash(dead);
    let newcomer = twin_of(&mut net, dead, &[b]);
    send_many(&mut net, newcomer, b, 3);

    net.run_until(secs(4), |n| counters(n, b).connections_lost == 1);
    net.advance(ms(40));
    assert_eq!(counters(&net, newcomer).dials, 1, "it has waited");
    assert_eq!(numbers(&net.received(b)), [0, 1, 2]);
    assert_eq!(news(&mut net, newcomer), []);
}

#[test]
fn a_restarted_process_whose_clock_stepped_back_is_let_in_within_round_trips() {
    let mut config = Config::default();
    config.liveness_timeout = secs(600);
    let (mut net, a, b) = ahead(config);
    net.set_wall_clock(a, Duration::ZERO);
    net.restart(a);
    net.introduce_one_way(a, b);
    send_many(&mut net, a, b, 3);

    // It resets the connection of the one before when that one is asked whether it lives.
    net.advance(ms(100));
    assert_eq!(numbers(&net.received(b)), [0, 1, 2]);
    assert_eq!(counters(&net, a).dials, 1);
    assert_eq!(news(&mut net, a), []);
}

#[test]
fn who_waits_for_longer_than_a_handshake_is_told_to_come_again() {
    let mut config = Config::default();
    config.liveness_timeout = secs(30);
    let (mut net, dead, b) = ahead(config);
    net.crash(dead);
    let newcomer = twin_of(&mut net, dead, &[b]);
    send_many(&mut net, newcomer, b, 3);

    net.advance(secs(20));
    assert!(counters(&net, newcomer).dials > 1, "{net:?}");
    assert_eq!(numbers(&net.received(b)), [0; 0]);
    net.advance(secs(30));
    assert_eq!(numbers(&net.received(b)), [0, 1, 2]);
    assert_eq!(news(&mut net, newcomer), []);
}

#[test]
fn a_process_that_stood_still_learns_that_a_later_one_has_its_place() {
    let mut net = Net::new(7);
    let (earlier, b) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce(earlier, b);
    send_many(&mut net, earlier, b, 1);
    net.advance(secs(1));
    net.pause(earlier);
    let later = twin_of(&mut net, earlier, &[b]);
    send_many(&mut net, later, b, 2);
    net.advance(secs(60));
    assert_eq!(numbers(&net.received(b)), [0, 0, 1]);

    net.resume(earlier);
    net.advance(secs(1));
    send_many(&mut net, earlier, b, 1);
    net.advance(secs(60));
    assert!(told(&net, earlier, b) > 0, "{net:?}");
    assert_eq!(told(&net, later, b), 0);
    assert_eq!(net.status(later, b), Some(Connected));
    assert_eq!(numbers(&net.received(b)), [0; 0]);
}

#[test]
fn a_process_that_stood_still_takes_its_place_back_if_it_is_the_later_one() {
    let (mut net, later, b) = ahead(Config::default());
    net.pause_reader(later);
    send_many(&mut net, later, b, 2);
    send_many(&mut net, b, later, 4);
    net.advance(secs(1));
    net.pause(later);
    let earlier = twin_of(&mut net, later, &[b]);
    send_many(&mut net, earlier, b, 3);
    net.advance(secs(60));
    send_many(&mut net, b, earlier, 2);
    net.advance(secs(1));
    assert_eq!(numbers(&net.received(earlier)), [4, 5]);
    assert_eq!(
        reported(&net, b),
        (0..4).collect(),
        "they were received, and not taken"
    );

    // What it had from before the pause it takes; what was given to the other one it never gets.
    net.resume(later);
    net.resume_reader(later);
    send_many(&mut net, later, b, 1);
    net.advance(secs(10));
    send_many(&mut net, b, later, 1);
    net.advance(secs(1));
    assert_eq!(numbers(&net.received(later)), [0, 1, 2, 3, 6]);
    assert_eq!(numbers(&net.received(b)), [0, 1, 0, 1, 2]);
    assert_eq!(reported(&net, later), [2].into(), "sent to nobody");
    send_many(&mut net, later, b, 1);
    net.advance(secs(1));
    assert_eq!(numbers(&net.received(b)), [3]);
    assert_eq!((told(&net, earlier, b), told(&net, later, b)), (1, 0));
    assert_eq!(counters(&net, b).violations, 0);
    assert_eq!(counters(&net, later).violations, 0);
}

#[test]
fn who_comes_back_after_another_had_its_place_sends_nothing_twice() {
    let mut net = Net::new(7);
    let (first, b) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce(first, b);
    net.connect(first, b);
    net.run_until(secs(1), |n| n.are_connected(first, b));
    net.advance(secs(1));
    // Three arrive, and the sender never learns of it.
    net.cut_one_way(b, first);
    send_many(&mut net, first, b, 3);
    net.advance(ms(100));
    net.pause(first);
    let second = twin_of(&mut net, first, &[b]);
    send_many(&mut net, second, b, 1);
    net.advance(secs(1));
    assert_eq!(numbers(&net.received(b)), [0, 1, 2, 0]);

    net.crash(second);
    net.advance(secs(30));
    net.heal(b, first);
    net.resume(first);
    net.advance(secs(1));
    send_many(&mut net, first, b, 1);
    net.advance(secs(60));
    assert_eq!(reported(&net, first), (0..3).collect());
    assert_eq!(numbers(&net.received(b)), [3]);
    assert_eq!(told(&net, first, b), 0, "it is the only one");
    assert_eq!(counters(&net, b).violations, 0);
}

#[test]
fn two_processes_that_both_talk_to_the_same_peers_come_to_rest_with_the_later_one() {
    for seed in 0..40 {
        let mut net = Net::new(seed).latency(ms(5 + seed * 7 % 90));
        net.loss(0.02 * (seed % 4) as f64);
        let (first, b, c) = trio(&mut net);
        net.set_wall_clock(first, secs(seed % 2 * 100));
        net.restart(first);
        net.introduce_one_way(first, b);
        net.introduce_one_way(first, c);
        send_many(&mut net, first, b, 1);
        net.advance(ms(10));
        let second = twin_of(&mut net, first, &[b, c]);
        send_many(&mut net, second, c, 1);
        net.advance(ms(seed * 37 % 2_000));
        // Each comes to the other's peer, and the peers come to where they know it to be.
        for (twin, peer) in [(first, c), (second, b), (first, b), (second, c)] {
            send_many(&mut net, twin, peer, 20);
            send_many(&mut net, peer, twin, 20);
            net.advance(ms(seed * 53 % 700));
        }
        net.advance(secs(700));

        let (stays, goes) = match seed % 2 {
            0 => (second, first),
            _ => (first, second),
        };
        let taken_by_twins = taken(&mut net, first)
            .into_iter()
            .chain(taken(&mut net, second));
        let taken_by_twins: Vec<_> = taken_by_twins.collect();
        for peer in [b, c] {
            assert!(told(&net, goes, peer) > 0, "seed {seed}: {net:?}");
            assert_eq!(told(&net, stays, peer), 0, "seed {seed}: {net:?}");
            let restarts = restarts(&net, peer);
            assert!(restarts <= 4, "seed {seed}: {restarts} restarts; {net:?}");
            let of_peer = taken_by_twins.iter().filter(|(from, _)| *from == peer);
            let mut found: Vec<u64> = of_peer.map(|(_, number)| *number).collect();
            let count = found.len();
            found.extend(reported(&net, peer));
            let found: BTreeSet<u64> = found.into_iter().collect();
            assert_eq!(found, (0..40).collect(), "seed {seed}: {peer}: {net:?}");
            let distinct = of_peer_count(&taken_by_twins, peer);
            assert_eq!(count, distinct, "seed {seed}: nothing comes twice");
            assert_eq!(counters(&net, peer).violations, 0, "seed {seed}");
        }
    }
}

/// Found by storms of twins: the two connections of the newcomer were taken for two processes.
#[test]
fn a_process_that_comes_on_two_connections_does_not_supersede_itself() {
    let mut net = Net::new(3).latency(ms(20));
    let (earlier, b) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce_one_way(earlier, b);
    net.advance(ms(5));
    let later = twin_of(&mut net, earlier, &[b]);
    net.introduce_one_way(b, later);
    for (from, to) in [(earlier, b), (b, earlier)] {
        delay(&mut net, from, to, ms(15));
    }
    net.connect(earlier, b);
    net.connect(later, b);
    net.connect(b, later);
    net.advance(secs(2));
    assert_eq!((told(&net, earlier, b), told(&net, later, b)), (1, 0));
    assert_eq!(net.status(later, b), Some(Connected));
}

#[test]
fn a_hello_of_a_dead_process_that_comes_late_disturbs_nobody() {
    let mut net = Net::new(3).latency(ms(10));
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    net.set_wall_clock(a, AHEAD);
    net.restart(a);
    net.introduce(a, b);
    net.faults(|faults| faults.order = Order::Free);
    net.connect(a, b);
    // What ends the handshake, and hello with it, leaves after 20 ms and arrives after 3 s.
    net.advance(ms(15));
    delay(&mut net, a, b, secs(3));
    net.advance(ms(10));
    delay(&mut net, a, b, ms(10));
    net.set_wall_clock(a, Duration::ZERO);
    net.restart(a);
    net.introduce_one_way(a, b);
    send_many(&mut net, a, b, 3);
    net.advance(secs(1));
    assert_eq!(numbers(&net.received(b)), [0, 1, 2]);
    news(&mut net, a);
    news(&mut net, b);

    net.advance(ms(2_010));
    let connections = net.occupancy(b).map(|held| held.connections);
    assert_eq!(connections, Some(2), "it has come, and waits: {net:?}");
    net.advance(secs(10));
    send_many(&mut net, a, b, 1);
    send_many(&mut net, b, a, 1);
    net.advance(secs(1));
    assert_eq!(numbers(&net.received(b)), [3]);
    assert_eq!(numbers(&net.received(a)), [0]);
    assert_eq!(counters(&net, a).dials, 1, "its connection has stayed");
    assert_eq!(counters(&net, b).dials, 0);
    assert_eq!(news(&mut net, a), []);
    assert_eq!(news(&mut net, b), []);
}

// Helpers

fn delay(net: &mut Net, from: NodeId, to: NodeId, delay: Duration) {
    net.faults_between(from, to, |faults| faults.delay = Delay::Constant(delay));
}

/// A process whose clock is ahead, connected to a peer.
fn ahead(config: Config) -> (Net, NodeId, NodeId) {
    let mut net = Net::new(3).latency(ms(10));
    let (a, b) = (net.node(config.clone()), net.node(config));
    net.set_wall_clock(a, AHEAD);
    net.restart(a);
    net.introduce(a, b);
    net.connect(a, b);
    net.run_until(secs(1), |n| n.are_connected(a, b));
    net.advance(secs(1));
    news(&mut net, a);
    news(&mut net, b);
    (net, a, b)
}

fn trio(net: &mut Net) -> (NodeId, NodeId, NodeId) {
    let nodes = net.nodes(3, &Config::default());
    net.introduce_all();
    (nodes[0], nodes[1], nodes[2])
}

/// Another process with a node's identity, whose clock is right, and which knows these peers.
fn twin_of(net: &mut Net, node: NodeId, peers: &[NodeId]) -> NodeId {
    let twin = net.twin(node);
    for peer in peers {
        net.introduce_one_way(twin, *peer);
    }
    twin
}

fn in_use(net: &Net, peer: NodeId) -> Event {
    let peer = net.peer_id(peer);
    Event::IdentityInUse { peer }
}

/// How often a peer has reported to a node that its identity is in use.
fn told(net: &Net, node: NodeId, by: NodeId) -> usize {
    let event = in_use(net, by);
    let history = net.history(node).iter();
    history.filter(|(_, told)| *told == event).count()
}

fn restarts(net: &Net, node: NodeId) -> usize {
    let is_restart = |event: &Event| matches!(event, Event::PeerRestarted { .. });
    let history = net.history(node).iter();
    history.filter(|(_, event)| is_restart(event)).count()
}

fn reported(net: &Net, node: NodeId) -> BTreeSet<u64> {
    let numbers = |(_, event): &(_, Event)| {
        if let Event::Undelivered { messages, .. } = event {
            messages.clone()
        } else {
            0..0
        }
    };
    net.history(node).iter().flat_map(numbers).collect()
}

/// Messages that a node has taken: the sender, and its number there.
fn taken(net: &mut Net, node: NodeId) -> Vec<(NodeId, u64)> {
    let messages = net.received(node);
    let from = |message: &quicpool_core::Message| net.who(message.from).expect("a node sent it");
    let senders: Vec<NodeId> = messages.iter().map(from).collect();
    senders.into_iter().zip(numbers(&messages)).collect()
}

fn of_peer_count(taken: &[(NodeId, u64)], peer: NodeId) -> usize {
    let numbers = taken.iter().filter(|(from, _)| *from == peer);
    numbers
        .map(|(_, number)| number)
        .collect::<BTreeSet<_>>()
        .len()
}
