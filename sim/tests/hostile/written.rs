//! What a machine writes, as it is read by a peer that knows the document of the wire alone.

use quicpool_core::{Config, Sealing};
use quicpool_sim::{Net, ms, secs};
use quinn_proto::{ConnectionError, Dir};

use crate::{
    bytes::{HELLO, Heard, LINE, LINES, frames, numbers, parameters, record, take_varint, varints},
    raw::{RawHello, RawPeer, run_all},
    scene::Scene,
};

// Greetings

/// Whether a number is reserved for grease: the types of frames and streams.
fn is_reserved(kind: u64) -> bool {
    kind >= 0x21 && (kind - 0x21).is_multiple_of(0x1f)
}

#[test]
fn a_greeting_is_of_the_base_but_for_one_reserved_frame_and_one_reserved_key() {
    let mut places = [0; 3];
    for seed in 0..60 {
        let (mut net, victim) = unsealed(seed);
        let mut peer = RawPeer::connected(9, &mut net, victim);
        let control = peer.read_control();
        let greeting = frames(&control);
        let kinds: Vec<_> = greeting.iter().map(|(kind, _)| *kind).collect();
        let grease = kinds.iter().position(|kind| is_reserved(*kind));
        let grease = grease.expect("one reserved frame");
        places[grease] += 1;
        let mut others = kinds.clone();
        others.remove(grease);
        assert_eq!(others, [HELLO, LINES], "{kinds:x?}");

        let hello = greeting.iter().find(|(kind, _)| *kind == HELLO);
        let (_, hello) = hello.expect("there is one");
        let keys: Vec<_> = parameters(hello).iter().map(|(key, ..)| *key).collect();
        let (reserved, base) = keys.split_last().expect("there are keys");
        assert_eq!(reserved % 31, 27, "{keys:?}");
        // Neither a dial number, nor a check value, nor an address or a half of ours.
        assert_eq!(base, [1, 6, 7, 10, 14, 16, 18]);
    }
    assert!(places.iter().all(|count| *count > 5), "{places:?}");
}

#[test]
fn some_connections_have_a_stream_of_a_reserved_type() {
    let mut streams = 0;
    for seed in 0..200 {
        let (mut net, victim) = unsealed(seed);
        let mut peer = RawPeer::greeted(9, &mut net, victim);
        let id = peer.id;
        let sent = net.with(victim, |m, now| m.send(now, id, b"a record"));
        assert!(sent.is_ok());
        peer.run(&mut net, ms(20));
        while peer.connection().streams().accept(Dir::Uni).is_some() {}
        let other = peer.read(2);
        if !other.is_empty() {
            assert!(is_reserved(take_varint(&mut &other[..])), "{other:x?}");
            streams += 1;
        }
        assert_eq!(peer.read(3), b"", "one at most");
    }
    assert!((4..=28).contains(&streams), "{streams} of 200");
}

#[test]
fn dials_are_counted_from_1_and_an_acceptor_states_none() {
    let (mut net, victim) = unsealed(1);
    let mut peer = RawPeer::new(9);
    let addr = peer.peer_addr();
    net.with(victim, |m, now| m.add_address(now, addr))
        .expect("known");
    for dial in 1..4 {
        net.with(victim, |m, now| m.connect(now, addr.id))
            .expect("known");
        peer.run(&mut net, ms(100));
        assert_eq!(number_of(&peer.read_control(), 2), Some(dial));
        peer.greet(&RawHello::default());
        peer.run(&mut net, ms(100));
        net.with(victim, |m, now| m.disconnect(now, addr.id))
            .expect("known");
        peer.run(&mut net, ms(100));
        peer.forget_connection();
    }
    peer.dial(&mut net, victim);
    peer.run(&mut net, ms(100));
    assert_eq!(number_of(&peer.read_control(), 2), None);
}

/// The number of a key in the hello of a greeting.
fn number_of(control: &[u8], key: u64) -> Option<u64> {
    let (_, hello) = frames(control)
        .into_iter()
        .find(|(kind, _)| *kind == HELLO)
        .expect("there is a hello");
    let all = parameters(hello);
    let found = all.iter().find(|(found, ..)| *found == key);
    found.map(|(_, number, _)| *number)
}

#[test]
fn nothing_but_the_greeting_is_written_before_the_others_has_come() {
    for sealing in [Sealing::Off, Sealing::On] {
        let mut scene = Scene::new(sealing);
        let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
        let id = peer.id;
        let sent = scene
            .net
            .with(scene.victim, |m, now| m.send(now, id, b"too early"));
        assert!(sent.is_ok());
        peer.write_data(&record(2, 1, 0, &[1, b'x']));
        peer.run(&mut scene.net, secs(2));
        let kinds: Vec<_> = frames(&peer.read_control())
            .iter()
            .map(|(kind, _)| *kind)
            .filter(|kind| !is_reserved(*kind))
            .collect();
        assert_eq!(kinds, [HELLO, LINES]);
        assert_eq!(peer.read_data(), b"");
        let received = scene.net.received(scene.victim);
        assert_eq!(received, [], "nor is a record read");
        if sealing == Sealing::On {
            continue;
        }
        peer.greet(&RawHello::default());
        peer.run(&mut scene.net, ms(100));
        let message = [&[9][..], b"too early"].concat();
        assert_eq!(peer.read_data(), record(10, 1, 0, &message));
        assert_eq!(scene.net.received(scene.victim).len(), 1);
        assert_eq!(peer.lost, None);
    }
}

