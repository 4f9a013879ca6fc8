//! Datagrams: sent once, to connected peers, after control.

use quicpool_core::{
    Config,
    ConnectionStatus::{Connected, Disconnected},
    Reason, Sealing, SendDatagramError, UnreliableCounters,
};
use quicpool_sim::{Net, NodeId, Queue, Rate, ms, secs};

use crate::support::{connected, counters, hits, introduced, misses, reasons, send_many};

#[test]
fn a_datagram_arrives_as_it_was_sent_whether_it_is_sealed_or_not() {
    for sealing in [Sealing::On, Sealing::Off] {
        let mut config = Config::default();
        config.sealing = sealing;
        let (mut net, a, b) = connected(Net::new(1), config);
        for payload in [&b"here I am"[..], b"", &[7; 1_000]] {
            net.send_datagram(a, b, payload);
            net.send_datagram(b, a, payload);
            net.advance(ms(20));
            for (node, from) in [(b, a), (a, b)] {
                let datagrams = net.datagrams(node);
                assert_eq!(datagrams.len(), 1, "{sealing:?}; {net:?}");
                assert_eq!(datagrams[0].payload, payload);
                assert_eq!(datagrams[0].from, net.peer_id(from));
            }
        }
        let unreliable = unreliable(&net, a);
        assert_eq!((unreliable.accepted, unreliable.sent), (3, 3));
        assert_eq!((unreliable.received, unreliable.taken), (3, 3));
        assert_eq!(dropped(&unreliable), 0);
        assert!(net.received(a).is_empty() && net.received(b).is_empty());
    }
}

#[test]
fn nobody_is_dialled_for_a_datagram() {
    let (mut net, a, b) = introduced(Net::new(1), Config::default());
    let peer = net.peer_id(b);
    let refused = Err(SendDatagramError::NotConnected(peer));
    assert_eq!(net.try_send_datagram(a, b, b"too early"), refused);
    net.advance(secs(60));
    assert_eq!(counters(&net, a).dials, 0);

    net.connect(a, b);
    assert_eq!(net.try_send_datagram(a, b, b"still too early"), refused);
    net.run_until(secs(1), |n| n.are_connected(a, b));
    net.disconnect(b, a);
    net.advance(secs(1));
    assert_eq!(net.try_send_datagram(a, b, b"too late"), refused);
    net.advance(secs(60));
    assert_eq!(counters(&net, a).dials, 1);
    assert_eq!(unreliable(&net, a), UnreliableCounters::default());
}

#[test]
fn a_datagram_that_is_lost_is_not_sent_again() {
    let (mut net, a, b) = connected(Net::new(1), Config::default());
    net.advance(secs(1));
    net.cut(a, b);
    net.send_datagram(a, b, b"into the void");
    net.send(a, b, b"kept");
    net.advance(ms(500));
    net.heal(a, b);
    net.advance(secs(20));
    assert_eq!(net.received(b).len(), 1, "the message is");
    assert!(net.datagrams(b).is_empty());
    assert_eq!(unreliable(&net, a).sent, 1);
}

#[test]
fn what_waits_when_the_connection_ends_goes_on_no_other() {
    let (mut net, a, b) = connected(Net::new(1), Config::default());
    net.cut(a, b);
    // Far more than a congestion window holds.
    for _ in 0..200 {
        net.send_datagram(a, b, &[7; 1_000]);
    }
    net.run_until(secs(60), |n| n.status(a, b) != Some(Connected));
    let before = unreliable(&net, a);
    assert_eq!(before.accepted, 200);
    assert!(before.abandoned > 0 && before.crowded_out > 0, "{before:?}");
    assert_eq!(before.sent + before.abandoned + before.crowded_out, 200);
    assert_eq!(net.occupancy(a).map(|o| o.queued_bytes), Some(0));

    net.heal(a, b);
    net.connect(a, b);
    net.advance(secs(60));
    assert!(net.are_connected(a, b) && net.datagrams(b).is_empty());
    assert_eq!(unreliable(&net, a), before);
}

