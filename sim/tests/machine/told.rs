//! Answers of a machine to its user: its explanation of a peer, and the fate of one message.

use quicpool_core::{
    Accept, Config, ConnectionStatus, Explanation, Losses, NextAttempt, OnPeerRestart, PeerError,
    Reason, Undeliverable, WaitingFor,
    driver::{BatchLimits, OpenBatch},
};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{connected, flushed, introduced, news, send_many, undelivered};

#[test]
fn a_confirmed_message_stands_for_itself() {
    let (mut net, a, b) = connected(Net::new(1), Config::default());
    net.pause_reader(b);
    send_many(&mut net, a, b, 2);
    send_confirmed(&mut net, a, b, 7);
    send_many(&mut net, a, b, 5);
    net.advance(secs(1));
    assert_eq!(news(&mut net, a), [], "received, and not taken");

    let from = net.peer_id(a);
    net.with(b, |m, now| {
        m.receive(now, from, 2, &mut Vec::new())
            .expect("a known peer")
    });
    net.advance(secs(1));
    assert_eq!(news(&mut net, a), [], "those before it are");
    net.with(b, |m, now| {
        m.receive(now, from, 1, &mut Vec::new())
            .expect("a known peer")
    });
    net.advance(secs(1));
    assert_eq!(news(&mut net, a), [flushed(&net, b, 7, Ok(()))]);
}

#[test]
fn a_confirmed_message_is_not_failed_by_others_nor_saved_by_them() {
    let mut config = Config::default();
    config.on_peer_restart = OnPeerRestart::Report;
    let (mut net, a, b) = connected(Net::new(2), config);
    net.pause_reader(b);
    send_confirmed(&mut net, a, b, 1);
    net.advance(secs(1));
    // The first one has arrived, and is lost with the process; the second was never written.
    net.crash(b);
    let failed = Some(ConnectionStatus::Failed);
    net.run_until(secs(20), |n| n.status(a, b) == failed);
    send_confirmed(&mut net, a, b, 2);
    net.flush(a, b, 3);
    net.restart(b);
    net.resume_reader(b);
    net.advance(secs(60));

    let why = Undeliverable::PeerRestarted;
    let told = news(&mut net, a);
    let of = |token, result| flushed(&net, b, token, result);
    assert!(told.contains(&undelivered(&net, b, 0..1, why)), "{told:?}");
    assert!(
        told.contains(&of(1, Err(Losses::new(0..1, why)))),
        "{told:?}"
    );
    assert!(told.contains(&of(2, Ok(()))), "{told:?}");
    assert!(
        told.contains(&of(3, Ok(()))),
        "its own caller hears of the first"
    );
    assert_eq!(net.received(b).len(), 1);
}

#[test]
fn a_message_that_is_given_up_on_the_spot_is_not_confirmed() {
    let (mut net, a, b) = introduced(Net::new(3), Config::default());
    let to = net.peer_id(b);
    net.block(a, b);
    net.with(a, |m, now| {
        let mut staged = OpenBatch::new(BatchLimits::of(m.config()));
        staged.append(now, b"accepted before the block was known");
        m.driver().confirm_next(now, to, 9);
        m.driver().handle_staged(now, to, &mut staged);
    });
    net.advance(ms(1));
    let why = Undeliverable::Disconnected;
    let told = [
        undelivered(&net, b, 0..1, why),
        flushed(&net, b, 9, Err(Losses::new(0..1, why))),
    ];
    assert_eq!(news(&mut net, a), told);
}

#[test]
fn a_peer_that_is_gone_is_explained_from_the_first_dial_to_the_last() {
    let (mut net, a, b) = introduced(Net::new(4), Config::default());
    let idle = explain(&net, a, b);
    assert_eq!(idle.next_attempt, NextAttempt::Idle { not_before: None });
    assert_eq!((idle.status, idle.addresses), (ConnectionStatus::New, 1));

    net.crash(b);
    send_many(&mut net, a, b, 3);
    net.advance(secs(1));
    let dialling = explain(&net, a, b);
    let address = net.addr(b);
    let gives_up_in = secs(4);
    let expected = NextAttempt::Dialling {
        address,
        gives_up_in,
    };
    assert_eq!(
        (dialling.next_attempt, dialling.last_failure),
        (expected, None)
    );

    net.run_until(secs(5), |n| {
        matches!(
            explain(n, a, b).next_attempt,
            NextAttempt::BackingOff { .. }
        )
    });
    let backing_off = explain(&net, a, b);
    assert_eq!(backing_off.last_failure, Some(Reason::HandshakeTimeout));
    assert_eq!((backing_off.failures, backing_off.queued_messages), (1, 3));
    let NextAttempt::BackingOff { dials_in } = backing_off.next_attempt else {
        unreachable!("it was looked for");
    };
    net.advance(dials_in - ms(1));
    assert!(matches!(
        explain(&net, a, b).next_attempt,
        NextAttempt::BackingOff { .. }
    ));
    net.advance(ms(1));
    assert!(
        matches!(
            explain(&net, a, b).next_attempt,
            NextAttempt::Dialling { .. }
        ),
        "it is punctual"
    );

    // Then the breaker opens, and at last the session expires, at the time that was given.
    net.run_until(secs(120), |n| explain(n, a, b).refuses.is_some());
    let open = explain(&net, a, b);
    assert!(matches!(open.refuses, Some(PeerError::CircuitOpen { .. })));
    let expires = open.session_expires_in.expect("it has a session");
    net.advance(expires + secs(1));
    let why = Undeliverable::SessionExpired;
    assert!(news(&mut net, a).contains(&undelivered(&net, b, 0..3, why)));
    let expired = explain(&net, a, b);
    assert_eq!(
        (expired.queued_messages, expired.session_expires_in),
        (0, None)
    );
}

