//! Bad input against a whole machine: it is refused with the right code and counted, other peers
//! are not disturbed, and nothing is left of it.

mod noise;
mod raw;
mod sealed;

use quicpool_core::{Config, Occupancy, Sealing};
use quicpool_sim::{Net, NodeId, ms, secs};
use quinn_proto::{ConnectionError, Dir, VarInt};

use raw::{ACK, HELLO, RawHello, RawPeer, frame, record};

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
    refused_once_greeted(0x13, |peer| {
        let hello = peer.hello(&RawHello::default());
        peer.write_control(&hello);
    });
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
        let backwards = RawHello {
            first: 5,
            next: 4,
            ..RawHello::default()
        };
        let hello = peer.hello(&backwards);
        peer.write_control(&hello);
    });
}

#[test]
fn another_wire_version_is_refused_and_no_violation() {
    refused_without_violation(0x06, Sealing::Off, |peer| {
        let later = RawHello {
            version: 2,
            ..RawHello::default()
        };
        let hello = peer.hello(&later);
        peer.write_control(&hello);
    });
}

#[test]
fn whoever_does_not_seal_is_refused_where_all_is_sealed() {
    refused_without_violation(0x07, Sealing::On, |peer| {
        let hello = peer.hello(&RawHello::default());
        peer.write_control(&hello);
    });
}

#[test]
fn an_unsealed_record_is_refused_where_all_is_sealed() {
    refused_once_connected(0x17, Sealing::On, |peer| {
        let sealed = RawHello {
            sealed: true,
            ..RawHello::default()
        };
        let hello = peer.hello(&sealed);
        peer.write_control(&hello);
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
fn a_stream_that_ends_is_refused() {
    refused_once_greeted(0x14, |peer| {
        let id = peer.control();
        peer.connection()
            .send_stream(id)
            .finish()
            .expect("it is open");
    });
    refused_once_greeted(0x14, |peer| {
        let id = peer.data();
        peer.connection()
            .send_stream(id)
            .finish()
            .expect("it is open");
    });
    for stream in [RawPeer::control, RawPeer::data] {
        refused_once_greeted(0x14, move |peer| {
            let id = stream(peer);
            let code = VarInt::from_u32(1);
            peer.connection()
                .send_stream(id)
                .reset(code)
                .expect("it is open");
        });
    }
}

#[test]
fn streams_beyond_two_are_not_granted() {
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    assert_eq!(peer.connection().streams().open(Dir::Bi), None);
    assert_eq!(peer.connection().streams().open(Dir::Uni), None);
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
    // Whoever dialled.
    let mut scene = Scene::new(Sealing::Off);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);
    peer.run(&mut scene.net, secs(4));
    assert_eq!(peer.lost, None);
    peer.run(&mut scene.net, secs(2));
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
    let codes = [0x00, 0x01, 0x03, 0x04, 0x09, 0x19, 0x1a, 0xffff_ffff];
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

/// A machine to attack, and a peer of it that must not notice.
struct Scene {
    net: Net,
    victim: NodeId,
    friend: NodeId,
    messages: usize,
}

impl Scene {
    fn new(sealing: Sealing) -> Self {
        let mut config = Config::default();
        config.sealing = sealing;
        let mut net = Net::new(1);
        let (victim, friend) = (net.node(config.clone()), net.node(config));
        net.introduce(victim, friend);
        net.connect(friend, victim);
        net.run_until(secs(1), |n| n.are_connected(victim, friend));
        net.take_astray();
        Self {
            net,
            victim,
            friend,
            messages: 0,
        }
    }

    fn assert_undisturbed(&mut self) {
        let net = &mut self.net;
        net.received(self.victim);
        net.send(self.victim, self.friend, b"there");
        net.send(self.friend, self.victim, b"and back");
        net.advance(ms(10));
        for node in [self.victim, self.friend] {
            assert_eq!(net.received(node).len(), 1, "at once; {net:?}");
        }
        self.messages += 1;
        let friend = net
            .peer_metrics(self.victim, self.friend)
            .expect("it is known");
        assert_eq!((friend.connections, friend.failures), (1, 0));
        assert_eq!(friend.messages_received, self.messages as u64);
    }

    fn assert_forgets(&mut self, peer: &mut RawPeer) {
        let friend = self.net.peer_id(self.friend);
        self.net.forget(self.friend, self.victim);
        self.net.with(self.victim, |m, now| {
            m.forget(now, peer.id);
            m.forget(now, friend);
        });
        peer.run(&mut self.net, secs(1));
        self.net.advance(secs(400));
        assert_eq!(self.net.occupancy(self.victim), Some(Occupancy::default()));
    }
}

fn refused_once_greeted(code: u64, act: impl FnOnce(&mut RawPeer)) {
    refused_once_connected(code, Sealing::Off, |peer| {
        let hello = peer.hello(&RawHello::default());
        peer.write_control(&hello);
        act(peer);
    });
}

fn refused_once_connected(code: u64, sealing: Sealing, act: impl FnOnce(&mut RawPeer)) {
    refused(code, 1, sealing, act);
}

fn refused_without_violation(code: u64, sealing: Sealing, act: impl FnOnce(&mut RawPeer)) {
    refused(code, 0, sealing, act);
}

#[track_caller]
fn refused(code: u64, violations: u64, sealing: Sealing, act: impl FnOnce(&mut RawPeer)) {
    let mut scene = Scene::new(sealing);
    let mut peer = RawPeer::connected(9, &mut scene.net, scene.victim);

    act(&mut peer);
    peer.run(&mut scene.net, ms(100));

    let closed = matches!(peer.lost, Some(ConnectionError::ApplicationClosed(_)));
    assert!(closed, "{:?}", peer.lost);
    assert_eq!(peer.close_code, Some(code), "{:?}", peer.lost);
    let metrics = scene.net.metrics(scene.victim).expect("it is up");
    assert_eq!(metrics.counters.violations, violations);
    scene.assert_undisturbed();
    scene.assert_forgets(&mut peer);
}

/// Bytes of writable memory that the process has asked for, touched or not.
fn writable_memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("tests run on Linux");
    let pages = statm.split_whitespace().nth(5).expect("a sixth field");
    4_096 * pages.parse::<usize>().expect("a number")
}
