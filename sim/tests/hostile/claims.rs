//! Answers that prove nothing: a dial may fail by them, and nothing lasting follows.

use quicpool_core::{Config, ConnectionStatus::Failed, Event, Reason};
use quicpool_sim::{Net, secs};

use crate::{
    raw::{RawPeer, run_all},
    scene::Scene,
};

/// Failure 35: one datagram of a sender that has seen the dial, and the peer itself answers the next one.
#[test]
fn a_version_negotiation_does_not_bar_a_peer() {
    let mut scene = Scene::with(Config::default());
    let mut peer = RawPeer::new(9);
    let (at, victim) = (peer.peer_addr(), scene.victim);
    scene.net.with(victim, |machine, now| {
        machine.add_address(now, at).expect("there is room");
        machine.connect(now, at.id).expect("there is an address");
    });
    let dial = scene.net.take_astray().pop().expect("it dials at once");
    let answer = version_negotiation(&dial.payload);
    scene.net.inject(victim, at.addr, &answer);

    let failed = |net: &Net, why: Reason| {
        let has_failed = |event: &Event| {
            matches!(event, Event::StatusChanged { peer, to: Failed, reason, .. }
                if *peer == at.id && *reason == why)
        };
        net.history(victim)
            .iter()
            .any(|(_, event)| has_failed(event))
    };
    assert!(
        failed(&scene.net, Reason::ProtocolRefused),
        "{:?}",
        scene.net
    );
    assert!(!Reason::ProtocolRefused.is_lasting());

    // No verb is called: the machine dials again by itself.
    run_all(&mut [&mut peer], &mut scene.net, secs(2));
    assert!(peer.is_connected(), "{:?}", scene.net);
    scene.assert_undisturbed();
}

// Helpers

/// A Version Negotiation in answer to a first packet (RFC 9000 section 17.2.1): it needs no key, and repeats the
/// ids that are in clear.
fn version_negotiation(initial: &[u8]) -> Vec<u8> {
    let (destination, rest) = id(&initial[5..]);
    let (source, _) = id(rest);
    let mut packet = vec![0x80, 0, 0, 0, 0];
    for id in [source, destination] {
        packet.push(u8::try_from(id.len()).expect("an id has at most 20 bytes"));
        packet.extend(id);
    }
    packet.extend(0xff00_001du32.to_be_bytes());
    packet
}

fn id(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes[1..].split_at(usize::from(bytes[0]))
}
