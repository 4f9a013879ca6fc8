//! Private pieces of the machine for `benches/internals.rs`, each behind the least that a benchmark
//! needs to call.
//!
//! A benchmark is a crate of its own and reaches public items only. Here they are wrapped, and not made
//! public, so that the feature changes nothing of what the machine is compiled to. No part of the
//! interface: it may change with any commit.

use std::{
    convert::Infallible,
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    Config, PeerId,
    driver::{BatchLimits, OpenBatch},
    index::Deadlines,
    peer::{
        LinkId, PeerKey,
        chooser::{Candidate, Chooser, Dialler},
    },
    slots::{Claim, Class, Decision},
    wire::{
        aead::TAG_LEN,
        hello::HalfId,
        lines::LINE,
        record::{Header, Messages, RecordReader, validate},
        seal::{RecordKey, Stream},
    },
};

/// Seeds of indexes: any would do.
const SEED: u64 = 7;

/// One end's key for records, and the stream that they are on.
pub struct Key(RecordKey, Stream);

/// A record to seal: its body, and where it belongs.
pub struct Record {
    header: Header,
    body: Vec<u8>,
    tag: [u8; TAG_LEN],
}

const HALF: HalfId = HalfId([7; 16]);

impl Key {
    /// The same key as any other.
    #[expect(
        clippy::new_without_default,
        reason = "it is not a value, but a fixture"
    )]
    pub fn new() -> Self {
        let derived = RecordKey::derive(|bytes| {
            bytes.fill(1);
            Ok::<_, Infallible>(())
        });
        let Ok(key) = derived;
        Self(key, Stream::new(HALF, LINE, 1))
    }

    /// Seals a record.
    pub fn seal(&mut self, record: &mut Record) {
        let tag = self.0.seal(&mut self.1, &record.header, &mut record.body);
        record.tag = tag.expect("invariant: the key is young");
    }

    /// Opens a record: the first that the other key sealed, then the second, and so on.
    ///
    /// # Panics
    ///
    /// If it is another one, since a record that is refused is not even decrypted.
    pub fn open(&mut self, record: &mut Record) {
        let opened = self
            .0
            .open(&mut self.1, &record.header, &mut record.body, record.tag);
        opened.expect("the record is opened in its place");
    }
}

impl Record {
    /// A record with a body of so many bytes.
    pub fn new(len: u32) -> Self {
        Self {
            header: Header::plain(len, 1, 5),
            body: vec![7; len as usize],
            tag: [0; TAG_LEN],
        }
    }
}

/// Appends messages to a batch and closes it: the bytes of its record.
pub fn frame(now: Instant, messages: usize, message: &[u8]) -> Vec<u8> {
    let mut open = OpenBatch::new(BatchLimits::of(&Config::default()));
    for _ in 0..messages {
        open.append(now, message);
    }
    open.close_tail();
    let framed = open.pop_closed();
    let framed = framed.expect("invariant: there is a message");
    framed.into_record(0).1
}

/// Puts a record together from pieces, as packets bring them, and takes its messages: how many.
///
/// # Panics
///
/// If it is no record without a seal.
pub fn read(record: &[u8], piece: usize) -> usize {
    let config = Config::default();
    let mut reader = RecordReader::new(config.record_bytes_max(), 0);
    for piece in record.chunks(piece) {
        let pushed = reader.push(piece);
        assert_eq!(pushed, Ok(piece.len()), "all of it belongs to one record");
    }
    let (header, body) = reader.take().expect("the record is whole");
    let valid = validate(&body, &header, config.message_bytes_max);
    assert_eq!(valid, Ok(()), "the record is well-formed");
    Messages::new(Bytes::from(body)).map(black_box).count()
}

/// An index of deadlines.
pub struct Timers {
    deadlines: Deadlines<PeerKey>,
    now: Instant,
    next: u32,
    count: u32,
}

/// Between the deadlines of two keys.
const STEP: Duration = Duration::from_micros(1);

impl Timers {
    /// So many deadlines, one after the other.
    pub fn new(now: Instant, count: u32) -> Self {
        let mut deadlines = Deadlines::new(SEED);
        for key in 0..count {
            deadlines.set(PeerKey::new(key), Some(now + STEP * (key + 1)));
        }
        Self {
            deadlines,
            now,
            next: 0,
            count,
        }
    }

    /// Puts off a deadline that has not come, as each packet does.
    pub fn put_off(&mut self) {
        let key = PeerKey::new(self.next);
        self.next = (self.next + 1) % self.count;
        let at = self.deadlines.get(key).expect("invariant: all are armed");
        self.deadlines.set(key, Some(at + STEP * self.count));
    }

    /// Lets the first deadline come, and arms it again as the last one.
    pub fn fire(&mut self) {
        let (at, _) = self.deadlines.first().expect("invariant: all are armed");
        self.now = at;
        let key = self.deadlines.pop_due(at);
        let key = key.expect("invariant: it has come");
        self.deadlines.set(key, Some(at + STEP * self.count));
    }

    /// Looks whether one has come, which is not so.
    pub fn look(&mut self) -> bool {
        self.deadlines.pop_due(self.now).is_some()
    }
}

/// A pool all of whose slots are taken by connected peers.
pub struct Slots {
    slots: crate::slots::Slots,
    now: Instant,
    next: u32,
    count: u32,
}

impl Slots {
    /// A pool of so many slots.
    ///
    /// # Panics
    ///
    /// If a slot is refused.
    pub fn new(now: Instant, count: u32) -> Self {
        let config = Config {
            connections_max: count as usize,
            ..Config::default()
        };
        let mut slots = Self {
            slots: crate::slots::Slots::new(&config, SEED, now),
            now,
            next: 0,
            count,
        };
        for key in 0..count {
            slots.take(PeerKey::new(key));
        }
        slots
    }

    /// A peer is used, and idle again.
    pub fn use_one(&mut self) {
        let key = PeerKey::new(self.next);
        self.next = (self.next + 1) % self.count;
        self.now += STEP;
        self.slots.set_idle(key, None);
        self.slots.set_idle(key, Some(self.now));
    }

    /// Evicts the least recently used peer, and gives its slot to another.
    pub fn evict(&mut self) {
        self.now += STEP;
        let claimant = PeerKey::new(self.count);
        let Decision::Take(victim, _) = self.claim(claimant) else {
            panic!("every slot is taken, and every peer idle");
        };
        self.slots.release(victim);
        self.take(victim);
    }

    fn take(&mut self, key: PeerKey) {
        let decision = self.claim(key);
        assert_eq!(decision, Decision::Granted, "a slot is free");
        self.slots.confirm(self.now, key, Duration::ZERO);
        self.slots.set_idle(key, Some(self.now));
    }

    fn claim(&mut self, key: PeerKey) -> Decision {
        let claim = Claim::Arrival { waits_since: None };
        self.slots.claim(self.now, key, claim, Class::Known)
    }
}

/// Confirms two connections to a peer that were dialled from both ends, and ends the one that does not
/// stay. Returns whether one was left.
pub fn choose() -> bool {
    let [ours, theirs] = [[1; 32], [2; 32]].map(PeerId::from_bytes);
    let candidate = |number, dialler| Candidate {
        link: LinkId::new(number, 0),
        dialler,
        dial: number.into(),
    };
    let mut chooser = Chooser::default();
    let closed = [candidate(1, Dialler::Us), candidate(2, Dialler::Them)]
        .map(|confirmed| chooser.confirm(ours, theirs, black_box(confirmed)));
    for link in closed.into_iter().flatten() {
        chooser.remove(link);
    }
    chooser.live().is_some()
}
