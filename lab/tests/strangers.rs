//! Worlds in which peers that no machine would be send what they like. All that holds otherwise must hold.
//!
//! `SIM_SEEDS=100..200` plays others, `SIM_SEEDS=1000` as many from the first on.

use std::ops::Range;

use quicpool_lab::swarm::Scenario;

/// Worlds of each change.
const WORLDS: u64 = 60;

#[test]
fn honest_nodes_are_well_beside_strangers_and_liars() {
    let (mut failed, mut acts, mut idle) = (Vec::new(), 0, 0);
    for seed in seeds() {
        let world = Scenario::draw(seed).with_strangers();
        let outcome = world.run();
        let of_world = outcome.injected.get("strangers").copied().unwrap_or(0);
        acts += of_world;
        idle += u64::from(of_world == 0);
        if let Some(violation) = outcome.violations.first() {
            failed.push(format!("{seed}: {violation:?}"));
        }
    }
    assert!(failed.is_empty(), "{}: {failed:#?}", failed.len());
    let worlds = seeds().count() as u64;
    println!("{acts} acts of strangers in {worlds} worlds; in {idle} none came in");
    assert!(
        acts > 20 * worlds && idle * 4 < worlds,
        "{acts} acts, {idle} idle"
    );
}

#[test]
fn a_world_with_strangers_follows_from_its_seed() {
    for seed in 0..4 {
        let world = Scenario::draw(seed).with_strangers();
        assert_eq!(world.run().hash, world.run().hash, "{seed}");
        assert_ne!(world.run().hash, Scenario::draw(seed).run().hash, "{seed}");
    }
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("SIM_SEEDS") else {
        return 0..WORLDS;
    };
    let number = |text: &str| text.parse().expect("SIM_SEEDS is COUNT or A..B");
    match text.split_once("..") {
        Some((first, last)) => number(first)..number(last),
        None => 0..number(&text),
    }
}
