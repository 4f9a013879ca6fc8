//! Batches that the peer accepts only in parts.

use super::*;
use crate::testing::epoch;

/// A body with one message of a byte.
const TINY: usize = 3;

fn outbox(messages: &[&[u8]]) -> Outbox {
    let limits = BatchLimits {
        messages_max: 1_000,
        bytes_max: 64 * 1024,
    };
    let mut outbox = Outbox::new(HalfId([9; 16]), limits, 1 << 20);
    for message in messages {
        outbox.accept(epoch(), message);
    }
    outbox.close_tail();
    outbox
}

fn part_end(outbox: &Outbox) -> Option<u64> {
    outbox.queue().part_end.map(|place| place.number)
}

#[test]
fn a_batch_that_goes_in_many_parts_is_walked_and_copied_once() {
    let messages: Vec<_> = (0..=255).map(|byte| [byte]).collect();
    let messages: Vec<_> = messages.iter().map(|message| &message[..]).collect();
    let mut outbox = outbox(&messages);
    for (number, message) in (0..).zip(&messages) {
        if number > 0 {
            assert_eq!(
                part_end(&outbox),
                Some(number),
                "the next part begins there"
            );
        }
        let part = outbox.next_batch(TINY).expect("there is more");
        assert_eq!((part.header.first, part.header.count), (number, 1));
        assert_eq!(part.record.len(), HEADER_LEN + 2, "and no more is copied");
        assert_eq!(part.record[HEADER_LEN..], [1, message[0]]);
    }
    assert!(outbox.next_batch(TINY).is_none());
}

#[test]
fn the_next_batch_begins_at_its_own_beginning() {
    let mut outbox = outbox(&[b"a", b"b"]);
    for message in [b"c", b"d"] {
        outbox.accept(epoch(), message);
    }
    outbox.close_tail();
    for (number, message) in (0..).zip(*b"abcd") {
        let part = outbox.next_batch(TINY).expect("there is more");
        assert_eq!(part.header.first, number);
        assert_eq!(part.record[HEADER_LEN..], [1, message]);
    }
}

#[test]
fn parts_go_on_behind_a_message_that_was_made_void_meanwhile() {
    let mut outbox = outbox(&[b"a long one", b"b", b"c", b"d"]);
    let mut records = Vec::new();
    let mut next = |outbox: &mut Outbox| {
        let part = outbox.next_batch(TINY).expect("there is more");
        records.push(part.record.slice(part.header.length()..));
    };
    next(&mut outbox);
    // One before the end of the part, and one behind it.
    assert_eq!(outbox.void_longer_than(5), [(0, 10)]);
    next(&mut outbox);
    assert!(outbox.withdraw(2));
    next(&mut outbox);
    next(&mut outbox);
    assert_eq!(records[0][1..], b"a long one"[..]);
    assert_eq!(
        (&records[1][..], &records[3][..]),
        (&b"\x01b"[..], &b"\x01d"[..])
    );
}

#[test]
fn another_connection_begins_where_the_peer_wants_it() {
    let mut outbox = outbox(&[b"a", b"b", b"c"]);
    for _ in 0..2 {
        let _ = outbox.next_batch(TINY);
    }
    outbox.cursor = 1;
    for message in [b'b', b'c'] {
        let part = outbox.next_batch(TINY).expect("there is more");
        assert_eq!(part.record[HEADER_LEN..], [1, message]);
    }
}