// LINES that come again

/// What LINES has of line 0 of the other end, as the last of these frames states it.
fn stated_again(control: &[u8]) -> Option<(u64, u64)> {
    let frames = frames(control);
    let lines = frames.iter().rev().find(|(kind, _)| *kind == LINES);
    lines.map(|(_, body)| {
        let numbers = varints(body);
        assert_eq!(numbers.len(), 15, "line 0 is known: {numbers:?}");
        (numbers[11], numbers[12])
    })
}

#[test]
fn lines_are_stated_again_on_a_connection_that_takes_the_place_of_another() {
    let (mut net, victim) = unsealed(1);
    let mut first = RawPeer::greeted(9, &mut net, victim);
    first.write_data(&record(4, 2, 0, &[1, b'a', 1, b'b']));
    first.run(&mut net, ms(100));
    let mut second = RawPeer::new(9);
    second.addr = ([192, 0, 2, 77], 4433).into();
    second.dial(&mut net, victim);
    run_all(&mut [&mut first, &mut second], &mut net, ms(100));
    second.read_control();
    second.greet(&RawHello::default());
    run_all(&mut [&mut first, &mut second], &mut net, ms(100));
    assert_eq!(first.close_code, Some(0x03), "it is replaced");
    assert_eq!(stated_again(&second.read_control()), Some((2, 2)));
}

#[test]
fn lines_are_stated_again_on_the_connection_that_is_left() {
    let (mut net, victim) = unsealed(1);
    // Its id is the smaller one, so the other end closes nothing.
    let mut dialled = RawPeer::new(0);
    let addr = dialled.peer_addr();
    net.with(victim, |m, now| m.add_address(now, addr))
        .expect("known");
    net.with(victim, |m, now| m.connect(now, addr.id))
        .expect("known");
    let mut dials = RawPeer::new(0);
    dials.addr = ([192, 0, 2, 77], 4433).into();
    dials.dial(&mut net, victim);
    let both = |dialled: &mut RawPeer, dials: &mut RawPeer, net: &mut Net| {
        run_all(&mut [dialled, dials], net, ms(100));
    };
    both(&mut dialled, &mut dials, &mut net);
    dialled.greet(&RawHello::default());
    both(&mut dialled, &mut dials, &mut net);
    dials.greet(&RawHello::default());
    both(&mut dialled, &mut dials, &mut net);
    dials.write_data(&record(4, 2, 0, &[1, b'a', 1, b'b']));
    both(&mut dialled, &mut dials, &mut net);
    assert_eq!((&dialled.lost, &dials.lost), (&None, &None), "both stay");
    dialled.read_control();
    dials.close(&mut net, 0x03);
    both(&mut dialled, &mut dials, &mut net);
    assert_eq!(stated_again(&dialled.read_control()), Some((2, 2)));
}

// The last acknowledgement

#[test]
fn a_final_acknowledgement_is_that_of_a_frame_without_limits() {
    let (mut net, victim) = unsealed(1);
    let mut peer = RawPeer::greeted(9, &mut net, victim);
    let id = peer.id;
    net.read_up_to(victim, 2);
    peer.write_data(&record(6, 3, 0, &[1, b'a', 1, b'b', 1, b'c']));
    net.with(victim, |m, now| m.send(now, id, b"held"))
        .expect("room");
    peer.run(&mut net, ms(100));
    net.with(victim, |m, now| m.disconnect(now, id))
        .expect("known");
    peer.run(&mut net, ms(100));
    let Some(ConnectionError::ApplicationClosed(close)) = &peer.lost else {
        panic!("{:?}", peer.lost);
    };
    assert_eq!(close.error_code.into_inner(), 0x00);
    // Five bytes are held; three messages have arrived, and two were taken.
    assert_eq!(close.reason[..], numbers(&[5, 0, 0, 3, 2, 0]));
}

// Credit

#[test]
fn credit_begins_small_and_doubles_as_it_is_used() {
    let (mut net, victim) = unsealed(1);
    let mut peer = RawPeer::connected(9, &mut net, victim);
    let first = 32 * 1_024;
    let mut credit = number_of(&peer.read_control(), 18).expect("it is required");
    assert_eq!(credit, first);
    peer.greet(&RawHello::default());
    peer.run(&mut net, ms(100));
    peer.read_control();
    let body = [&[0x43, 0xe8][..], &[7; 1_000]].concat();
    let record_len = body.len() as u64 + 16;
    let (mut written, mut number, mut widest) = (LINE.len() as u64, 0, first);
    let inbox = Config::default().inbox_bytes_max as u64;
    for round in 0..12 {
        // As much as there is credit for, all of which is taken.
        let before = credit;
        while written + record_len <= credit {
            peer.write_data(&record(1_002, 1, number, &body));
            (number, written) = (number + 1, written + record_len);
        }
        peer.run(&mut net, secs(1));
        credit = credit.max(Heard::credit(&peer.read_control()));
        assert!(credit > before, "round {round}: nothing new of {before}");
        let window = credit - written;
        assert!(
            window <= 2 * widest,
            "round {round}: {window} after {widest}"
        );
        widest = widest.max(window);
    }
    assert!((inbox / 2..=inbox).contains(&widest), "{widest}");
    assert_eq!(peer.lost, None);
}

// Helpers

/// A net with a node that does not seal.
fn unsealed(seed: u64) -> (Net, quicpool_sim::NodeId) {
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    let mut net = Net::new(seed);
    let victim = net.node(config);
    (net, victim)
}
