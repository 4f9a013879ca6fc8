//! Frames of the control stream that no machine would write.

use quicpool_core::Sealing;
use quicpool_sim::secs;

use crate::{
    raw::{ACK, HELLO, RawHello, RawPeer, frame},
    scene::{Scene, refused_once_connected, refused_once_greeted, refused_without_violation},
};

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
