//! Sessions of whole machines: what outlives connections, and how it ends.

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Disconnected},
    Event, Losses, OnPeerRestart, PeerError, SendError, Undeliverable,
};
use quicpool_sim::{Net, ms, secs};

use crate::support::{
    connected, counters, flushed, introduced, news, numbers, send_many, undelivered,
};

#[test]
fn a_session_expires_after_one_last_dial_and_says_what_is_undelivered() {
    let mut config = Config::default();
    config.session_timeout = secs(130);
    config.breaker_failures = 1_000;
    let (mut net, a, b) = connected(Net::new(9), config);
    send_many(&mut net, a, b, 3);
    net.flush(a, b, 1);
    net.advance(secs(1));
    assert_eq!(news(&mut net, a), [flushed(&net, b, 1, Ok(()))]);

    net.crash(b);
    send_many(&mut net, a, b, 5);
    net.flush(a, b, 2);
    net.flush(a, b, 3);
    net.advance(secs(140));
    assert_eq!(news(&mut net, a), [], "it has until 130 s after the loss");
    net.advance(secs(25));

    let lost = Err(Losses::new(3..8, Undeliverable::SessionExpired));
    let expected = [
        undelivered(&net, b, 3..8, Undeliverable::SessionExpired),
        flushed(&net, b, 2, lost.clone()),
        flushed(&net, b, 3, lost),
    ];
    assert_eq!(news(&mut net, a), expected, "{net:?}");
    let dials = net.peer_metrics(a, b).map(|peer| peer.dials);
    net.advance(secs(600));
    assert_eq!(
        net.peer_metrics(a, b).map(|peer| peer.dials),
        dials,
        "nobody dials for nothing"
    );
}

#[test]
fn the_smaller_session_timeout_of_both_ends_holds() {
    for [own, other] in [[130, 300], [300, 130]] {
        let mut net = Net::new(9);
        let [a, b] = [own, other].map(|timeout| {
            let mut config = Config::default();
            config.session_timeout = secs(timeout);
            config.breaker_failures = 1_000;
            net.node(config)
        });
        net.introduce(a, b);
        net.connect(a, b);
        net.run_until(secs(1), |n| n.are_connected(a, b));

        net.crash(b);
        send_many(&mut net, a, b, 5);
        net.advance(secs(140));
        assert_eq!(news(&mut net, a), [], "{own} s here, {other} s there");
        net.advance(secs(25));
        let expired = undelivered(&net, b, 0..5, Undeliverable::SessionExpired);
        assert_eq!(
            news(&mut net, a),
            [expired],
            "{own} s here, {other} s there"
        );
    }
}

#[test]
fn the_last_dial_saves_a_session_whose_backoff_is_long() {
    let mut saved = 0;
    for seed in 0..20 {
        let mut config = Config::default();
        config.session_timeout = secs(126);
        config.breaker_failures = 1_000;
        let (mut net, a, b) = introduced(Net::new(seed), config);
        net.cut(a, b);
        net.send(a, b, b"in the last minute");
        net.advance(secs(125));
        let waits = net.received(b).is_empty();
        net.heal(a, b);
        net.advance(secs(15));
        saved += usize::from(waits && net.received(b).len() == 1);
    }
    assert!(saved >= 15, "{saved} of 20");
}

