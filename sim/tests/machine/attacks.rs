//! What strangers, and settings at the ends of their ranges, must not bring about.

use quicpool_core::{Backoff, Config, Event, SendError};
use quicpool_sim::{Net, NodeId, ms, secs};

use crate::support::{connected, counters, send_many_of};

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;
const GIB: usize = 1_024 * MIB;

/// Bytes of each message and datagram.
const MESSAGE: usize = 1_000;

#[test]
fn nothing_is_said_after_the_end_though_somebody_waited_for_room() {
    let (mut net, hub, gone) = hub_and_gone(12);
    want_room(&mut net, hub, gone[0], 300 * KIB);
    net.events(hub);
    net.abort(hub);
    net.advance(secs(1));
    let events = net.events(hub);
    let is_end = |event: &Event| matches!(event, Event::Closed { .. });
    assert_eq!(events.iter().position(is_end), Some(events.len() - 1));
    let peer = net.peer_id(gone[0]);
    assert!(
        events.contains(&Event::Writable { peer }),
        "it learns of it"
    );
}

#[test]
fn who_waits_for_room_is_told_when_its_stranger_is_forgotten() {
    let mut net = Net::new(1).latency(ms(5));
    let hub = net.node(small());
    let mut passing = small();
    passing.session_timeout = secs(130);
    let stranger = net.node(passing);
    net.introduce_one_way(stranger, hub);
    net.connect(stranger, hub);
    net.run_until(secs(1), |n| n.are_connected(hub, stranger));
    net.isolate(stranger);
    net.advance(secs(20));
    fill_all(&mut net, hub, 12);
    want_room(&mut net, hub, stranger, 300 * KIB);
    net.advance(secs(1));
    let peer = net.peer_id(stranger);
    let told = Event::Writable { peer };
    assert!(!net.events(hub).contains(&told), "there is no room");
    net.run_until(secs(200), |n| n.status(hub, stranger).is_none());
    assert!(net.events(hub).contains(&told));
}

#[test]
fn datagrams_of_a_stranger_that_nobody_reads_are_in_nobody_elses_way() {
    let (mut net, hub, friend) = connected(Net::new(1).latency(ms(5)), small());
    let flood = net.node(small());
    net.introduce_one_way(flood, hub);
    net.connect(flood, hub);
    net.run_until(secs(1), |n| n.are_connected(hub, flood));
    net.pause_reader(hub);
    for _ in 0..200 {
        net.send_datagram(flood, hub, &[1; MESSAGE]);
        net.advance(ms(5));
    }
    assert!(counters(&net, hub).unreliable.overrun > 0);
    net.send_datagram(hub, friend, &[2; MESSAGE]);
    net.send_datagram(friend, hub, &[2; MESSAGE]);
    net.advance(secs(1));
    assert_eq!(net.datagrams(friend).len(), 1);
    net.resume_reader(hub);
    let from = net.peer_id(friend);
    let datagrams = net.datagrams(hub);
    assert!(datagrams.iter().any(|datagram| datagram.from == from));
}

#[test]
fn strangers_that_come_and_go_fill_no_more_than_half_of_memory_while_nobody_reads() {
    let mut net = Net::new(1).latency(ms(5));
    let mut config = small();
    config.connections_max = 8;
    let hub = net.node(config);
    net.pause_reader(hub);
    let mut most = 0;
    for _ in 0..250 {
        let stranger = net.node(small());
        net.introduce_one_way(stranger, hub);
        net.send(stranger, hub, &[1; 4 * KIB]);
        net.advance(ms(100));
        net.abort(stranger);
        net.advance(ms(100));
        let held = net.occupancy(hub).map_or(0, |held| held.queued_bytes);
        most = most.max(held);
    }
    assert!(most > 400 * KIB, "{most}");
    assert!(most < 512 * KIB + 9 * 5 * KIB, "{most}");
    net.resume_reader(hub);
    let late = net.node(small());
    net.introduce_one_way(late, hub);
    net.send(late, hub, &[1; 4 * KIB]);
    net.advance(secs(10));
    let from = net.peer_id(late);
    let received = net.received(hub);
    assert!(received.iter().any(|message| message.from == from));
}

