//! Pools that are too small, on paths that are too long: every peer gets a turn, and every turn is of
//! use.
//!
//! Found by `qsim`: with one slot each and a tenure shorter than the round trip, peers took the slot
//! from each other's handshakes, and later from each other's first data, for ever.

use std::{ops::Range, path::Path, time::Duration};

use quicpool_lab::swarm::{
    Condition, Failure, LinkProfile, Operation, Outsider, Repro, Scenario, Step,
};
use quicpool_sim::{Delay, ms, secs};

/// Worlds for each kind of pool: thousands in a release build.
const SEEDS: Range<u64> = match cfg!(debug_assertions) {
    true => 0..40,
    false => 0..2_000,
};

/// Worlds whose failure is printed; those after them are written to files, and counted.
const FAILURES_TOLD: usize = 5;

#[test]
fn a_single_slot_is_enough_on_a_path_longer_than_its_tenure() {
    every_world_converges("long-path", 1, ms(200), ms(120));
}

#[test]
fn a_single_slot_is_enough_by_satellite() {
    every_world_converges("satellite", 1, ms(200), ms(300));
}

#[test]
fn a_single_slot_is_enough_without_any_tenure() {
    every_world_converges("no-tenure", 1, ms(0), ms(120));
}

#[test]
fn a_single_slot_is_enough_nearby() {
    every_world_converges("nearby", 1, ms(0), ms(1));
}

#[test]
fn two_slots_are_enough_where_dials_may_hold_both() {
    every_world_converges("two-slots", 2, secs(1), ms(250));
}

#[test]
fn a_single_slot_is_enough_where_two_peers_are_gone() {
    all_converge("one-slot-two-gone", |drawn| {
        with_two_that_are_gone(drawn, 1)
    });
}

#[test]
fn two_slots_are_enough_where_two_peers_are_gone() {
    all_converge("two-slots-two-gone", |drawn| {
        with_two_that_are_gone(drawn, 2)
    });
}

/// Worlds as they are drawn, but for these: everything is taken or reported in time.
fn every_world_converges(
    pool: &str,
    connections_max: usize,
    hold_time_min: Duration,
    latency: Duration,
) {
    all_converge(pool, |mut scenario| {
        scenario.own_limits.clear();
        scenario.limits.connections_max = connections_max;
        scenario.limits.hold_time_min = hold_time_min;
        scenario.links = LinkProfile::Delay(Delay::Constant(latency));
        scenario
    });
}

/// The world, with two more nodes that are gone for ever once all others have messages for them.
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

/// Plays the world of every seed as it is changed, and reports all that fail: the first does not
/// hide those after it.
fn all_converge(pool: &str, change: impl Fn(Scenario) -> Scenario) {
    let mut failures = SEEDS.filter_map(|seed| failure(pool, &change(Scenario::draw(seed))));
    let told: Vec<String> = failures.by_ref().take(FAILURES_TOLD).collect();
    let untold = failures.count();
    let count = told.len() + untold;
    let told = told.join("\n");
    assert!(count == 0, "{count} worlds failed, beginning with\n{told}");
}

/// Returns the property that did not hold in a world, and how to see it again.
fn failure(pool: &str, scenario: &Scenario) -> Option<String> {
    let (failure, what) = Failure::of(scenario)?;
    let seed = scenario.seed;
    let name = format!("pools/{pool}-seed-{seed}.json");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let written = Repro::new(scenario.clone(), failure, &what).write(&file);
    let file = file.display();
    Some(match written {
        Ok(()) => format!("seed {seed}: {what}\nagain: qsim replay {file}"),
        Err(error) => format!("seed {seed}: {what}\n{file}: {error}"),
    })
}
