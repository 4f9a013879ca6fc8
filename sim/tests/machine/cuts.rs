//! A path that goes silent amid a transfer, for less than it takes to give a connection up, and for
//! more.

use std::time::Duration;

use quicpool_core::Config;
use quicpool_sim::{Net, NodeId, ms, secs};

/// A message of the transfer.
const MESSAGE: [u8; 16 * 1024] = [7; 16 * 1024];

/// Little enough that a transfer is not all that a test does, and more than a new window holds.
const OUTBOX_BYTES: usize = 128 * 1024;

#[test]
fn a_connection_survives_a_silence_shorter_than_liveness_timeout_and_flows_soon_after() {
    for liveness in [5, 15] {
        // The last question is asked a fifteenth before the end.
        for cut in 1..liveness * 14 / 15 {
            let mut transfer = Transfer::new(secs(liveness));
            let told = transfer.cut(secs(cut));
            assert_eq!(told.new_connections, 0, "{cut} of {liveness} s: {told:?}");
            // QUIC's own probe comes no later than after as long again. From two fifths of
            // liveness_timeout on it is asked fifteen times in it.
            let (cut, asks_from) = (secs(cut), secs(liveness) * 2 / 5);
            let soon = match cut < asks_from {
                true => cut.min(asks_from - cut),
                false => secs(liveness) / 15,
            };
            // A window that has shrunk needs some round trips for a record.
            let soon = soon + ms(400);
            assert!(told.flows_after < soon, "{cut:?} of {liveness} s: {told:?}");
        }
    }
}

#[test]
fn a_longer_silence_ends_the_connection_and_another_carries_on() {
    let mut transfer = Transfer::new(secs(5));
    let told = transfer.cut(secs(7));
    assert_eq!(told.new_connections, 1, "{told:?}");
}

#[test]
fn a_path_that_is_cut_again_and_again_does_not_keep_the_peer_away() {
    let mut transfer = Transfer::new(secs(5));
    let config = Config::default();
    for nth in 0..12 {
        let told = transfer.cut(ms(5_500));
        assert_eq!(told.new_connections, 1, "{nth}: {told:?}");
        // The first delay, and the second if a dial has failed beside it; and the handshake.
        let backoff = config.backoff.initial.mul_f64(1.0 + config.backoff.factor);
        let longest = backoff + config.handshake_timeout;
        assert!(told.flows_after < longest, "{nth}: {told:?}");
    }
}

/// Two nodes, one of which never stops sending.
struct Transfer {
    net: Net,
    from: NodeId,
    to: NodeId,
}

/// What a cut has done.
#[derive(Debug)]
struct Told {
    /// From the end of the cut until something arrived.
    flows_after: Duration,
    new_connections: u64,
}

impl Transfer {
    fn new(liveness_timeout: Duration) -> Self {
        let mut config = Config::default();
        config.liveness_timeout = liveness_timeout;
        config.message_bytes_max = MESSAGE.len();
        config.outbox_bytes_max = OUTBOX_BYTES;
        let mut net = Net::new(1).latency(ms(20));
        let from = net.node(config.clone());
        let to = net.node(config);
        net.introduce_one_way(from, to);
        let mut transfer = Self { net, from, to };
        transfer.run(secs(1));
        assert!(transfer.arrived() > 0, "it has begun");
        transfer
    }

    /// Cuts the path once the transfer has gone on for a while.
    fn cut(&mut self, lasts: Duration) -> Told {
        self.run(secs(1));
        let connections = self.connections();
        self.net.cut(self.from, self.to);
        self.run(lasts);
        self.arrived();
        let healed = self.net.now();
        self.net.heal(self.from, self.to);
        while self.arrived() == 0 {
            self.run(ms(10));
        }
        Told {
            flows_after: self.net.now() - healed,
            new_connections: self.connections() - connections,
        }
    }

    /// Keeps the outbox full.
    fn run(&mut self, time: Duration) {
        let until = self.net.now() + time;
        while self.net.now() < until {
            while self.net.try_send(self.from, self.to, &MESSAGE).is_ok() {}
            self.net.advance(ms(10));
        }
    }

    fn arrived(&mut self) -> usize {
        self.net.received(self.to).len()
    }

    fn connections(&self) -> u64 {
        let metrics = self.net.metrics(self.from).expect("it is up");
        metrics.counters.connections_confirmed
    }
}
