//! What a turn costs does not grow with the peers that are known.

use std::time::Duration;

use quicpool_sim::{ms, secs};

use crate::{
    Percent, heap,
    sessions::{CONNECTED, KNOWN, config, visit},
    wire::{Sessions, Spent, Wire},
};

/// The node that is looked at; those behind it are connected.
const HUB: usize = 0;

/// Rounds of which the middle one counts.
const ROUNDS: usize = 21;

/// How much more time a round may take with a hundred times as many peers. A look at each of them in
/// each turn takes more than ten times as much.
const TIME_MAX: Percent = Percent(200);

/// How many more allocations there may be, which are the same each time: trees of deadlines are higher.
const ALLOCATIONS_MAX: Percent = Percent(103);

/// Measurements: other programs on the processor may disturb all but one of them.
const ATTEMPTS: usize = 3;

#[test]
fn a_turn_costs_as_much_with_a_hundred_times_as_many_known_peers() {
    let _alone = heap::alone();
    let mut few = hub(CONNECTED);
    let mut many = hub(KNOWN);
    let mut ratios = Vec::new();
    for _ in 0..ATTEMPTS {
        let [few, many] = measure(&mut few, &mut many);
        println!("a round with {CONNECTED} known peers: {few:?}, with {KNOWN}: {many:?}");
        assert!(
            many.allocations <= ALLOCATIONS_MAX.of(few.allocations),
            "{few:?} {many:?}"
        );
        let ratio = many.time.as_nanos() * 100 / few.time.as_nanos();
        ratios.push(ratio);
        if ratio <= TIME_MAX.0 as u128 {
            return;
        }
    }
    panic!("percent of the time that a round takes with {CONNECTED} peers: {ratios:?}");
}

// Helpers

/// A node that knows so many peers, and is connected to the last of them.
fn hub(known: usize) -> Wire {
    let config = config();
    let mut wire = Wire::new(Sessions::Checksum);
    wire.node(config.clone());
    for _ in 0..known / CONNECTED {
        visit(&mut wire, HUB, &config);
    }
    // Connections that have ended are forgotten.
    wire.advance(secs(5));
    assert_eq!(wire.metrics(HUB).connections, CONNECTED);
    let peers = wire.at(HUB, |machine| machine.occupancy().peers);
    assert_eq!(peers, known);
    wire
}

/// The middle one of many rounds, which take turns so that what disturbs one disturbs the other.
fn measure(few: &mut Wire, many: &mut Wire) -> [Spent; 2] {
    let mut spent = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        spent[0].push(round(few));
        spent[1].push(round(many));
    }
    spent.map(|rounds| Spent {
        time: middle(
            rounds
                .iter()
                .map(|round| round.time)
                .collect::<Vec<Duration>>(),
        ),
        allocations: middle(rounds.iter().map(|round| round.allocations).collect()),
    })
}

fn middle<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort();
    values[values.len() / 2]
}

/// Each connected peer is sent a message, takes it, and answers.
fn round(wire: &mut Wire) -> Spent {
    let before = wire.spent(HUB);
    let others = HUB + 1..=HUB + CONNECTED;
    for other in others.clone() {
        wire.send(HUB, other, b"how are you?")
            .expect("there is room");
    }
    wire.advance(ms(50));
    for other in others.clone() {
        assert_eq!(take(wire, other, HUB), 1);
        wire.send(other, HUB, b"as ever").expect("there is room");
    }
    wire.advance(ms(50));
    for other in others {
        assert_eq!(take(wire, HUB, other), 1);
    }
    wire.advance(ms(50));
    let now = wire.now;
    wire.at(HUB, |machine| machine.metrics(now));
    wire.spent(HUB).since(before)
}

fn take(wire: &mut Wire, node: usize, from: usize) -> usize {
    let messages = wire.read(node, from, 10);
    wire.take(node, &messages);
    messages.len()
}
