//! The work of a machine with one busy peer beside ten thousand idle ones.

use std::time::Duration;

use quicpool_core::{
    Config, PeerId,
    driver::{BatchLimits, OpenBatch},
};

use crate::{
    counted::counted,
    wire::{MESSAGE, Node, QUIET, SETTLED, Sessions, Wire},
};

/// Idle peers: most are away, since under callgrind a handshake of each would take two minutes.
const IDLE: Idle = Idle {
    connected: 1_000,
    away: 9_000,
};

/// Peers beside a busy one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    /// Connected and silent. Each has several deadlines in the index.
    pub(crate) connected: u32,
    /// Without a connection and an address, with a message that waits. Each session has a deadline.
    pub(crate) away: u32,
}

/// Messages to the busy peer.
pub(crate) const TIMES: u64 = 1_000;

/// Turns of the machine for each message; from the first one on there is less and less to do.
const TURNS: usize = 20;

/// Peers that connect at the same time.
const AT_ONCE: u32 = 100;

/// The number of the machine that is looked at.
const HUB: u32 = 0;

/// Counts what the machine in the middle does for the messages to the busy peer.
pub(crate) fn run() {
    let mut wire = hub_beside(IDLE);
    let to = wire.id(1);
    for _ in 0..TIMES {
        let (now, hub) = (wire.now, &mut wire.nodes[0]);
        let mut room = hub.manager.driver().credit(to);
        hub.stage(now, to, &MESSAGE, &mut room);
        for _ in 0..TURNS {
            let now = wire.now;
            counted(&mut || wire.nodes[0].turn(now));
            wire.nodes[1].turn(now);
            wire.pass();
        }
        wire.run_for(QUIET);
    }
    let count = usize::try_from(TIMES).expect("invariant: it is small");
    assert_eq!(wire.nodes[1].received, count);
    let held = wire.nodes[0].manager.occupancy();
    assert_eq!(held.connections, IDLE.connected as usize + 1);
    assert_eq!(held.peers, (IDLE.connected + IDLE.away) as usize + 1);
    assert!(held.deadlines > held.peers, "each has one: {held:?}");
}

/// A machine that has idle peers and a busy one, which is the second node.
pub(crate) fn hub_beside(idle: Idle) -> Wire {
    let mut wire = Wire::new();
    wire.add(Node::new(HUB, Sessions::Checksum, config(), wire.now));
    for first in (1..=idle.connected).step_by(AT_ONCE as usize) {
        add_peers(&mut wire, first..=idle.connected.min(first + AT_ONCE - 1));
        // They stay connected as long as they could be alive.
        wire.nodes.truncate(1);
    }
    let busy = idle.connected + idle.away + 1;
    for number in idle.connected + 1..busy {
        add_away(&mut wire, number);
    }
    add_peers(&mut wire, busy..=busy);
    wire
}

/// Adds a peer that a message waits for.
fn add_away(wire: &mut Wire, number: u32) {
    let mut id = [0xff; PeerId::LEN];
    id[..4].copy_from_slice(&number.to_le_bytes());
    let (now, hub) = (wire.now, &mut wire.nodes[0].manager);
    let mut staged = OpenBatch::new(BatchLimits::of(hub.config()));
    staged.append(now, &MESSAGE);
    hub.driver()
        .handle_staged(now, PeerId::from_bytes(id), &mut staged);
}

/// Connects peers with these numbers to the hub, until there is nothing left to do.
pub(crate) fn add_peers(wire: &mut Wire, numbers: std::ops::RangeInclusive<u32>) {
    let hub = wire.nodes[0].peer_addr();
    for number in numbers {
        let mut peer = Node::new(number, Sessions::Checksum, config(), wire.now);
        let added = peer.manager.add_address(wire.now, hub);
        added.expect("invariant: a new machine takes an address");
        wire.add(peer);
        wire.connect(wire.nodes.len() - 1, 0);
    }
    wire.run_until("all are connected", |wire| {
        (1..wire.nodes.len()).all(|peer| wire.are_connected(0, peer))
    });
    wire.settle(SETTLED);
}

/// One in which nothing happens to idle connections while all of this lasts, with room for all peers.
fn config() -> Config {
    /// As many as may be known by default.
    const PEERS_MAX: usize = 65_536;
    /// The longest that is allowed: keep-alives come every 200 s, and the work takes a minute.
    const LIVENESS_TIMEOUT: Duration = Duration::from_secs(600);
    const DAY: Duration = Duration::from_secs(86_400);
    /// So much that no peer is short of it.
    const MEMORY_MAX: usize = 16 << 30;
    let mut config = Config::default();
    config.connections_max = PEERS_MAX;
    config.handshakes_max = PEERS_MAX;
    config.memory_max = MEMORY_MAX;
    config.liveness_timeout = LIVENESS_TIMEOUT;
    config.pool_ttl = DAY;
    config.session_timeout = DAY;
    config
}
