//! Random histories of whole networks: whatever happens, messages are taken exactly once and in
//! order or reported, and nothing is left behind.

use std::ops::Range;

use quicpool_sim::swarm::{Operation, Scenario};

/// Worlds, unless `SEED` in the environment names one.
const SEEDS: Range<u64> = 0..2_000;

#[test]
fn whatever_happens_what_must_hold_holds() {
    for seed in seeds() {
        let outcome = Scenario::draw(seed).run();
        let violations = &outcome.violations;
        assert!(
            violations.is_empty(),
            "SEED={seed}: {violations:?}\n{}",
            outcome.picture
        );
    }
}

#[test]
fn worlds_are_as_rough_as_they_are_said_to_be() {
    let mut messages = 0;
    let mut names = Vec::new();
    for seed in 0..100 {
        let outcome = Scenario::draw(seed).run();
        messages += outcome.messages;
        names.extend(outcome.injected.into_keys());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        names.len(),
        20,
        "every operation makes a difference: {names:?}"
    );
    assert!(messages > 20_000, "{messages} messages");
}

/// Found by `qsim` with pools of one slot, on paths longer than `tenure_min`: peers took the slot
/// from each other's handshakes for ever.
#[test]
fn peers_that_take_turns_in_pools_of_one_let_each_other_finish() {
    for seed in [5_071, 9_688, 11_313, 12_827, 14_180, 14_393] {
        let scenario = Scenario::draw(seed);
        assert!(
            scenario
                .steps
                .iter()
                .any(|step| matches!(step.operation, Operation::Send { .. })),
            "SEED={seed} has not become another world"
        );
        assert!(scenario.run().violations.is_empty(), "SEED={seed}");
    }
}

/// A connection that had timed out twice over was forgotten before its peer was told, which then
/// waited for it for ever.
#[test]
fn a_process_that_stood_still_is_told_of_every_connection_that_it_lost() {
    assert!(Scenario::draw(97).run().violations.is_empty());
}

fn seeds() -> Range<u64> {
    let Ok(seed) = std::env::var("SEED") else {
        return SEEDS;
    };
    let seed = seed.parse().expect("SEED is a number");
    seed..seed + 1
}
