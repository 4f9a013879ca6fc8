//! Flush, close and stalls of whole machines: who waits for whom, and for how long.

use std::time::Duration;

use quicpool_core::{
    Config, ConnectionStatus::Disconnected, Event, PeerError, SendError, Undeliverable,
};
use quicpool_sim::{Net, ms, secs};

use crate::support::{connected, flushed, introduced, news, send_many, undelivered};

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
    net.with(b, |m, now| m.receive(now, from, 9, &mut Vec::new()));
    net.advance(secs(1));
    assert_eq!(news(&mut net, a), []);
    net.with(b, |m, now| m.receive(now, from, 1, &mut Vec::new()));
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
        Event::Closed { undelivered: 10 },
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
    assert_eq!(news(&mut net, a), [Event::Closed { undelivered: 0 }]);
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
            assert_eq!(
                news(&mut net, node),
                [Event::Closed { undelivered: 0 }],
                "seed {seed}"
            );
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
    net.with(b, |m, now| m.receive(now, from, 1, &mut Vec::new()));
    net.advance(secs(11));
    assert_eq!(news(&mut net, a), []);
    net.advance(secs(20));
    assert_eq!(news(&mut net, a), [stalled]);
    net.resume_reader(b);
    net.advance(secs(100));
    assert_eq!(news(&mut net, a), [], "nothing is owed");
}
