//! Peers with different limits: what fits both goes through, what does not is reported.

use quicpool_core::{Config, Event, SendError, Undeliverable};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{counters, numbers, send_many_of};

#[test]
fn batches_that_are_too_long_for_the_receiver_go_as_several_records() {
    let (mut net, large, small) = pair();
    send_many_of(&mut net, large, small, 500, 304);
    net.advance(secs(5));
    let received = numbers(&net.received(small));
    assert_eq!(received, (0..500).collect::<Vec<_>>());
    assert_eq!(counters(&net, small).violations, 0);
    net.send(small, large, b"and back");
    net.advance(secs(1));
    assert_eq!(net.received(large).len(), 1);
}

#[test]
fn failure_28_a_message_that_the_receiver_will_never_accept_is_reported_alone() {
    let (mut net, large, small) = pair();
    net.send(large, small, &[1; 10]);
    net.send(large, small, &[2; 5_000]);
    net.send(large, small, &[3; 10]);
    net.advance(secs(60));

    let peer = net.peer_id(small);
    let told = Event::Undelivered {
        peer,
        messages: 1..2,
        reason: Undeliverable::TooLarge {
            size: 5_000,
            max: 2_048,
        },
    };
    assert!(net.events(large).contains(&told), "{net:?}");
    let received = net.received(small);
    let payloads: Vec<_> = received.iter().map(|m| m.payload.to_vec()).collect();
    assert_eq!(payloads, [[1; 10], [3; 10]], "its neighbours arrive");
    assert_eq!(counters(&net, small).violations, 0);

    // From then on it is an error at once, and what fits goes through.
    let refused = net.try_send(large, small, &[4; 5_000]);
    assert_eq!(
        refused,
        Err(SendError::TooLarge {
            size: 5_000,
            max: 2_048
        })
    );
    net.send(large, small, &[5; 2_048]);
    net.advance(secs(5));
    assert_eq!(
        net.received(small).len(),
        1,
        "{:?}",
        net.peer_metrics(large, small)
    );
    assert!(
        net.machine(large)
            .is_some_and(|machine| machine.verdict(peer).is_ok())
    );
}

// Helpers

/// One with the default limits, and one that accepts messages and batches of 2 KiB.
fn pair() -> (Net, NodeId, NodeId) {
    let mut config = Config::default();
    config.message_bytes_max = 2_048;
    config.batch_bytes_max = 2_048;
    config.inbox_bytes_max = 4_096;
    let mut net = Net::new(1).latency(ms(10));
    let (large, small) = (net.node(Config::default()), net.node(config));
    net.introduce(large, small);
    (net, large, small)
}