#[test]
fn a_peer_whose_own_inbox_was_full_is_read_on_once_others_hold_less() {
    let mut net = Net::new(1).latency(ms(5));
    let hub = net.node(small());
    let mut large = small();
    large.memory_max = 16 * MIB;
    let [first, second] = [(); 2].map(|()| net.node(large.clone()));
    let others = net.nodes(8, &small());
    net.introduce_all();
    net.pause_reader(hub);
    for (sender, count) in [(first, 300), (second, 80)] {
        send_many_of(&mut net, sender, hub, count, MESSAGE);
        net.advance(secs(2));
    }
    for other in &others {
        send_many_of(&mut net, *other, hub, 1, 4 * MESSAGE);
    }
    net.advance(secs(2));
    take(&mut net, hub, first, 20);
    let before = inbox(&net, hub, first);
    net.advance(secs(2));
    // All together are full, but for the record that had begun.
    let after = inbox(&net, hub, first);
    assert!(after < before + 5 * MESSAGE, "{before} {after}");
    for other in &others {
        take(&mut net, hub, *other, 1);
    }
    take(&mut net, hub, second, 80);
    net.advance(secs(2));
    assert!(inbox(&net, hub, first) > before, "{before}");
}

#[test]
fn each_setting_works_at_both_ends_of_its_range() {
    for (name, set) in ENDS {
        let mut config = Config::default();
        set(&mut config);
        passes(name, config);
    }
}

#[test]
fn all_settings_work_at_the_same_end_of_their_ranges() {
    for end in ["smallest", "largest"] {
        let mut config = Config::default();
        // A timeout is checked against others, which are set by then.
        for (_, set) in ENDS.iter().filter(|(name, _)| name.starts_with(end)) {
            set(&mut config);
        }
        passes(end, config);
    }
}

#[test]
fn the_largest_message_passes_where_each_queue_holds_just_one() {
    let mut config = Config::default();
    config.message_bytes_max = 256 * KIB;
    config.batch_bytes_max = KIB;
    config.outbox_bytes_max = 256 * KIB + 64;
    config.inbox_bytes_max = KIB;
    config.memory_max = MIB;
    config.tuning.control_reserve = 4 * KIB;
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), config);
    let mut sent = 0;
    for _ in 0..100 {
        if net.try_send(a, b, &vec![1; 256 * KIB]) != Err(SendError::Full) {
            sent += 1;
        }
        if sent == 3 {
            break;
        }
        net.advance(ms(500));
    }
    net.advance(secs(10));
    assert_eq!((sent, net.received(b).len()), (3, 3));
}

// Helpers

type Set = fn(&mut Config);

/// Every number and delay of the configuration at the ends of its range.
const ENDS: [(&str, Set); 46] = [
    ("smallest connections_max", |c| c.connections_max = 1),
    ("smallest handshakes_max", |c| c.handshakes_max = 1),
    ("smallest peers_max", |c| c.peers_max = 1),
    ("smallest batch_messages_max", |c| c.batch_messages_max = 1),
    ("smallest batch_bytes_max", |c| c.batch_bytes_max = KIB),
    ("smallest batch_delay_max", |c| c.batch_delay_max = ms(0)),
    ("smallest message_bytes_max", |c| c.message_bytes_max = 1),
    ("smallest outbox_bytes_max", |c| {
        let body = c.batch_bytes_max.max(c.message_bytes_max + 4);
        c.outbox_bytes_max = 32 + body;
    }),
    ("smallest inbox_bytes_max", |c| c.inbox_bytes_max = KIB),
    ("smallest datagram_queue_bytes_max", |c| {
        c.datagram_queue_bytes_max = 4 * KIB;
    }),
    ("smallest memory_max", |c| {
        c.memory_max = MIB.max(2 * (c.message_bytes_max + 36));
        c.outbox_bytes_max = c.outbox_bytes_max.min(c.memory_max / 2);
    }),
    ("smallest control_reserve", |c| {
        c.tuning.control_reserve = 4 * KIB
    }),
    ("smallest pool_ttl", |c| c.pool_ttl = ms(100)),
    ("smallest liveness_timeout", |c| {
        c.liveness_timeout = secs(1)
    }),
    ("smallest handshake_timeout", |c| {
        c.handshake_timeout = ms(100)
    }),
    ("smallest backoff", |c| {
        c.backoff = Backoff {
            initial: ms(1),
            factor: 1.0,
            max: ms(1),
        };
    }),
    ("smallest stable_after", |c| c.tuning.stable_after = ms(0)),
    ("smallest dial_rate", |c| c.dial_rate = 1),
    ("smallest breaker_failures", |c| c.breaker_failures = 1),
    ("smallest hold_time_min", |c| c.tuning.hold_time_min = ms(0)),
    ("smallest slot_wait", |c| c.tuning.slot_wait = ms(0)),
    ("smallest reconnect_poll", |c| c.reconnect_poll = secs(1)),
    ("smallest stall_timeout", |c| c.stall_timeout = secs(1)),
    ("smallest session_timeout", |c| {
        c.session_timeout = c.backoff.max + c.handshake_timeout + ms(1);
    }),
    ("largest connections_max", |c| c.connections_max = 1_000_000),
    ("largest handshakes_max", |c| c.handshakes_max = 65_536),
    ("largest peers_max", |c| c.peers_max = 16_777_216),
    ("largest batch_messages_max", |c| {
        c.batch_messages_max = 65_536
    }),
    ("largest batch_bytes_max", |c| c.batch_bytes_max = MIB),
    ("largest batch_delay_max", |c| c.batch_delay_max = secs(10)),
    ("largest message_bytes_max", |c| {
        c.message_bytes_max = 16 * MIB;
        c.outbox_bytes_max = 17 * MIB;
    }),
    ("largest memory_max", |c| c.memory_max = 1_024 * GIB),
    ("largest outbox_bytes_max", |c| {
        c.outbox_bytes_max = c.memory_max / 2;
    }),
    ("largest inbox_bytes_max", |c| c.inbox_bytes_max = GIB),
    ("largest datagram_queue_bytes_max", |c| {
        c.datagram_queue_bytes_max = 16 * MIB;
    }),
    ("largest control_reserve", |c| {
        c.tuning.control_reserve = MIB
    }),
    ("largest pool_ttl", |c| c.pool_ttl = secs(86_400)),
    ("largest liveness_timeout", |c| {
        c.liveness_timeout = secs(600);
    }),
    ("largest handshake_timeout", |c| {
        c.handshake_timeout = secs(60);
    }),
    ("largest dial_rate", |c| c.dial_rate = 1_000_000),
    ("largest breaker_failures", |c| c.breaker_failures = 1_000),
    ("largest hold_time_min", |c| {
        c.tuning.hold_time_min = secs(3_600)
    }),
    ("largest slot_wait", |c| c.tuning.slot_wait = secs(3_600)),
    ("largest reconnect_poll", |c| {
        c.reconnect_poll = secs(86_400)
    }),
    ("largest stall_timeout", |c| c.stall_timeout = secs(86_400)),
    ("largest session_timeout", |c| {
        c.session_timeout = secs(86_400);
    }),
];

