//! What is ours is counted within 2 % of the truth: queues without connections beside them.

use quicpool_core::Config;
use quicpool_sim::{ms, secs};

use crate::{
    Percent, heap,
    wire::{Look, Sessions, Wire},
};

const TOLERANCE: Percent = Percent(2);

/// Tables that the machine makes with its first connection, and keeps: of tokens, half-open handshakes, slots.
const TABLES_BYTES: usize = 4 * 1024;

/// Bytes of messages: empty, tiny, several in a packet, several packets, and a record of their own.
const SIZES: [usize; 5] = [0, 10, 300, 5_000, 200_000];

#[test]
fn an_outbox_without_a_connection_is_counted() {
    let _alone = heap::alone();
    for size in SIZES {
        let (mut wire, a, b) = introduced(Config::default());
        wire.nodes[b].is_cut = true;
        let before = wire.look(a);
        wire.send_all(a, b, &vec![1; size]);
        assert_counted(
            "what waits for a connection",
            size,
            wire.look(a).since(before),
        );
    }
}

#[test]
fn an_outbox_whose_messages_were_sent_one_by_one_is_counted() {
    let _alone = heap::alone();
    for size in SIZES {
        let (mut wire, a, b) = introduced(small());
        let before = wire.look(a);
        wire.connect(a, b);
        wire.advance(secs(1));
        // The reader's inbox is soon full, and each message is in a batch of its own.
        for _ in 0..20_000 {
            let now = wire.now;
            let to = wire.id(b);
            let sent = wire.at(a, |machine| machine.send_express(now, to, &vec![1; size]));
            if sent.is_err() {
                break;
            }
            wire.advance(ms(1));
        }
        part(&mut wire);
        assert_counted("what was sent", size, wire.look(a).since(before));
    }
}

#[test]
fn an_inbox_is_counted_read_or_not() {
    let _alone = heap::alone();
    for size in SIZES {
        let (mut wire, a, b) = introduced(small());
        let before = wire.look(b);
        wire.connect(a, b);
        wire.advance(secs(1));
        for _ in 0..20 {
            wire.send_all(a, b, &vec![1; size]);
            wire.advance(ms(100));
        }
        part(&mut wire);
        assert_counted("what waits", size, wire.look(b).since(before));
        let mut messages = wire.read(b, a, 1_000);
        assert_counted("what was read", size, wire.look(b).since(before));
        let count = messages.len() / 2;
        wire.take(b, &messages[..count]);
        wire.at(b, |_| {
            messages.drain(..count);
        });
        assert_counted("what was taken in part", size, wire.look(b).since(before));
    }
}

#[test]
fn queues_that_are_empty_again_hold_next_to_nothing() {
    let _alone = heap::alone();
    let (mut wire, a, b) = introduced(Config::default());
    wire.connect(a, b);
    wire.advance(secs(1));
    let before = [a, b].map(|node| wire.look(node));
    for _ in 0..20 {
        wire.send_all(a, b, &[1; 10]);
        wire.advance(ms(100));
    }
    for _ in 0..2_000 {
        let mut messages = wire.read(b, a, 10_000);
        wire.take(b, &messages);
        wire.at(b, |_| messages.clear());
        wire.advance(ms(10));
    }
    for (node, before) in [a, b].into_iter().zip(before) {
        let after = wire.look(node);
        assert!(after.queues < before.queues + 4_096, "{before:?} {after:?}");
        assert!(after.heap < after.usage + after.usage / 10, "{after:?}");
    }
}

// Helpers

fn introduced(config: Config) -> (Wire, usize, usize) {
    let mut wire = Wire::new(Sessions::Checksum);
    let (a, b) = (wire.node(config.clone()), wire.node(config));
    wire.introduce(a, b);
    wire.introduce(b, a);
    (wire, a, b)
}

/// Queues of half a MiB, so that they are full soon.
fn small() -> Config {
    let mut config = Config::default();
    config.message_bytes_max = 256 * 1024;
    config.outbox_bytes_max = 512 * 1024;
    config.inbox_bytes_max = 512 * 1024;
    config.backoff.initial = secs(60);
    config.backoff.max = secs(60);
    config
}

/// Ends all connections, and waits until QUIC has forgotten them.
fn part(wire: &mut Wire) {
    wire.nodes.iter_mut().for_each(|node| node.is_cut = true);
    wire.advance(secs(30));
}

fn assert_counted(what: &str, size: usize, grown: Look) {
    println!("{what}, of {size} bytes each: {grown:?}");
    assert!(
        grown.heap > 128 * 1024,
        "{what} of {size} bytes is not much: {grown:?}"
    );
    assert!(
        grown.heap.abs_diff(grown.queues) <= TOLERANCE.of(grown.heap) + TABLES_BYTES,
        "{what} of {size} bytes: {grown:?}"
    );
}
