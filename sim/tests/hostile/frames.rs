//! Frames of the control stream that no machine would write.

use std::sync::Arc;

use quicpool_core::{Config, MeshKey, Sealing};
use quicpool_sim::{Checksum, ms, secs};

use crate::{
    bytes::{
        ACK, HELLO, Heard, LINES, Yours, ack, frame, frames, numbers, parameters, record, varint,
    },
    raw::{Check, RawHello, RawPeer},
    scene::{Scene, refused_once_connected, refused_once_greeted, refused_without_violation},
};

#[test]
fn frames_of_unknown_types_are_skipped_and_counted() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    let skipped = |scene: &Scene| {
        let counters = scene.net.metrics(scene.victim).expect("it is up").counters;
        assert_eq!(counters.violations, 0);
        counters.frames_skipped
    };
    let of_friend = skipped(&scene);
    assert_eq!(of_friend, 1, "grease");
    peer.write_control(&frame(0x04, b"of a later version"));
    peer.greet(&RawHello::default());
    peer.write_control(&frame(0x21, b"grease"));
    peer.write_control(&frame(0x3f, &[7; 4_096]));
    peer.run(&mut scene.net, secs(1));
    assert_eq!(peer.lost, None);
    assert_eq!(skipped(&scene) - of_friend, 3);
}

#[test]
fn a_frame_beyond_the_limit_is_refused_before_it_has_come() {
    for kind in [ACK, 0x21] {
        let header = [varint(kind), varint(4_097)].concat();
        refused_once_greeted(0x12, move |peer| peer.write_control(&header));
    }
    // A length of 2^62 - 1.
    refused_once_greeted(0x12, |peer| {
        peer.write_control(&[varint(ACK), vec![0xff; 8]].concat())
    });
}

#[test]
fn a_second_hello_is_refused() {
    refused_once_greeted(0x13, |peer| peer.greet(&RawHello::default()));
    // It is read before its place is judged.
    refused_once_greeted(0x11, |peer| {
        peer.write_control(&frame(HELLO, &[0, 1, 2, 3]));
    });
}

#[test]
fn another_order_than_hello_and_lines_is_refused() {
    let lines = || frame(LINES, &numbers(&[0, 1, 1, 0, 0, 0, 0, 0, 0, 0]));
    refused_once_connected(0x13, Sealing::Off, |peer| peer.write_control(&ack(0, 0)));
    refused_once_connected(0x13, Sealing::Off, move |peer| peer.write_control(&lines()));
    refused_once_connected(0x13, Sealing::Off, |peer| {
        let greeting = peer.hello(&RawHello::default());
        let (_, hello) = frames(&greeting)[0];
        peer.write_control(&[frame(HELLO, hello), ack(0, 0)].concat());
    });
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_refused() {
    refused_once_greeted(0x19, |peer| peer.write_control(&ack(5, 0)));
    refused_once_greeted(0x19, |peer| peer.write_control(&ack(0, 5)));
}

#[test]
fn a_line_that_may_not_be_is_refused() {
    let acks: [&[u64]; 2] = [&[0, 0, 1, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]];
    for body in acks {
        refused_once_greeted(0x1a, |peer| {
            peer.write_control(&frame(ACK, &numbers(body)));
        });
    }
    let lines: [&[u64]; 4] = [
        // No line 0, another line, line 0 over, and one of ours that we do not have.
        &[0, 1, 0, 9, 0, 0, 0],
        &[0, 2, 2, 0, 0, 0, 1, 0, 0, 9, 0, 0, 0],
        &[0, 1, 1, 0, 0, 1, 9, 0, 0, 0],
        &[0, 1, 1, 0, 0, 0, 9, 2, 0, 1, 1, 0, 0, 9, 0],
    ];
    for body in lines {
        refused_once_greeted(0x1a, |peer| {
            peer.write_control(&frame(LINES, &numbers(body)));
        });
    }
}

#[test]
fn lines_that_come_again_are_an_acknowledgement() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    let id = peer.id;
    let sent = scene
        .net
        .with(scene.victim, |m, now| m.send(now, id, b"taken"));
    assert!(sent.is_ok());
    peer.run(&mut scene.net, ms(100));
    let lines = [0, 1, 1, 0, 0, 0, 1 << 30, 1, 0, 1, 0, 1, 1, 1 << 30, 0];
    peer.write_control(&frame(LINES, &numbers(&lines)));
    peer.run(&mut scene.net, ms(100));
    assert_eq!(peer.lost, None);
    let metrics = scene.net.machine(scene.victim).map(|m| m.peer_metrics(id));
    let delivered = metrics.flatten().map(|metrics| metrics.messages_delivered);
    assert_eq!(delivered, Some(1));
}

#[test]
fn a_malformed_hello_is_refused() {
    refused_once_connected(0x11, Sealing::Off, |peer| {
        peer.write_control(&frame(HELLO, &[0, 1, 2, 3]));
    });
    for key in [1, 6, 7, 10, 14, 16, 18] {
        refused_once_connected(0x11, Sealing::Off, move |peer| {
            peer.greet(&RawHello {
                without: vec![key],
                ..RawHello::default()
            });
        });
    }
}

