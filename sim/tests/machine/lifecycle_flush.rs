//! Flush, close and stalls of whole machines: what they wait for, and for how long.

use std::time::Duration;

use quicpool_core::{
    Config, ConnectionStatus::Disconnected, Event, Losses, OnPeerRestart, PeerError, SendError,
    Undeliverable,
};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{closed_well, connected, flushed, introduced, news, send_many, undelivered};

#[test]
fn flush_waits_until_the_other_application_has_taken_everything() {
    let (mut net, a, b) = connected(Net::new(9), Config::default());
    net.flush(a, b, 1);
    assert_eq!(
        news(&mut net, a),
        [flushed(&net, b, 1, Ok(()))],
        "nothing is owed"
    );

    net.pause_reader(b);
    send_many(&mut net, a, b, 10);
    net.flush(a, b, 2);
    send_many(&mut net, a, b, 1);
    net.advance(secs(10));
    assert_eq!(news(&mut net, a), [], "received, and not taken");

    let from = net.peer_id(a);
    net.with(b, |m, now| {
        m.receive(now, from, 9, &mut Vec::new())
            .expect("a known peer")
    });
    net.advance(secs(1));
    assert_eq!(news(&mut net, a), []);
    net.with(b, |m, now| {
        m.receive(now, from, 1, &mut Vec::new())
            .expect("a known peer")
    });
    net.advance(secs(1));
    assert_eq!(news(&mut net, a), [flushed(&net, b, 2, Ok(()))]);
}

#[test]
fn close_ends_at_its_deadline_with_the_count_of_what_was_not_taken() {
    let mut config = Config::default();
    config.close_timeout = secs(3);
    let (mut net, a, b) = connected(Net::new(9), config);
    net.pause_reader(b);
    send_many(&mut net, a, b, 10);

    net.close(a);
    assert_eq!(
        net.try_send(a, b, b"too late"),
        Err(SendError::Peer(PeerError::Closed))
    );
    assert_eq!(net.try_connect(a, b), Err(PeerError::Closed));
    net.advance(ms(2_999));
    assert_eq!(news(&mut net, a), []);
    net.advance(ms(1));

    let told = [
        undelivered(&net, b, 0..10, Undeliverable::Closed),
        Event::Closed {
            undelivered: 10,
            losses: vec![(net.peer_id(b), Losses::new(0..10, Undeliverable::Closed))],
        },
    ];
    assert_eq!(news(&mut net, a), told);
    net.advance(ms(20));
    assert_eq!(net.status(b, a), Some(Disconnected), "it was told");
}

#[test]
fn close_dials_for_those_who_are_owed_something() {
    let (mut net, a, b) = introduced(Net::new(6), Config::default());
    send_many(&mut net, a, b, 3);
    net.close(a);
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 3);
    assert_eq!(news(&mut net, a), [closed_well()]);
}

/// Both dial, so one connection replaces the other, and an acknowledgement may go down with it.
#[test]
fn two_that_dial_each_other_and_close_once_everything_is_taken_lose_nothing() {
    for seed in 0..400 {
        let net = Net::new(seed).latency(ms(1 + seed % 20));
        let (mut net, a, b) = introduced(net, Config::default());
        send_many(&mut net, a, b, 3);
        net.advance(Duration::from_micros(seed * 137 % 30_000));
        send_many(&mut net, b, a, 3);
        let mut open = vec![(a, b), (b, a)];
        while !open.is_empty() {
            net.advance(Duration::from_micros(100));
            open.retain(|(node, from)| {
                let taken = net
                    .peer_metrics(*node, *from)
                    .map(|peer| peer.messages_taken);
                let is_done = taken == Some(3);
                if is_done {
                    net.close(*node);
                }
                !is_done
            });
        }
        net.advance(secs(10));
        for node in [a, b] {
            assert_eq!(news(&mut net, node), [closed_well()], "seed {seed}");
        }
    }
}

#[test]
fn a_peer_that_takes_nothing_is_reported_as_stalled() {
    let mut config = Config::default();
    config.stall_timeout = secs(20);
    let (mut net, a, b) = connected(Net::new(9), config);
    net.pause_reader(b);
    send_many(&mut net, a, b, 3);
    net.advance(secs(19));
    assert_eq!(news(&mut net, a), []);
    net.advance(secs(2));
    let stalled = Event::Stalled {
        peer: net.peer_id(b),
    };
    assert_eq!(news(&mut net, a), std::slice::from_ref(&stalled));

    // One message taken in time is enough.
    let from = net.peer_id(a);
    net.advance(secs(10));
    net.with(b, |m, now| {
        m.receive(now, from, 1, &mut Vec::new())
            .expect("a known peer")
    });
    net.advance(secs(11));
    assert_eq!(news(&mut net, a), []);
    net.advance(secs(20));
    assert_eq!(news(&mut net, a), [stalled]);
    net.resume_reader(b);
    net.advance(secs(100));
    assert_eq!(news(&mut net, a), [], "nothing is owed");
}

