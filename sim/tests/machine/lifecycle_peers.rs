//! The peers that a whole machine lets in, and how many.

use quicpool_core::{
    Accept, Config,
    ConnectionStatus::{Connected, Failed},
    PeerError, Reason, SendError,
};
use quicpool_sim::{Net, ms, secs};

use crate::support::{connected, reasons};

#[test]
fn a_blocked_peer_is_cut_off_and_refused_until_it_is_unblocked() {
    let (mut net, a, b) = connected(Net::new(1), Config::default());

    net.block(b, a);
    net.advance(secs(1));
    assert_ne!(net.status(a, b), Some(Connected));
    let blocked = PeerError::Blocked(net.peer_id(a));
    assert_eq!(net.try_send(b, a, b"x"), Err(SendError::Peer(blocked)));
    net.send(a, b, b"let me in");
    net.advance(secs(30));
    assert!(reasons(&net, a).contains(&Reason::NotAccepted));
    assert!(net.received(b).is_empty());
    assert_ne!(net.status(b, a), Some(Connected));

    net.unblock(b, a);
    net.advance(secs(120));
    assert_eq!(net.received(b).len(), 1);
}

#[test]
fn a_peer_is_blocked_before_it_was_ever_seen() {
    let mut net = Net::new(2);
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    net.block(b, a);
    net.introduce_one_way(a, b);
    net.send(a, b, b"let me in");
    net.advance(secs(30));
    assert!(reasons(&net, a).contains(&Reason::NotAccepted));
    assert!(net.received(b).is_empty());
}

#[test]
fn only_the_known_come_in_where_only_they_are_accepted() {
    let mut config = Config::default();
    config.accept = Accept::Known;
    let mut net = Net::new(3);
    let (hub, friend) = (net.node(config), net.node(Config::default()));
    let stranger = net.node(Config::default());
    net.introduce(hub, friend);
    net.introduce_one_way(stranger, hub);

    net.send(friend, hub, b"a friend");
    net.send(stranger, hub, b"a stranger");
    net.advance(secs(20));

    let received = net.received(hub);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].from, net.peer_id(friend));
    assert_eq!(net.status(stranger, hub), Some(Failed));
    assert_eq!(net.status(hub, stranger), None, "nothing is kept of it");
    assert_eq!(net.occupancy(hub).map(|held| held.peers), Some(1));
}

#[test]
fn strangers_beyond_peers_max_are_refused_and_leave_nothing() {
    let mut config = Config::default();
    config.peers_max = 3;
    let mut net = Net::new(4);
    let hub = net.node(config);
    let others = net.nodes(6, &Config::default());
    for other in &others {
        net.introduce_one_way(*other, hub);
        net.send(*other, hub, b"hello");
        net.advance(secs(1));
    }

    assert_eq!(net.received(hub).len(), 3);
    let occupancy = net.occupancy(hub).expect("it is up");
    assert_eq!((occupancy.peers, occupancy.slots), (3, 3));
    assert_eq!(net.status(others[5], hub), Some(Failed));
    let mut add = |number: u8| {
        net.with(hub, |m, now| {
            let id = quicpool_core::PeerId::from_bytes([number; 32]);
            let addr = ([10, 9, 9, 9], 1).into();
            m.add_address(now, quicpool_core::PeerAddr { id, addr })
        })
    };
    // Strangers make way, and peers that were added do not.
    for number in 1..=3 {
        assert_eq!(add(number), Ok(()));
    }
    assert_eq!(add(4), Err(PeerError::TooManyPeers { max: 3 }));
    let occupancy = net.occupancy(hub).expect("it is up");
    assert_eq!((occupancy.peers, occupancy.slots), (3, 0));
}

#[test]
fn a_stranger_is_forgotten_when_its_session_ends() {
    let mut net = Net::new(5);
    let (hub, stranger) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce_one_way(stranger, hub);
    net.send(stranger, hub, b"hello");
    net.advance(secs(1));
    assert_eq!(net.status(hub, stranger), Some(Connected));

    net.crash(stranger);
    net.advance(secs(330));
    assert_eq!(
        net.occupancy(hub),
        Some(quicpool_core::Occupancy::default())
    );
}

#[test]
fn whoever_states_no_identity_is_refused() {
    let mut net = Net::new(6);
    let hub = net.node(Config::default());
    let nobody = net.node_with(Config::default(), |c| c.anonymous());
    net.introduce(hub, nobody);

    net.send(nobody, hub, b"guess who");
    net.advance(secs(20));
    assert!(reasons(&net, nobody).contains(&Reason::NotAccepted));
    assert!(net.received(hub).is_empty());

    net.send(hub, nobody, b"are you there?");
    net.advance(secs(20));
    assert!(reasons(&net, hub).contains(&Reason::WrongPeer { found: None }));
    assert!(net.received(nobody).is_empty());
}

#[test]
fn mistakes_have_errors_of_their_own_and_change_nothing() {
    let mut config = Config::default();
    config.message_bytes_max = 100;
    let mut net = Net::new(7);
    let (a, b) = (net.node(config), net.node(Config::default()));

    let own = PeerError::OwnId(net.peer_id(a));
    assert_eq!(net.try_send(a, a, b"me"), Err(SendError::Peer(own.clone())));
    assert_eq!(net.try_connect(a, a), Err(own));
    let unknown = PeerError::UnknownPeer(net.peer_id(b));
    assert_eq!(
        net.try_send(a, b, b"x"),
        Err(SendError::Peer(unknown.clone()))
    );
    assert_eq!(net.try_connect(a, b), Err(unknown));
    net.introduce(a, b);
    let too_large = SendError::TooLarge {
        size: 101,
        max: 100,
    };
    assert_eq!(net.try_send(a, b, &[0; 101]), Err(too_large));

    let occupancy = net.occupancy(a).expect("it is up");
    assert_eq!(
        (occupancy.peers, occupancy.slots, occupancy.queued_bytes),
        (1, 0, 0)
    );
    assert_eq!(net.try_send(a, b, &[0; 100]), Ok(()));
    net.advance(ms(100));
    assert_eq!(net.received(b).len(), 1);
}

#[test]
fn a_peer_that_was_added_without_an_address_is_let_in_and_kept() {
    let mut config = Config::default();
    config.accept = Accept::Known;
    config.peers_max = 1;
    let mut net = Net::new(30);
    let (a, b, c) = (
        net.node(Config::default()),
        net.node(config),
        net.node(Config::default()),
    );
    net.introduce_one_way(a, b);
    let (from, other) = (net.peer_id(a), net.peer_id(c));
    assert_eq!(net.with(b, |m, now| m.add_peer(now, from)), Ok(()));
    assert_eq!(net.with(b, |m, now| m.add_peer(now, from)), Ok(()));
    assert_eq!(
        net.with(b, |m, now| m.add_peer(now, other)),
        Err(PeerError::TooManyPeers { max: 1 })
    );
    net.connect(a, b);
    net.run_until(secs(1), |n| n.are_connected(a, b));
    net.disconnect(a, b);
    net.advance(secs(1_000));
    assert!(net.status(b, a).is_some(), "it is no stranger");
    net.block(b, a);
    assert_eq!(
        net.with(b, |m, now| m.add_peer(now, from)),
        Err(PeerError::Blocked(from))
    );
}
