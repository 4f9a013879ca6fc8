//! A peer that breaks the protocol loses its connection and nothing else: what was under way
//! arrives once and in order, on the next connection on which it behaves.

use std::sync::Arc;

use quicpool_core::{Config, Sealing};
use quicpool_sim::{Checksum, ms, secs};

use crate::{
    bytes::{Heard, Yours, ack, numbers, record},
    raw::{Check, RawHello, RawPeer},
    scene::Scene,
    sealed,
};

// Hellos

#[test]
fn a_forged_hello_ends_its_connection_and_not_the_session() {
    let cases: [(u64, u64, Forge); 5] = [
        (0x19, 1, |talk, hello| hello.yours = talk.knows(2, 3)),
        // It has a line of a half that it does not name.
        (0x1a, 1, |_, hello| hello.without.push(9)),
        // Of the five messages that were sent it has received nine.
        (0x19, 1, |talk, hello| hello.yours = talk.knows(9, 0)),
        (0x11, 1, |_, hello| hello.without.push(7)),
        // It has the right identity, and not the keys of this connection.
        (0x07, 0, |_, hello| hello.check = Check::Right),
    ];
    for (code, violations, forge) in cases {
        let mut talk = Talk::new(Sealing::Off);
        talk.leave();
        let mut hello = talk.hello(2);
        forge(&mut talk, &mut hello);
        talk.dial();
        talk.peer.greet(&hello);
        talk.is_refused(code, violations);
        talk.goes_on(2);
    }
}

#[test]
fn a_hello_that_is_said_again_on_its_connection_ends_it_and_not_the_session() {
    let mut talk = Talk::new(Sealing::Off);
    let hello = talk.hello(0);
    talk.peer.greet(&hello);
    talk.is_refused(0x13, 1);
    talk.goes_on(2);
}

#[test]
fn a_hello_replayed_from_an_earlier_connection_ends_the_later_one_and_not_the_session() {
    // Its check value is of the keys of the connection on which it was sent.
    let mut talk = Talk::new(Sealing::On);
    let hello = talk.hello(0);
    let said = talk.peer.hello(&hello);
    talk.leave();
    talk.dial();
    talk.peer.write_control(&said);
    talk.is_refused(0x07, 0);
    talk.goes_on(2);
}

#[test]
fn an_old_hello_of_the_peer_itself_takes_nothing_back() {
    // Without seals the numbers are all there is, and the greatest ones hold.
    let mut talk = Talk::new(Sealing::Off);
    talk.acknowledge(3, 3);
    talk.leave();
    talk.dial();
    let old = talk.hello(0);
    talk.peer.greet(&old);
    talk.run();
    assert_eq!(talk.peer.lost, None);
    assert_eq!(
        talk.messages(),
        [3, 4],
        "what was acknowledged is not sent again"
    );
    talk.leave();
    talk.goes_on(5);
}

#[test]
fn an_old_incarnation_is_refused_while_a_later_one_lives() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::new(9);
    let id = peer.id;
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    let present = scene
        .net
        .node_as(config, move |_| Arc::new(Checksum::new(id, 9)));
    scene.net.introduce(scene.victim, present);
    for number in 0..5u64 {
        scene.net.send(present, scene.victim, &number.to_be_bytes());
    }
    scene.net.pause_reader(scene.victim);
    scene.net.advance(secs(1));

    peer.dial(&mut scene.net, scene.victim);
    peer.run(&mut scene.net, ms(100));
    peer.greet(&RawHello {
        started_ms: 1,
        ..RawHello::default()
    });
    peer.write_data(&record(9, 1, 5, &[8, 0, 0, 0, 0, 0, 0, 0, 66]));
    peer.run(&mut scene.net, ms(200));

    assert_eq!(peer.close_code, Some(0x09), "{:?}", peer.lost);
    let counters = scene.net.metrics(scene.victim).expect("it is up").counters;
    assert_eq!((counters.violations, counters.connections_lost), (0, 0));
    for number in 5..9u64 {
        scene.net.send(present, scene.victim, &number.to_be_bytes());
    }
    scene.net.resume_reader(scene.victim);
    scene.net.send(scene.victim, present, b"and back");
    scene.net.advance(secs(1));
    let mut messages = Vec::new();
    scene.net.with(scene.victim, |m, now| {
        m.receive(now, id, usize::MAX, &mut messages)
            .expect("a known peer")
    });
    messages.extend(scene.net.received(scene.victim));
    let numbers: Vec<_> = messages.iter().map(|m| m.payload[..].to_vec()).collect();
    let expected: Vec<_> = (0..9u64).map(|number| number.to_be_bytes()).collect();
    assert_eq!(numbers, expected);
    assert_eq!(scene.net.received(present).len(), 1);
}

