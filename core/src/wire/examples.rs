//! The examples of `docs/wire.md` are what this code writes.

use std::{convert::Infallible, time::Duration};

use super::{
    aead::TAG_LEN,
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
use crate::{
    Incarnation, MeshKey,
    document::{Example, assert_documented, assert_stated},
};

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

/// The values of the examples of varints.
const NUMBERS: [u64; 4] = [37, 15_293, 494_878_333, 151_288_809_941_952_652];

fn varint(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::put(&mut bytes, value);
    bytes
}

/// All examples of the document but those of identities.
pub(crate) fn all() -> Vec<Example> {
    let mut all: Vec<_> = NUMBERS.map(|value| ("a varint", varint(value))).into();
    all.push(("the random bits of an incarnation", random()));
    all.extend(frames());
    all.push(("the header of line 0", stream_header()));
    all.extend(reasons());
    all.extend(records());
    all.extend(sealed_records());
    all.extend(datagrams());
    all.extend(contexts());
    all
}

fn assert_all(examples: impl IntoIterator<Item = Example>) {
    for (what, bytes) in examples {
        assert_documented(what, &bytes);
    }
}

#[test]
fn numbers_are_as_documented() {
    let grouped = ["37", "15,293", "494,878,333", "151,288,809,941,952,652"];
    for (value, grouped) in NUMBERS.into_iter().zip(grouped) {
        assert_eq!(grouped.replace(',', ""), value.to_string());
        let hex: String = varint(value).iter().map(|b| format!("{b:02x}")).collect();
        assert_stated(&format!("| {grouped} | `{hex}` |"));
    }
}

fn random() -> Vec<u8> {
    hello().incarnation.random.to_be_bytes().to_vec()
}

fn frames() -> Vec<Example> {
    let unknown = Lines {
        has_seen: false,
        yours: None,
        ..LINES
    };
    let unknown = encoded(&Frame::Lines(unknown));
    let end = unknown[unknown.len() - 3..].to_vec();
    vec![
        ("a hello", encoded(&Frame::Hello(hello()))),
        ("LINES", encoded(&Frame::Lines(LINES))),
        ("what LINES has of a half that is not known", end),
        ("an acknowledgement", encoded(&Frame::Ack(ACK))),
    ]
}

#[test]
fn frames_are_as_documented() {
    assert_all(frames());
}

fn stream_header() -> Vec<u8> {
    let mut bytes = Vec::new();
    stream::put_entries(&mut bytes, LINE);
    bytes
}

#[test]
fn stream_headers_are_as_documented() {
    assert_all([("the header of line 0", stream_header())]);
}

fn reasons() -> Vec<Example> {
    let last = Ack {
        passage: 0,
        line: LineAck {
            credit: 0,
            ..LINE_ACK
        },
        ..ACK
    };
    let delay = busy_reason(Duration::from_millis(1_500));
    vec![
        ("a final acknowledgement", ack_reason(&last).to_vec()),
        ("a delay", delay.to_vec()),
    ]
}

#[test]
fn close_reasons_are_as_documented() {
    assert_all(reasons());
}

fn records() -> Vec<Example> {
    [record(), headed()]
        .map(|(header, body)| ("a record", whole(&header, &body)))
        .into()
}

#[test]
fn records_are_as_documented() {
    assert_all(records());
}

fn sealed_records() -> Vec<Example> {
    let Ok(mut key) = RecordKey::derive(|key| {
        (0..).zip(key).for_each(|(number, byte)| *byte = number);
        Ok::<_, Infallible>(())
    });
    let mut stream = Stream::new(HALF, LINE, 1);
    let mut sealed = |what, (header, mut body): (Header, Vec<u8>)| {
        let tag = key.seal(&mut stream, &header, &mut body);
        let tag = tag.expect("young key");
        (what, [whole(&header, &body), tag.to_vec()].concat())
    };
    vec![
        sealed("the first sealed record", record()),
        sealed("the second sealed record", record()),
        sealed("the third sealed record", headed()),
    ]
}

#[test]
fn sealed_records_are_as_documented() {
    let examples = sealed_records();
    let is_whole = |(_, sealed): &Example| sealed.len() >= HEADER_LEN + 7 + TAG_LEN;
    assert!(examples.iter().all(is_whole));
    assert_all(examples);
}

fn datagrams() -> Vec<Example> {
    let Ok(mut key) = Sealer::derive(|key| {
        (0..).zip(key).for_each(|(number, byte)| *byte = number);
        Ok::<_, Infallible>(())
    });
    let mut sealed = |what, bytes: &[u8]| {
        let sealed = key.seal(bytes).expect("young key");
        assert_eq!(sealed.len(), bytes.len() + OVERHEAD);
        (what, sealed.to_vec())
    };
    vec![
        sealed("the first sealed datagram", b"hello"),
        sealed("the second sealed datagram", b"hello"),
        sealed("a sealed datagram without payload", b""),
    ]
}

#[test]
fn sealed_datagrams_are_as_documented() {
    assert_all(datagrams());
}

fn contexts() -> Vec<Example> {
    let mut bytes = [0; 32];
    (0x40..).zip(&mut bytes).for_each(|(n, byte)| *byte = n);
    let mesh_key = MeshKey::new(&bytes);
    let dialler = context(Direction::FromDialler, None);
    let acceptor = context(Direction::FromAcceptor, Some(&mesh_key));
    vec![
        ("the context of the dialler's key", dialler.to_vec()),
        ("the context with a mesh key", acceptor.to_vec()),
    ]
}

#[test]
fn exporter_contexts_are_as_documented() {
    assert_all(contexts());
}

#[test]
fn close_codes_are_as_documented() {
    for line in include_str!("code.snapshot.txt").lines() {
        let (number, name) = line.split_once(' ').expect("a number and a name");
        assert_stated(&format!("| `{number}` | {name} |"));
    }
}

/// The target of `fuzz/` that reads an example, and the choices that come before it there.
fn target(what: &str) -> Option<(&'static str, &'static [u8])> {
    Some(match what {
        "a hello" | "LINES" | "an acknowledgement" => ("control", &[0]),
        "the header of line 0" => ("stream_header", &[0]),
        "a final acknowledgement" => ("close_reason", &[0]),
        "a delay" => ("close_reason", &[4]),
        "a record" => ("records", &[0, 0]),
        "the first sealed record" | "the third sealed record" => ("records", &[0, 2]),
        "the first sealed datagram" => ("datagrams", &[4, 200]),
        _ => return None,
    })
}

/// `FUZZ_SEEDS=1` writes those that are missing.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test that writes files when it is asked to"
)]
fn every_fuzz_target_begins_with_examples() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus");
    let mut seeds = Vec::new();
    for (what, bytes) in all() {
        if let Some((target, choices)) = target(what) {
            let name = format!(
                "{corpus}/{target}/{}-{}",
                what.replace(' ', "-"),
                bytes.len()
            );
            seeds.push((name, [choices, &bytes].concat()));
        }
    }
    for (kind, frame) in (0u8..).zip([Frame::Hello(hello()), Frame::Lines(LINES), Frame::Ack(ACK)])
    {
        let bytes = encoded(&frame);
        let mut body = &bytes[..];
        // Behind type and length.
        for _ in 0..2 {
            varint::take(&mut body).expect("a frame has both");
        }
        seeds.push((
            format!("{corpus}/bodies/body-{kind}"),
            [&[kind], body].concat(),
        ));
    }
    let (header, body) = headed();
    let entries = [&[header.count as u8, 9][..], &body].concat();
    seeds.push((format!("{corpus}/entries/headed"), entries));
    let greeting = [
        encoded(&Frame::Hello(hello())),
        encoded(&Frame::Lines(LINES)),
    ]
    .concat();
    seeds.push((
        format!("{corpus}/control/greeting"),
        [&[6][..], &greeting].concat(),
    ));
    for (path, bytes) in seeds {
        if std::env::var_os("FUZZ_SEEDS").is_some() {
            let written = std::fs::create_dir_all(std::path::Path::new(&path).with_file_name(""))
                .and_then(|()| std::fs::write(&path, &bytes));
            written.expect("the corpus is writable");
        }
        let found = std::fs::read(&path).expect("there is a file for each example");
        assert_eq!(found, bytes, "{path}: FUZZ_SEEDS=1 writes it anew");
    }
}
