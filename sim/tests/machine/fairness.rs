//! One peer with a full outbox, or a flood of messages, delays another by its turn and no more.

use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

use quicpool_core::{Action, Config, Manager, PeerId};
use quicpool_sim::{Net, NodeId, ms, secs};

/// Datagrams of one burst, with and without GSO.
const SEGMENTS: [usize; 3] = [1, 10, 44];

/// The longest datagram, and the longest burst of them.
const DATAGRAM: usize = 1_452;
const BURST: usize = 65_507;

#[test]
fn a_lone_message_waits_for_a_turn_of_each_full_outbox() {
    for segments in SEGMENTS {
        for bulk in [1, 4] {
            let mut star = Star::new(segments, bulk);
            let (lone, to_lone) = (star.net.peer_id(star.lone), star.net.addr(star.lone));
            let sent = star.drain(|machine, now| {
                let sent = machine.send(now, lone, b"me too");
                assert_eq!(
                    sent.map(drop),
                    Ok(()),
                    "another's outbox is full, and not this one"
                );
            });
            let before = sent.iter().position(|(to, _)| *to == to_lone);
            let before = before.expect("it leaves in the same drain");
            let bytes: usize = sent[..before].iter().map(|(_, size)| size).sum();
            println!("{segments} segments, {bulk} full outboxes: {bytes} bytes before it");
            let turn = (segments * DATAGRAM).min(BURST);
            assert!(bytes <= bulk * 2 * turn, "{bytes} bytes, turns of {turn}");
            assert!(sent.len() > before + 1, "the others had more");
        }
    }
}

#[test]
fn full_outboxes_get_the_same_number_of_bytes() {
    for segments in SEGMENTS {
        let mut star = Star::new(segments, 3);
        let mut had = BTreeMap::new();
        let (turn, mut ahead_most) = ((segments * DATAGRAM).min(BURST), 0);
        let sent = star.drain(|_, _| ());
        // As long as all of them have more: the first one that is out of its window has no turns.
        let last = |to| sent.iter().rposition(|(other, _)| *other == to);
        let common = star.bulk.iter().map(|node| last(star.net.addr(*node)));
        let common = common.min().flatten().expect("all of them send");
        for (to, size) in &sent[..common] {
            *had.entry(*to).or_insert(0) += size;
            let (most, least) = (had.values().max(), had.values().min());
            if had.len() == star.bulk.len() {
                ahead_most =
                    ahead_most.max(most.copied().unwrap_or(0) - least.copied().unwrap_or(0));
            }
        }
        println!("{segments} segments: {had:?}, ahead by {ahead_most} at most");
        assert_eq!(had.len(), 3);
        assert!(ahead_most <= 2 * turn, "{ahead_most}, turns of {turn}");
    }
}

#[test]
fn a_lone_message_arrives_amid_a_flood_as_if_there_were_none() {
    let mut star = Star::new(1, 2);
    let (hub, lone) = (star.hub, star.lone);
    // The hub does not read: inboxes of the flood are full, its packets fill the windows.
    star.net.pause_reader(hub);
    for node in star.bulk.clone() {
        while star.net.try_send(node, hub, &[1; 1_000]).is_ok() {}
    }
    star.net.advance(secs(1));
    star.net.send(lone, hub, b"me too");
    star.net.advance(ms(21));
    let from = star.net.peer_id(lone);
    let mut messages = Vec::new();
    star.net.with(hub, |machine, now| {
        machine
            .receive(now, from, usize::MAX, &mut messages)
            .expect("a known peer")
    });
    assert_eq!(messages.len(), 1, "{:?}", star.net);

    // Everything is read, and the flood goes on.
    star.net.resume_reader(hub);
    let mut flood = 0;
    for _ in 0..100 {
        for node in star.bulk.clone() {
            while star.net.try_send(node, hub, &[1; 1_000]).is_ok() {}
        }
        star.net.send(lone, hub, b"me too");
        flood += star.net.received(hub).len();
        star.net.advance(ms(21));
        let received = star.net.received(hub);
        assert!(received.iter().any(|message| message.from == from));
        flood += received.len();
    }
    assert!(flood > 10_000, "it is a flood: {flood} messages");
}

// Helpers

/// A node with connections to others, all of which have carried enough that their windows are wide.
struct Star {
    net: Net,
    hub: NodeId,
    bulk: Vec<NodeId>,
    lone: NodeId,
}

impl Star {
    fn new(segments: usize, bulk: usize) -> Self {
        let mut net = Net::new(7).latency(ms(20));
        let hub = net.node(Config::default());
        let bulk = net.nodes(bulk, &Config::default());
        let lone = net.node(Config::default());
        net.with(hub, |machine, _| {
            machine.driver().set_segments_max(segments)
        });
        let mut star = Self {
            net,
            hub,
            bulk,
            lone,
        };
        for node in star.bulk.iter().copied().chain([lone]) {
            star.net.introduce(hub, node);
            star.net.connect(hub, node);
        }
        let peers: Vec<_> = star.bulk.iter().map(|n| star.net.peer_id(*n)).collect();
        for _ in 0..4 {
            star.net
                .with(hub, |machine, now| fill(machine, now, &peers));
            star.net.advance(secs(5));
        }
        star
    }

    /// Fills the outboxes of the bulk peers, with large messages, does this, and drains the hub: where
    /// its packets go, and how long they are.
    fn drain(&mut self, act: impl FnOnce(&mut Manager, Instant)) -> Vec<(SocketAddr, usize)> {
        let peers: Vec<_> = self.bulk.iter().map(|n| self.net.peer_id(*n)).collect();
        self.net.with(self.hub, |machine, now| {
            fill(machine, now, &peers);
            act(machine, now);
            let (mut sent, mut buf) = (Vec::new(), Vec::new());
            while let Some(action) = machine.poll_action(now, &mut buf) {
                match action {
                    Action::Notify(_) => {}
                    Action::Transmit(transmit) => sent.push((transmit.destination, transmit.size)),
                }
            }
            sent
        })
    }
}

fn fill(machine: &mut Manager, now: Instant, peers: &[PeerId]) {
    for peer in peers {
        while machine.send(now, *peer, &[1; 100_000]).is_ok() {}
    }
}