#[test]
fn each_loss_fails_the_next_flush_once_and_says_which_numbers() {
    let mut config = Config::default();
    config.on_peer_restart = OnPeerRestart::Report;
    let (mut net, a, b) = connected(Net::new(11), config);
    net.pause_reader(b);
    let why = Undeliverable::PeerRestarted;
    send_many(&mut net, a, b, 3);
    net.advance(secs(1));
    restart(&mut net, a, b);
    net.pause_reader(b);
    send_many(&mut net, a, b, 2);
    net.advance(secs(1));
    restart(&mut net, a, b);
    // What came after the loss is taken.
    send_many(&mut net, a, b, 1);
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 1);
    news(&mut net, a);
    net.flush(a, b, 1);
    net.flush(a, b, 2);
    let told = [
        flushed(&net, b, 1, Err(Losses::new(0..5, why))),
        flushed(&net, b, 2, Ok(())),
    ];
    assert_eq!(news(&mut net, a), told);
}

#[test]
fn a_loss_of_messages_that_a_waiting_flush_does_not_cover_is_left_for_the_next() {
    let (mut net, a, b) = connected(Net::new(12), Config::default());
    net.pause_reader(b);
    send_many(&mut net, a, b, 3);
    net.flush(a, b, 1);
    send_many(&mut net, a, b, 2);
    net.flush(a, b, 2);
    send_many(&mut net, a, b, 2);
    net.disconnect(a, b);
    net.flush(a, b, 3);
    net.flush(a, b, 4);
    let why = Undeliverable::Disconnected;
    let told = [
        undelivered(&net, b, 0..7, why),
        flushed(&net, b, 1, Err(Losses::new(0..3, why))),
        flushed(&net, b, 2, Err(Losses::new(0..5, why))),
        flushed(&net, b, 3, Err(Losses::new(5..7, why))),
        flushed(&net, b, 4, Ok(())),
    ];
    assert_eq!(news(&mut net, a), told);
}

#[test]
fn close_names_losses_that_no_flush_has_named() {
    let (mut net, a, b) = connected(Net::new(13), Config::default());
    let why = Undeliverable::Disconnected;
    net.pause_reader(b);
    send_many(&mut net, a, b, 2);
    net.disconnect(a, b);
    net.flush(a, b, 1);
    send_many(&mut net, a, b, 3);
    net.disconnect(a, b);
    news(&mut net, a);
    net.close(a);
    net.advance(secs(1));
    let closed = Event::Closed {
        undelivered: 0,
        losses: vec![(net.peer_id(b), Losses::new(2..5, why))],
    };
    assert_eq!(news(&mut net, a), [closed]);
}

#[test]
fn a_caller_that_has_gone_leaves_its_losses_for_the_next_flush() {
    let (mut net, a, b) = connected(Net::new(14), Config::default());
    let (to, why) = (net.peer_id(b), Undeliverable::Disconnected);
    net.pause_reader(b);
    send_many(&mut net, a, b, 2);
    net.flush(a, b, 1);
    net.with(a, |m, now| m.send_confirmed(now, to, b"confirm", 2))
        .expect("there is room");
    net.with(a, |m, now| {
        for token in [1, 2] {
            m.cancel_flush(now, to, token).expect("a known peer");
        }
    });
    net.disconnect(a, b);
    net.flush(a, b, 3);
    let losses = Losses::new(0..3, why);
    let told = [
        undelivered(&net, b, 0..3, why),
        flushed(&net, b, 3, Err(losses.clone())),
    ];
    assert_eq!(news(&mut net, a), told);
    net.with(a, |m, now| m.driver().return_losses(now, to, &losses))
        .expect("a known peer");
    net.flush(a, b, 4);
    net.flush(a, b, 5);
    let told = [
        flushed(&net, b, 4, Err(losses)),
        flushed(&net, b, 5, Ok(())),
    ];
    assert_eq!(news(&mut net, a), told);
}

#[test]
fn numbers_go_on_where_those_who_stage_messages_have_come_to() {
    let (mut net, a, b) = connected(Net::new(15), Config::default());
    let to = net.peer_id(b);
    let first = net
        .with(a, |m, now| m.send(now, to, b"0"))
        .expect("there is room");
    assert_eq!(first.get(), 0);
    net.advance(secs(1));
    net.forget(a, b);
    net.with(a, |m, now| m.driver().number_next(now, to, 7.into()));
    net.introduce_one_way(a, b);
    let next = net
        .with(a, |m, now| m.send(now, to, b"7"))
        .expect("there is room");
    assert_eq!(next.get(), 7);
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 2);
}

/// Replaces the process of `b`, and lets `a` notice.
fn restart(net: &mut Net, a: NodeId, b: NodeId) {
    net.crash(b);
    net.restart(b);
    net.resume_reader(b);
    net.introduce(a, b);
    net.connect(b, a);
    net.advance(secs(60));
}
