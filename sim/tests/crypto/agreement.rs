//! Both cryptographies lead to the same events, as far as bytes do not matter.

use std::{ops::Range, time::Duration};

use quicpool_core::Config;
use quicpool_sim::{Crypto, Net, NodeId, ms, secs};

const BOTH: [Crypto; 2] = [Crypto::Checksum, Crypto::Tls];

/// Messages of a transfer, over all its connections.
const MESSAGES: usize = 10_000;
const SEEDS: Range<u64> = 0..40;

/// Datagrams are as many and as long, so the same ones are lost: but where an end has drawn a stream of a reserved
/// type, since draws are by peer.
#[test]
fn a_transfer_over_a_lossy_link_ends_at_the_same_instant() {
    let mut alike = 0;
    for seed in SEEDS {
        let [checksum, tls] = BOTH.map(|crypto| transfer(crypto, seed, 0.02, 1));
        if checksum.streams_dropped + tls.streams_dropped == 0 {
            assert_eq!(checksum.spent, tls.spent, "seed {seed}");
            alike += 1;
        }
    }
    assert!(alike > 20, "{alike}");
}

/// Handshakes of TLS that are resumed are shorter than those without tickets, so that a run may part
/// from its twin once a flight is lost. Of 40 runs at this loss a few do: one by 14 %, and the means
/// by a third of a percent.
#[test]
fn transfers_over_resumed_connections_take_the_same_time_on_average() {
    let [checksum, tls] = BOTH.map(|crypto| {
        let times = SEEDS.map(|seed| transfer(crypto, seed, 0.05, 5).spent);
        times.sum::<Duration>().as_secs_f64()
    });
    let ratio = tls / checksum;
    assert!((0.98..1.02).contains(&ratio), "{tls} s and {checksum} s");
    assert_ne!(tls, checksum, "no handshake was resumed");
}

struct Transfer {
    /// The time until all messages have arrived.
    spent: Duration,
    streams_dropped: u64,
}

/// Sends all messages over this many connections, one after another.
fn transfer(crypto: Crypto, seed: u64, loss: f64, connections: usize) -> Transfer {
    let mut net = Net::new(seed).crypto(crypto).latency(ms(20));
    let [from, to] = [0; 2].map(|_| net.node(Config::default()));
    net.introduce_all();
    net.loss(loss);
    let mut spent = Duration::ZERO;
    for _ in 0..connections {
        let began = net.now();
        send(&mut net, from, to, MESSAGES / connections);
        spent += net.now() - began;
        net.disconnect(from, to);
        net.advance(secs(5));
    }
    let dropped = |node| net.metrics(node).map_or(0, |m| m.counters.streams_dropped);
    Transfer {
        spent,
        streams_dropped: dropped(from) + dropped(to),
    }
}

/// Sends as the other end takes, until it has taken all.
fn send(net: &mut Net, from: NodeId, to: NodeId, count: usize) {
    let (mut sent, mut taken) = (0, 0);
    while taken < count {
        while sent < count && net.try_send(from, to, &[7; 256]).is_ok() {
            sent += 1;
        }
        net.advance(ms(1));
        taken += net.received(to).len();
        assert!(net.now() < secs(600), "{taken} of {count} have arrived");
    }
}
