//! Strangers at a machine that has room for few: they are bounded, and peers that the user has added stay.

use std::time::Duration;

use quicpool_core::{
    Accept, Config,
    ConnectionStatus::{Connected, Connecting, Failed},
    Event, PeerError, Reason,
};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::reasons;

#[test]
fn strangers_never_push_out_a_peer_that_was_added() {
    let (mut net, hub, friends) = hub_with_friends(full_at(5), 3);
    let strangers = net.nodes(12, &Config::default());
    for round in 0..4 {
        for stranger in &strangers {
            visit(&mut net, *stranger, hub);
        }
        let held = net.occupancy(hub).expect("it is up");
        assert_eq!(held.peers, 5, "two strangers beside three friends");
        for friend in &friends {
            assert!(net.status(hub, *friend).is_some(), "round {round}; {net:?}");
        }
        // None of them is there any more, and all sessions end.
        strangers.iter().for_each(|stranger| net.crash(*stranger));
        net.advance(secs(400));
        assert_eq!(net.occupancy(hub).map(|held| held.peers), Some(3));
        strangers.iter().for_each(|stranger| net.restart(*stranger));
    }
}

#[test]
fn a_peer_that_was_added_comes_in_where_strangers_have_all_the_room_that_is_left() {
    let (mut net, hub, friends) = hub_with_friends(full_at(5), 3);
    for stranger in net.nodes(6, &Config::default()) {
        visit(&mut net, stranger, hub);
    }
    for friend in &friends {
        net.introduce_one_way(*friend, hub);
        net.connect(*friend, hub);
        net.run_until(secs(1), |n| n.are_connected(*friend, hub));
    }
}

#[test]
fn who_was_a_stranger_and_is_added_stays_when_its_session_ends() {
    let (mut net, hub, _) = hub_with_friends(Config::default(), 0);
    let others = net.nodes(2, &Config::default());
    others.iter().for_each(|other| visit(&mut net, *other, hub));
    net.introduce_one_way(hub, others[0]);
    others.iter().for_each(|other| net.crash(*other));
    net.advance(secs(400));
    assert!(net.status(hub, others[0]).is_some());
    assert_eq!(net.status(hub, others[1]), None);
}

#[test]
fn a_place_that_is_given_up_is_free_for_another() {
    let (mut net, hub, friends) = hub_with_friends(full_at(2), 2);
    let stranger = net.node(Config::default());
    visit(&mut net, stranger, hub);
    assert_eq!(net.status(hub, stranger), None);
    net.forget(hub, friends[0]);
    net.advance(secs(5));
    visit(&mut net, stranger, hub);
    assert_eq!(net.status(hub, stranger), Some(Connected), "{net:?}");
    // It makes way for a peer that is added.
    let mut add = |number: u8| {
        net.with(hub, |machine, now| {
            let addr = ([10, 9, 9, 9], 1).into();
            let id = quicpool_core::PeerId::from_bytes([number; 32]);
            machine.add_address(now, quicpool_core::PeerAddr { id, addr })
        })
    };
    assert_eq!(add(9), Ok(()));
    assert_eq!(add(8), Err(PeerError::TooManyPeers { max: 2 }));
    assert_eq!(net.status(hub, stranger), None);
}

#[test]
fn strangers_are_not_kept_where_only_the_known_are_accepted_however_many_come() {
    let mut config = full_at(4);
    config.accept = Accept::Known;
    let (mut net, hub, friends) = hub_with_friends(config, 2);
    for stranger in net.nodes(20, &Config::default()) {
        visit(&mut net, stranger, hub);
        assert!(reasons(&net, stranger).contains(&Reason::NotAccepted));
    }
    assert_eq!(net.occupancy(hub).map(|held| held.peers), Some(2));
    for friend in friends {
        net.introduce_one_way(friend, hub);
        net.connect(friend, hub);
        net.run_until(secs(1), |n| n.are_connected(friend, hub));
    }
}

#[test]
fn who_is_told_to_come_later_does_not_come_earlier() {
    let (mut net, hub) = hub_without_room();
    let others = net.nodes(8, &Config::default());
    for other in &others {
        net.introduce_one_way(*other, hub);
        net.send(*other, hub, b"let me in");
    }
    net.advance(secs(120));
    let mut pauses = 0;
    for other in &others {
        for (asked, waited) in refusals(&net, *other) {
            assert!(waited >= asked, "asked for {asked:?}, waited {waited:?}");
            pauses += 1;
        }
    }
    assert!(pauses >= 16, "{pauses}");
}

#[test]
fn nobody_stays_away_for_longer_than_its_own_longest_backoff() {
    let (mut net, hub) = hub_without_room();
    let mut hasty = Config::default();
    hasty.backoff.initial = ms(50);
    hasty.backoff.max = ms(100);
    let other = net.node(hasty);
    net.introduce_one_way(other, hub);
    net.send(other, hub, b"let me in");
    net.advance(secs(10));
    let refusals = refusals(&net, other);
    assert!(refusals.len() > 50, "{refusals:?}");
    for (asked, waited) in refusals {
        assert!(asked > ms(100), "half a second at least: {asked:?}");
        assert_eq!(waited, ms(100), "asked for {asked:?}");
    }
}

// Helpers

fn full_at(peers: usize) -> Config {
    let mut config = Config::default();
    config.peers_max = peers;
    config
}

/// A node, and others that are introduced to it and have not dialled.
fn hub_with_friends(config: Config, count: usize) -> (Net, NodeId, Vec<NodeId>) {
    let mut net = Net::new(1).latency(ms(10));
    let hub = net.node(config);
    let friends = net.nodes(count, &Config::default());
    for friend in &friends {
        net.introduce_one_way(hub, *friend);
    }
    (net, hub, friends)
}

/// A node whose only slot is held by a peer that is protected.
fn hub_without_room() -> (Net, NodeId) {
    let mut config = Config::default();
    config.connections_max = 1;
    let (mut net, hub, friends) = hub_with_friends(config, 1);
    let friend = net.peer_id(friends[0]);
    net.with(hub, |machine, _| {
        machine.protect(friend).expect("a known peer")
    });
    net.connect(hub, friends[0]);
    net.run_until(secs(1), |n| n.are_connected(hub, friends[0]));
    (net, hub)
}

/// Comes once, with a message.
fn visit(net: &mut Net, stranger: NodeId, hub: NodeId) {
    net.introduce_one_way(stranger, hub);
    net.send(stranger, hub, b"hello");
    net.advance(ms(200));
}

/// For how long a node was asked to stay away, each time, and how long after it began to dial again.
fn refusals(net: &Net, node: NodeId) -> Vec<(Duration, Duration)> {
    let changes = net.history(node).iter().filter_map(|(at, event)| {
        if let Event::StatusChanged { to, reason, .. } = event {
            Some((*at, *to, reason.retry_after()))
        } else {
            None
        }
    });
    let changes: Vec<_> = changes.collect();
    let pauses = changes.windows(2).filter_map(|pair| {
        let ((refused, Failed, Some(asked)), (again, Connecting, None)) = (pair[0], pair[1]) else {
            return None;
        };
        Some((asked, again - refused))
    });
    pauses.collect()
}
