//! Records of the data stream that no machine would write.

use quicpool_core::{Config, Sealing};
use quicpool_sim::{Net, ms};

use crate::{
    raw::{RawHello, RawPeer, record},
    scene::{refused_once_connected, refused_once_greeted},
};

#[test]
fn an_unsealed_record_is_refused_where_all_is_sealed() {
    refused_once_connected(0x17, Sealing::On, |peer| {
        peer.greet(&RawHello {
            sealed: true,
            ..RawHello::default()
        });
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
    refused_once_greeted(0x15, |peer| peer.write_data(&record(4, u32::MAX, 0, b"")));
    refused_once_greeted(0x15, |peer| peer.write_data(&record(4, 5, 0, b"")));
    refused_once_greeted(0x15, |peer| peer.write_data(&record(4, 0, 0, b"")));
    refused_once_greeted(0x15, |peer| peer.write_data(&record(1, 1, u64::MAX, b"\0")));
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
        // It says that it has 16 MiB.
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

/// Bytes of writable memory that the process has asked for, touched or not.
fn writable_memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("tests run on Linux");
    let pages = statm.split_whitespace().nth(5).expect("a sixth field");
    4_096 * pages.parse::<usize>().expect("a number")
}
