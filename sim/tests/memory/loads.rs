//! The reported total is within 25 % of the truth, and never more than 10 % under it: connections are an
//! estimate.

use quicpool_core::{Config, Sealing};
use quicpool_sim::{ms, secs};

use crate::{
    Percent, heap,
    wire::{Look, Sessions, Wire},
};

const OVER_MAX: Percent = Percent(25);
const UNDER_MAX: Percent = Percent(10);

/// Peers of the node that is looked at.
const PEERS: usize = 20;

#[test]
fn idle_connections_are_told() {
    let _alone = heap::alone();
    let (mut wire, hub, others) = star(Config::default());
    let before = [wire.look(hub), wire.look(others[0])];
    others.iter().for_each(|other| wire.connect(hub, *other));
    for minute in 0..4 {
        wire.advance(secs(60));
        assert_told("who dialled", minute, wire.look(hub).since(before[0]));
        assert_told(
            "who answered",
            minute,
            wire.look(others[0]).since(before[1]),
        );
    }
}

#[test]
fn full_outboxes_are_told() {
    let _alone = heap::alone();
    for sealing in [Sealing::On, Sealing::Off] {
        for size in [10, 1_000, 100_000] {
            let (mut wire, hub, others) = star(with(sealing));
            let before = wire.look(hub);
            others.iter().for_each(|other| wire.connect(hub, *other));
            wire.advance(secs(1));
            // Nothing is acknowledged: all that has left is kept in QUIC, too.
            others
                .iter()
                .for_each(|other| wire.nodes[*other].is_cut = true);
            for _ in 0..5 {
                for other in &others {
                    wire.send_all(hub, *other, &vec![1; size]);
                }
                wire.advance(ms(200));
                assert_told("full outboxes", size, wire.look(hub).since(before));
            }
        }
    }
}

#[test]
fn slow_readers_are_told() {
    let _alone = heap::alone();
    for sealing in [Sealing::On, Sealing::Off] {
        for size in [10, 1_000, 100_000] {
            let (mut wire, hub, others) = star(with(sealing));
            let before = [wire.look(hub), wire.look(others[0])];
            others.iter().for_each(|other| wire.connect(hub, *other));
            wire.advance(secs(1));
            for _ in 0..20 {
                for other in &others[..4] {
                    wire.send_all(hub, *other, &vec![1; size]);
                    wire.send_all(*other, hub, &vec![1; size]);
                }
                wire.advance(ms(200));
            }
            assert_told("slow readers", size, wire.look(hub).since(before[0]));
            assert_told("a slow reader", size, wire.look(others[0]).since(before[1]));
        }
    }
}

// Helpers

fn with(sealing: Sealing) -> Config {
    let mut config = Config::default();
    config.sealing = sealing;
    config
}

fn star(config: Config) -> (Wire, usize, Vec<usize>) {
    let mut wire = Wire::new(Sessions::Tls);
    let hub = wire.node(config.clone());
    let others: Vec<_> = (0..PEERS).map(|_| wire.node(config.clone())).collect();
    for other in &others {
        wire.introduce(hub, *other);
    }
    (wire, hub, others)
}

fn assert_told(what: &str, of: impl std::fmt::Display, grown: Look) {
    println!("{what} ({of}): {grown:?}");
    let Look { heap, usage, .. } = grown;
    assert!(
        usage <= heap + OVER_MAX.of(heap),
        "{what} ({of}): {grown:?}"
    );
    assert!(
        usage + UNDER_MAX.of(heap) >= heap,
        "{what} ({of}): {grown:?}"
    );
}