#[test]
fn datagrams_do_not_keep_a_connection_from_expiring() {
    let mut config = Config::default();
    config.pool_ttl = secs(10);
    let (mut net, a, b) = connected(Net::new(1), config);
    let (hits, misses) = (hits(&net, a), misses(&net, a));
    let mut seconds = 0;
    while net.status(a, b) == Some(Connected) && seconds < 60 {
        net.send_datagram(a, b, b"tick");
        net.send_datagram(b, a, b"tock");
        net.advance(secs(1));
        seconds += 1;
    }
    assert_eq!(net.status(a, b), Some(Disconnected));
    assert_eq!(reasons(&net, a).last(), Some(&Reason::Idle));
    assert!((9..=11).contains(&seconds), "{seconds}");
    assert!(net.datagrams(a).len() >= 9);
    assert_eq!((crate::support::hits(&net, a), misses), (hits, 1));
}

#[test]
fn one_that_is_too_long_is_told_the_limit_and_one_of_the_limit_passes() {
    for sealing in [Sealing::On, Sealing::Off] {
        let mut config = Config::default();
        config.sealing = sealing;
        let (mut net, a, b) = connected(Net::new(1), config);
        let max = limit(&net, a, b).expect("both have datagrams");
        let refused = net.try_send_datagram(a, b, &vec![7; max + 1]);
        let size = max + 1;
        assert_eq!(refused, Err(SendDatagramError::TooLarge { size, max }));
        assert_eq!(unreliable(&net, a).accepted, 0);
        net.send_datagram(a, b, &vec![7; max]);
        net.advance(ms(50));
        assert_eq!(net.datagrams(b)[0].payload.len(), max);
    }
}

#[test]
fn the_limit_grows_as_longer_packets_prove_to_get_through() {
    let (mut net, a, b) = introduced(Net::new(1), Config::default());
    assert_eq!(limit(&net, a, b), None);
    net.connect(a, b);
    net.run_until(secs(1), |n| n.are_connected(a, b));
    let first = limit(&net, a, b).expect("connected");
    assert!((1_100..1_200).contains(&first), "{first}");
    net.advance(secs(5));
    let later = limit(&net, a, b).expect("connected still");
    assert!(later > first + 200, "{first} {later}");
    net.send_datagram(a, b, &vec![7; later]);
    net.advance(ms(50));
    assert_eq!(net.datagrams(b)[0].payload.len(), later);

    net.disconnect(a, b);
    assert_eq!(limit(&net, a, b), None);
}

#[test]
fn a_peer_that_takes_none_is_sent_none() {
    let mut without = Config::default();
    without.datagram_queue_bytes_max = 0;
    let mut net = Net::new(1);
    let (with, without) = (net.node(Config::default()), net.node(without));
    net.introduce(with, without);
    net.connect(with, without);
    net.run_until(secs(1), |n| n.are_connected(with, without));
    for (a, b) in [(with, without), (without, with)] {
        let unsupported = Err(SendDatagramError::Unsupported(net.peer_id(b)));
        assert_eq!(net.try_send_datagram(a, b, b"x"), unsupported);
        assert_eq!(limit(&net, a, b), None);
    }
    net.send(with, without, b"messages are");
    net.advance(secs(1));
    assert_eq!(net.received(without).len(), 1);
}

#[test]
fn a_flood_of_datagrams_delays_no_acknowledgement() {
    let (mut net, a, b) = connected(Net::new(1).latency(ms(100)), Config::default());
    net.advance(secs(5));
    // Several congestion windows of them, each of which takes a round trip, and so long that a packet
    // with one has no room for anything else.
    let max = limit(&net, a, b).expect("connected");
    for _ in 0..80 {
        net.send_datagram(a, b, &vec![7; max]);
    }
    net.send(b, a, b"asks for an acknowledgement");
    net.advance(ms(195));
    assert_eq!(net.received(a).len(), 1);
    let early = unreliable(&net, a);
    net.advance(ms(10));
    let late = unreliable(&net, a);
    assert!(
        early.sent > 5 && late.sent > early.sent,
        "{early:?} {late:?}"
    );
    let waiting = late.accepted - late.sent - late.crowded_out;
    assert!(waiting > 5, "{late:?}");
    // It went with the first packets for which there was room.
    net.advance(ms(105));
    let delivered = net.peer_metrics(b, a).map(|peer| peer.messages_delivered);
    assert_eq!(delivered, Some(1), "{net:?}");
}

