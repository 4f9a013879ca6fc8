//! Failure 24: a peer that sends but never acknowledges holds memory for hours.

use quicpool_core::{Config, Event, SendError};
use quicpool_sim::{Net, NodeId, ms, secs};

/// It holds an outbox's worth and no more, is reported once a minute, and what it holds goes when
/// the user has had enough.
#[test]
fn failure_24_a_peer_that_never_acknowledges_is_bounded_and_reported() {
    let (mut net, me, rude) = connected();
    let before = held(&net, me);

    // For an hour it sends, and takes nothing of what it is sent.
    net.pause_reader(rude);
    for _ in 0..3_600 {
        while net.try_send(me, rude, &[1; 1_000]).is_ok() {}
        assert_eq!(net.try_send(me, rude, &[1; 1_000]), Err(SendError::Full));
        net.send(rude, me, b"and another thing");
        net.advance(secs(1));
        // Twice: what QUIC has not heard of is a sealed copy, and pieces have their lists.
        let ours = held(&net, me);
        assert!(ours <= before + 2 * OUTBOX, "{ours}");
        let theirs = held(&net, rude);
        assert!(theirs <= before + 2 * (INBOX + RECORD), "{theirs}");
    }
    assert_eq!(net.received(me).len(), 3_600, "it is not punished for it");
    let stalls = stalls(&mut net, me);
    assert!((58..=60).contains(&stalls), "{stalls} stalls");

    net.disconnect(me, rude);
    net.advance(secs(1));
    assert_eq!(net.occupancy(me).map_or(1, |held| held.queued_bytes), 0);
}

/// A peer that comes to its senses gets everything, once.
#[test]
fn failure_24_what_was_held_arrives_when_the_peer_reads_again() {
    let (mut net, me, rude) = connected();
    net.pause_reader(rude);
    let mut sent = 0;
    while net.try_send(me, rude, &[1; 1_000]).is_ok() {
        sent += 1;
    }
    net.advance(secs(600));
    assert!(stalls(&mut net, me) >= 9);

    net.resume_reader(rude);
    let peer = net.peer_id(me);
    for _ in 0..100 {
        let mut read = Vec::new();
        net.with(rude, |machine, now| {
            machine
                .receive(now, peer, usize::MAX, &mut read)
                .expect("a known peer")
        });
        sent -= read.len();
        net.advance(ms(20));
        sent -= net.received(rude).len();
    }
    assert_eq!(sent, 0);
    net.advance(secs(300));
    assert_eq!(stalls(&mut net, me), 0, "nothing is owed");
}

const OUTBOX: usize = 64 * 1_024;
const INBOX: usize = 16 * 1_024;
const RECORD: usize = 4 * 1_024 + 64;

fn connected() -> (Net, NodeId, NodeId) {
    let mut config = Config::default();
    config.message_bytes_max = 4_000;
    config.batch_bytes_max = 4_000;
    config.outbox_bytes_max = OUTBOX;
    config.inbox_bytes_max = INBOX;
    let mut net = Net::new(24).latency(ms(10));
    let (me, rude) = (net.node(config.clone()), net.node(config));
    net.introduce(me, rude);
    net.connect(me, rude);
    net.run_until(secs(1), |n| n.are_connected(me, rude));
    (net, me, rude)
}

/// How often a node has reported a stall since this was last asked.
fn stalls(net: &mut Net, node: NodeId) -> usize {
    let events = net.events(node);
    let is_stall = |event: &&Event| matches!(event, Event::Stalled { .. });
    events.iter().filter(is_stall).count()
}

/// Bytes that a node reports to hold.
fn held(net: &Net, node: NodeId) -> usize {
    net.metrics(node).map_or(0, |metrics| metrics.memory_usage)
}
