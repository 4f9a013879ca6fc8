//! Input is as fair as output: a connection has a turn, and the others have theirs before it goes on.

use quicpool_core::{Config, Counters, Datagram, DeadlineReason, Event, Manager, Sealing};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::{
    bytes::{ack, frame, record},
    raw::{RawHello, RawPeer, run_all},
};

/// A frame of a reserved type.
const RESERVED: u64 = 0x21;

/// Units of work in a turn, and in a record: as `core/src/transport/intake.rs` has them.
const WORK: u64 = 4_096;
const RECORD_WORK: u64 = 32;

/// Datagrams in a turn.
const DATAGRAMS: u64 = 64;

#[test]
fn failure_40_reserved_frames_wait_for_the_turns_of_others() {
    let mut scene = Pair::new();
    let frames = 50_000;
    scene
        .hostile
        .write_control(&frame(RESERVED, &[]).repeat(frames));
    let first = scene.drain();
    // What was read of the stream is looked at to its end.
    assert!(
        (WORK / 2..WORK + 2_048).contains(&first.frames_skipped),
        "{first:?}"
    );
    let all = scene.rest();
    assert_eq!((all.frames_skipped, all.violations), (frames as u64, 0));
}

#[test]
fn failure_40_useless_acknowledgements_wait_for_the_turns_of_others() {
    let mut scene = Pair::new();
    let victim = scene.victim;
    let id = scene.hostile.id;
    scene.net.with(victim, |machine, now| {
        machine.send(now, id, b"one").expect("it is connected");
    });
    scene.run();
    let useless = ack(0, 0).repeat(20_000);
    scene.hostile.write_control(&[useless, ack(1, 1)].concat());
    let first = scene.drain();
    assert_eq!(first.messages_delivered, 0, "the last one was not read yet");
    let all = scene.rest();
    assert_eq!((all.messages_delivered, all.violations), (1, 0));
}

#[test]
fn failure_40_records_of_one_byte_wait_for_the_turns_of_others() {
    let mut scene = Pair::new();
    let records = 3_000;
    let tiny = (0..records).map(|first| record(2, 1, first, &[1, 7]));
    scene.hostile.write_data(&tiny.collect::<Vec<_>>().concat());
    let first = scene.drain();
    let of_honest = 1;
    let most = WORK / RECORD_WORK + 1 + of_honest;
    assert!(
        (most / 2..=most).contains(&first.messages_received),
        "{first:?}"
    );
    let all = scene.rest();
    assert_eq!(all.messages_received, records + of_honest);
    assert_eq!(all.violations, 0, "they are legal");
}

#[test]
fn failure_40_records_of_many_empty_messages_wait_for_the_turns_of_others() {
    let mut scene = Pair::new();
    let count = 20_000;
    let empty = |first| record(count, count, first, &vec![0; count as usize]);
    let records = (0..3).map(|place| empty(place * u64::from(count)));
    scene
        .hostile
        .write_data(&records.collect::<Vec<_>>().concat());
    let first = scene.drain();
    assert!(
        first.messages_received <= 2 * u64::from(count) + 1,
        "{first:?}"
    );
    let all = scene.rest();
    assert_eq!(all.messages_received, 3 * u64::from(count) + 1);
    assert_eq!(all.violations, 0, "they are legal");
}

#[test]
fn failure_40_datagrams_of_one_connection_wait_for_the_turns_of_others() {
    let mut scene = Pair::new();
    let body = vec![7; 4_000];
    scene
        .hostile
        .write_control(&frame(RESERVED, &body).repeat(60));
    let first = scene.drain();
    let most = DATAGRAMS * 1_452 / body.len() as u64;
    assert!((1..=most).contains(&first.frames_skipped), "{first:?}");
    assert_eq!(scene.rest().frames_skipped, 60);
}

#[test]
fn a_sender_that_is_alone_is_read_in_one_drain() {
    let mut scene = Pair::new();
    let body = vec![7; 4_000];
    scene
        .hostile
        .write_control(&frame(RESERVED, &body).repeat(60));
    let packets = scene.hostile.packets(&scene.net);
    assert!(packets.len() > 150, "more than two turns");
    let from = scene.hostile.addr;
    let (before, victim) = (scene.counters(), scene.victim);
    let after = scene.net.with(victim, |machine, now| {
        for (_, packet) in &packets {
            machine.handle_datagram(now, Datagram::new(from, packet));
        }
        while machine.poll_action(now, &mut Vec::new()).is_some() {}
        machine.metrics(now).counters
    });
    assert_eq!(after.frames_skipped - before.frames_skipped, 60);
}

