//! An outbox and an inbox with connections that break between them.

use super::*;
use crate::{
    MessageKey, OnPeerRestart,
    driver::{BatchLimits, OpenBatch, TakenMessages},
    peer::outbox::{Continuity, Memory, Outbox},
    testing::epoch,
};
use proptest::prelude::*;
use std::{collections::BTreeSet, time::Instant};

const FROM: PeerId = PeerId::from_bytes([1; 32]);
const LIMITS: BatchLimits = BatchLimits {
    messages_max: 5,
    bytes_max: 60,
};
const OUTBOX_BYTES: usize = 400;
const INBOX_BYTES: usize = 500;
/// Less than a batch may have: the peer accepts less.
const BODY_BYTES: usize = 50;

/// One sender, one receiver, and at most one connection between them that delivers in order
/// until it breaks.
struct Pair {
    now: Instant,
    outbox: Outbox,
    inbox: Inbox,
    half: Option<HalfId>,
    wire: VecDeque<(Header, Bytes)>,
    acks: VecDeque<Known>,
    sent: u64,
    /// The number after the last one that was written.
    written: u64,
    /// Numbers that were withdrawn or given up.
    voids: BTreeSet<u64>,
    withdrawn: BTreeSet<u64>,
    read: Vec<u64>,
    /// Keys of what was read and not taken.
    untaken: Vec<MessageKey>,
}

/// Takes messages one by one. Returns how many were not taken before.
fn take(inbox: &mut Inbox, keys: &[MessageKey]) -> u64 {
    let mut count = 0;
    for key in keys {
        let taken = TakenMessages::new(*key);
        count += inbox.mark_taken(taken.half(), &taken.numbers());
    }
    count
}

fn keys(messages: &[Message]) -> Vec<MessageKey> {
    messages.iter().filter_map(Message::key).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Stage(usize),
    Connect,
    Break,
    Write,
    Close,
    /// Withdraws a message of the last few.
    Withdraw(u64),
    /// Gives up those that are longer than this.
    Shorten(usize),
    Deliver,
    Read(usize),
    /// Takes a few, from this one on.
    Take(usize),
    Report,
    Learn,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..80).prop_map(Step::Send),
        2 => (0usize..6).prop_map(Step::Stage),
        3 => Just(Step::Connect),
        1 => Just(Step::Break),
        5 => Just(Step::Write),
        3 => Just(Step::Close),
        2 => (1u64..9).prop_map(Step::Withdraw),
        1 => (20usize..80).prop_map(Step::Shorten),
        5 => Just(Step::Deliver),
        4 => (1usize..9).prop_map(Step::Read),
        4 => prop_oneof![Just(0), 0usize..5].prop_map(Step::Take),
        4 => Just(Step::Report),
        4 => Just(Step::Learn),
    ]
}

impl Pair {
    fn new() -> Self {
        Self {
            now: epoch(),
            outbox: Outbox::new(HalfId([9; 16]), LIMITS, OUTBOX_BYTES),
            inbox: Inbox::new(INBOX_BYTES),
            half: None,
            wire: VecDeque::new(),
            acks: VecDeque::new(),
            sent: 0,
            written: 0,
            voids: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            read: Vec::new(),
            untaken: Vec::new(),
        }
    }

