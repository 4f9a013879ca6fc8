//! Peers that send nothing wrong, and end or stop things, or fall silent, where no machine would.

use quicpool_core::{Config, Event, Sealing, SendError, Undeliverable};
use quicpool_sim::{ms, secs};
use quinn_proto::{Dir, VarInt};

use crate::{
    bytes::{ACK, HELLO, Heard, LINE, ack, frame, frames, headed, numbers, record},
    raw::{RawHello, RawPeer},
    scene::{Scene, refused_once_greeted},
};

#[test]
fn a_stream_that_ends_is_refused() {
    refused_once_greeted(0x14, |peer| {
        let id = peer.control();
        peer.connection()
            .send_stream(id)
            .finish()
            .expect("it is open");
    });
    refused_once_greeted(0x14, |peer| {
        peer.write_data(b"");
        let id = peer.data();
        peer.connection()
            .send_stream(id)
            .finish()
            .expect("it is open");
    });
    for stream in [RawPeer::control, RawPeer::data] {
        let mut scene = Scene::new(Sealing::Off);
        let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
        // Before its header is read it would be a stream of no type.
        peer.write_data(&thousand(0));
        peer.run(&mut scene.net, ms(100));
        let (id, code) = (stream(&peer), VarInt::from_u32(1));
        let reset = peer.connection().send_stream(id).reset(code);
        assert!(reset.is_ok());
        peer.run(&mut scene.net, ms(100));
        assert_eq!(peer.close_code, Some(0x14), "{:?}", peer.lost);
        scene.assert_forgets(&mut peer);
    }
}

#[test]
fn streams_beyond_two_are_granted_once_the_greeting_is_accepted() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    assert_eq!(peer.connection().streams().open(Dir::Bi), None);
    assert_eq!(peer.connection().streams().open(Dir::Uni), None);
    peer.greet(&RawHello::default());
    peer.run(&mut scene.net, ms(100));
    assert_eq!(peer.connection().streams().open(Dir::Bi), None);
    for _ in 2..8 {
        assert!(peer.connection().streams().open(Dir::Uni).is_some());
    }
    assert_eq!(peer.connection().streams().open(Dir::Uni), None);
}

#[test]
fn streams_of_unknown_types_are_dropped_and_counted() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    for round in 0..30u64 {
        let streams = &mut peer.connection().streams();
        let id = streams.open(Dir::Uni).expect("those that ended make room");
        let bytes: &[u8] = match round % 4 {
            0 => b"",
            1 => &[2, 0, 9],
            2 => &[0x40],
            _ => &[0x21; 3_000],
        };
        let mut stream = peer.connection().send_stream(id);
        assert_eq!(stream.write(bytes).unwrap_or(0), bytes.len());
        match round % 3 {
            0 => stream.reset(VarInt::from_u32(5)).expect("it is open"),
            _ => stream.finish().expect("it is open"),
        }
        peer.run(&mut scene.net, ms(100));
    }
    assert_eq!(peer.lost, None);
    let counters = scene.net.metrics(scene.victim).expect("it is up").counters;
    assert_eq!((counters.streams_dropped, counters.violations), (30, 0));
    let heard = peer.connection().stats().frame_rx;
    assert_eq!((heard.stop_sending, heard.reset_stream), (0, 0));
    scene.assert_undisturbed();
    scene.assert_forgets(&mut peer);
}

#[test]
fn a_second_stream_of_line_0_and_one_of_another_line_are_refused() {
    refused_once_greeted(0x1a, |peer| peer.write_raw_data(&[1, 1]));
    for header in [&[1, 0][..], &[1, 1], &[0x40, 0x01, 0x40, 0x00]] {
        let mut scene = Scene::new(Sealing::Off);
        let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
        peer.write_data(b"");
        let id = peer.connection().streams().open(Dir::Uni);
        let id = id.expect("the greeting was accepted");
        let written = peer.connection().send_stream(id).write(header);
        assert_eq!(written, Ok(header.len()));
        peer.run(&mut scene.net, ms(100));
        assert_eq!(peer.close_code, Some(0x1a), "{header:?} {:?}", peer.lost);
        scene.assert_undisturbed();
        scene.assert_forgets(&mut peer);
    }
}