#[test]
fn disconnect_ends_the_session_at_both_ends_and_nobody_redials() {
    let (mut net, a, b) = connected(Net::new(9), Config::default());
    net.pause_reader(a);
    net.pause_reader(b);
    send_many(&mut net, a, b, 4);
    send_many(&mut net, b, a, 6);
    net.advance(secs(1));
    net.flush(b, a, 9);

    net.disconnect(a, b);
    net.advance(secs(1));

    let told = [undelivered(&net, b, 0..4, Undeliverable::Disconnected)];
    assert_eq!(news(&mut net, a), told);
    let told = [
        undelivered(&net, a, 0..6, Undeliverable::Goodbye),
        flushed(&net, a, 9, Err(Losses::new(0..6, Undeliverable::Goodbye))),
    ];
    assert_eq!(news(&mut net, b), told);
    net.advance(secs(600));
    for (node, other) in [(a, b), (b, a)] {
        assert_eq!(net.status(node, other), Some(Disconnected));
        net.resume_reader(node);
    }
    assert_eq!(counters(&net, b).dials, 0);

    // What had arrived can be read. The next send begins another session, and numbers go on.
    assert_eq!((net.received(a).len(), net.received(b).len()), (6, 4));
    send_many(&mut net, a, b, 1);
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 1);
    assert_eq!(news(&mut net, a), []);
}

#[test]
fn forget_leaves_nothing_behind() {
    let (mut net, a, b) = connected(Net::new(9), Config::default());
    send_many(&mut net, a, b, 4);

    net.forget(a, b);
    assert_eq!(net.status(a, b), None);
    let unknown = PeerError::UnknownPeer(net.peer_id(b));
    assert_eq!(net.try_send(a, b, b"who?"), Err(SendError::Peer(unknown)));
    net.advance(secs(10));

    assert_eq!(net.occupancy(a), Some(quicpool_core::Occupancy::default()));
    net.received(b);
    net.introduce_one_way(a, b);
    send_many(&mut net, a, b, 2);
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 2);
}

#[test]
fn a_restarted_peer_gets_what_the_policy_says() {
    for policy in [OnPeerRestart::Report, OnPeerRestart::Resend] {
        let mut config = Config::default();
        config.on_peer_restart = policy;
        let (mut net, a, b) = connected(Net::new(9), config);
        net.pause_reader(b);
        send_many(&mut net, a, b, 5);
        net.advance(secs(1));
        news(&mut net, a);

        // Five were received and not taken; two more are queued while the peer is down.
        net.crash(b);
        send_many(&mut net, a, b, 2);
        net.advance(secs(1));
        net.restart(b);
        net.resume_reader(b);
        net.advance(secs(60));

        let taken = numbers(&net.received(b));
        let peer = net.peer_id(b);
        match policy {
            OnPeerRestart::Report => {
                let restarted = Event::PeerRestarted {
                    peer,
                    resent: 0,
                    undelivered: 7,
                };
                let told = [
                    restarted,
                    undelivered(&net, b, 0..7, Undeliverable::PeerRestarted),
                ];
                assert_eq!(news(&mut net, a), told, "all seven were written");
                assert_eq!(taken, [0; 0]);
            }
            OnPeerRestart::Resend => {
                let told = [Event::PeerRestarted {
                    peer,
                    resent: 7,
                    undelivered: 0,
                }];
                assert_eq!(news(&mut net, a), told);
                assert_eq!(taken, [0, 1, 2, 3, 4, 5, 6]);
            }
        }
        send_many(&mut net, a, b, 1);
        net.advance(secs(1));
        assert_eq!(numbers(&net.received(b)), [7]);
    }
}

#[test]
fn a_restarted_process_resets_its_old_connections_at_once() {
    let mut config = Config::default();
    config.liveness_timeout = secs(600);
    let (mut net, a, b) = connected(Net::new(9), config);
    net.restart(b);
    let start = net.now();

    send_many(&mut net, a, b, 1);
    net.run_until(secs(2), |n| {
        n.metrics(a)
            .is_some_and(|m| m.counters.connections_lost == 1)
    });
    assert!(net.now() - start < ms(50));
    net.run_until(secs(2), |n| n.are_connected(a, b));
}

