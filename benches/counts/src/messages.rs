//! Messages of one size through two machines: staged, batched, sent, read, taken, acknowledged.

use quicpool_core::{Config, Sealing};

use crate::{
    counted::counted,
    wire::{Sessions, Wire},
};

/// How many messages of which length, and how many of them a sender stages between two turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amount {
    pub(crate) count: u64,
    pub(crate) len: usize,
    pub(crate) per_turn: usize,
}

/// Messages for which the cost of each one counts.
pub(crate) const SMALL: Amount = Amount {
    count: 100_000,
    len: 64,
    per_turn: 512,
};

/// Messages for which the cost of each byte counts.
pub(crate) const LARGE: Amount = Amount {
    count: 2_000,
    len: 16 * 1024,
    per_turn: 8,
};

/// The token of a flush.
const TOKEN: u64 = 7;

/// Moves that many messages from one machine to another over a connection that is there.
pub(crate) fn run(amount: Amount, sealing: Sealing) {
    let mut wire = connected_pair(sealing);
    counted(&mut || transfer(&mut wire, amount));
    let count = usize::try_from(amount.count).expect("invariant: it fits");
    assert_eq!(wire.nodes[1].received, count);
    assert_eq!(wire.nodes[1].received_bytes, count * amount.len);
}

/// Two machines that may send.
pub(crate) fn connected_pair(sealing: Sealing) -> Wire {
    let mut config = Config::default();
    config.sealing = sealing;
    Wire::connected_pair(Sessions::Tls, &config)
}

/// Sends messages from the first node to the second, until all are taken.
pub(crate) fn transfer(wire: &mut Wire, amount: Amount) {
    let message = vec![7; amount.len];
    let to = wire.id(1);
    let mut left = amount.count;
    while left > 0 {
        let (now, sender) = (wire.now, &mut wire.nodes[0]);
        let mut room = sender.manager.driver().credit(to);
        for _ in 0..left.min(amount.per_turn as u64) {
            sender.stage(now, to, &message, &mut room);
        }
        left -= sender.staged() as u64;
        wire.turn();
    }
    let now = wire.now;
    wire.nodes[0].flushed = false;
    let flushing = wire.nodes[0].manager.flush(now, to, TOKEN);
    flushing.expect("invariant: the peer is known");
    wire.run_until("all is taken", |wire| wire.nodes[0].flushed);
}
