//! Limits that hold something back let go of it at once when they can, and not by and by.

use quicpool_core::{Config, ConnectionStatus::Connected, Message};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{introduced, numbers, send_many_of};

#[test]
fn a_reader_that_returns_gets_an_inbox_with_each_round_trip() {
    for seed in 0..200 {
        let mut config = small();
        // Longer than anything here may take: no keep-alive comes to the rescue.
        config.liveness_timeout = secs(600);
        let (mut net, a, b) = introduced(Net::new(seed).latency(ms(10)), config);
        net.pause_reader(b);
        send_many_of(&mut net, a, b, 200, 204);
        net.advance(secs(20));

        let mut taken = take_all(&mut net, b, a);
        // Each round trip brings what the inbox holds.
        for _ in 0..30 {
            taken.extend(take_all(&mut net, b, a));
            net.advance(ms(20));
        }
        assert_eq!(numbers(&taken), (0..200).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_dial_that_is_called_off_lets_the_next_one_begin_at_once() {
    let mut config = Config::default();
    config.connections_max = 4;
    let mut net = Net::new(1).latency(ms(10));
    let me = net.node(config);
    let silent = net.nodes(3, &Config::default());
    let alive = net.node(Config::default());
    net.introduce_all();
    for node in &silent {
        net.isolate(*node);
        net.connect(me, *node);
    }
    net.connect(me, alive);
    net.advance(secs(1));
    assert_ne!(
        net.status(me, alive),
        Some(Connected),
        "dials hold three of four slots"
    );

    net.disconnect(me, silent[1]);
    net.run_until(ms(100), |net| net.status(me, alive) == Some(Connected));
}

// Helpers

fn small() -> Config {
    let mut config = Config::default();
    config.message_bytes_max = 1_024;
    config.batch_bytes_max = 1_024;
    config.inbox_bytes_max = 2_048;
    config
}

fn take_all(net: &mut Net, node: NodeId, from: NodeId) -> Vec<Message> {
    let from = net.peer_id(from);
    let mut messages = Vec::new();
    net.with(node, |machine, now| {
        machine
            .receive(now, from, usize::MAX, &mut messages)
            .expect("a known peer")
    });
    messages
}
