//! Frames that change nothing: legal now and then, and a violation without end.

use bytes::Bytes;
use quicpool_core::{Config, Sealing};
use quicpool_sim::{ms, secs};
use quinn_proto::Dir;

use crate::{
    bytes::{ack, frame, record},
    raw::RawPeer,
    scene::Scene,
};

const EXCESSIVE: u64 = 0x1c;

/// Cheap frames at once, and in a second, as `docs/wire.md` has them.
const BURST: usize = 65_536;
const PER_SECOND: usize = 4_096;

/// A frame of a reserved type.
const RESERVED: u64 = 0x21;

#[test]
fn failure_40_useless_acknowledgements_without_end_are_excessive() {
    assert_excessive(|peer| peer.write_control(&ack(0, 0).repeat(BURST + PER_SECOND)));
}

#[test]
fn failure_40_reserved_frames_without_end_are_excessive() {
    assert_excessive(|peer| {
        peer.write_control(&frame(RESERVED, &[]).repeat(BURST + PER_SECOND));
    });
}

#[test]
fn streams_records_and_datagrams_that_bring_nothing_have_the_same_price() {
    // Most of the burst is spent on frames, and one of the others goes beyond it.
    let spent = frame(RESERVED, &[]).repeat(BURST - 3);
    let streams = |peer: &mut RawPeer| {
        for _ in 0..6 {
            let id = peer.connection().streams().open(Dir::Uni);
            let id = id.expect("eight are granted");
            let mut stream = peer.connection().send_stream(id);
            assert_eq!(stream.write(&[0x21, 7]), Ok(2));
            stream.finish().expect("it is open");
        }
    };
    // The first one is new, and pays for another.
    let records = |peer: &mut RawPeer| peer.write_data(&record(2, 1, 0, &[1, 7]).repeat(8));
    let datagrams = |peer: &mut RawPeer| {
        for _ in 0..6 {
            let sent = peer
                .connection()
                .datagrams()
                .send(Bytes::from_static(b""), false);
            assert_eq!(sent, Ok(()));
        }
    };
    let kinds: [&dyn Fn(&mut RawPeer); 3] = [&streams, &records, &datagrams];
    for kind in kinds {
        // What is refilled until all has arrived, packet by packet, is less than the rest.
        assert_excessive(|peer| {
            kind(peer);
            peer.write_control(&spent);
        });
    }
    assert_accepted(|peer| peer.write_control(&spent));
}

#[test]
fn what_is_within_the_limit_is_no_violation() {
    let mut scene = scene();
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    peer.write_control(&ack(0, 0).repeat(BURST / 2));
    for _ in 0..30 {
        peer.write_control(&frame(RESERVED, &[]).repeat(PER_SECOND));
        peer.run(&mut scene.net, secs(1));
        let _ = peer.read_control();
    }
    assert_eq!(peer.lost, None);
    scene.assert_undisturbed();
}

#[test]
fn what_news_pays_for_is_no_violation() {
    let mut scene = scene();
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    // Far more than the limit in this time: each record comes twice.
    let (mut first, mut twice) = (0, Vec::new());
    for _ in 0..400 {
        twice.clear();
        for _ in 0..400 {
            twice.extend(record(2, 1, first, &[1, 7]).repeat(2));
            first += 1;
        }
        peer.write_data(&twice);
        peer.run(&mut scene.net, ms(20));
        let _ = (peer.read_control(), scene.net.received(scene.victim));
    }
    assert_eq!(peer.lost, None);
    let metrics = scene.net.metrics(scene.victim).expect("it is up");
    assert_eq!(metrics.counters.messages_received, first);
    assert_eq!(metrics.counters.violations, 0);
}

// Helpers

fn scene() -> Scene {
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    // A flood arrives at once.
    config.tuning.control_reserve = 1 << 20;
    Scene::with(config)
}

#[track_caller]
fn assert_excessive(act: impl Fn(&mut RawPeer)) {
    let mut scene = scene();
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    act(&mut peer);
    peer.run(&mut scene.net, ms(200));
    assert_eq!(peer.close_code, Some(EXCESSIVE), "{:?}", peer.lost);
    let metrics = scene.net.metrics(scene.victim).expect("it is up");
    assert_eq!(metrics.counters.violations, 1);
    scene.assert_undisturbed();
    scene.assert_forgets(&mut peer);
}

#[track_caller]
fn assert_accepted(act: impl Fn(&mut RawPeer)) {
    let mut scene = scene();
    let mut peer = RawPeer::greeted(9, &mut scene.net, scene.victim);
    act(&mut peer);
    peer.run(&mut scene.net, ms(200));
    assert_eq!(peer.lost, None);
    scene.assert_undisturbed();
}
