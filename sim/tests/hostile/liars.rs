//! Peers that lie about credit, passage and what they have taken, in drawn orders: the honest end does not
//! panic, keeps to its bounds, and closes with the code of the lie or goes on.

use proptest::prelude::*;
use quicpool_core::{Cancelled, Config, MessageNumber, Sealing};
use quicpool_sim::ms;

use crate::{
    bytes::{ACK, Heard, LINE, NO_LIMIT, frame, headed, numbers, record},
    raw::{RawHello, RawPeer},
    scene::Scene,
};

/// The greatest number of the wire.
const GREATEST: u64 = (1 << 62) - 1;
/// Bytes of a record's header, and of the age that a headed one has beside.
const HEADER_LEN: usize = 16;
const AGE_LEN: usize = 4;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn lies_about_limits_end_their_connection_or_change_nothing(
        first in (limit(), limit()),
        acts in prop::collection::vec(act(), 1..14),
    ) {
        let mut liar = Liar::new(first);
        for act in &acts {
            liar.perform(act);
            liar.check();
            if liar.lie.is_some() {
                break;
            }
        }
        liar.end();
    }
}

/// What either end does.
#[derive(Debug, Clone)]
enum Act {
    /// The honest end sends messages of a length, and takes the last ones back.
    Sends(usize, usize, usize),
    /// The peer states passage and credit, which may be less than before.
    Grants(u64, u64),
    /// It acknowledges what it has read.
    Acknowledges,
    /// It acknowledges so many messages more than there are.
    Overstates(u64),
    /// It has taken more than it has received.
    Contradicts,
    /// It acknowledges a message that its credit has kept back.
    TakesUnsent,
    /// It writes messages within the credit that it was given.
    Writes(usize),
    /// It writes all of that, and so many messages more.
    Overruns(usize),
    /// The honest application stops or goes on reading.
    Reads(bool),
    Waits(u64),
}

fn limit() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        1..40u64,
        40..5_000u64,
        Just(NO_LIMIT),
        Just(GREATEST)
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..20usize, 0..600usize, 0..5usize).prop_map(|(n, len, back)| Act::Sends(n, len, back)),
        4 => (limit(), limit()).prop_map(|(passage, credit)| Act::Grants(passage, credit)),
        3 => Just(Act::Acknowledges),
        1 => prop_oneof![Just(1), 2..1_000u64, Just(GREATEST)].prop_map(Act::Overstates),
        1 => Just(Act::Contradicts),
        1 => Just(Act::TakesUnsent),
        3 => (1..30usize).prop_map(Act::Writes),
        1 => (1..9usize).prop_map(Act::Overruns),
        1 => any::<bool>().prop_map(Act::Reads),
        3 => (0..300u64).prop_map(Act::Waits),
    ]
}

/// A peer, and what can be true of both ends.
struct Liar {
    scene: Scene,
    peer: RawPeer,
    /// Messages that the honest end has accepted, without those that it has withdrawn.
    held: u64,
    accepted: u64,
    /// The greatest passage and credit that the peer has stated.
    granted: [u64; 2],
    /// What it has read of the line.
    read: Vec<u8>,
    /// The greatest number that it has acknowledged as taken.
    taken: u64,
    /// The number after a message of which it has acknowledged more than has come.
    begun: u64,
    /// The credit that it was given, and the bytes and messages that it has written.
    credit: u64,
    written: u64,
    number: u64,
    /// The code for what it has done against the protocol.
    lie: Option<u64>,
}

impl Liar {
    fn new((passage, credit): (u64, u64)) -> Self {
        let mut config = Config::default();
        config.sealing = Sealing::Off;
        config.inbox_bytes_max = 8_192;
        config.outbox_bytes_max = 2 << 20;
        let mut scene = Scene::with(config);
        let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
        peer.greet(&RawHello {
            limits: [passage, credit],
            ..RawHello::default()
        });
        let mut liar = Self {
            scene,
            peer,
            held: 0,
            accepted: 0,
            granted: [passage, credit],
            read: Vec::new(),
            taken: 0,
            begun: 0,
            credit: 0,
            written: LINE.len() as u64,
            number: 0,
            lie: None,
        };
        liar.run(20);
        liar
    }