    fn message(&mut self, extra: usize) -> Vec<u8> {
        let mut message = self.sent.to_be_bytes().to_vec();
        message.resize(8 + extra, 0);
        self.sent += 1;
        message
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Send(extra) => {
                if OpenBatch::cost(8 + extra) <= self.outbox.room() {
                    let message = self.message(extra);
                    self.outbox.accept(self.now, &message);
                }
            }
            Step::Stage(count) => {
                let mut staged = OpenBatch::new(LIMITS);
                while staged.messages() < count && staged.bytes() + 9 <= self.outbox.room() {
                    let message = self.message(0);
                    staged.append(self.now, &message);
                }
                self.outbox.absorb(&mut staged);
            }
            Step::Connect => {
                self.wire.clear();
                self.acks.clear();
                let known = self.inbox.known();
                let half = Half {
                    id: self.outbox.half(),
                    first: self.outbox.outstanding().start,
                    held: 0,
                };
                assert!(!self.inbox.is_passed_over(&half), "honest hello");
                self.inbox.greeted(&half);
                let verdict = self
                    .outbox
                    .greeted(self.now, known, Memory::Kept)
                    .expect("honest hello");
                assert_eq!(verdict.0, Continuity::Continues);
                self.outbox.start();
                self.half = Some(half.id);
            }
            Step::Break => self.half = None,
            Step::Write if self.half.is_some() => {
                if let Some(outgoing) = self.outbox.next_batch(BODY_BYTES) {
                    let body = outgoing.record.slice(outgoing.header.length()..);
                    self.written = self.written.max(outgoing.header.next());
                    self.wire.push_back((outgoing.header, body));
                }
            }
            Step::Close => self.outbox.close_tail(),
            Step::Withdraw(back) => {
                let number = self.outbox.next().saturating_sub(back);
                let is_unwritten = number >= self.written && number < self.outbox.next();
                let held = self.outbox.held();
                let withdrawn = self.outbox.withdraw(number);
                assert_eq!(withdrawn, is_unwritten && !self.voids.contains(&number));
                if withdrawn {
                    self.voids.insert(number);
                    self.withdrawn.insert(number);
                    assert!(self.outbox.held() + 8 <= held, "its room is free at once");
                }
            }
            Step::Shorten(max) => {
                for (number, len) in self.outbox.void_longer_than(max) {
                    assert!(len > max && self.voids.insert(number));
                }
            }
            Step::Deliver => {
                if let Some(half) = self.half
                    && self.inbox.has_room()
                    && let Some((header, body)) = self.wire.pop_front()
                {
                    self.inbox.accept(half, &header, body).expect("contiguous");
                }
            }
            Step::Read(max) => {
                let mut out = Vec::new();
                self.inbox.read(FROM, max, &mut out);
                for message in out {
                    let number = message.payload[..8].try_into().expect("eight bytes");
                    let key = message.key().expect("messages have one");
                    assert_eq!(key.number().get(), u64::from_be_bytes(number));
                    self.read.push(key.number().get());
                    self.untaken.push(key);
                }
            }
            Step::Take(from) => {
                let from = from.min(self.untaken.len().saturating_sub(1));
                let to = self.untaken.len().min(from + 3);
                take(&mut self.inbox, &self.untaken[from..to]);
                self.untaken.drain(from..to);
            }
            Step::Report if self.half.is_some() => {
                self.acks.extend(self.inbox.known());
                self.inbox.reported();
            }
            Step::Learn if self.half.is_some() => {
                if let Some(ack) = self.acks.pop_front() {
                    self.outbox
                        .acknowledge(self.now, ack.received, ack.taken)
                        .expect("honest");
                }
            }
            Step::Write | Step::Report | Step::Learn => {}
        }
        assert!(
            self.outbox.bytes() <= OUTBOX_BYTES,
            "the room is never exceeded"
        );
        assert!(
            self.inbox.bytes() <= INBOX_BYTES + 90,
            "one record beyond the limit at most"
        );
    }

    fn settle(&mut self) {
        self.run(&Step::Connect);
        while !self.outbox.outstanding().is_empty() {
            for step in [
                Step::Close,
                Step::Write,
                Step::Deliver,
                Step::Read(99),
                Step::Take(0),
                Step::Report,
                Step::Learn,
            ] {
                self.run(&step);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn every_message_is_read_once_and_in_order(steps in prop::collection::vec(step(), 0..150)) {
        let mut pair = Pair::new();
        steps.iter().for_each(|step| pair.run(step));
        pair.settle();
        // What was void before it was written never arrives, and nothing else is missing or comes twice.
        let voids = &pair.voids;
        let given_up = |number: &u64| voids.contains(number) && !pair.read.contains(number);
        let expected: Vec<_> = (0..pair.sent).filter(|number| !given_up(number)).collect();
        prop_assert_eq!(&pair.read, &expected);
        prop_assert!(pair.withdrawn.iter().all(|number| !pair.read.contains(number)));
        prop_assert_eq!(pair.outbox.bytes(), 0);
        prop_assert_eq!(pair.inbox.bytes(), 0);
        prop_assert!(!pair.inbox.is_readable());
    }
}

#[test]
fn failure_02_accounting_is_in_one_unit_and_returns_to_zero() {
    let mut pair = Pair::new();
    for _ in 0..1_000 {
        pair.run(&Step::Send(40));
        pair.settle();
        assert_eq!(pair.outbox.room(), OUTBOX_BYTES);
    }
    assert_eq!(pair.read.len(), 1_000);
}

#[test]
fn forged_acknowledgements_change_nothing() {
    let mut pair = Pair::new();
    pair.run(&Step::Connect);
    pair.run(&Step::Stage(5));
    let forged = pair.outbox.acknowledge(pair.now, 1, 0);
    assert_eq!(
        forged,
        Err(CloseCode::BadAcknowledgement),
        "nothing was written yet"
    );
    pair.run(&Step::Write);
    let forged = pair.outbox.acknowledge(pair.now, 2, 3);
    assert_eq!(
        forged,
        Err(CloseCode::BadAcknowledgement),
        "taken before received"
    );
    assert_eq!(pair.outbox.outstanding(), 0..5);
}

#[test]
fn a_gap_is_refused_and_a_repetition_is_cut() {
    let mut inbox = Inbox::new(INBOX_BYTES);
    let id = HalfId([9; 16]);
    let one = |first| Header::plain(2, 1, first);
    let body = || Bytes::from_static(&[1, 0]);

    let honest = Half {
        id,
        first: 4,
        held: 0,
    };
    assert_eq!(inbox.accept(id, &one(4), body()), Ok(0), "never named");
    inbox.greeted(&honest);
    assert_eq!(inbox.accept(id, &one(4), body()), Ok(1));
    assert_eq!(inbox.accept(id, &one(6), body()), Err(CloseCode::Gap));
    assert_eq!(inbox.accept(id, &one(4), body()), Ok(0), "seen before");
    assert_eq!(inbox.accept(id, &one(5), body()), Ok(1));
    assert_eq!(inbox.known().map(|known| known.received), Some(6));
    let forgetful = Half { first: 5, ..honest };
    assert!(
        inbox.is_passed_over(&forgetful),
        "we have not taken number 4"
    );
    assert!(!inbox.is_passed_over(&honest));
    let other = HalfId([8; 16]);
    assert!(!inbox.is_passed_over(&Half {
        id: other,
        ..forgetful
    }));
}

/// No peer of ours sends such a record: what it repeats it cuts where it had cut it before.
#[test]
fn of_a_record_that_repeats_in_part_only_what_is_new_is_read() {
    let mut inbox = Inbox::new(5 * HANDED_BYTES);
    let id = HalfId([9; 16]);
    let line = Half {
        id,
        first: 0,
        held: 0,
    };
    inbox.greeted(&line);
    // Each message is a byte, its number.
    let mut accept = |first: u8, count: u8| {
        let messages = (first..first + count).map(|number| [1, number]);
        let body: Vec<u8> = messages.flatten().collect();
        let header = Header::plain(body.len() as u32, count.into(), first.into());
        inbox.accept(id, &header, body.into())
    };
    assert_eq!(accept(0, 3), Ok(3));
    assert_eq!(accept(1, 4), Ok(2));
    assert_eq!(accept(0, 5), Ok(0));

    let mut out = Vec::new();
    inbox.read(FROM, 9, &mut out);
    let numbers: Vec<u8> = out.iter().map(|message| message.payload[0]).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    assert_eq!(take(&mut inbox, &keys(&out)), 5);
    assert_eq!(inbox.bytes(), 0);
}

#[test]
fn a_peer_that_lost_its_state_gets_what_the_policy_says() {
    for (policy, undelivered, resent) in [
        (OnPeerRestart::Report, Some(0..5), 0),
        (OnPeerRestart::Resend, None, 5),
    ] {
        let mut pair = Pair::new();
        pair.run(&Step::Connect);
        pair.run(&Step::Stage(5));
        pair.run(&Step::Write);
        pair.run(&Step::Stage(5));
        pair.inbox = Inbox::new(INBOX_BYTES);
        assert_eq!(
            pair.outbox.greeted(pair.now, None, Memory::Unknown),
            Ok((Continuity::Lost, 0))
        );
        let restarted = pair.outbox.restart(policy);
        assert_eq!(
            (restarted.undelivered, restarted.resent),
            (undelivered.iter().cloned().collect(), resent)
        );
        pair.settle();
        let first = undelivered.map_or(0, |range| range.end);
        assert_eq!(pair.read, (first..10).collect::<Vec<_>>());
    }
}

#[test]
fn what_was_written_to_a_process_that_is_gone_cannot_be_withdrawn() {
    let mut pair = Pair::new();
    pair.run(&Step::Connect);
    pair.run(&Step::Stage(5));
    pair.run(&Step::Write);
    pair.run(&Step::Stage(2));
    pair.outbox.restart(OnPeerRestart::Resend);
    for number in 0..5 {
        assert!(!pair.outbox.withdraw(number), "{number}");
    }
    assert!(pair.outbox.withdraw(5));
}

#[test]
fn empty_messages_are_handed_out_as_they_are_taken() {
    const COUNT: usize = 1_000;
    let mut inbox = Inbox::new(100 * HANDED_BYTES);
    let id = HalfId([9; 16]);
    let header = Header::plain(COUNT as u32, COUNT as u32, 0);
    let line = Half {
        id,
        first: 0,
        held: 0,
    };
    inbox.greeted(&line);
    let accepted = inbox.accept(id, &header, vec![0; COUNT].into());
    assert_eq!(accepted, Ok(COUNT as u64));

    let mut out = Vec::new();
    assert_eq!(inbox.read(FROM, COUNT, &mut out), 100);
    assert!(!inbox.is_readable());
    assert_eq!(take(&mut inbox, &keys(&out[..30])), 30);
    let mut taken = 30;
    assert!(inbox.is_readable());
    assert_eq!(inbox.read(FROM, COUNT, &mut out), 30);
    while taken < out.len() {
        taken += take(&mut inbox, &keys(&out[taken..])) as usize;
        inbox.read(FROM, COUNT, &mut out);
    }
    assert_eq!(out.len(), COUNT);
    assert_eq!(inbox.bytes(), 0);
}

#[test]
fn what_an_old_line_left_is_read_and_not_counted_for_the_new_one() {
    let mut inbox = Inbox::new(INBOX_BYTES);
    let body = || Bytes::from_static(&[1, 0]);
    let header = Header::plain(2, 1, 0);
    for id in [8, 9] {
        let line = Half {
            id: HalfId([id; 16]),
            first: 0,
            held: 0,
        };
        inbox.greeted(&line);
        assert_eq!(inbox.accept(line.id, &header, body()), Ok(1));
    }
    let mut out = Vec::new();
    assert_eq!(inbox.read(FROM, 9, &mut out), 2);
    take(&mut inbox, &keys(&out[..1]));
    assert_eq!(inbox.known().map(|known| known.taken), Some(0));
    take(&mut inbox, &keys(&out[1..]));
    assert_eq!(inbox.known().map(|known| known.taken), Some(1));
}

mod held;
