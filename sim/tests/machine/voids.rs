//! Messages that are taken back or expire before they are written: their numbers become voids.

use quicpool_core::{
    Cancelled, Config, Event, Losses, MessageNumber, PeerError, Undeliverable,
    driver::{BatchLimits, OpenBatch},
};
use quicpool_sim::{Net, NodeId, ms, secs};

#[test]
fn a_message_that_was_never_written_is_taken_back() {
    let (mut net, a, b) = pair();
    net.cut(a, b);
    let numbers: Vec<_> = (0..6u8).map(|n| send(&mut net, a, b, &[n; 100])).collect();
    let held = net.peer_metrics(a, b).expect("known").outbox_bytes;
    for withdrawn in [0, 2, 3, 5] {
        assert_eq!(
            cancel(&mut net, a, b, numbers[withdrawn]),
            Ok(Cancelled::Withdrawn)
        );
        let again = cancel(&mut net, a, b, numbers[withdrawn]);
        assert_eq!(again, Ok(Cancelled::TooLate));
    }
    let left = net.peer_metrics(a, b).expect("known").outbox_bytes;
    assert!(
        left + 4 * 100 <= held,
        "their room is free: {left} of {held}"
    );
    net.heal(a, b);
    net.advance(secs(10));
    assert_eq!(received(&mut net, b), [[1; 100], [4; 100]]);
    assert_eq!(undelivered(&mut net, a), [0; 0]);
    let counters = net.metrics(a).expect("it is up").counters;
    let [delivered, withdrawn] = [counters.messages_delivered, counters.messages_withdrawn];
    assert_eq!((delivered, withdrawn), (2, 4));
    assert_eq!(net.peer_metrics(a, b).expect("known").outbox_bytes, 0);

    let delivered = cancel(&mut net, a, b, numbers[1]);
    assert_eq!(delivered, Ok(Cancelled::TooLate));
    let not_sent = cancel(&mut net, a, b, 99.into());
    assert_eq!(not_sent, Ok(Cancelled::TooLate));
}

#[test]
fn nothing_waits_for_what_was_taken_back_or_has_expired() {
    let (mut net, a, b) = pair();
    net.cut(a, b);
    let peer = net.peer_id(b);
    let number = send(&mut net, a, b, b"taken back");
    net.with(a, |m, now| {
        m.send_until(now, peer, b"late", now + ms(20))
            .expect("there is room");
        m.flush(now, peer, 1).expect("a known peer");
    });
    net.advance(ms(100));
    let expired = Losses::new(1..2, Undeliverable::Expired);
    assert_eq!(flushes(&mut net, a), [(1, Err(expired))]);
    assert_eq!(cancel(&mut net, a, b, number), Ok(Cancelled::Withdrawn));
    // The peer was not reached, and it has nothing to be reached for.
    net.with(a, |m, now| m.flush(now, peer, 2)).expect("known");
    assert_eq!(flushes(&mut net, a), [(2, Ok(()))]);
    let explained = net.with(a, |m, now| m.explain(now, peer)).expect("known");
    assert_eq!(explained.queued_messages, 0);
    net.advance(secs(30));
    let dials = |net: &Net| net.peer_metrics(a, b).expect("known").dials;
    let before = dials(&net);
    net.advance(secs(60));
    assert_eq!(dials(&net), before);

    // Neither do voids between messages: the second flush waits for the message alone.
    send(&mut net, a, b, b"kept");
    let last = send(&mut net, a, b, b"taken back, too");
    assert_eq!(cancel(&mut net, a, b, last), Ok(Cancelled::Withdrawn));
    net.with(a, |m, now| m.flush(now, peer, 3)).expect("known");
    assert_eq!(flushes(&mut net, a), []);
    net.heal(a, b);
    net.advance(secs(100));
    assert_eq!(received(&mut net, b), [b"kept"]);
    assert_eq!(flushes(&mut net, a), [(3, Ok(()))]);

    net.cut(a, b);
    net.advance(secs(400));
    let number = send(&mut net, a, b, b"never");
    assert_eq!(cancel(&mut net, a, b, number), Ok(Cancelled::Withdrawn));
    net.with(a, |m, now| m.close(now));
    let events = net.events(a);
    let has_closed = |event: &Event| matches!(event, Event::Closed { .. });
    assert!(events.iter().any(has_closed), "close waits for nothing");
}

#[test]
fn voids_that_reach_no_peer_go_with_their_session() {
    let (mut net, a, b) = pair();
    net.cut(a, b);
    let number = send(&mut net, a, b, b"taken back");
    assert_eq!(cancel(&mut net, a, b, number), Ok(Cancelled::Withdrawn));
    let bytes = |net: &Net| net.peer_metrics(a, b).expect("known").outbox_bytes;
    assert_eq!(bytes(&net), 1);
    net.advance(secs(320));
    assert_eq!(bytes(&net), 0);
    assert_eq!(undelivered(&mut net, a), [0; 0]);
}