/// Messages and datagrams pass both ways, also after a cut.
fn passes(name: &str, config: Config) {
    assert_eq!(config.check(), Ok(()), "{name}");
    let cut = config.liveness_timeout * 2;
    let (mut net, a, b) = connected(Net::new(1).latency(ms(5)), config);
    for round in 1..=2 {
        let mut sent = [0; 2];
        for _ in 0..200 {
            for (i, (from, to)) in [(a, b), (b, a)].into_iter().enumerate() {
                if sent[i] < 20 && net.try_send(from, to, &[1]).is_ok() {
                    sent[i] += 1;
                }
            }
            net.advance(ms(100));
        }
        net.advance(secs(60));
        let received = [net.received(b).len(), net.received(a).len()];
        assert_eq!((sent, received), ([20; 2], [20; 2]), "{name}, {round}");
        net.connect(a, b);
        net.run_until(secs(120), |n| n.are_connected(a, b));
        net.send_datagram(a, b, b"");
        net.advance(ms(50));
        assert_eq!(net.datagrams(b).len(), 1, "{name}, {round}");
        net.cut(a, b);
        net.advance(cut);
        net.heal_all();
    }
}

fn small() -> Config {
    let mut config = Config::default();
    config.message_bytes_max = 4 * KIB;
    config.batch_bytes_max = 4 * KIB;
    config.outbox_bytes_max = 400 * KIB;
    config.inbox_bytes_max = 200 * KIB;
    config.memory_max = MIB;
    config
}

/// A node whose outboxes are full of what waits for peers that nothing reaches.
fn hub_and_gone(count: usize) -> (Net, NodeId, Vec<NodeId>) {
    let mut net = Net::new(1).latency(ms(5));
    let hub = net.node(small());
    let gone = fill_all(&mut net, hub, count);
    (net, hub, gone)
}

fn fill_all(net: &mut Net, hub: NodeId, count: usize) -> Vec<NodeId> {
    let gone = net.nodes(count, &small());
    for peer in &gone {
        net.introduce(hub, *peer);
        net.isolate(*peer);
        while net.try_send(hub, *peer, &[1; MESSAGE]) != Err(SendError::Full) {}
    }
    gone
}

fn take(net: &mut Net, node: NodeId, from: NodeId, max: usize) {
    let from = net.peer_id(from);
    let taken = net.with(node, |machine, now| {
        machine
            .receive(now, from, max, &mut Vec::new())
            .expect("a known peer")
    });
    assert!(taken > 0);
}

fn inbox(net: &Net, node: NodeId, from: NodeId) -> usize {
    net.peer_metrics(node, from)
        .map_or(0, |peer| peer.inbox_bytes)
}

fn want_room(net: &mut Net, node: NodeId, to: NodeId, bytes: usize) {
    let to = net.peer_id(to);
    net.with(node, |machine, now| {
        machine.want_room(now, to, bytes).expect("a known peer")
    });
}
