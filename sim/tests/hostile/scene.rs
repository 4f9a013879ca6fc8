//! The scene of an attack, and the checks after each.

use quicpool_core::{Config, Occupancy, Sealing};
use quicpool_sim::{Net, NodeId, ms, secs};
use quinn_proto::ConnectionError;

use crate::raw::{RawHello, RawPeer};

/// A machine to attack, and a peer of it that must not notice.
pub(crate) struct Scene {
    pub(crate) net: Net,
    pub(crate) victim: NodeId,
    pub(crate) friend: NodeId,
    messages: usize,
}

impl Scene {
    pub(crate) fn new(sealing: Sealing) -> Self {
        let mut config = Config::default();
        config.sealing = sealing;
        Self::with(config)
    }

    pub(crate) fn with(config: Config) -> Self {
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

    pub(crate) fn assert_undisturbed(&mut self) {
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

    pub(crate) fn assert_forgets(&mut self, peer: &mut RawPeer) {
        let friend = self.net.peer_id(self.friend);
        self.net.forget(self.friend, self.victim);
        self.net.with(self.victim, |m, now| {
            // A stranger that is not connected was forgotten by itself.
            let _ = m.forget(now, peer.id);
            m.forget(now, friend).expect("a known peer");
        });
        peer.run(&mut self.net, secs(1));
        self.net.advance(secs(400));
        assert_eq!(self.net.occupancy(self.victim), Some(Occupancy::default()));
    }
}

pub(crate) fn refused_once_greeted(code: u64, act: impl FnOnce(&mut RawPeer)) {
    refused_once_connected(code, Sealing::Off, |peer| {
        peer.greet(&RawHello::default());
        act(peer);
    });
}

pub(crate) fn refused_once_connected(code: u64, sealing: Sealing, act: impl FnOnce(&mut RawPeer)) {
    refused(code, 1, sealing, act);
}

pub(crate) fn refused_without_violation(
    code: u64,
    sealing: Sealing,
    act: impl FnOnce(&mut RawPeer),
) {
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