// Credit and passage

/// A record of a message of 1,000 bytes.
fn thousand(number: u64) -> Vec<u8> {
    let body = [&[0x43, 0xe8][..], &[7; 1_000]].concat();
    record(body.len() as u32, 1, number, &body)
}

#[test]
fn bytes_beyond_credit_are_refused() {
    // A header counts as long as it is written.
    for header in [&LINE[..], &[0x40, 1, 0x80, 0, 0, 0]] {
        let mut scene = Scene::new(Sealing::Off);
        let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
        scene.net.pause_reader(scene.victim);
        peer.write_raw_data(header);
        let (mut written, mut number, mut credit) = (header.len() as u64, 0, 0);
        let record_len = thousand(0).len() as u64;
        // As much as it may, until it may no more: the inbox is full.
        loop {
            credit = Heard::credit(&peer.read_control()).max(credit);
            if written + record_len > credit {
                break;
            }
            while written + record_len <= credit {
                peer.write_raw_data(&thousand(number));
                (number, written) = (number + 1, written + record_len);
            }
            peer.run(&mut scene.net, secs(1));
        }
        assert_eq!(peer.lost, None, "it has kept to its credit");
        let inbox = Config::default().inbox_bytes_max as u64;
        assert!((inbox / 2..=inbox).contains(&credit), "{credit}");
        let beyond = credit + 1 - written;
        peer.write_raw_data(&thousand(number)[..beyond as usize]);
        peer.run(&mut scene.net, secs(1));
        assert_eq!(peer.close_code, Some(0x1b), "{header:?}: {:?}", peer.lost);
        scene.assert_forgets(&mut peer);
    }
}

#[test]
fn bytes_of_control_and_of_unknown_streams_count_for_no_limit() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    let first = Heard::credit(&peer.read_control());
    peer.greet(&RawHello::default());
    peer.run(&mut scene.net, ms(100));
    let id = peer.connection().streams().open(Dir::Uni);
    let id = id.expect("the greeting was accepted");
    let mut beside = 0;
    // More than the passage of a connection, too.
    while beside < 3_000_000 {
        let written = peer.connection().send_stream(id).write(&[0x21; 30_000]);
        beside += written.expect("its window is open") as u64;
        peer.write_control(&frame(0x21, &[7; 4_096]));
        peer.run(&mut scene.net, ms(20));
    }
    let credit = Heard::credit(&peer.read_control()).max(first);
    assert_eq!(credit, first, "nor do they bring new credit");
    let (mut written, mut number) = (LINE.len() as u64, 0);
    while written + thousand(0).len() as u64 <= credit {
        peer.write_data(&thousand(number));
        (number, written) = (number + 1, written + thousand(0).len() as u64);
    }
    peer.run(&mut scene.net, secs(1));
    assert_eq!(peer.lost, None);
    let received = scene.net.received(scene.victim);
    assert_eq!(received.len() as u64, number);
}

#[test]
fn limits_that_go_backwards_change_nothing() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    peer.greet(&RawHello {
        limits: [40, 40],
        ..RawHello::default()
    });
    for limit in [5_000, 41, 0] {
        let ack = [0, limit, 0, 0, 0, limit];
        peer.write_control(&frame(ACK, &numbers(&ack)));
    }
    peer.run(&mut scene.net, ms(100));
    let id = peer.id;
    let sent = scene
        .net
        .with(scene.victim, |m, now| m.send(now, id, &[7; 1_000]));
    assert!(sent.is_ok());
    peer.run(&mut scene.net, ms(100));
    assert_eq!(peer.read_data(), thousand(0));
    assert_eq!(peer.lost, None);
}

