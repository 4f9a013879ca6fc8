//! Acknowledgements: a lone message was read, is taken, and both ends settle that.

use quicpool_core::Config;

use crate::{
    counted::counted,
    wire::{MESSAGE, QUIET, Sessions, Wire},
};

/// Messages that are acknowledged, one after the other.
pub(crate) const TIMES: u64 = 2_000;

/// Sends messages one at a time, and counts what happens after each was read.
pub(crate) fn run() {
    let mut wire = Wire::connected_pair(Sessions::Tls, &Config::default());
    let to = wire.id(1);
    let room_at_rest = wire.nodes[0].manager.driver().credit(to);
    for number in 1..=usize::try_from(TIMES).expect("invariant: it is small") {
        let (now, mut room) = (wire.now, room_at_rest);
        wire.nodes[0].stage(now, to, &MESSAGE, &mut room);
        wire.run_until("the message is read", |wire| {
            wire.nodes[1].received == number
        });
        counted(&mut || wire.run_for(QUIET));
        assert_eq!(
            wire.nodes[0].manager.driver().credit(to),
            room_at_rest,
            "acknowledged"
        );
    }
}
