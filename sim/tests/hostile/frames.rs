//! Frames of the control stream that no machine would write.

use quicpool_core::Sealing;
use quicpool_sim::{ms, secs};

use crate::{
    raw::{ACK, HELLO, RawHello, RawPeer, YOURS_LEN, frame, record},
    scene::{Scene, refused_once_connected, refused_once_greeted, refused_without_violation},
};

/// Bytes of the last thing that a hello says.
const WHETHER_IT_CAN_DIAL_LEN: usize = 1;

#[test]
fn an_unknown_frame_is_refused() {
    refused_once_greeted(0x10, |peer| peer.write_control(&frame(0x03, b"?")));
}

#[test]
fn a_frame_of_a_reserved_type_is_skipped() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    peer.write_control(&frame(0x21, b"grease"));
    peer.run(&mut scene.net, secs(1));
    assert_eq!(peer.lost, None);
}

#[test]
fn a_frame_beyond_the_limit_is_refused_before_it_has_come() {
    refused_once_greeted(0x12, |peer| peer.write_control(&[ACK, 0x44, 0x01]));
    // A length of 2^62 - 1.
    refused_once_greeted(0x12, |peer| {
        peer.write_control(&[&[ACK][..], &[0xff; 8]].concat())
    });
}

#[test]
fn a_second_hello_is_refused() {
    refused_once_greeted(0x13, |peer| peer.greet(&RawHello::default()));
}

#[test]
fn an_acknowledgement_before_hello_is_refused() {
    refused_once_connected(0x13, Sealing::Off, |peer| {
        peer.write_control(&frame(ACK, &[0, 0, 0]));
    });
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_refused() {
    refused_once_greeted(0x19, |peer| peer.write_control(&frame(ACK, &[5, 0, 0])));
    refused_once_greeted(0x19, |peer| peer.write_control(&frame(ACK, &[0, 5, 0])));
}

#[test]
fn a_malformed_hello_is_refused() {
    refused_once_connected(0x11, Sealing::Off, |peer| {
        peer.write_control(&frame(HELLO, &[0, 1, 2, 3]));
    });
    refused_once_connected(0x11, Sealing::Off, |peer| {
        // Its range of numbers ends before it begins.
        peer.greet(&RawHello {
            first: 5,
            next: 4,
            ..RawHello::default()
        });
    });
}

#[test]
fn another_wire_version_is_refused_and_no_violation() {
    refused_without_violation(0x06, Sealing::Off, |peer| {
        peer.greet(&RawHello {
            version: 2,
            ..RawHello::default()
        });
    });
}

#[test]
fn whoever_does_not_seal_is_refused_where_all_is_sealed() {
    refused_without_violation(0x07, Sealing::On, |peer| peer.greet(&RawHello::default()));
}

#[test]
fn a_hello_that_is_refused_changes_nothing() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    peer.write_data(&record(2, 1, 0, &[1, b'x']));
    peer.run(&mut scene.net, secs(1));

    // It names another line, and acknowledges what was never sent.
    let known = says(&mut scene, &mut peer, &RawHello::default());
    let mut yours = known;
    yours[1..17].copy_from_slice(&line_of_hello(&mut scene, &mut peer));
    yours[24] = 5;
    let lie = RawHello {
        line: [8; 16],
        yours,
        ..RawHello::default()
    };
    let _ = says(&mut scene, &mut peer, &lie);
    assert_eq!(peer.close_code, Some(0x19));

    let still = says(&mut scene, &mut peer, &RawHello::default());
    assert_eq!(still, known, "it knows the line, and what has come of it");
    assert_eq!(known[0], 1);
}

/// Connects anew and says this; what the victim's hello says of our line.
fn says(scene: &mut Scene, peer: &mut RawPeer, hello: &RawHello) -> [u8; YOURS_LEN] {
    let frame = exchange(scene, peer, hello);
    let ours = frame.len() - WHETHER_IT_CAN_DIAL_LEN - YOURS_LEN;
    *frame[ours..].first_chunk().expect("it has our line")
}

/// The id of the victim's own line.
fn line_of_hello(scene: &mut Scene, peer: &mut RawPeer) -> [u8; 16] {
    let frame = exchange(scene, peer, &RawHello::default());
    let mine = frame.len() - WHETHER_IT_CAN_DIAL_LEN - YOURS_LEN - 32;
    *frame[mine..].first_chunk().expect("it has a line")
}

fn exchange(scene: &mut Scene, peer: &mut RawPeer, hello: &RawHello) -> Vec<u8> {
    peer.forget_connection();
    peer.dial(&mut scene.net, scene.victim);
    peer.run(&mut scene.net, ms(100));
    let frame = peer.read_control();
    peer.greet(hello);
    peer.run(&mut scene.net, ms(100));
    frame
}