// Acknowledgements

#[test]
fn an_acknowledgement_of_what_was_never_sent_ends_its_connection_and_not_the_session() {
    for numbers in [[6, 0], [6, 6], [63, 1]] {
        let mut talk = Talk::new(Sealing::Off);
        talk.peer.write_control(&ack(numbers[0], numbers[1]));
        talk.is_refused(0x19, 1);
        talk.goes_on(2);
    }
}

#[test]
fn a_final_acknowledgement_counts_unless_it_cannot_be_true() {
    let cases: [(&[u64], u64); 5] = [
        (&[0, 0, 0, 3, 2, 0], 2),
        // Of what was never sent, taken and not received, of another line, and cut short.
        (&[0, 0, 0, 9, 2, 0], 0),
        (&[0, 0, 0, 2, 3, 0], 0),
        (&[0, 0, 1, 3, 2, 0], 0),
        (&[0, 0, 0, 3, 2], 0),
    ];
    for (reason, taken) in cases {
        let mut talk = Talk::new(Sealing::Off);
        talk.peer
            .close_with(&mut talk.scene.net, 0x02, &numbers(reason));
        talk.run();
        assert_eq!(talk.metrics(), (taken, 3), "{reason:?}");
        let counters = talk.scene.net.metrics(talk.scene.victim);
        let violations = counters.expect("it is up").counters.violations;
        assert_eq!(violations, 0, "there is nothing left to close");
        talk.peer.close_code = None;
        talk.goes_on(3);
    }
}

#[test]
fn numbers_that_contradict_each_other_end_their_connection_and_not_the_session() {
    let mut talk = Talk::new(Sealing::Off);
    talk.peer.write_control(&ack(1, 2));
    talk.is_refused(0x19, 1);
    talk.goes_on(2);
}

#[test]
fn numbers_that_go_backwards_change_nothing() {
    let mut talk = Talk::new(Sealing::Off);
    talk.acknowledge(4, 3);
    let before = talk.metrics();
    for (received, taken) in [(4, 2), (2, 2), (0, 0), (3, 0)] {
        talk.acknowledge(received, taken);
        assert_eq!(talk.metrics(), before);
    }
    assert_eq!(talk.peer.lost, None);
    // Nor do records: what has come before is dropped.
    talk.peer.write_data(&record(2, 1, 1, &[1, b'?']));
    talk.peer.write_data(&record(2, 1, 0, &[1, b'?']));
    talk.run();
    assert_eq!((talk.peer.lost.clone(), talk.metrics()), (None, before));
    talk.leave();
    talk.goes_on(4);
}

// Records

#[test]
fn a_gap_within_a_connection_ends_it_and_not_the_session() {
    let mut talk = Talk::new(Sealing::Off);
    talk.peer.write_data(&record(2, 1, 4, &[1, b'?']));
    talk.is_refused(0x18, 1);
    talk.goes_on(2);
}

