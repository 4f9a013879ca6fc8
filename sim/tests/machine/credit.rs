//! Nothing waits for credit that only it could give: whatever is full, acknowledgements pass, and
//! the largest and the smallest messages too.

use quicpool_core::{Config, Flush, Message, SendError, driver::TakenMessages};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{connected, counters, introduced, numbers, send_many_of};

/// More than a round trip and the delay of an acknowledgement.
const ANSWER: std::time::Duration = ms(40);

#[test]
fn two_that_send_and_do_not_read_hear_of_each_message_that_the_other_takes_all_the_same() {
    let (mut net, a, b) = connected(Net::new(1).latency(ms(10)), small());
    for node in [a, b] {
        net.pause_reader(node);
    }
    let sent = [(a, b), (b, a)].map(|(from, to)| fill(&mut net, from, to, 200));
    net.advance(secs(30));
    for (from, to) in [(a, b), (b, a)] {
        assert_eq!(net.try_send(from, to, &[0; 200]), Err(SendError::Full));
    }

    let mut taken = [Vec::new(), Vec::new()];
    for count in 1..=20 {
        for (index, (from, to)) in [(a, b), (b, a)].into_iter().enumerate() {
            taken[index].extend(take(&mut net, to, from, 1));
            net.advance(ANSWER);
            assert_eq!(delivered(&net, from, to), count, "{net:?}");
        }
    }
    for (index, (from, to)) in [(a, b), (b, a)].into_iter().enumerate() {
        taken[index].extend(drain(&mut net, to, from));
        assert_eq!(numbers(&taken[index]), (0..sent[index]).collect::<Vec<_>>());
        assert_eq!(delivered(&net, from, to), sent[index]);
    }
}

#[test]
fn data_that_fills_its_window_leaves_room_for_acknowledgements() {
    // Default limits: the outbox is longer than the stream's window and the inbox together.
    let (mut net, bulk, reader) = connected(Net::new(2).latency(ms(10)), Config::default());
    net.pause_reader(reader);
    let sent = fill(&mut net, bulk, reader, 60_000);
    net.advance(secs(30));
    let received = counters(&net, reader).messages_received;
    assert!(received < sent, "the stream is not read any more");
    let unread = net
        .peer_metrics(reader, bulk)
        .map_or(0, |of| of.inbox_bytes);
    assert!(unread >= 1 << 20, "{unread} bytes wait");

    // What comes the other way is acknowledged beside it, message by message, for as long as it
    // stands still: acknowledgements use no credit up for ever.
    for count in 1..=5_000 {
        net.send(reader, bulk, b"are you listening?");
        net.advance(ANSWER);
        assert_eq!(delivered(&net, reader, bulk), count);
    }
    net.resume_reader(reader);
    net.advance(secs(5));
    assert_eq!(
        numbers(&net.received(reader)),
        (0..sent).collect::<Vec<_>>()
    );
}

#[test]
fn a_largest_message_passes_through_the_smallest_inbox() {
    let mut config = Config::default();
    config.inbox_bytes_max = 1_024;
    let (mut net, a, b) = introduced(Net::new(3).latency(ms(10)), config);
    for (from, to) in [(a, b), (b, a)] {
        send_many_of(&mut net, from, to, 3, 1024 * 1024);
    }
    net.advance(secs(10));
    for node in [a, b] {
        assert_eq!(numbers(&net.received(node)), [0, 1, 2]);
    }
}

#[test]
fn a_fullest_batch_passes_through_the_smallest_inbox() {
    let mut config = Config::default();
    config.inbox_bytes_max = 1_024;
    config.batch_bytes_max = 1024 * 1024;
    config.batch_messages_max = 65_536;
    config.flush = Flush::Fixed;
    let (mut net, a, b) = introduced(Net::new(4).latency(ms(10)), config);
    for (from, to) in [(a, b), (b, a)] {
        send_many_of(&mut net, from, to, 150_000, 20);
    }
    net.advance(secs(10));
    for node in [a, b] {
        assert_eq!(
            numbers(&net.received(node)),
            (0..150_000).collect::<Vec<_>>()
        );
        let batches = counters(&net, node).batches_sent;
        assert!(batches < 10, "{batches} batches: they are full");
    }
}

