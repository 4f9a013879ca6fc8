//! A peer that knows the base of the protocol and no more, and has keys, frames and streams of its own: all
//! messages pass both ways, over several connections.

use proptest::prelude::*;
use quicpool_core::{Cancelled, Sealing};
use quicpool_sim::ms;
use quinn_proto::{Dir, VarInt};

use crate::{
    bytes::{ACK, HELLO, Heard, LINES, frame, numbers, record, take_varint, varint},
    raw::RawPeer,
    scene::Scene,
};

/// The half of the peer.
const HALF: [u8; 16] = [0x0d; 16];
const HEADER_LEN: usize = 16;
const AGE_LEN: usize = 4;
/// Bytes of each message of the honest end.
const MESSAGE_LEN: usize = 90;
/// Credit that it gives beyond what has come.
const GRANT: u64 = 2_000;
const EVICTED: u32 = 0x02;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn all_messages_pass_both_ways(
        accepts in MESSAGE_LEN as u64..3_000,
        credit in 0..4_000u64,
        keys in prop::collection::btree_map(unknown_key(), 0..20u8, 0..6),
        rounds in prop::collection::vec(round(), 1..5),
    ) {
        let mut older = Older::new(accepts, credit, keys.into_iter().collect());
        for round in &rounds {
            older.meet();
            older.talk(round);
            older.part();
        }
        older.compare();
    }
}

/// What happens on one connection.
#[derive(Debug, Clone)]
struct Round {
    /// Messages that each end sends.
    ours: usize,
    theirs: usize,
    /// Whether the honest end takes its last message back.
    takes_back: bool,
    /// Unknown frames, with their types and lengths.
    frames: Vec<(u8, usize)>,
    /// Unknown streams, with their types and lengths, and whether they are reset.
    streams: Vec<(u64, usize, bool)>,
}

fn round() -> impl Strategy<Value = Round> {
    (
        0..12usize,
        0..12usize,
        any::<bool>(),
        prop::collection::vec((4..0x40u8, 0..300usize), 0..4),
        prop::collection::vec((stream_type(), 0..2_000usize, any::<bool>()), 0..4),
    )
        .prop_map(|(ours, theirs, takes_back, frames, streams)| Round {
            ours,
            theirs,
            takes_back,
            frames,
            streams,
        })
}

/// A key of hello that this draft does not have.
fn unknown_key() -> impl Strategy<Value = u64> {
    let known = [1, 2, 3, 4, 6, 7, 9, 10, 14, 16, 18];
    let any = prop_oneof![0..64u64, 64..100_000u64];
    any.prop_filter("it is known", move |key| !known.contains(key))
}

fn stream_type() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 2..64u64, 64..1_000_000u64]
}

/// A peer that remembers its session, and an honest end.
struct Older {
    scene: Scene,
    peer: RawPeer,
    /// Bytes of a message that it accepts, and the first credit that it gives.
    accepts: u64,
    credit: u64,
    /// Keys of its hello that are not of this draft.
    keys: Vec<(u64, u8)>,
    /// The half of the honest end.
    theirs: [u8; 16],
    /// What the honest end has sent, and what the peer has received; and the other way.
    sent: Vec<Vec<u8>>,
    received: Vec<Vec<u8>>,
    next: u64,
    number: u64,
    taken: Vec<Vec<u8>>,
    /// Messages that the honest end has accepted.
    accepted: u64,
    /// What has come on the connection, and what of it is no whole record.
    arrived: u64,
    line: Vec<u8>,
}

impl Older {
    fn new(accepts: u64, credit: u64, keys: Vec<(u64, u8)>) -> Self {
        Self {
            scene: Scene::new(Sealing::Off),
            peer: RawPeer::new(9),
            accepts,
            credit,
            keys,
            theirs: [0; 16],
            sent: Vec::new(),
            received: Vec::new(),
            next: 0,
            number: 0,
            taken: Vec::new(),
            accepted: 0,
            arrived: 0,
            line: Vec::new(),
        }
    }

    fn run(&mut self, millis: u64) {
        self.peer.run(&mut self.scene.net, ms(millis));
    }

    /// Dials and greets.
    fn meet(&mut self) {
        self.arrived = 0;
        self.line.clear();
        self.peer.dial(&mut self.scene.net, self.scene.victim);
        self.run(30);
        let heard = Heard::of(&self.peer.read_control());
        let greeting = self.greeting();
        self.peer.write_control(&greeting);
        self.run(20);
        assert_eq!(self.peer.lost, None, "its greeting is good");
        self.theirs = heard.half;
    }

    /// Hello with the keys that are required, and LINES.
    fn greeting(&self) -> Vec<u8> {
        let bytes = |bytes: &[u8]| [varint(bytes.len() as u64), bytes.to_vec()].concat();
        let incarnation = [1_780_000_000_000u64.to_be_bytes(), 5u64.to_be_bytes()].concat();
        let mut keys = vec![
            (1, bytes(&incarnation)),
            (6, varint(300_000)),
            (7, bytes(&HALF)),
            (10, varint(1 << 20)),
            (14, varint(self.accepts + 4)),
            (16, varint(self.accepts)),
            (18, varint(self.credit)),
        ];
        // A half is known once a record of it has come.
        let is_known = self.next > 0;
        keys.extend(is_known.then(|| (9, bytes(&self.theirs))));
        let of_its_own = self.keys.iter().map(|(key, value)| match key % 2 {
            0 => (*key, varint(u64::from(*value) * 10_000)),
            _ => (*key, bytes(&vec![*value; usize::from(*value)])),
        });
        keys.extend(of_its_own);
        keys.sort_unstable();
        let hello = keys
            .into_iter()
            .flat_map(|(key, value)| [varint(key), value].concat());
        let mut lines = vec![0, 1, 1, 0, self.number, 0, 1 << 20];
        match is_known {
            false => lines.extend([0, 0, 0]),
            true => lines.extend([1, 0, 1, 0, self.next, self.next, self.credit, 0]),
        }
        let hello: Vec<u8> = hello.collect();
        [frame(HELLO, &hello), frame(LINES, &numbers(&lines))].concat()
    }