#[test]
fn an_unsealed_record_ends_its_connection_and_not_the_session() {
    let mut talk = Talk::new(Sealing::On);
    let plain = [&[1, b'?'][..], &[0; 16]].concat();
    talk.peer.write_data(&record(2, 1, 0, &plain));
    talk.is_refused(0x17, 1);
    talk.goes_on(2);
}

// Halves

#[test]
fn the_half_of_another_peer_is_of_no_use() {
    let mut scene = Scene::new(Sealing::Off);
    let (victim, friend) = (scene.victim, scene.friend);
    let mut peer = RawPeer::connected(9, &mut scene.net, victim);
    let to_peer = Heard::of(&peer.read_control());
    // A message from us to the friend, which has not come when the peer acknowledges it.
    scene.net.cut(victim, friend);
    scene.net.send(victim, friend, b"not for you");
    // It names the half of the victim for its own, and acknowledges as if it were the friend: halves are found by
    // the PeerId of their sender alone.
    peer.greet(&RawHello {
        half: to_peer.half,
        yours: Some(Yours {
            half: [0x77; 16],
            received: 1,
            taken: 1,
        }),
        ..RawHello::default()
    });
    peer.write_data(&record(2, 1, 0, &[1, b'x']));
    peer.run(&mut scene.net, ms(100));
    assert_eq!(peer.lost, None, "whatever it calls its half");
    let of_friend = scene.net.peer_metrics(victim, friend).expect("it is known");
    assert_eq!(of_friend.messages_delivered, 0);
    assert!(of_friend.outbox_bytes > 0, "the message is held");
    let received = scene.net.received(victim);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].from, peer.id);

    scene.net.heal(victim, friend);
    scene.net.advance(secs(5));
    assert_eq!(scene.net.received(friend).len(), 1, "once, to the friend");
}

// Helpers

/// The forgery of a hello.
type Forge = fn(&mut Talk, &mut RawHello);

/// A victim that has sent five messages to a peer, of which nothing is acknowledged, and has taken
/// three of the peer if sealing is off.
struct Talk {
    scene: Scene,
    peer: RawPeer,
    sealing: Sealing,
    /// The victim's own half.
    half: [u8; 16],
}

impl Talk {
    fn new(sealing: Sealing) -> Self {
        let mut scene = Scene::new(sealing);
        let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
        let heard = Heard::of(&peer.read_control());
        let mut talk = Self {
            scene,
            peer,
            sealing,
            half: heard.half,
        };
        let hello = match sealing {
            Sealing::On => RawHello::sealed(),
            Sealing::Off => RawHello::default(),
        };
        talk.peer.greet(&hello);
        if sealing == Sealing::Off {
            talk.peer
                .write_data(&record(6, 3, 0, &[1, b'a', 1, b'b', 1, b'c']));
        }
        talk.run();
        let id = talk.peer.id;
        for number in 0..5u64 {
            let message = number.to_be_bytes();
            let sent = talk
                .scene
                .net
                .with(talk.scene.victim, |m, now| m.send(now, id, &message));
            assert_eq!(sent.map(drop), Ok(()));
        }
        talk.run();
        assert_eq!(talk.taken(), talk.expected_of_peer(3));
        talk
    }

    fn run(&mut self) {
        self.peer.run(&mut self.scene.net, ms(100));
    }

    /// Ends the connection as one that is evicted, without an acknowledgement.
    fn leave(&mut self) {
        self.peer.close(&mut self.scene.net, 0x02);
        self.run();
        self.peer.close_code = None;
    }

    fn dial(&mut self) {
        self.peer.forget_connection();
        self.peer.lost = None;
        self.peer.dial(&mut self.scene.net, self.scene.victim);
        self.run();
    }

    /// The part of a greeting about the victim's half.
    fn knows(&self, received: u64, taken: u64) -> Option<Yours> {
        let half = self.half;
        Some(Yours {
            half,
            received,
            taken,
        })
    }