#[test]
fn failure_34_an_echoed_check_value_proves_nothing() {
    refused_without_violation(0x07, Sealing::On, |peer| {
        peer.greet(&RawHello {
            check: Check::Echo,
            ..RawHello::default()
        });
    });
    // The same peer with the value of its own direction is let in.
    let mut scene = Scene::new(Sealing::On);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    peer.greet(&RawHello::sealed());
    peer.run(&mut scene.net, secs(1));
    assert_eq!(peer.lost, None);
    let id = peer.id;
    let links = scene
        .net
        .machine(scene.victim)
        .and_then(|m| m.connections(id));
    assert_eq!(links.map(Iterator::count), Some(1), "it is confirmed");
}

/// The thief of an identity key takes the place of no process, learns nothing, and nothing that it states is
/// believed: it lacks the mesh key.
#[test]
fn failure_34_a_thief_without_the_mesh_key_changes_nothing() {
    let mut config = Config::default();
    config.mesh_key = Some(MeshKey::new(&[7; 32]));
    let mut scene = Scene::with(config.clone());
    let mut thief = RawPeer::new(9);
    let id = thief.id;
    let robbed = scene
        .net
        .node_as(config, move |_| Arc::new(Checksum::new(id, 9)));
    let victim = scene.victim;
    scene.net.introduce(victim, robbed);
    scene.net.connect(robbed, victim);
    scene.net.advance(ms(100));
    scene.net.cut(victim, robbed);
    scene.net.send(victim, robbed, b"for the owner of the key");

    for started_ms in [1, 1 << 50] {
        for check in [Check::Right, Check::Echo, Check::None] {
            thief.forget_connection();
            thief.dial(&mut scene.net, victim);
            thief.run(&mut scene.net, ms(100));
            let control = thief.read_control();
            let check = match check {
                Check::Echo => Check::Stated(check_of(&control)),
                Check::None | Check::Right | Check::Stated(_) => check,
            };
            thief.greet(&RawHello {
                started_ms,
                check,
                yours: Some(Yours {
                    half: Heard::of(&control).half,
                    received: 1,
                    taken: 1,
                }),
                ..RawHello::default()
            });
            thief.write_data(&record(2, 1, 0, &[&[1, b'x'][..], &[0; 16]].concat()));
            thief.run(&mut scene.net, ms(100));
            assert_eq!(thief.close_code.take(), Some(0x07), "{check:?}");
            assert_eq!(thief.read_data(), b"");
        }
    }
    let owner = scene.net.peer_metrics(victim, robbed).expect("it is known");
    assert_eq!((owner.connections, owner.messages_delivered), (1, 0));
    assert_eq!((owner.messages_received, owner.failures), (0, 0));
    scene.net.heal(victim, robbed);
    scene.net.advance(secs(5));
    assert_eq!(scene.net.received(robbed).len(), 1);
    for node in [victim, robbed] {
        let lost = scene.net.metrics(node).expect("it is up").counters;
        assert_eq!((lost.connections_lost, lost.violations), (0, 0));
    }
    scene.assert_undisturbed();
}

/// The check value in the hello of a greeting.
fn check_of(control: &[u8]) -> [u8; 8] {
    let hello = frames(control).into_iter().find(|(kind, _)| *kind == HELLO);
    let (_, hello) = hello.expect("there is a hello");
    let all = parameters(hello);
    let check = all.iter().find(|(key, ..)| *key == 3);
    let (_, _, check) = check.expect("it seals");
    (*check).try_into().expect("eight bytes")
}

#[test]
fn a_peer_that_does_not_seal_is_refused_where_all_is_sealed() {
    refused_without_violation(0x07, Sealing::On, |peer| peer.greet(&RawHello::default()));
}

#[test]
fn a_hello_that_is_refused_changes_nothing() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    peer.write_data(&record(2, 1, 0, &[1, b'x']));
    peer.run(&mut scene.net, secs(1));

    // It names another half, and acknowledges what was never sent.
    let known = greets(&mut scene, &mut peer, &RawHello::default());
    let ours = known.yours.expect("it has our half");
    let lie = RawHello {
        half: [8; 16],
        yours: Some(Yours {
            half: known.half,
            received: 5,
            ..ours
        }),
        ..RawHello::default()
    };
    let _ = greets(&mut scene, &mut peer, &lie);
    assert_eq!(peer.close_code, Some(0x19));

    let still = greets(&mut scene, &mut peer, &RawHello::default());
    assert_eq!(still.yours, known.yours, "and what has come of it");
}

/// Connects anew and greets. Returns the greeting of the victim.
fn greets(scene: &mut Scene, peer: &mut RawPeer, hello: &RawHello) -> Heard {
    peer.forget_connection();
    peer.dial(&mut scene.net, scene.victim);
    peer.run(&mut scene.net, ms(100));
    let heard = Heard::of(&peer.read_control());
    peer.greet(hello);
    peer.run(&mut scene.net, ms(100));
    heard
}