    fn talk(&mut self, round: &Round) {
        for (kind, len) in &round.frames {
            self.peer
                .write_control(&frame((*kind).into(), &vec![0x5a; *len]));
        }
        for (kind, len, is_reset) in &round.streams {
            self.open_stream(*kind, *len, *is_reset);
        }
        for _ in 0..round.theirs {
            let message = self.number.to_be_bytes();
            let body = [&[8][..], &message].concat();
            self.peer.write_data(&record(9, 1, self.number, &body));
            self.number += 1;
        }
        self.send(round.ours, round.takes_back);
        for _ in 0..40 {
            self.run(20);
            self.read();
            if self.is_settled() {
                break;
            }
        }
    }

    fn open_stream(&mut self, kind: u64, len: usize, is_reset: bool) {
        let Some(id) = self.peer.connection().streams().open(Dir::Uni) else {
            return;
        };
        let bytes = [varint(kind), vec![0; len]].concat();
        let mut stream = self.peer.connection().send_stream(id);
        let _ = stream.write(&bytes);
        let is_open = match is_reset {
            true => stream.reset(VarInt::from_u32(1)).is_ok(),
            false => stream.finish().is_ok(),
        };
        assert!(is_open);
    }

    /// The honest end sends messages, and perhaps takes the last one back.
    fn send(&mut self, count: usize, takes_back: bool) {
        let id = self.peer.id;
        for index in 0..count {
            let mut message = (self.sent.len() as u64).to_be_bytes().to_vec();
            message.resize(MESSAGE_LEN, 7);
            let outcome = self.scene.net.with(self.scene.victim, |m, now| {
                let number = m.send(now, id, &message).expect("there is room");
                self.accepted += 1;
                let is_last = index + 1 == count;
                (is_last && takes_back).then(|| m.cancel(now, id, number))
            });
            if outcome != Some(Ok(Cancelled::Withdrawn)) {
                self.sent.push(message);
            }
        }
    }

    /// Reads the records that have come whole, and acknowledges them with more credit.
    fn read(&mut self) {
        let data = self.peer.read_data();
        self.arrived += data.len() as u64;
        self.line.extend(data);
        while let Some(len) = record_len(&self.line) {
            let record: Vec<u8> = self.line.drain(..len).collect();
            self.take(&record);
        }
        let credit = self.arrived + GRANT;
        let ack = [0, 1 << 20, 0, self.next, self.next, credit];
        self.peer.write_control(&frame(ACK, &numbers(&ack)));
    }

    /// Takes a record: numbers that are known are dropped, and voids are skipped.
    fn take(&mut self, record: &[u8]) {
        let (first, entries) = entries(record);
        assert!(first <= self.next, "a gap before {first}");
        for (number, entry) in (first..).zip(entries) {
            if number < self.next {
                continue;
            }
            self.next += 1;
            self.received.extend(entry);
        }
    }

    fn is_settled(&self) -> bool {
        self.received.len() == self.sent.len() && self.next == self.accepted
    }

    /// Closes as one that needs the slot. The session stays.
    fn part(&mut self) {
        self.run(20);
        assert_eq!(self.peer.lost, None, "all that it does is allowed");
        let taken = self.scene.net.received(self.scene.victim);
        let taken = taken.iter().filter(|message| message.from == self.peer.id);
        self.taken
            .extend(taken.map(|message| message.payload.to_vec()));
        self.peer.close(&mut self.scene.net, EVICTED);
        self.run(20);
        self.peer.forget_connection();
        self.peer.lost = None;
    }

    fn compare(&mut self) {
        assert_eq!(self.received, self.sent, "to the peer");
        let sent: Vec<Vec<u8>> = (0..self.number).map(|n| n.to_be_bytes().into()).collect();
        assert_eq!(self.taken, sent, "from the peer");
        let counters = self.scene.net.metrics(self.scene.victim);
        assert_eq!(counters.expect("it is up").counters.violations, 0);
        self.scene.assert_undisturbed();
    }
}

/// The length of the first record, once all of it is there.
fn record_len(line: &[u8]) -> Option<usize> {
    let header = line.first_chunk::<HEADER_LEN>()?;
    let [a, b, c, d, kind, ..] = *header;
    let age = usize::from(kind) * AGE_LEN;
    let len = HEADER_LEN + age + u32::from_be_bytes([a, b, c, d]) as usize;
    (line.len() >= len).then_some(len)
}

/// The number of a record's first entry, and its entries: a message, or none for a void.
fn entries(record: &[u8]) -> (u64, Vec<Option<Vec<u8>>>) {
    let (header, mut body) = record.split_at(HEADER_LEN);
    let is_headed = header[4] == 1;
    let first = header[8..].try_into().map(u64::from_be_bytes);
    if is_headed {
        body = &body[AGE_LEN..];
    }
    let mut entries = Vec::new();
    while !body.is_empty() {
        let head = if is_headed { take(&mut body) } else { &[] };
        let message = take(&mut body);
        entries.push(head.is_empty().then(|| message.to_vec()));
    }
    (first.expect("eight bytes"), entries)
}

/// Takes bytes with their length before them.
fn take<'a>(body: &mut &'a [u8]) -> &'a [u8] {
    let len = take_varint(body) as usize;
    let (taken, rest) = body.split_at(len);
    *body = rest;
    taken
}
