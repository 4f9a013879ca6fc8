//! The same worlds with both cryptographies.

use std::{collections::BTreeSet, thread};

use quicpool_lab::swarm::Scenario;
use quicpool_sim::Crypto;

const BOTH: [Crypto; 2] = [Crypto::Checksum, Crypto::Tls];

#[test]
fn what_must_hold_holds_in_the_same_worlds_with_either() {
    for seed in 0..300 {
        let mut scenario = Scenario::draw(seed);
        // Which messages find an outbox full is a matter of when others were taken.
        scenario.own_limits.clear();
        scenario.limits.outbox_bytes_max = 16 * 1_024 * 1_024;
        let [checksum, tls] = BOTH.map(|crypto| scenario.clone().crypto(crypto).run());
        for outcome in [&checksum, &tls] {
            assert!(outcome.violations.is_empty(), "seed {seed}: {outcome:?}");
        }
        assert_ne!(checksum.hash, tls.hash);
        // Whether a connect finds the circuit open is a matter of when a backoff has ended.
        let [checksum_steps, tls_steps] = [&checksum, &tls].map(|outcome| {
            let mut injected = outcome.injected.clone();
            injected.retain(|name, _| !name.starts_with("connect"));
            injected
        });
        assert_eq!(checksum_steps, tls_steps, "seed {seed}");
        assert_eq!(checksum.messages, tls.messages, "seed {seed}");
    }
}

/// Worlds with faults of all kinds.
fn world(seed: u64) -> u128 {
    let outcome = Scenario::draw(seed).crypto(Crypto::Tls).run();
    assert!(outcome.violations.is_empty(), "seed {seed}: {outcome:?}");
    outcome.hash
}

#[test]
fn the_same_world_tells_the_same_story_byte_for_byte_on_any_thread() {
    let seeds = 0..100;
    let stories: Vec<u128> = seeds.clone().map(world).collect();
    assert_eq!(BTreeSet::from_iter(&stories).len(), stories.len());
    // Two threads at once, which take different seeds in opposite order.
    thread::scope(|scope| {
        let forwards = scope.spawn(|| seeds.clone().map(world).collect::<Vec<_>>());
        let backwards = scope.spawn(|| seeds.clone().rev().map(world).collect::<Vec<_>>());
        assert_eq!(forwards.join().expect("no world panics"), stories);
        let backwards = backwards.join().expect("no world panics");
        assert!(backwards.iter().rev().eq(&stories));
    });
}
