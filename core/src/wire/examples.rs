//! The examples of `docs/wire.md` are what this code writes.

use std::{convert::Infallible, time::Duration};

use super::{
    code::{ack_reason, busy_reason},
    datagram::{OVERHEAD, Sealer},
    entries,
    frame::Frame,
    hello::{Accepts, HalfId, Hello},
    lines::{Ack, LINE, LineAck, Lines},
    record::{HEADER_LEN, Header, Kind},
    seal::{Direction, RecordKey, Stream, context},
    stream, varint,
};
use crate::{Incarnation, MeshKey, testing::assert_documented};

/// The half of the examples: the bytes 0xa0 to 0xaf.
const HALF: HalfId = HalfId([
    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
]);

/// The half of the other end: the bytes 0xb0 to 0xbf.
const THEIRS: HalfId = HalfId([
    0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf,
]);

const PASSAGE: u64 = 2_097_224;

const LINE_ACK: LineAck = LineAck {
    received: 200,
    taken: 150,
    credit: 1 << 20,
};

const ACK: Ack = Ack {
    held: 70_000,
    passage: PASSAGE,
    line: LINE_ACK,
};

const LINES: Lines = Lines {
    held: 70_000,
    first: 5,
    passage: PASSAGE,
    has_seen: true,
    yours: Some(LINE_ACK),
};

fn hello() -> Hello {
    Hello {
        incarnation: Incarnation {
            started_ms: 1_700_000_000_000,
            random: 0x0123_4567_89ab_cdef,
        },
        dial: Some(1),
        check: Some([0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7]),
        can_dial: true,
        session_timeout: Duration::from_secs(300),
        half: HALF,
        known: Some(THEIRS),
        accepts: Accepts {
            message_bytes: 1 << 20,
            body_bytes: (1 << 20) + 4,
        },
        passage: PASSAGE,
        credit: 1 << 20,
    }
}

/// The record of the examples: the messages `hello` and none at all, numbers 5 and 6.
fn record() -> (Header, Vec<u8>) {
    let body = b"\x05hello\x00".to_vec();
    (Header::plain(body.len() as u32, 2, 5), body)
}

/// The same with the number 6 void.
fn headed() -> (Header, Vec<u8>) {
    let (_, voids) = entries::voids(6, 1, 100);
    let void = &voids[voids.len() - 3..];
    let body = [b"\x00\x05hello", void].concat();
    let header = Header {
        kind: Kind::Headed { age_ms: 0 },
        ..Header::plain(body.len() as u32, 2, 5)
    };
    (header, body)
}

fn whole(header: &Header, body: &[u8]) -> Vec<u8> {
    [&header.encode()[..header.length()], body].concat()
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

#[test]
fn numbers_are_as_documented() {
    for value in [37, 15_293, 494_878_333, 151_288_809_941_952_652] {
        let mut bytes = Vec::new();
        varint::put(&mut bytes, value);
        assert_documented("a varint", &bytes);
    }
}

#[test]
fn frames_are_as_documented() {
    assert_documented("a hello", &encoded(&Frame::Hello(hello())));
    assert_documented("LINES", &encoded(&Frame::Lines(LINES)));
    let unknown = Lines {
        has_seen: false,
        yours: None,
        ..LINES
    };
    let bytes = encoded(&Frame::Lines(unknown));
    assert_documented(
        "what LINES has of a half that is not known",
        &bytes[bytes.len() - 3..],
    );
    assert_documented("an acknowledgement", &encoded(&Frame::Ack(ACK)));
}

#[test]
fn stream_headers_are_as_documented() {
    let mut bytes = Vec::new();
    stream::put_entries(&mut bytes, LINE);
    assert_eq!(bytes.len(), stream::ENTRIES_LEN);
    assert_documented("the header of line 0", &bytes);
}

#[test]
fn close_reasons_are_as_documented() {
    let last = Ack {
        passage: 0,
        line: LineAck {
            credit: 0,
            ..LINE_ACK
        },
        ..ACK
    };
    assert_documented("a final acknowledgement", &ack_reason(&last));
    let busy = busy_reason(Duration::from_millis(1_500));
    assert_documented("a delay", &busy);
}

#[test]
fn records_are_as_documented() {
    for (header, body) in [record(), headed()] {
        assert_documented("a record", &whole(&header, &body));
    }
}

#[test]
fn sealed_records_are_as_documented() {
    let Ok(mut key) = RecordKey::derive(|key| {
        (0..).zip(key).for_each(|(number, byte)| *byte = number);
        Ok::<_, Infallible>(())
    });
    let mut stream = Stream::new(HALF, LINE, 1);
    let records = [record(), record(), headed()];
    for (what, (header, mut body)) in ["first", "second", "third"].into_iter().zip(records) {
        let tag = key
            .seal(&mut stream, &header, &mut body)
            .expect("young key");
        let sealed = [whole(&header, &body), tag.to_vec()].concat();
        assert!(sealed.len() >= HEADER_LEN + 7 + 16);
        assert_documented(&format!("the {what} sealed record"), &sealed);
    }
}

#[test]
fn sealed_datagrams_are_as_documented() {
    let Ok(mut key) = Sealer::derive(|key| {
        (0..).zip(key).for_each(|(number, byte)| *byte = number);
        Ok::<_, Infallible>(())
    });
    for what in ["the first sealed datagram", "the second sealed datagram"] {
        let sealed = key.seal(b"hello").expect("young key");
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_documented(what, &sealed);
    }
    let sealed = key.seal(b"").expect("young key");
    assert_documented("a sealed datagram without payload", &sealed);
}

#[test]
fn exporter_contexts_are_as_documented() {
    let mut bytes = [0; 32];
    (0x40..).zip(&mut bytes).for_each(|(n, byte)| *byte = n);
    let mesh_key = MeshKey::new(&bytes);
    assert_documented(
        "the context of the dialler's key",
        &context(Direction::FromDialler, None)[..],
    );
    assert_documented(
        "the context of the acceptor's key with a mesh key",
        &context(Direction::FromAcceptor, Some(&mesh_key))[..],
    );
}

#[test]
fn close_codes_are_as_documented() {
    let document = include_str!("../../../docs/wire.md");
    for line in include_str!("code.snapshot.txt").lines() {
        let (number, name) = line.split_once(' ').expect("a number and a name");
        let row = format!("| `{number}` | {name} |");
        assert!(
            document.contains(&row),
            "docs/wire.md should contain: {row}"
        );
    }
}