    fn run(&mut self, millis: u64) {
        self.peer.run(&mut self.scene.net, ms(millis));
        if self.peer.lost.is_none() {
            self.read.extend(self.peer.read_data());
            let credit = Heard::credit(&self.peer.read_control());
            self.credit = self.credit.max(credit);
        }
    }

    fn perform(&mut self, act: &Act) {
        match *act {
            Act::Sends(count, len, back) => self.send(count, len, back),
            Act::Grants(passage, credit) => self.grant(passage, credit),
            Act::Acknowledges => {
                let received = messages_in(&self.read).max(self.taken);
                self.acknowledge(received, received);
            }
            Act::Overstates(more) => {
                let number = self.accepted.saturating_add(more).min(GREATEST);
                self.acknowledge(number, number);
                self.lie = Some(0x19);
            }
            Act::Contradicts => {
                let received = messages_in(&self.read);
                self.acknowledge(received, received + 1);
                self.lie = Some(0x19);
            }
            Act::TakesUnsent => self.take_unsent(),
            Act::Writes(count) => self.write(count),
            Act::Overruns(records) => self.overrun(records),
            Act::Reads(true) => self.scene.net.resume_reader(self.scene.victim),
            Act::Reads(false) => self.scene.net.pause_reader(self.scene.victim),
            Act::Waits(millis) => self.run(millis),
        }
        self.run(5);
    }

    fn send(&mut self, count: usize, len: usize, back: usize) {
        let id = self.peer.id;
        let numbers: Vec<MessageNumber> = self.scene.net.with(self.scene.victim, |m, now| {
            let sent = (0..count).map_while(|_| m.send(now, id, &vec![7; len]).ok());
            sent.collect()
        });
        self.accepted += numbers.len() as u64;
        self.held += numbers.len() as u64;
        for number in numbers.iter().rev().take(back) {
            let outcome = self
                .scene
                .net
                .with(self.scene.victim, |m, now| m.cancel(now, id, *number));
            self.held -= u64::from(outcome == Ok(Cancelled::Withdrawn));
        }
    }

    fn grant(&mut self, passage: u64, credit: u64) {
        let received = messages_in(&self.read).max(self.taken);
        let ack = [0, passage, 0, received, self.taken, credit];
        self.granted = [self.granted[0].max(passage), self.granted[1].max(credit)];
        self.peer.write_control(&frame(ACK, &numbers(&ack)));
    }

    fn acknowledge(&mut self, received: u64, taken: u64) {
        let [passage, credit] = self.granted;
        let ack = [0, passage, 0, received, taken, credit];
        self.peer.write_control(&frame(ACK, &numbers(&ack)));
        if taken <= self.accepted && taken <= received {
            self.taken = self.taken.max(taken);
        }
    }

    /// It has read all that its limits allow, and states that it has taken one message more.
    fn take_unsent(&mut self) {
        self.run(300);
        let whole = messages_in(&self.read);
        let read = (self.read.len() + LINE.len()) as u64;
        if read < self.limit() || whole >= self.accepted {
            return;
        }
        self.acknowledge(whole + 1, whole + 1);
        // A record counts as written once its first byte may leave.
        let is_whole = !self.read.is_empty() && rest_of(&self.read).is_empty();
        let is_between_records = read == self.limit() && is_whole;
        match self.limit() == 0 || is_between_records {
            true => self.lie = Some(0x19),
            false => self.begun = whole + 1,
        }
    }

    /// Bytes that the line of the honest end may have on this connection.
    fn limit(&self) -> u64 {
        self.granted[0].min(self.granted[1])
    }

    fn write(&mut self, count: usize) {
        for _ in 0..count {
            let record = hundred(self.number);
            let end = self.written + record.len() as u64;
            if end > self.credit {
                return;
            }
            self.peer.write_data(&record);
            (self.written, self.number) = (end, self.number + 1);
        }
    }