#[test]
fn a_twin_is_told_that_its_identity_is_in_use() {
    let (mut net, a, b) = connected(Net::new(9), Config::default());
    net.advance(secs(1));
    let twin = net.twin(a);
    net.introduce_one_way(twin, b);

    net.connect(twin, b);
    net.advance(secs(1));

    // The later one stays; the earlier one gets `IdentityInUse`, and does not come back by itself.
    assert_eq!(net.status(twin, b), Some(Connected));
    let told = Event::IdentityInUse {
        peer: net.peer_id(b),
    };
    assert!(net.events(a).contains(&told), "{net:?}");
    let dials = counters(&net, a).dials;
    net.advance(secs(200));
    assert_eq!(counters(&net, a).dials, dials);
    assert_eq!(net.status(twin, b), Some(Connected));
    net.send(b, twin, b"for the one that is known");
    net.advance(secs(1));
    assert_eq!(net.received(twin).len(), 1);
}

#[test]
fn a_wall_clock_that_stepped_back_does_not_lock_a_restarted_process_out() {
    let mut net = Net::new(5);
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    net.set_wall_clock(a, secs(86_400));
    net.restart(a);
    net.introduce(a, b);
    send_many(&mut net, a, b, 1);
    net.advance(secs(5));

    net.set_wall_clock(a, secs(0));
    net.crash(a);
    net.restart(a);
    net.introduce_one_way(a, b);
    send_many(&mut net, a, b, 3);
    net.advance(secs(30));

    assert!(net.are_connected(a, b), "{net:?}");
    assert_eq!(net.received(b).len(), 4);
}

#[test]
fn a_session_does_not_expire_while_its_dial_waits_for_our_dial_rate() {
    let mut config = short_sessions();
    config.dial_rate = 1;
    let mut net = Net::new(31);
    let a = net.node(config);
    let others = net.nodes(30, &Config::default());
    for other in &others {
        net.introduce_one_way(a, *other);
        net.send(a, *other, b"x");
    }
    net.advance(secs(60));
    assert_eq!(news(&mut net, a), []);
    for other in others {
        assert_eq!(net.received(other).len(), 1, "{other}");
    }
}

#[test]
fn a_session_does_not_expire_while_its_dial_waits_for_our_slot() {
    let mut config = short_sessions();
    config.connections_max = 1;
    let mut net = Net::new(32);
    let a = net.node(config);
    let (b, c) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce_one_way(a, b);
    net.introduce_one_way(a, c);
    let (first, other) = (net.peer_id(b), net.peer_id(c));
    net.connect(a, b);
    net.run_until(secs(1), |n| n.are_connected(a, b));
    net.with(a, |m, _| m.protect(first)).expect("a known peer");
    net.send(a, c, b"x");
    net.advance(secs(60));
    assert_eq!(news(&mut net, a), []);
    let told = net.with(a, |m, now| m.explain(now, other));
    let left = told.and_then(|told| told.session_expires_in);
    assert!(left.is_some_and(|left| left > secs(6)), "{left:?}");
    net.with(a, |m, _| m.unprotect(first))
        .expect("a known peer");
    net.disconnect(a, b);
    net.advance(secs(1));
    assert_eq!(net.received(c).len(), 1);
}

#[test]
fn the_clock_of_a_session_goes_on_once_its_dial_has_begun() {
    let mut config = short_sessions();
    config.connections_max = 1;
    let mut net = Net::new(33);
    let a = net.node(config);
    let (b, c) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce_one_way(a, b);
    net.introduce_one_way(a, c);
    let first = net.peer_id(b);
    net.connect(a, b);
    net.run_until(secs(1), |n| n.are_connected(a, b));
    net.with(a, |m, _| m.protect(first)).expect("a known peer");
    net.crash(c);
    net.send(a, c, b"x");
    net.advance(secs(60));
    net.disconnect(a, b);
    net.advance(secs(6));
    assert_eq!(news(&mut net, a), []);
    net.advance(secs(20));
    let why = Undeliverable::SessionExpired;
    assert_eq!(news(&mut net, a), [undelivered(&net, c, 0..1, why)]);
}

/// Sessions that expire soon.
fn short_sessions() -> Config {
    let mut config = Config::default();
    config.session_timeout = secs(7);
    config.backoff.max = secs(1);
    config
}
