//! Pools that are too small, on paths that are too long: everybody gets a turn, and every turn is of
//! use.
//!
//! Found by `qsim`: with one slot each and a tenure shorter than the round trip, peers took the slot
//! from each other's handshakes, and later from each other's first data, for ever.

use std::{ops::Range, time::Duration};

use quicpool_sim::{
    Delay, ms, secs,
    swarm::{LinkProfile, Scenario},
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

/// Worlds as they are drawn, but for these: everything is taken or reported in time.
fn every_world_converges(connections_max: usize, tenure_min: Duration, latency: Duration) {
    for seed in SEEDS {
        let mut scenario = Scenario::draw(seed);
        scenario.limits.connections_max = connections_max;
        scenario.limits.tenure_min = tenure_min;
        scenario.links = LinkProfile::Delay(Delay::Constant(latency));
        let outcome = scenario.run();
        let violations = &outcome.violations;
        let picture = &outcome.picture;
        assert!(
            violations.is_empty(),
            "seed {seed}: {violations:?}\n{picture}"
        );
    }
}