#[test]
fn what_waits_of_one_connection_is_bounded_and_leaves_room_for_others() {
    let mut scene = Pair::new();
    let window = 1_000_000;
    let body = vec![7; 4_000];
    let frames = frame(RESERVED, &body).repeat(window / 4_003);
    scene.hostile.write_control(&frames);
    // One connection has half of what may wait.
    let most = 2 * 1024 * 1024 + 100_000;
    let held = scene.held_memory();
    // QUIC finds repetitions when it is given them, and not before.
    let first = scene.drain_copies(4);
    assert!(first.datagrams_overrun > 0, "{first:?}");
    assert!(scene.held - held < most, "{} bytes wait", scene.held - held);
    // It is as if the network had lost them.
    let all = scene.rest();
    assert_eq!(all.frames_skipped, (window / 4_003) as u64);
    assert_eq!(all.violations, 0);
    assert!(scene.held_memory() < held + 100_000);
}

// Helpers

/// A machine, a peer that floods it, and one that sends a message each time.
struct Pair {
    net: Net,
    victim: NodeId,
    hostile: RawPeer,
    honest: RawPeer,
    /// Messages that the honest one has sent.
    sent: u64,
    /// Counters before the flood.
    before: Counters,
    /// Memory of the victim once all of a flood had arrived.
    held: usize,
}

impl Pair {
    fn new() -> Self {
        let mut config = Config::default();
        config.sealing = Sealing::Off;
        // Few connections have more credit each.
        config.connections_max = 8;
        // And control streams a window in which a flood arrives at once.
        config.tuning.control_reserve = 1 << 20;
        let mut net = Net::new(1);
        let victim = net.node(config);
        let (mut hostile, mut honest) = (RawPeer::new(9), RawPeer::new(10));
        for peer in [&mut hostile, &mut honest] {
            peer.dial(&mut net, victim);
            peer.run(&mut net, ms(100));
            peer.greet(&RawHello::default());
            peer.run(&mut net, ms(100));
        }
        let mut pair = Self {
            net,
            victim,
            hostile,
            honest,
            sent: 0,
            before: Counters::default(),
            held: 0,
        };
        pair.before = pair.counters();
        pair
    }

    fn counters(&self) -> Counters {
        let metrics = self.net.metrics(self.victim).expect("it is up");
        metrics.counters
    }

    fn held_memory(&self) -> usize {
        let metrics = self.net.metrics(self.victim).expect("it is up");
        metrics.memory_queues
    }

    fn run(&mut self) {
        run_all(
            &mut [&mut self.hostile, &mut self.honest],
            &mut self.net,
            ms(100),
        );
        self.before = self.counters();
    }

    /// Has all that the hostile peer has written arrive at once, and a message of the honest one behind it. Drains
    /// the machine once, in which that message is reported, and returns what it has counted meanwhile.
    fn drain(&mut self) -> Counters {
        self.drain_copies(1)
    }

    /// The same, where each packet of the hostile peer arrives so many times.
    fn drain_copies(&mut self, copies: usize) -> Counters {
        self.honest.write_data(&record(2, 1, self.sent, &[1, 7]));
        self.sent += 1;
        let mut arriving = Vec::new();
        for (peer, copies) in [(&mut self.hostile, copies), (&mut self.honest, 1)] {
            let packets = peer.packets(&self.net).into_iter();
            let packets: Vec<_> = packets.map(|(_, packet)| (peer.addr, packet)).collect();
            arriving.extend(std::iter::repeat_n(packets, copies).flatten());
        }
        let (honest, before) = (self.honest.id, self.before);
        let mut held = 0;
        let counters = self.net.with(self.victim, |machine, now| {
            for (from, packet) in &arriving {
                machine.handle_datagram(now, Datagram::new(*from, packet));
            }
            held = machine.metrics(now).memory_queues;
            let events = drain(machine, now);
            let is_read =
                |event: &Event| matches!(event, Event::Readable { peer } if *peer == honest);
            assert!(events.iter().any(is_read), "{events:?}");
            let due = machine.poll_timeout().expect("there is more");
            assert_eq!(due.reason, DeadlineReason::Input);
            assert!(due.at > now && due.at - now < ms(1));
            machine.metrics(now).counters
        });
        self.held = held;
        since(before, counters)
    }

    /// Lets the machine go on, and returns what it has counted since the flood began.
    fn rest(&mut self) -> Counters {
        let all = &mut [&mut self.hostile, &mut self.honest];
        run_all(all, &mut self.net, secs(3));
        assert_eq!(self.hostile.lost, None);
        since(self.before, self.counters())
    }
}

fn drain(machine: &mut Manager, now: std::time::Instant) -> Vec<Event> {
    let (mut events, mut buf) = (Vec::new(), Vec::new());
    let mut has_sent = false;
    while let Some(action) = machine.poll_action(now, &mut buf) {
        match action {
            quicpool_core::Action::Notify(event) => {
                assert!(!has_sent, "events come first: {event:?}");
                events.push(event);
            }
            quicpool_core::Action::Transmit(_) => has_sent = true,
        }
    }
    events
}

fn since(before: Counters, mut after: Counters) -> Counters {
    after.frames_skipped -= before.frames_skipped;
    after.messages_received -= before.messages_received;
    after.messages_delivered -= before.messages_delivered;
    after.datagrams_overrun -= before.datagrams_overrun;
    after.violations -= before.violations;
    after
}