#[test]
fn a_flood_of_datagrams_does_not_starve_messages_nor_they_it() {
    let (mut net, a, b) = flooded();
    send_many(&mut net, a, b, 20_000);
    let before = unreliable(&net, a).sent;
    for _ in 0..100 {
        flood(&mut net, a, b);
        net.advance(ms(20));
    }
    assert!(net.received(b).len() > 4_000, "{net:?}");
    let sent = unreliable(&net, a).sent - before;
    assert!(sent > 20, "{sent}");
}

#[test]
fn a_reader_that_is_slow_loses_the_oldest() {
    let mut config = Config::default();
    config.datagram_queue_bytes_max = 4_096;
    let (mut net, a, b) = connected(Net::new(1), config);
    net.pause_reader(b);
    for number in 0..100u64 {
        net.send_datagram(a, b, &number.to_be_bytes());
        net.advance(ms(1));
    }
    net.advance(secs(1));
    assert!(net.occupancy(b).is_some_and(|o| o.queued_bytes <= 4_096));
    net.resume_reader(b);
    net.advance(ms(1));
    let numbers: Vec<u64> = net.datagrams(b).iter().map(number).collect();
    // Each counts for 64 bytes more than it has.
    assert_eq!(numbers, (100 - 4_096 / 72..100).collect::<Vec<_>>());
    let unreliable = unreliable(&net, b);
    assert_eq!((unreliable.received, unreliable.taken), (100, 56));
    assert_eq!(unreliable.overrun, 44);
}

#[test]
fn what_is_unread_survives_the_connection_and_no_disconnect() {
    type Act = fn(&mut Net, NodeId, NodeId);
    let acts: [Option<Act>; 3] = [None, Some(Net::disconnect), Some(Net::forget)];
    for act in acts {
        let (mut net, a, b) = connected(Net::new(1), Config::default());
        net.pause_reader(b);
        net.send_datagram(a, b, b"last words");
        net.advance(ms(50));
        match act {
            None => net.disconnect(a, b),
            Some(act) => act(&mut net, b, a),
        }
        net.advance(secs(1));
        net.resume_reader(b);
        net.advance(ms(1));
        let unreliable = unreliable(&net, b);
        let ended_here = act.is_some();
        assert_eq!(net.datagrams(b).is_empty(), ended_here);
        assert_eq!(unreliable.discarded, u64::from(ended_here));
    }
}

#[test]
fn copies_that_the_network_makes_arrive_once() {
    let (mut net, a, b) = connected(Net::new(1), Config::default());
    net.faults(|faults| faults.duplicate = 1.0);
    for number in 0..200u64 {
        net.send_datagram(a, b, &number.to_be_bytes());
        net.advance(ms(1));
    }
    net.advance(secs(1));
    let numbers: Vec<u64> = net.datagrams(b).iter().map(number).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}

// Helpers

fn unreliable(net: &Net, node: NodeId) -> UnreliableCounters {
    counters(net, node).unreliable
}

fn dropped(counters: &UnreliableCounters) -> u64 {
    let own = counters.crowded_out + counters.abandoned + counters.overrun + counters.discarded;
    own + counters.early + counters.replayed + counters.forged
}

fn limit(net: &Net, node: NodeId, to: NodeId) -> Option<usize> {
    net.machine(node)?.datagram_bytes_max(net.peer_id(to))
}

fn number(datagram: &quicpool_core::Message) -> u64 {
    let number = datagram.payload.first_chunk().expect("a number");
    u64::from_be_bytes(*number)
}

/// A pair on a path that carries a hundred full packets per second.
fn flooded() -> (Net, NodeId, NodeId) {
    let (mut net, a, b) = connected(Net::new(1), Config::default());
    net.advance(secs(5));
    net.faults(|faults| {
        faults.rate = Some(Rate {
            bytes_per_second: 150_000,
            queue: Queue::Bytes(15_000),
            mark_above: None,
        });
    });
    (net, a, b)
}

/// Fills the queue of datagrams to the brim.
fn flood(net: &mut Net, a: NodeId, b: NodeId) {
    for _ in 0..80 {
        net.send_datagram(a, b, &[7; 1_000]);
    }
}