#[test]
fn little_credit_delays_records_and_breaks_none() {
    for step in [1, 3, 16, 17, 500, 2_000] {
        let mut scene = Scene::new(Sealing::Off);
        let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
        let (mut credit, mut read) = (step, Vec::new());
        peer.greet(&RawHello {
            limits: [1 << 30, credit],
            ..RawHello::default()
        });
        let id = peer.id;
        let sent = scene
            .net
            .with(scene.victim, |m, now| m.send(now, id, &[7; 1_000]));
        assert!(sent.is_ok());
        let whole = thousand(0);
        while read.len() < whole.len() {
            peer.run(&mut scene.net, ms(20));
            read.extend(peer.read_data());
            let header = if read.is_empty() { 0 } else { 2 };
            assert!(read.len() as u64 + header <= credit, "step {step}");
            credit += step.max(20);
            let ack = [0, 1 << 30, 0, 0, 0, credit];
            peer.write_control(&frame(ACK, &numbers(&ack)));
        }
        assert_eq!((&read, peer.lost.clone()), (&whole, None));
    }
}

#[test]
fn a_peer_that_grants_nothing_stops_its_sender_and_loses_nothing() {
    for limits in [[0, 1 << 30], [1 << 30, 0]] {
        let mut scene = Scene::new(Sealing::Off);
        let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
        peer.greet(&RawHello {
            limits,
            ..RawHello::default()
        });
        let id = peer.id;
        let send = |scene: &mut Scene| {
            scene
                .net
                .with(scene.victim, |m, now| m.send(now, id, &[7; 1_000]))
        };
        while send(&mut scene).is_ok() {}
        peer.run(&mut scene.net, secs(1));
        assert_eq!(peer.read_data(), b"", "{limits:?}");
        peer.write_control(&frame(ACK, &numbers(&[0, 1 << 30, 0, 0, 0, 1 << 30])));
        peer.run(&mut scene.net, secs(1));
        assert!(peer.read_data().len() > 500_000, "{limits:?}");
        assert_eq!(peer.lost, None);
    }
}

#[test]
fn a_peer_that_stops_our_streams_harms_itself_alone() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    let id = peer.id;
    for index in 0..2 {
        let theirs = quinn_proto::StreamId::new(quinn_proto::Side::Server, Dir::Uni, index);
        let _ = peer
            .connection()
            .recv_stream(theirs)
            .stop(VarInt::from_u32(1));
    }
    peer.run(&mut scene.net, secs(1));
    for _ in 0..1_000 {
        let _ = scene
            .net
            .with(scene.victim, |m, now| m.send(now, id, &[1; 1_000]));
        peer.run(&mut scene.net, ms(1));
    }
    scene.assert_undisturbed();
    scene.assert_forgets(&mut peer);
}

#[test]
fn a_peer_that_never_says_hello_is_closed_in_time() {
    // Whichever end has dialled.
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    peer.run(&mut scene.net, secs(4));
    assert_eq!(peer.lost, None);
    peer.run(&mut scene.net, secs(2));
    assert_eq!(peer.close_code, Some(0x0b));
    scene.assert_undisturbed();
    scene.assert_forgets(&mut peer);

    // Hello is half of a greeting.
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    let greeting = peer.hello(&RawHello::default());
    let (_, hello) = frames(&greeting)[0];
    peer.write_control(&frame(HELLO, hello));
    peer.run(&mut scene.net, ms(5_100));
    assert_eq!(peer.close_code, Some(0x0b));
    scene.assert_undisturbed();
    scene.assert_forgets(&mut peer);

    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::new(9);
    let addr = peer.peer_addr();
    let dialled = scene.net.with(scene.victim, |m, now| {
        m.add_address(now, addr)
            .and_then(|()| m.connect(now, addr.id))
    });
    assert_eq!(dialled, Ok(()));
    peer.run(&mut scene.net, ms(5_100));
    assert_eq!(peer.close_code, Some(0x0b));
    scene.assert_undisturbed();
    scene.assert_forgets(&mut peer);
}

