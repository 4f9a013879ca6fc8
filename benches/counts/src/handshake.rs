//! Full handshakes, with the TLS of production, until both ends have confirmed the connection.

use quicpool_core::Config;

use crate::{
    counted::counted,
    wire::{Sessions, Wire},
};

/// Pairs of machines that meet. No two have met before, so no handshake is by ticket.
pub(crate) const TIMES: u64 = 8;

/// Lets each pair connect once.
pub(crate) fn run() {
    for pair in 0..u32::try_from(TIMES).expect("invariant: it is small") {
        let mut wire = Wire::pair(1 + 2 * pair, Sessions::Tls, &Config::default());
        counted(&mut || {
            wire.connect(0, 1);
            wire.run_until("two machines are connected", |wire| {
                wire.are_connected(0, 1)
            });
        });
    }
}