    /// It writes until it is given no more credit, as nothing is read, and then goes on.
    fn overrun(&mut self, records: usize) {
        self.scene.net.pause_reader(self.scene.victim);
        loop {
            let credit = self.credit;
            self.write(usize::MAX);
            self.run(300);
            if self.credit == credit {
                break;
            }
        }
        for _ in 0..records {
            self.peer.write_data(&hundred(self.number));
        }
        self.lie = Some(0x1b);
    }

    /// What must hold whatever the peer does.
    fn check(&mut self) {
        let read = (self.read.len() + LINE.len()) as u64;
        let is_any = !self.read.is_empty();
        assert!(
            !is_any || read <= self.limit(),
            "{read} of {:?}",
            self.granted
        );
        let metrics = self.scene.net.metrics(self.scene.victim).expect("it is up");
        assert!(metrics.memory_usage <= Config::default().memory_max);
        let machine = self.scene.net.machine(self.scene.victim);
        let of_peer = machine.and_then(|machine| machine.peer_metrics(self.peer.id));
        let of_peer = of_peer.expect("it is known while its session lasts");
        assert!(of_peer.inbox_bytes <= 2 * 8_192, "{}", of_peer.inbox_bytes);
        assert!(of_peer.messages_received <= self.number);
        let come = messages_in(&self.read).max(self.begun);
        let delivered = of_peer.messages_delivered;
        assert!(
            delivered <= self.taken.min(come),
            "{delivered} of {come} that have come are taken, as it states"
        );
    }

    /// A lie ends its connection with its code. A peer without one gets all, once its limits let it come.
    fn end(&mut self) {
        self.run(100);
        assert_eq!(self.peer.close_code, self.lie, "{:?}", self.peer.lost);
        self.scene.net.resume_reader(self.scene.victim);
        if self.lie.is_none() {
            assert_eq!(self.peer.lost, None);
            self.grant(NO_LIMIT, NO_LIMIT);
            self.run(500);
            assert_eq!(self.peer.lost, None);
            assert_eq!(messages_in(&self.read), self.accepted);
            let read = messages_in(&self.read);
            self.acknowledge(read, read);
            self.run(50);
            let machine = self.scene.net.machine(self.scene.victim);
            let of_peer = machine.and_then(|machine| machine.peer_metrics(self.peer.id));
            let of_peer = of_peer.expect("it is known");
            let ended = (of_peer.messages_delivered, of_peer.outbox_bytes);
            assert_eq!(ended, (self.held, 0));
            assert_eq!(of_peer.messages_received, self.number);
        }
        self.scene.assert_undisturbed();
    }
}

/// A record of about a hundred bytes.
fn hundred(number: u64) -> Vec<u8> {
    let body = [&[0x40, 99][..], &[1; 99]].concat();
    record(body.len() as u32, 1, number, &body)
}

/// The number after the last entry that is whole, voids included.
fn messages_in(line: &[u8]) -> u64 {
    records(line).0
}

/// The bytes behind the last whole record.
fn rest_of(line: &[u8]) -> &[u8] {
    records(line).1
}

fn records(mut line: &[u8]) -> (u64, &[u8]) {
    let mut next = 0;
    while let Some(header) = line.first_chunk::<HEADER_LEN>() {
        let [a, b, c, d, kind, f, g, h, first @ ..] = *header;
        let age = if kind == 1 { AGE_LEN } else { 0 };
        let len = HEADER_LEN + age + u32::from_be_bytes([a, b, c, d]) as usize;
        if line.len() < len {
            break;
        }
        line = &line[len..];
        next = u64::from_be_bytes(first) + u64::from(u32::from_be_bytes([0, f, g, h]));
    }
    (next, line)
}

#[test]
fn what_is_whole_of_a_line_is_counted() {
    let line = [record(2, 1, 0, &[1, 7]), headed(2, 1, &[1, 3, 0, 1, 3, 0])].concat();
    assert_eq!(messages_in(&line), 3);
    assert_eq!(messages_in(&line[..line.len() - 1]), 1);
}
