//! Pools that are too small, on paths that are too long: everybody gets a turn, and every turn is of
//! use.
//!
//! Found by `qsim`: with one slot each and a tenure shorter than the round trip, peers took the slot
//! from each other's handshakes, and later from each other's first data, for ever.

use std::{ops::Range, time::Duration};

use quicpool_sim::{
    Delay, ms, secs,
    swarm::{Condition, LinkProfile, Operation, Outsider, Scenario, Step},
};

/// Worlds for each kind of pool: thousands in a release build.
const SEEDS: Range<u64> = match cfg!(debug_assertions) {
    true => 0..40,
    false => 0..2_000,
};

#[test]
fn a_single_slot_is_enough_on_a_path_longer_than_its_tenure() {
    every_world_converges(1, ms(200), ms(120));
}

#[test]
fn a_single_slot_is_enough_by_satellite() {
    every_world_converges(1, ms(200), ms(300));
}

#[test]
fn a_single_slot_is_enough_without_any_tenure() {
    every_world_converges(1, ms(0), ms(120));
}

#[test]
fn a_single_slot_is_enough_nearby() {
    every_world_converges(1, ms(0), ms(1));
}

#[test]
fn two_slots_are_enough_where_dials_may_hold_both() {
    every_world_converges(2, secs(1), ms(250));
}

#[test]
fn a_single_slot_is_enough_where_two_peers_are_gone() {
    for seed in SEEDS {
        converges(&with_two_that_are_gone(Scenario::draw(seed), 1));
    }
}

#[test]
fn two_slots_are_enough_where_two_peers_are_gone() {
    for seed in SEEDS {
        converges(&with_two_that_are_gone(Scenario::draw(seed), 2));
    }
}

/// Worlds as they are drawn, but for these: everything is taken or reported in time.
fn every_world_converges(connections_max: usize, tenure_min: Duration, latency: Duration) {
    for seed in SEEDS {
        let mut scenario = Scenario::draw(seed);
        scenario.own_limits.clear();
        scenario.limits.connections_max = connections_max;
        scenario.limits.tenure_min = tenure_min;
        scenario.links = LinkProfile::Delay(Delay::Constant(latency));
        converges(&scenario);
    }
}

/// The world, with two more nodes that are gone for ever once everybody has something for them.
fn with_two_that_are_gone(mut scenario: Scenario, connections_max: usize) -> Scenario {
    const GONE: [Condition; 5] = [
        Condition::Crashed,
        Condition::Frozen,
        Condition::CutOff,
        Condition::Deaf,
        Condition::Mute,
    ];
    scenario.own_limits.clear();
    scenario.limits.connections_max = connections_max;
    scenario.links = LinkProfile::Delay(Delay::Constant(ms(20)));
    let well = scenario.nodes;
    scenario.nodes += 2;
    let gone = [well, well + 1];
    scenario.outsiders = gone
        .map(|node| Outsider {
            node,
            condition: GONE[(scenario.seed as usize + node) % GONE.len()],
        })
        .to_vec();
    let pairs = (0..well).flat_map(|from| gone.map(|to| (from, to)));
    let send = |(from, to)| Step {
        operation: Operation::Send {
            from,
            to,
            lengths: vec![12; 3],
        },
        pause: ms(0),
    };
    scenario.steps.extend(pairs.map(send));
    scenario
}

fn converges(scenario: &Scenario) {
    let outcome = scenario.run();
    let violations = &outcome.violations;
    let (seed, picture) = (scenario.seed, &outcome.picture);
    assert!(
        violations.is_empty(),
        "seed {seed}: {violations:?}\n{picture}"
    );
}