#[test]
fn limits_that_would_hold_each_other_up_are_refused_at_once() {
    let record = 16 + 4 + 1024 * 1024 + 16;
    let refused: [fn(&mut Config); 3] = [
        |config| config.outbox_bytes_max = 16 + 4 + 1024 * 1024 + 15,
        |config| config.outbox_bytes_max = config.memory_max / 2 + 1,
        |config| config.tuning.control_reserve = 4 * 1024 - 1,
    ];
    for limit in refused {
        let mut config = Config::default();
        limit(&mut config);
        assert!(config.check().is_err(), "{config:?}");
    }
    let mut config = Config::default();
    config.outbox_bytes_max = record;
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn a_flood_of_empty_messages_is_bounded_at_both_ends_and_passes() {
    let (mut net, a, b) = connected(Net::new(5).latency(ms(10)), small());
    net.pause_reader(b);
    let mut sent = 0;
    for _ in 0..10 {
        while net.try_send(a, b, b"").is_ok() {
            sent += 1;
        }
        net.advance(secs(1));
    }
    let small = small();
    let outbox_max = small.outbox_bytes_max as u64;
    assert!(
        (outbox_max * 3 / 4..=outbox_max).contains(&sent),
        "an empty one takes a byte, and so many of them a share of their batch: {sent}"
    );
    let held = net.peer_metrics(b, a).expect("it is known");
    let inbox_max = small.inbox_bytes_max + small.batch_bytes_max;
    assert!(held.messages_received as usize <= inbox_max, "{held:?}");
    let peer = net.peer_id(a);
    let mut read = Vec::new();
    net.with(b, |machine, now| {
        machine
            .receive_held(now, peer, usize::MAX, &mut read)
            .expect("a known peer")
    });
    assert!(
        read.len() <= small.inbox_bytes_max / 88 + 1,
        "{} at a time",
        read.len()
    );
    let count = read.len();
    net.with(b, |machine, now| {
        for taken in TakenMessages::of(&read) {
            let marked = machine.driver().mark_taken(now, &taken);
            marked.expect("a known peer");
        }
    });

    let taken = count + drain(&mut net, b, a).len();
    assert_eq!(taken as u64, sent);
    assert_eq!(delivered(&net, a, b), sent);
}

#[test]
fn a_reader_that_takes_one_message_at_a_time_gets_all_of_them() {
    let (mut net, a, b) = connected(Net::new(6).latency(ms(10)), small());
    net.pause_reader(b);
    let mut sent = 0;
    let mut taken = Vec::new();
    for _ in 0..2_000 {
        while sent < 500 && net.try_send(a, b, &message(sent, 200)).is_ok() {
            sent += 1;
        }
        taken.extend(take(&mut net, b, a, 1));
        net.advance(ms(30));
    }
    assert_eq!(numbers(&taken), (0..500).collect::<Vec<_>>());
    assert_eq!(delivered(&net, a, b), 500);
}

#[test]
fn what_is_lost_and_sent_again_does_not_hold_up_acknowledgements() {
    let (mut net, bulk, other) = connected(Net::new(7).latency(ms(10)), Config::default());
    net.loss(0.2);
    for _ in 0..200 {
        fill(&mut net, bulk, other, 60_000);
        net.send(other, bulk, b"are you listening?");
        net.advance(ms(50));
    }
    // All but the last second's have been acknowledged beside the flood.
    let heard = delivered(&net, other, bulk);
    assert!(heard > 200 - 20, "{heard} of 200");
}

#[test]
fn an_acknowledgement_waits_for_5_ms_or_for_128_kib() {
    let (mut net, a, b) = connected(Net::new(7).latency(ms(1)), Config::default());
    // So much is in flight at once that the path is no matter.
    for _ in 0..20 {
        send_many_of(&mut net, a, b, 500, 1_000);
        net.advance(secs(1));
    }
    let mut heard_after = |messages, time| {
        net.advance(secs(1));
        let before = delivered(&net, a, b);
        send_many_of(&mut net, a, b, messages, 1_000);
        net.advance(time);
        delivered(&net, a, b) - before
    };
    assert_eq!(heard_after(20, ms(4)), 0, "it waits for others");
    assert_eq!(heard_after(20, ms(8)), 20);
    // Less than a quarter of the credit, which would be worth one, too.
    let heard = heard_after(200, ms(4));
    assert!((130..200).contains(&heard), "{heard}");
}

#[test]
fn hello_and_acknowledgements_pass_where_a_new_connection_is_full_at_once() {
    // Each connection begins with more data than its windows hold, both ways, and is lost.
    let (mut net, a, b) = connected(Net::new(8).latency(ms(10)), small());
    for node in [a, b] {
        net.pause_reader(node);
    }
    let sent = [(a, b), (b, a)].map(|(from, to)| fill(&mut net, from, to, 200));
    for _ in 0..5 {
        net.cut(a, b);
        net.advance(secs(20));
        net.heal(a, b);
        net.run_until(secs(200), |n| n.are_connected(a, b));
        net.advance(secs(15));
    }
    for (index, (from, to)) in [(a, b), (b, a)].into_iter().enumerate() {
        let taken = drain(&mut net, to, from);
        assert_eq!(numbers(&taken), (0..sent[index]).collect::<Vec<_>>());
        assert_eq!(delivered(&net, from, to), sent[index]);
    }
}

#[test]
fn the_smallest_peer_there_may_be_and_one_with_default_limits_talk_both_ways() {
    let mut smallest = Config::default();
    smallest.connections_max = 1;
    smallest.handshakes_max = 1;
    smallest.peers_max = 1;
    smallest.batch_messages_max = 1;
    smallest.batch_bytes_max = 1_024;
    smallest.message_bytes_max = 8;
    smallest.inbox_bytes_max = 1_024;
    smallest.outbox_bytes_max = 16 + 1_024 + 16;
    smallest.memory_max = 1024 * 1024;
    smallest.tuning.control_reserve = 4 * 1024;
    for dialler in [0, 1] {
        let mut net = Net::new(9).latency(ms(10));
        let nodes = [net.node(smallest.clone()), net.node(Config::default())];
        net.introduce(nodes[0], nodes[1]);
        net.connect(nodes[dialler], nodes[1 - dialler]);
        net.run_until(secs(1), |n| n.are_connected(nodes[0], nodes[1]));
        for node in nodes {
            net.pause_reader(node);
        }
        // The outbox of the one is longer than all that the other can hold.
        let ways = [(nodes[0], nodes[1]), (nodes[1], nodes[0])];
        let sent = ways.map(|(from, to)| {
            let mut sent = 0;
            while sent < 20_000 && net.try_send(from, to, &message(sent, 8)).is_ok() {
                sent += 1;
            }
            sent
        });
        net.advance(secs(30));
        for (index, (from, to)) in ways.into_iter().enumerate() {
            let taken = drain(&mut net, to, from);
            assert_eq!(numbers(&taken), (0..sent[index]).collect::<Vec<_>>());
            assert_eq!(delivered(&net, from, to), sent[index]);
            assert_eq!(counters(&net, from).violations, 0);
        }
    }
}

// Helpers

/// Limits of which a few messages are too much.
fn small() -> Config {
    let mut config = Config::default();
    config.message_bytes_max = 1_024;
    config.batch_bytes_max = 1_024;
    config.inbox_bytes_max = 2_048;
    config.outbox_bytes_max = 64 * 1_024;
    config.tuning.control_reserve = 4 * 1_024;
    config
}

/// A message as [`numbers`] reads it.
fn message(number: u64, len: usize) -> Vec<u8> {
    let mut message = number.to_be_bytes().to_vec();
    message.resize(len, 7);
    message
}

/// Sends numbered messages of this length until the outbox is full; how many were ever accepted.
fn fill(net: &mut Net, from: NodeId, to: NodeId, len: usize) -> u64 {
    let accepted = |net: &Net| {
        let metrics = net.peer_metrics(from, to);
        metrics.map_or(0, |peer| peer.messages_accepted)
    };
    while net.try_send(from, to, &message(accepted(net), len)).is_ok() {}
    accepted(net)
}

/// Messages that a node has sent and knows to be taken.
fn delivered(net: &Net, from: NodeId, to: NodeId) -> u64 {
    let metrics = net.peer_metrics(from, to);
    metrics.map_or(0, |peer| peer.messages_delivered)
}

fn take(net: &mut Net, node: NodeId, from: NodeId, max: usize) -> Vec<Message> {
    let from = net.peer_id(from);
    let mut messages = Vec::new();
    net.with(node, |machine, now| {
        machine
            .receive(now, from, max, &mut messages)
            .expect("a known peer")
    });
    messages
}

/// Takes what there is, again and again, until there is nothing for a while.
fn drain(net: &mut Net, node: NodeId, from: NodeId) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut pauses = 0;
    while pauses < 10 {
        let taken = take(net, node, from, usize::MAX);
        pauses = if taken.is_empty() { pauses + 1 } else { 0 };
        messages.extend(taken);
        net.advance(ANSWER);
    }
    messages
}