    /// An honest greeting.
    fn hello(&self, received: u64) -> RawHello {
        RawHello {
            check: match self.sealing {
                Sealing::On => Check::Right,
                Sealing::Off => Check::None,
            },
            held: 6,
            yours: self.knows(received, 0),
            ..RawHello::default()
        }
    }

    fn acknowledge(&mut self, received: u64, taken: u64) {
        self.peer.write_control(&ack(received, taken));
        self.run();
    }

    #[track_caller]
    fn is_refused(&mut self, code: u64, violations: u64) {
        self.run();
        assert_eq!(self.peer.close_code, Some(code), "{:?}", self.peer.lost);
        let metrics = self.scene.net.metrics(self.scene.victim).expect("it is up");
        assert_eq!(metrics.counters.violations, violations);
        let of_peer = self.metrics();
        assert_eq!(
            (of_peer.0, of_peer.1),
            (0, 3 * u64::from(self.sealing == Sealing::Off))
        );
    }

    /// Messages of the victim that are taken, and messages that it has received.
    fn metrics(&self) -> (u64, u64) {
        let machine = self.scene.net.machine(self.scene.victim);
        let metrics = machine.and_then(|machine| machine.peer_metrics(self.peer.id));
        let metrics = metrics.expect("it is known");
        (metrics.messages_delivered, metrics.messages_received)
    }

    /// What the application of the victim has taken of the peer since the last look.
    fn taken(&mut self) -> Vec<Vec<u8>> {
        let mut messages = self.scene.net.received(self.scene.victim);
        messages.retain(|message| message.from == self.peer.id);
        messages.iter().map(|m| m.payload.to_vec()).collect()
    }

    fn expected_of_peer(&self, count: usize) -> Vec<Vec<u8>> {
        let count = if self.sealing == Sealing::Off {
            count
        } else {
            0
        };
        [b"a", b"b", b"c"][..count]
            .iter()
            .map(|m| m.to_vec())
            .collect()
    }

    /// Numbers of the messages that the victim has written on the present connection.
    fn messages(&mut self) -> Vec<u64> {
        let mut key = [0; 32];
        let tag = match self.sealing {
            Sealing::On => 16,
            Sealing::Off => 0,
        };
        if self.sealing == Sealing::On {
            self.peer.export_of(b"EXPORTER-quicpool-seal", 1, &mut key);
        }
        let mut rest = &self.peer.read_data()[..];
        let (mut numbers, mut records) = (Vec::new(), 0);
        while let Some((len, _)) = rest.split_first_chunk() {
            let len = 16 + u32::from_be_bytes(*len) as usize + tag;
            numbers.extend(match self.sealing {
                Sealing::On => sealed::open(&key, records, &self.half, &rest[..len]),
                Sealing::Off => sealed::numbers(&rest[16..len]),
            });
            rest = &rest[len..];
            records += 1;
        }
        numbers
    }

    /// On the next connection both lines go on where they were: the peer has received this many
    /// messages, and everything else comes once.
    #[track_caller]
    fn goes_on(&mut self, received: u64) {
        self.dial();
        let heard = Heard::of(&self.peer.read_control());
        assert_eq!(heard.half, self.half, "it is the same session");
        let hello = self.hello(received);
        self.peer.greet(&hello);
        if self.sealing == Sealing::Off {
            let yours = heard.yours.expect("it knows our half");
            assert_eq!((yours.received, yours.taken), (3, 3));
            self.peer.write_data(&record(2, 1, 3, &[1, b'd']));
        }
        self.run();
        assert_eq!(self.peer.lost, None);
        assert_eq!(self.messages(), (received..5).collect::<Vec<_>>());
        if self.sealing == Sealing::Off {
            assert_eq!(
                self.taken(),
                [b"d"],
                "nothing twice, nothing of what was refused"
            );
        }
        self.acknowledge(5, 5);
        assert_eq!(self.metrics().0, 5, "each was delivered once");
        self.scene.assert_undisturbed();
        self.scene.assert_forgets(&mut self.peer);
    }
}
