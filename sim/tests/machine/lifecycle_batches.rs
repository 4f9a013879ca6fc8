//! When messages leave: batches of whole machines, in virtual time.

use std::time::Duration;

use quicpool_core::{Config, Flush};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{connected, counters};

#[test]
fn a_lone_message_leaves_at_once() {
    let (mut net, a, b) = connected_pair(Flush::Adaptive);
    net.send(a, b, b"alone");
    assert_eq!(batches(&net, a), 1);
    net.advance(ms(10));
    assert_eq!(net.received(b).len(), 1, "one way of the link later");
}

#[test]
fn an_echo_takes_one_round_trip() {
    let (mut net, a, b) = connected_pair(Flush::Adaptive);
    for _ in 0..100 {
        net.send(a, b, b"ping");
        net.advance(ms(10));
        assert_eq!(net.received(b).len(), 1);
        net.send(b, a, b"pong");
        net.advance(ms(10));
        assert_eq!(net.received(a).len(), 1);
    }
}

#[test]
fn what_gathers_while_the_connection_is_busy_goes_together() {
    let (mut net, a, b) = connected_pair(Flush::Adaptive);
    // More than the first congestion window takes.
    for _ in 0..2_000 {
        net.send(a, b, &[1; 500]);
    }
    net.advance(secs(2));
    assert_eq!(net.received(b).len(), 2_000);
    // 128 messages of 500 bytes are just below batch_bytes_max.
    assert!(batches(&net, a) <= 60, "{} batches", batches(&net, a));
}

#[test]
fn a_fixed_batch_leaves_when_it_is_full_or_50_ms_after_its_first_message() {
    let (mut net, a, b) = connected_pair(Flush::Fixed);

    // The delay counts from the first message, however many follow.
    net.send(a, b, b"first");
    for _ in 0..4 {
        net.advance(ms(10));
        net.send(a, b, b"another");
    }
    net.advance(ms(10) - Duration::from_nanos(1));
    assert_eq!(batches(&net, a), 0);
    net.advance(Duration::from_nanos(1));
    assert_eq!(batches(&net, a), 1);

    // The 128th message of a batch takes it along at once; the 129th begins the next.
    for _ in 0..128 {
        net.send(a, b, b"full");
    }
    assert_eq!(batches(&net, a), 2);
    net.send(a, b, b"the next");
    net.advance(ms(49));
    assert_eq!(batches(&net, a), 2);
    net.advance(ms(1));
    assert_eq!(batches(&net, a), 3);
    net.advance(ms(10));
    assert_eq!(net.received(b).len(), 134);
}

#[test]
fn a_batch_that_is_due_when_the_machine_first_sees_it_arms_no_deadline() {
    // Without a delay it is due at once; with one, the driver may have slept past it.
    for (delay, slept) in [(ms(0), ms(0)), (ms(50), ms(50)), (ms(50), ms(80))] {
        let mut config = Config::default();
        config.batch_delay_max = delay;
        let (mut net, a, b) = connected_pair_with(Flush::Fixed, config);
        let to = net.peer_id(b);
        let due = net.with(a, |machine, now| {
            machine.send(now, to, b"due").expect("there is room");
            let later = now + slept;
            machine.handle_timeout(later);
            while machine.poll_action(later, &mut Vec::new()).is_some() {}
            machine
                .poll_timeout()
                .map(|due| (due.at - later, due.reason))
        });
        let (ahead, reason) = due.expect("a connection has deadlines");
        assert!(
            ahead > ms(0),
            "{reason:?} is due again, {delay:?} {slept:?}"
        );
        assert_eq!(batches(&net, a), 1, "it has left");
    }
}

#[test]
fn a_fixed_batch_leaves_when_its_bytes_are_full() {
    let (mut net, a, b) = connected_pair(Flush::Fixed);
    for _ in 0..3 {
        net.send(a, b, &[0; 30_000]);
    }
    assert_eq!(batches(&net, a), 1, "two fill 64 KiB, the third waits");
    net.advance(secs(1));
    assert_eq!(batches(&net, a), 2);
    assert_eq!(net.received(b).len(), 3);
}

#[test]
fn express_and_flush_do_not_wait_for_company() {
    let (mut net, a, b) = connected_pair(Flush::Fixed);
    let to = net.peer_id(b);
    net.send(a, b, b"waits");
    net.with(a, |m, now| m.send_express(now, to, b"hurries"))
        .expect("room");
    assert_eq!(batches(&net, a), 1);
    net.send(a, b, b"waits");
    net.flush(a, b, 1);
    assert_eq!(batches(&net, a), 2);
    net.advance(ms(10));
    assert_eq!(net.received(b).len(), 3);
}

#[test]
fn a_message_larger_than_a_batch_travels_alone() {
    let (mut net, a, b) = connected_pair(Flush::Adaptive);
    net.send(a, b, &[1; 1024 * 1024]);
    net.send(a, b, b"small");
    net.send(a, b, b"");
    net.advance(secs(2));
    let lens: Vec<usize> = net.received(b).iter().map(|m| m.payload.len()).collect();
    assert_eq!(lens, [1024 * 1024, 5, 0]);
}

// Helpers

fn connected_pair(flush: Flush) -> (Net, NodeId, NodeId) {
    connected_pair_with(flush, Config::default())
}

fn connected_pair_with(flush: Flush, mut config: Config) -> (Net, NodeId, NodeId) {
    config.flush = flush;
    let (mut net, a, b) = connected(Net::new(2).latency(ms(10)), config);
    net.advance(secs(1));
    (net, a, b)
}

fn batches(net: &Net, node: NodeId) -> u64 {
    counters(net, node).batches_sent
}
