//! A connection that is closed sends its close at once, however much of its data is under way.

use quicpool_core::{Config, ConnectionStatus::Connected, Reason};
use quicpool_sim::{Net, NodeId, ms};

use crate::support::{connected, introduced, reasons, send_many_of};

/// More than a connection may have in flight at first, 1,000 bytes at a time.
const MANY: u64 = 100;

#[test]
fn a_goodbye_does_not_wait_for_the_congestion_window() {
    let (mut net, a, b) = busy();
    net.disconnect(a, b);
    net.advance(ms(10));
    assert_eq!(reasons(&net, b).last(), Some(&Reason::Goodbye), "{net:?}");
}

#[test]
fn whoever_is_blocked_learns_of_it_at_once() {
    let (mut net, a, b) = busy();
    net.block(a, b);
    net.advance(ms(10));
    assert_ne!(net.status(b, a), Some(Connected), "{net:?}");
}

#[test]
fn whoever_dialled_in_vain_sends_on_the_connection_that_stays() {
    for seed in 0..4 {
        let (mut net, a, b) = introduced(Net::new(seed).latency(ms(20)), Config::default());
        send_many_of(&mut net, a, b, 12, 1_000);
        send_many_of(&mut net, b, a, 12, 1_000);
        net.advance(ms(300));
        for (from, to) in [(a, b), (b, a)] {
            assert_eq!(net.received(to).len(), 12, "seed {seed}");
            net.send(from, to, b"in time");
            net.advance(ms(20));
            assert_eq!(net.received(to).len(), 1, "seed {seed}: {net:?}");
        }
    }
}

/// The first of them has filled its congestion window, and has more to send.
fn busy() -> (Net, NodeId, NodeId) {
    let (mut net, a, b) = connected(Net::new(1).latency(ms(10)), Config::default());
    net.advance(ms(100));
    send_many_of(&mut net, a, b, MANY, 1_000);
    (net, a, b)
}
