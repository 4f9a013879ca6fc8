//! Flush, close and stalls of whole machines: who waits for whom, and for how long.

use std::ops::Range;

use quicpool_core::{
    Config, ConnectionStatus::Disconnected, Event, PeerError, SendError, Undeliverable,
};
use quicpool_sim::{Net, NodeId, ms, secs};

#[test]
fn flush_waits_until_the_other_application_has_taken_everything() {
    let (mut net, a, b) = connected_pair(Config::default());
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
    let (mut net, a, b) = connected_pair(config);
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
    let mut net = Net::new(6);
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce(a, b);
    send_many(&mut net, a, b, 3);
    net.close(a);
    net.advance(secs(1));
    assert_eq!(net.received(b).len(), 3);
    assert_eq!(news(&mut net, a), [Event::Closed { undelivered: 0 }]);
}

#[test]
fn a_peer_that_takes_nothing_is_reported_as_stalled() {
    let mut config = Config::default();
    config.stall_timeout = secs(20);
    let (mut net, a, b) = connected_pair(config);
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

// Helpers

fn connected_pair(config: Config) -> (Net, NodeId, NodeId) {
    let mut net = Net::new(9);
    let (a, b) = (net.node(config.clone()), net.node(config));
    net.introduce(a, b);
    net.connect(a, b);
    net.run_until(secs(1), |n| n.are_connected(a, b));
    (net, a, b)
}

/// Messages that say their number.
fn send_many(net: &mut Net, a: NodeId, b: NodeId, count: u64) {
    let first = net
        .peer_metrics(a, b)
        .map_or(0, |peer| peer.messages_accepted);
    for number in first..first + count {
        net.send(a, b, &number.to_be_bytes());
    }
}

/// Events but for those about connections and waiting messages.
fn news(net: &mut Net, node: NodeId) -> Vec<Event> {
    let mut events = net.events(node);
    events.retain(|event| !matches!(event, Event::StatusChanged { .. } | Event::Readable { .. }));
    events
}

fn undelivered(net: &Net, to: NodeId, messages: Range<u64>, reason: Undeliverable) -> Event {
    let peer = net.peer_id(to);
    Event::Undelivered {
        peer,
        messages,
        reason,
    }
}

fn flushed(net: &Net, to: NodeId, token: u64, result: Result<(), Undeliverable>) -> Event {
    let peer = net.peer_id(to);
    Event::Flushed {
        peer,
        token,
        result,
    }
}
