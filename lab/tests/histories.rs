//! Random histories of whole networks: whatever happens, messages are taken exactly once and in
//! order or reported, and nothing is left behind.

use std::ops::Range;

use quicpool_lab::swarm::Scenario;

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
        37,
        "everything that can happen happens: {names:?}"
    );
    assert!(messages > 20_000, "{messages} messages");
}

fn seeds() -> Range<u64> {
    let Ok(seed) = std::env::var("SEED") else {
        return SEEDS;
    };
    let seed = seed.parse().expect("SEED is a number");
    seed..seed + 1
}