#[test]
fn a_flush_that_is_called_off_before_its_answer_is_read_swallows_no_loss() {
    let (mut net, a, b) = pair();
    net.cut(a, b);
    let peer = net.peer_id(b);
    send(&mut net, a, b, b"lost");
    net.disconnect(a, b);
    net.with(a, |m, now| {
        m.flush(now, peer, 1).expect("a known peer");
        m.cancel_flush(now, peer, 1).expect("a known peer");
        m.flush(now, peer, 2).expect("a known peer");
    });
    let lost = Losses::new(0..1, Undeliverable::Disconnected);
    assert_eq!(flushes(&mut net, a), [(2, Err(lost))]);
}

/// Takes the answers of flushes.
fn flushes(net: &mut Net, node: NodeId) -> Vec<(u64, Result<(), Losses>)> {
    let events = net.events(node).into_iter();
    events
        .filter_map(|event| {
            let Event::Flushed { token, result, .. } = event else {
                return None;
            };
            Some((token, result))
        })
        .collect()
}

#[test]
fn a_void_that_a_greeting_acknowledges_does_not_count_as_delivered() {
    let (mut net, a, b) = pair();
    net.connect(a, b);
    net.run_until(secs(5), |net| net.are_connected(a, b));
    net.advance(secs(1));
    net.cut_one_way(b, a); // no acknowledgement comes back
    let peer = net.peer_id(b);
    net.with(a, |m, now| {
        m.send(now, peer, b"kept").expect("there is room");
        let number = m.send(now, peer, b"taken back").expect("there is room");
        assert_eq!(m.cancel(now, peer, number), Ok(Cancelled::Withdrawn));
    });
    net.advance(secs(60));
    assert_eq!(received(&mut net, b), [b"kept"]);
    net.heal_all();
    net.advance(secs(150));
    let counters = net.metrics(a).expect("it is up").counters;
    let [delivered, withdrawn] = [counters.messages_delivered, counters.messages_withdrawn];
    assert_eq!((delivered, withdrawn), (1, 1));
}

#[test]
fn a_message_that_was_written_goes_on() {
    let (mut net, a, b) = pair();
    send(&mut net, a, b, b"first");
    net.advance(secs(1));
    net.cut(a, b);
    let number = send(&mut net, a, b, b"on its way");
    net.advance(ms(100));
    assert_eq!(cancel(&mut net, a, b, number), Ok(Cancelled::TooLate));
    net.heal(a, b);
    net.advance(secs(30));
    assert_eq!(received(&mut net, b), [&b"first"[..], b"on its way"]);
}

#[test]
fn everything_may_be_taken_back_and_numbers_go_on() {
    let (mut net, a, b) = pair();
    net.cut(a, b);
    let numbers: Vec<_> = (0..500u16)
        .map(|n| send(&mut net, a, b, &n.to_be_bytes()))
        .collect();
    for number in numbers {
        assert_eq!(cancel(&mut net, a, b, number), Ok(Cancelled::Withdrawn));
    }
    net.heal(a, b);
    let last = send(&mut net, a, b, b"what is left");
    assert_eq!(last.get(), 500);
    let peer = net.peer_id(b);
    net.with(a, |m, now| m.flush(now, peer, 7)).expect("known");
    net.advance(secs(10));
    assert_eq!(received(&mut net, b), [b"what is left"]);
    let flushed = Event::Flushed {
        peer,
        token: 7,
        result: Ok(()),
    };
    assert!(
        net.events(a).contains(&flushed),
        "to a flush they are no loss"
    );
}

#[test]
fn a_message_expires_unless_it_was_written() {
    let (mut net, a, b) = pair();
    let peer = net.peer_id(b);
    let until = |net: &Net, after| net.instant() + after;
    // Connected: it leaves at once.
    send(&mut net, a, b, b"hello");
    net.advance(secs(1));
    let soon = until(&net, ms(200));
    net.with(a, |m, now| m.send_until(now, peer, b"in time", soon))
        .expect("room");
    net.advance(secs(1));
    assert_eq!(received(&mut net, b), [&b"hello"[..], b"in time"]);

    net.with(a, |m, now| m.disconnect(now, peer))
        .expect("known");
    net.advance(secs(1));
    net.events(a);
    net.cut(a, b);
    for (payload, after) in [(b"1", 9_000), (b"2", 300), (b"3", 90_000), (b"4", 200)] {
        let until = until(&net, ms(after));
        net.with(a, |m, now| m.send_until(now, peer, payload, until))
            .expect("room");
    }
    net.with(a, |m, now| m.flush(now, peer, 7)).expect("known");
    net.advance(secs(1));
    assert_eq!(undelivered(&mut net, a), [5, 3]);
    net.advance(secs(9));
    assert_eq!(undelivered(&mut net, a), [2]);
    net.heal(a, b);
    net.advance(secs(30));
    assert_eq!(received(&mut net, b), [b"3"]);
    assert_eq!(undelivered(&mut net, a), [0; 0]);
}