#[test]
fn a_connection_is_explained_at_both_ends() {
    let rtt = ms(40);
    let (mut net, a, b) = connected(Net::new(5).latency(rtt / 2), Config::default());
    net.pause_reader(b);
    send_many(&mut net, a, b, 4);
    net.advance(secs(1));
    let here = explain(&net, a, b);
    let NextAttempt::Connected { rtt: measured } = here.next_attempt else {
        panic!("{here}");
    };
    assert!(measured >= rtt && measured < 2 * rtt, "{here}");
    assert_eq!((here.queued_messages, here.unread_bytes), (4, 0));
    let there = explain(&net, b, a);
    assert_eq!(there.queued_messages, 0);
    assert!(there.unread_bytes > 0, "{there}");
}

#[test]
fn whoever_waits_for_a_slot_or_for_the_rate_is_told_which_and_how_many_come_first() {
    let mut config = Config::default();
    config.connections_max = 1;
    let mut net = Net::new(6);
    let a = net.node(config);
    let others = net.nodes(4, &Config::default());
    for other in &others {
        net.introduce_one_way(a, *other);
    }
    net.crash(others[0]);
    for other in &others {
        net.connect(a, *other);
    }
    net.advance(ms(10));
    for (ahead, other) in others[1..].iter().enumerate() {
        let waits_for = WaitingFor::Slot;
        let told = explain(&net, a, *other);
        assert_eq!(
            told.next_attempt,
            NextAttempt::Waiting { ahead, waits_for },
            "{told}"
        );
    }

    let mut config = Config::default();
    config.dial_rate = 1;
    let mut net = Net::new(7);
    let a = net.node(config);
    let others = net.nodes(3, &Config::default());
    for other in &others {
        net.introduce_one_way(a, *other);
        net.connect(a, *other);
    }
    net.advance(ms(10));
    let told = explain(&net, a, others[2]);
    let waits_for = WaitingFor::DialRate;
    let waits = |ahead| NextAttempt::Waiting { ahead, waits_for };
    assert!([waits(0), waits(1)].contains(&told.next_attempt), "{told}");
}

#[test]
fn a_peer_without_address_and_one_that_refuses_us_are_told_apart() {
    let mut config = Config::default();
    config.accept = Accept::Known;
    let mut net = Net::new(8);
    let (a, b) = (net.node(Config::default()), net.node(config));
    net.introduce_one_way(a, b);
    let stranger = net.peer_id(a);
    let unknown = net.with(b, |m, now| m.explain(now, stranger));
    assert_eq!(unknown, None);
    net.connect(a, b);
    net.advance(secs(1));
    let refused = explain(&net, a, b);
    assert_eq!(refused.last_failure, Some(Reason::NotAccepted), "{refused}");

    let whom = net.peer_id(b);
    let addr = net.addr(b);
    net.with(a, |m, now| {
        m.disconnect(now, whom).expect("a known peer");
        m.remove_address(now, quicpool_core::PeerAddr { id: whom, addr })
            .expect("a known peer");
    });
    let told = explain(&net, a, b);
    assert_eq!(told.next_attempt, NextAttempt::Unreachable, "{told}");
    assert_eq!(told.refuses, Some(PeerError::NoAddress(whom)));
}

fn explain(net: &Net, node: NodeId, of: NodeId) -> Explanation {
    let machine = net.machine(node).expect("it is up");
    let told = machine.explain(net.instant(), net.peer_id(of));
    told.expect("it is known")
}

fn send_confirmed(net: &mut Net, node: NodeId, to: NodeId, token: u64) {
    let to = net.peer_id(to);
    net.with(node, |m, now| m.send_confirmed(now, to, b"confirm", token))
        .expect("there is room");
}
