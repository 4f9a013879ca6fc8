//! Records of the data stream that no machine would write.

use quicpool_core::{Config, Sealing};
use quicpool_sim::{Net, ms};

use crate::{
    bytes::{Heard, headed, record},
    raw::{RawHello, RawPeer},
    scene::{Scene, refused_once_connected, refused_once_greeted},
};

#[test]
fn an_unsealed_record_is_refused_where_all_is_sealed() {
    refused_once_connected(0x17, Sealing::On, |peer| {
        peer.greet(&RawHello::sealed());
        // A plain body, and something in the place of the tag.
        peer.write_data(&record(2, 1, 0, &[&[1, b'x'][..], &[0; 16]].concat()));
    });
}

#[test]
fn a_record_longer_than_allowed_is_refused_before_it_has_come() {
    refused_once_greeted(0x16, |peer| peer.write_data(&record(u32::MAX, 1, 0, b"")));
    // One byte more than the largest message and its length.
    let len = 1024 * 1024 + 4 + 1;
    refused_once_greeted(0x16, move |peer| peer.write_data(&record(len, 1, 0, b"")));
}

#[test]
fn a_count_bomb_is_refused_before_its_body_has_come() {
    refused_once_greeted(0x15, |peer| peer.write_data(&record(4, 0xff_ffff, 0, b"")));
    refused_once_greeted(0x15, |peer| peer.write_data(&record(4, 5, 0, b"")));
    refused_once_greeted(0x15, |peer| peer.write_data(&record(4, 0, 0, b"")));
    refused_once_greeted(0x15, |peer| peer.write_data(&record(1, 1, u64::MAX, b"\0")));
}

#[test]
fn an_unknown_kind_of_record_is_refused_before_its_body_has_come() {
    for kind in [2, 3, 0xff] {
        let mut header = record(4, 1, 0, b"");
        header[4] = kind;
        refused_once_greeted(0x15, move |peer| peer.write_data(&header));
    }
}

#[test]
fn an_entry_that_is_no_message_and_no_void_is_refused() {
    // A request, a reply, a later kind, a void with content, parameters that end early.
    let bodies: [&[u8]; 5] = [
        &[1, 1, 0],
        &[1, 2, 0],
        &[1, 4, 0],
        &[1, 3, 1, b'x'],
        &[2, 3, 2, 0],
    ];
    for body in bodies {
        let record = headed(1, 0, body);
        refused_once_greeted(0x15, move |peer| peer.write_data(&record));
    }
}

#[test]
fn voids_are_skipped_and_taken_with_the_message_before_them() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    scene.net.pause_reader(scene.victim);
    peer.read_control();
    // A void, two messages with one between them, two at the end.
    let mixed: &[&[u8]] = &[
        &[1, 3, 0],
        &[0, 1, b'a'],
        &[1, 3, 0],
        &[0, 1, b'b'],
        &[1, 3, 0],
        &[3, 3, 2, 9, 0],
    ];
    peer.write_data(&headed(6, 10, &mixed.concat()));
    peer.write_data(&record(2, 1, 16, &[1, b'c']));
    peer.run(&mut scene.net, ms(100));
    assert_eq!(peer.lost, None);
    let told = acknowledged(&peer.read_control());
    assert_eq!(told, (17, 11), "the void at the front is taken at once");
    scene.net.resume_reader(scene.victim);
    peer.run(&mut scene.net, ms(100));
    assert_eq!(acknowledged(&peer.read_control()), (17, 17));
    let messages = scene.net.received(scene.victim);
    let payloads: Vec<_> = messages.iter().map(|m| m.payload.to_vec()).collect();
    assert_eq!(payloads, [b"a", b"b", b"c"]);
    scene.assert_undisturbed();
}

#[test]
fn a_body_that_is_not_what_its_header_says_is_refused() {
    let bodies: [&[u8]; 4] = [&[9, 1, 1, 1], &[3, 1, 1, 1], &[0, 0, 0, 0], &[0xff; 4]];
    for body in bodies {
        refused_once_greeted(0x15, move |peer| peer.write_data(&record(4, 2, 0, body)));
    }
}

#[test]
fn a_message_longer_than_allowed_is_refused() {
    refused_once_greeted(0x16, |peer| {
        // Its length is 16 MiB.
        peer.write_data(&record(8, 1, 0, &[0x81, 0, 0, 0, 0, 0, 0, 0]));
    });
}

#[test]
fn a_gap_is_refused() {
    refused_once_greeted(0x18, |peer| {
        peer.write_data(&record(2, 1, 0, &[1, b'x']));
        peer.write_data(&record(2, 1, 2, &[1, b'z']));
    });
}

#[test]
fn records_that_are_announced_and_do_not_come_take_no_memory() {
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    config.message_bytes_max = 16 * 1024 * 1024;
    config.outbox_bytes_max = 32 * 1024 * 1024;
    let mut net = Net::new(1);
    let victim = net.node(config);
    let before = writable_memory();

    let mut peers = Vec::new();
    for number in 1..=40 {
        let mut peer = RawPeer::greeted(number, &mut net, victim);
        peer.write_data(&record(16 * 1024 * 1024, 1, 0, &[0xff; 100]));
        peer.run(&mut net, ms(50));
        assert_eq!(peer.lost, None, "it is within the limits");
        peers.push(peer);
    }

    // Together they have announced 640 MiB.
    let grown = writable_memory().saturating_sub(before);
    assert!(grown < 200 * 1024 * 1024, "{grown} bytes more");
}

// Helpers

/// What the last acknowledgement has of line 0: received and taken.
fn acknowledged(control: &[u8]) -> (u64, u64) {
    let last = Heard::acknowledgements(control);
    *last.last().expect("there is one")
}

/// Bytes of writable memory that the process has asked for, touched or not.
fn writable_memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("tests run on Linux");
    let pages = statm.split_whitespace().nth(5).expect("a sixth field");
    4_096 * pages.parse::<usize>().expect("a number")
}