#[test]
fn a_lifetime_that_ends_on_the_way_changes_nothing() {
    let (mut net, a, b) = pair();
    let peer = net.peer_id(b);
    send(&mut net, a, b, b"first");
    net.advance(secs(1));
    net.cut(a, b);
    let until = net.instant() + ms(300);
    net.with(a, |m, now| m.send_until(now, peer, b"on its way", until))
        .expect("room");
    net.advance(ms(100));
    net.with(a, |m, now| m.flush(now, peer, 7)).expect("known");
    net.advance(secs(1));
    assert_eq!(undelivered(&mut net, a), [0; 0], "it was written");
    net.heal(a, b);
    net.advance(secs(30));
    assert_eq!(received(&mut net, b), [&b"first"[..], b"on its way"]);
    let flushed = Event::Flushed {
        peer,
        token: 7,
        result: Ok(()),
    };
    assert!(net.events(a).contains(&flushed));
}

#[test]
fn a_message_that_a_caller_waits_for_is_not_taken_back() {
    let (mut net, a, b) = pair();
    let peer = net.peer_id(b);
    net.cut(a, b);
    net.with(a, |m, now| m.send_confirmed(now, peer, b"awaited", 7))
        .expect("room");
    assert_eq!(cancel(&mut net, a, b, 0.into()), Ok(Cancelled::TooLate));
    net.heal(a, b);
    net.advance(secs(10));
    assert_eq!(received(&mut net, b), [b"awaited"]);
}

#[test]
fn failure_28_a_message_that_was_staged_before_its_limit_was_known_is_reported_alone() {
    let mut net = Net::new(1).latency(ms(10));
    let mut small = Config::default();
    small.message_bytes_max = 1_000;
    let (a, b) = (net.node(Config::default()), net.node(small));
    net.introduce(a, b);
    send(&mut net, a, b, b"first");
    net.advance(secs(1));
    let peer = net.peer_id(b);
    let mut staged = OpenBatch::new(BatchLimits::of(&Config::default()));
    for len in [10, 1_001, 11] {
        staged.append(net.instant(), &vec![7; len]);
    }
    net.with(a, |m, now| m.driver().handle_staged(now, peer, &mut staged));
    net.advance(secs(1));
    let lengths: Vec<_> = received(&mut net, b).iter().map(Vec::len).collect();
    assert_eq!(lengths, [5, 10, 11]);
    let (size, max) = (1_001, 1_000);
    let reported = Event::Undelivered {
        peer,
        messages: 2..3,
        reason: Undeliverable::TooLarge { size, max },
    };
    assert!(net.events(a).contains(&reported));
    let counters = net.metrics(b).expect("it is up").counters;
    assert_eq!(counters.violations, 0, "it was never written");
}

#[test]
fn lifetimes_end_with_their_session() {
    let (mut net, a, b) = pair();
    let peer = net.peer_id(b);
    net.cut(a, b);
    let until = net.instant() + secs(5);
    net.with(a, |m, now| m.send_until(now, peer, b"x", until))
        .expect("room");
    net.with(a, |m, now| m.disconnect(now, peer))
        .expect("known");
    assert_eq!(undelivered(&mut net, a), [0]);
    net.advance(secs(10));
    assert_eq!(undelivered(&mut net, a), [0; 0], "it is reported once");
}

// Helpers

fn pair() -> (Net, NodeId, NodeId) {
    let mut net = Net::new(1).latency(ms(10));
    let (a, b) = (net.node(Config::default()), net.node(Config::default()));
    net.introduce(a, b);
    (net, a, b)
}

fn send(net: &mut Net, a: NodeId, b: NodeId, message: &[u8]) -> MessageNumber {
    let peer = net.peer_id(b);
    net.with(a, |m, now| m.send(now, peer, message))
        .expect("there is room")
}

fn cancel(
    net: &mut Net,
    a: NodeId,
    b: NodeId,
    number: MessageNumber,
) -> Result<Cancelled, PeerError> {
    let peer = net.peer_id(b);
    net.with(a, |m, now| m.cancel(now, peer, number))
}

fn received(net: &mut Net, node: NodeId) -> Vec<Vec<u8>> {
    let received = net.received(node);
    received.iter().map(|m| m.payload.to_vec()).collect()
}

/// Numbers of messages that were reported as undelivered since the last look.
fn undelivered(net: &mut Net, node: NodeId) -> Vec<u64> {
    let mut lost = Vec::new();
    for event in net.events(node) {
        if let Event::Undelivered {
            messages, reason, ..
        } = event
        {
            let expected = [Undeliverable::Expired, Undeliverable::Disconnected];
            assert!(expected.contains(&reason), "{reason:?}");
            lost.extend(messages);
        }
    }
    lost
}
