//! Peers that say nothing wrong, and end or stop things, or fall silent, where no machine would.

use quicpool_core::{Event, Sealing, SendError, Undeliverable};
use quicpool_sim::{ms, secs};
use quinn_proto::{Dir, VarInt};

use crate::{
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

/// It would refuse each record with such a message, and would be dialled for it for ever.
#[test]
fn a_message_that_no_record_of_the_peer_can_hold_is_an_error_with_both_numbers() {
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
    assert_eq!(send(&mut scene, 1_001), Ok(()), "its limits are not known");
    peer.greet(&RawHello {
        accepts: [1 << 20, 600],
        ..RawHello::default()
    });
    peer.run(&mut scene.net, secs(1));
    let (size, max) = (1_001, 598);
    let told = Event::Undelivered {
        peer: id,
        messages: 0..1,
        reason: Undeliverable::TooLarge { size, max },
    };
    assert!(scene.net.events(scene.victim).contains(&told));
    assert_eq!(peer.close_code, Some(0x00), "a goodbye, and no record");

    assert_eq!(
        send(&mut scene, size),
        Err(SendError::TooLarge { size, max })
    );
}