#[test]
fn a_peer_that_falls_silent_or_closes_in_the_middle_of_a_handshake_leaves_nothing() {
    for closes in [true, false] {
        let mut scene = Scene::new(Sealing::Off);
        let mut peer = RawPeer::new(9);
        peer.dial(&mut scene.net, scene.victim);
        peer.run(&mut scene.net, ms(0));
        let occupancy = scene.net.occupancy(scene.victim).expect("it is up");
        assert_eq!(occupancy.handshakes, 1);

        if closes {
            peer.close(&mut scene.net, 0x0a);
        }
        scene.net.advance(secs(30));

        let metrics = scene.net.metrics(scene.victim).expect("it is up");
        assert_eq!(metrics.counters.handshakes_failed, 1);
        scene.assert_undisturbed();
        scene.assert_forgets(&mut peer);
    }
}

#[test]
fn a_greeted_peer_that_closes_with_nonsense_changes_nothing() {
    let codes = [
        0x00,
        0x01,
        0x03,
        0x04,
        0x09,
        0x19,
        0x1a,
        0x1d,
        0x1e,
        0xffff_ffff,
    ];
    for (code, reason) in codes
        .into_iter()
        .flat_map(|c| [(c, &[0xff; 9][..]), (c, &[])])
    {
        let mut scene = Scene::new(Sealing::Off);
        let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
        let now = scene.net.instant();
        let code = VarInt::from_u32(code);
        peer.connection()
            .close(now, code, bytes::Bytes::copy_from_slice(reason));
        peer.run(&mut scene.net, secs(1));
        scene.assert_undisturbed();
        scene.assert_forgets(&mut peer);
    }
}

/// Each of them alone: those before and behind it arrive, and the session goes on.
#[test]
fn failure_28_a_message_that_no_record_of_the_peer_can_hold_is_an_error_of_its_own() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    let id = peer.id;
    let send = |scene: &mut Scene, len: usize| {
        let message = vec![1; len];
        let sent = scene
            .net
            .with(scene.victim, |m, now| m.send(now, id, &message));
        sent.map(drop)
    };
    for len in [3, 1_001, 4, 1_002, 1_003, 5] {
        assert_eq!(send(&mut scene, len), Ok(()), "its limits are not known");
    }
    peer.greet(&RawHello {
        accepts: [1 << 20, 600],
        ..RawHello::default()
    });
    peer.run(&mut scene.net, secs(1));
    let max = 598;
    let events = scene.net.events(scene.victim);
    for (number, size) in [(1, 1_001), (3, 1_002), (4, 1_003)] {
        let told = Event::Undelivered {
            peer: id,
            messages: number..number + 1,
            reason: Undeliverable::TooLarge { size, max },
        };
        assert!(events.contains(&told), "{number}");
    }
    let void = &[1, 3, 0];
    let expected = [
        record(4, 1, 0, &[3, 1, 1, 1]),
        headed(1, 1, void),
        record(5, 1, 2, &[4, 1, 1, 1, 1]),
        headed(2, 3, &[&void[..], void].concat()),
        record(6, 1, 5, &[5, 1, 1, 1, 1, 1]),
    ];
    assert_eq!(peer.read_data(), expected.concat());
    peer.write_control(&ack(6, 6));
    peer.run(&mut scene.net, secs(1));
    assert_eq!(peer.lost, None);
    let metrics = scene.net.machine(scene.victim).map(|m| m.peer_metrics(id));
    let metrics = metrics.flatten().expect("it is known");
    assert_eq!((metrics.messages_delivered, metrics.outbox_bytes), (3, 0));

    let size = 1_001;
    let refused = Err(SendError::TooLarge { size, max });
    assert_eq!(send(&mut scene, size), refused);
}
