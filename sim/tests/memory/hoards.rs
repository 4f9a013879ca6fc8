//! What hostile peers make a machine hold is within 25 % of what it counts: the heap shrinks by so much when the machine
//! is gone.

use quicpool_core::{Config, Sealing};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::{
    Percent,
    bytes::{Heard, LINE, record},
    heap::{self, growth},
    raw::{RawHello, RawPeer, run_all},
};

const TOLERANCE: Percent = Percent(25);

const PEERS: u8 = 40;

#[test]
fn failure_39_what_hostile_peers_fill_is_counted() {
    let _alone = heap::alone();
    let idle = held(|_, _| {});
    let assert_counted = |what: &str, attack: fn(&mut Net, &mut RawPeer)| {
        let attacked = held(attack);
        let grown = [attacked[0] - idle[0], attacked[1] - idle[1]];
        let [heap, usage] = grown;
        println!("{what}: the heap grows by {heap}, usage by {usage}");
        assert!(heap > usize::from(PEERS) * 8_000, "{what}: {heap}");
        assert!(
            heap.abs_diff(usage) <= TOLERANCE.of(heap),
            "{what}: {grown:?}"
        );
    };
    assert_counted("a stream without hello", fill_without_hello);
    assert_counted("a gap", leave_a_gap);
    assert_counted("a record in part", begin_a_record);
}

// Helpers

/// Bytes of the heap that a machine holds, and those that it counts, while peers do this to it.
fn held(attack: fn(&mut Net, &mut RawPeer)) -> [usize; 2] {
    let mut net = Net::new(1);
    let mut config = Config::default();
    config.sealing = Sealing::Off;
    let victim = net.node(config);
    let mut peers: Vec<_> = (0..PEERS).map(|number| RawPeer::new(number + 20)).collect();
    for peer in &mut peers {
        peer.dial(&mut net, victim);
    }
    run_all(&mut peers.iter_mut().collect::<Vec<_>>(), &mut net, ms(200));
    for peer in &mut peers {
        attack(&mut net, peer);
    }
    net.advance(ms(200));
    net.take_astray();
    let usage = usage(&net, victim);
    let ((), freed) = growth(|| net.crash(victim));
    [usize::try_from(-freed).expect("it holds something"), usage]
}

fn usage(net: &Net, victim: NodeId) -> usize {
    net.metrics(victim).expect("it is up").memory_usage
}

fn fill_without_hello(net: &mut Net, peer: &mut RawPeer) {
    peer.write_what_fits(1 << 20);
    peer.run(net, ms(20));
}

fn leave_a_gap(net: &mut Net, peer: &mut RawPeer) {
    peer.greet(&RawHello::default());
    peer.run(net, ms(20));
    peer.write_data(&[7; 1_000]);
    peer.lose_packets(net);
    peer.write_what_fits(1 << 20);
    peer.send_without_hearing(net, ms(100));
}

fn begin_a_record(net: &mut Net, peer: &mut RawPeer) {
    let credit = Heard::credit(&peer.read_control()) as usize;
    peer.greet(&RawHello::default());
    peer.run(net, ms(20));
    let whole = record(1 << 20, 1, 0, &[0; 1 << 20]);
    peer.write_data(&whole[..credit - LINE.len()]);
    peer.run(net, secs(1) / 20);
}
