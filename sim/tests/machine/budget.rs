//! Shares of `memory_max`: no peer takes all of it, and `Writable` follows once there is room.

use quicpool_core::{Config, Event, SendError};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{numbers, send_many_of};

const KIB: usize = 1_024;

/// Half of `memory_max`.
const OUTBOXES_MAX: usize = 512 * KIB;

/// A quarter of it.
const INBOXES_MAX: usize = 256 * KIB;

/// Bytes of each message.
const MESSAGE: usize = 1_000;

#[test]
fn outboxes_hold_half_of_memory_together_and_the_last_peer_can_still_send() {
    let (mut net, hub, gone) = hub_and_gone(12);
    let alive = net.node(small());
    net.introduce(hub, alive);
    gone.iter().for_each(|peer| fill(&mut net, hub, *peer));
    let held: Vec<usize> = gone.iter().map(|peer| outbox(&net, hub, *peer)).collect();
    let sum: usize = held.iter().sum();
    assert!(sum <= OUTBOXES_MAX, "{held:?}");
    assert!(sum > OUTBOXES_MAX / 2, "{held:?}");
    assert!(held.iter().all(|bytes| *bytes >= MESSAGE), "{held:?}");
    send_many_of(&mut net, hub, alive, 1, MESSAGE);
    net.advance(secs(1));
    assert_eq!(net.received(alive).len(), 1);
}

#[test]
fn who_waits_for_others_to_make_room_is_told_when_they_do() {
    let (mut net, hub, gone) = hub_and_gone(12);
    gone.iter().for_each(|peer| fill(&mut net, hub, *peer));
    let (last, hogs) = (gone[11], &gone[..6]);
    want_room(&mut net, hub, last, 100 * KIB);
    net.advance(secs(1));
    assert!(!is_told(&mut net, hub, last), "there is no room");
    hogs.iter().for_each(|peer| net.disconnect(hub, *peer));
    assert!(is_told(&mut net, hub, last));
}

#[test]
fn room_that_nobody_takes_is_offered_to_all_who_wait_some_at_a_time() {
    let (mut net, hub, gone) = hub_and_gone(12);
    gone.iter().for_each(|peer| fill(&mut net, hub, *peer));
    let waiting = &gone[4..];
    for peer in waiting {
        want_room(&mut net, hub, *peer, 40 * KIB);
    }
    net.events(hub);
    gone[..4].iter().for_each(|peer| net.disconnect(hub, *peer));
    let mut told = told(&mut net, hub).len();
    assert!(told >= 1, "somebody is told at once");
    assert!(told < waiting.len(), "the room is not for all: {told}");
    net.advance(ms(50));
    told += self::told(&mut net, hub).len();
    assert_eq!(
        told,
        waiting.len(),
        "nobody has taken it, so each is told once"
    );
}

#[test]
fn a_peer_that_is_forgotten_waits_no_more() {
    let (mut net, hub, gone) = hub_and_gone(12);
    gone.iter().for_each(|peer| fill(&mut net, hub, *peer));
    want_room(&mut net, hub, gone[11], 100 * KIB);
    gone.iter().rev().for_each(|peer| net.forget(hub, *peer));
    net.advance(secs(1));
    assert!(!is_told(&mut net, hub, gone[11]));
    assert_eq!(net.occupancy(hub).map(|held| held.queued_bytes), Some(0));
}

#[test]
fn inboxes_hold_a_quarter_of_memory_together_and_a_record_of_each_peer() {
    let mut net = Net::new(1).latency(ms(5));
    let hub = net.node(small());
    let others = net.nodes(8, &small());
    net.introduce_all();
    net.pause_reader(hub);
    for other in &others {
        send_many_of(&mut net, *other, hub, 100, MESSAGE);
    }
    net.advance(secs(5));
    let held = |net: &Net| -> Vec<usize> {
        let bytes = |other: &NodeId| {
            net.peer_metrics(hub, *other)
                .map_or(0, |peer| peer.inbox_bytes)
        };
        others.iter().map(bytes).collect()
    };
    let inboxes = held(&net);
    let sum: usize = inboxes.iter().sum();
    assert!(sum < INBOXES_MAX + 8 * 5 * KIB, "{inboxes:?}");
    assert!(sum > INBOXES_MAX / 2, "{inboxes:?}");
    assert!(inboxes.iter().all(|bytes| *bytes >= MESSAGE), "{inboxes:?}");

    // Reading the messages of one peer lets the others go on.
    let mut received = Vec::new();
    for _ in 0..100 {
        for other in &others {
            let from = net.peer_id(*other);
            let mut messages = Vec::new();
            net.with(hub, |machine, now| {
                machine
                    .receive(now, from, usize::MAX, &mut messages)
                    .expect("a known peer")
            });
            received.extend(messages);
        }
        net.advance(ms(20));
    }
    for other in &others {
        let from = net.peer_id(*other);
        let of = |message: &&quicpool_core::Message| message.from == from;
        let messages: Vec<_> = received.iter().filter(of).cloned().collect();
        assert_eq!(numbers(&messages), (0..100).collect::<Vec<_>>());
    }
}

// Helpers

fn small() -> Config {
    let mut config = Config::default();
    config.message_bytes_max = 4 * KIB;
    config.batch_bytes_max = 4 * KIB;
    config.outbox_bytes_max = 400 * KIB;
    config.inbox_bytes_max = 200 * KIB;
    config.memory_max = 1_024 * KIB;
    config
}

/// A node, and so many of its peers that nothing reaches.
fn hub_and_gone(count: usize) -> (Net, NodeId, Vec<NodeId>) {
    let mut net = Net::new(1).latency(ms(5));
    let hub = net.node(small());
    let gone = net.nodes(count, &small());
    for peer in &gone {
        net.introduce(hub, *peer);
        net.isolate(*peer);
    }
    (net, hub, gone)
}

fn fill(net: &mut Net, node: NodeId, to: NodeId) {
    loop {
        match net.try_send(node, to, &[1; MESSAGE]) {
            Ok(()) => {}
            Err(error) => return assert_eq!(error, SendError::Full),
        }
    }
}

fn outbox(net: &Net, node: NodeId, to: NodeId) -> usize {
    net.peer_metrics(node, to)
        .map_or(0, |peer| peer.outbox_bytes)
}

fn want_room(net: &mut Net, node: NodeId, to: NodeId, bytes: usize) {
    let to = net.peer_id(to);
    net.with(node, |machine, now| {
        machine.want_room(now, to, bytes).expect("a known peer")
    });
}

fn told(net: &mut Net, node: NodeId) -> Vec<Event> {
    let mut events = net.events(node);
    events.retain(|event| matches!(event, Event::Writable { .. }));
    events
}

fn is_told(net: &mut Net, node: NodeId, of: NodeId) -> bool {
    let peer = net.peer_id(of);
    told(net, node).contains(&Event::Writable { peer })
}
