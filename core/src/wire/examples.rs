//! The examples of `docs/wire.md` are what this code writes.

use std::{convert::Infallible, time::Duration};

use super::{
    code::{ack_reason, busy_reason},
    datagram::{OVERHEAD, Sealer},
    frame::{Accepts, Ack, Frame, Hello, Known, Line, LineId, Sealed},
    record::{HEADER_LEN, Header},
    seal::{Direction, RecordKey, context},
    varint,
};
use crate::{Incarnation, MeshKey, testing::assert_documented};

/// The line of the examples: the bytes 0xa0 to 0xaf.
const LINE: LineId = LineId([
    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
]);

/// The line of the other end: the bytes 0xb0 to 0xbf.
const THEIRS: LineId = LineId([
    0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf,
]);

const ACK: Ack = Ack {
    received: 200,
    taken: 150,
    held: 70_000,
};

fn hello() -> Hello {
    Hello {
        incarnation: Incarnation {
            started_ms: 1_700_000_000_000,
            random: 0x0123_4567_89ab_cdef,
        },
        dial: 1,
        sealed: Sealed {
            mode: 1,
            check: [0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7],
        },
        session_timeout: Duration::from_secs(300),
        accepts: Accepts {
            message_bytes: 1 << 20,
            body_bytes: (1 << 20) + 4,
        },
        mine: Line {
            id: LINE,
            first: 5,
            next: 9,
        },
        yours: Some(Known {
            id: THEIRS,
            received: 200,
            taken: 150,
        }),
        can_dial: true,
    }
}

/// The record of the examples: the messages `hello` and none at all, numbers 5 and 6.
fn record() -> (Header, Vec<u8>) {
    let body = b"\x05hello\x00".to_vec();
    let header = Header {
        len: body.len() as u32,
        count: 2,
        first: 5,
    };
    (header, body)
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
    let first_contact = Hello {
        yours: None,
        ..hello()
    };
    let body = encoded(&Frame::Hello(first_contact));
    assert_documented("what a hello says of an unknown line", &body[86..119]);
    assert_documented("an acknowledgement", &encoded(&Frame::Ack(ACK)));
}

#[test]
fn close_reasons_are_as_documented() {
    assert_documented("a final acknowledgement", &ack_reason(&ACK));
    let busy = busy_reason(Duration::from_millis(1_500));
    assert_documented("a delay", &busy);
}

#[test]
fn records_are_as_documented() {
    let (header, body) = record();
    assert_documented("a record", &[&header.encode()[..], &body].concat());
}

#[test]
fn sealed_records_are_as_documented() {
    let Ok(mut key) = RecordKey::derive(|key| {
        (0..).zip(key).for_each(|(number, byte)| *byte = number);
        Ok::<_, Infallible>(())
    });
    for what in ["the first sealed record", "the second sealed record"] {
        let (header, mut body) = record();
        let tag = key.seal(LINE, &header, &mut body).expect("young key");
        let sealed = [&header.encode()[..], &body, &tag].concat();
        assert_eq!(sealed.len(), HEADER_LEN + 7 + 16);
        assert_documented(what, &sealed);
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
