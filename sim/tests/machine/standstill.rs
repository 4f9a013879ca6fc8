//! Processes that stand still, or whose sockets do, for longer than a connection lives.

use quicpool_core::Config;
use quicpool_sim::{Net, ms, secs};

#[test]
fn whoever_stood_still_loses_its_connections_and_finds_its_peers_again() {
    for seed in 0..300 {
        let mut net = Net::new(seed).latency(ms(1 + seed % 90));
        let (a, b) = (net.node(Config::default()), net.node(Config::default()));
        net.introduce(a, b);
        net.send(a, b, b"before");
        net.advance(secs(2));
        net.block_socket(a, ms(1_000 + 150 * (seed % 200)));
        net.send(a, b, b"into a socket that blocks");
        net.advance(ms(37 * (seed % 41)));
        net.pause(a);
        net.advance(ms(200 * (seed % 180)));
        net.resume(a);
        net.send(b, a, b"are you there?");
        net.advance(secs(200));

        let received = [net.received(a).len(), net.received(b).len()];
        assert_eq!(received, [1, 2], "seed {seed}\n{net:?}");
    }
}
