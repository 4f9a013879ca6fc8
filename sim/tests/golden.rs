//! The same seed tells the same story in every process and every build, and tomorrow as well.

use std::{env, fmt::Write, fs, sync::atomic};

use quicpool_core::{Config, ConnectionStatus::Connected, Credentials};
use quicpool_sim::{Checksum, Net, Trail, secs, swarm::Scenario};

/// One line for each seed: the seed and the hash of its world.
const GOLDEN: &str = include_str!("golden.txt");
const GOLDEN_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.txt");
const SEEDS: u64 = 20;

/// Whoever changes what is sent changes the hashes, on purpose: `GOLDEN=write cargo test --test
/// golden` writes them anew.
#[test]
fn worlds_have_the_hashes_that_are_written_down() {
    let mut hashes = String::new();
    for seed in 0..SEEDS {
        let hash = Scenario::draw(seed).run().hash;
        writeln!(hashes, "{seed} {hash:032x}").expect("a string takes everything");
    }
    if env::var("GOLDEN").is_ok_and(|what| what == "write") {
        fs::write(GOLDEN_PATH, &hashes).expect("the file can be written");
        return;
    }
    assert_eq!(hashes, GOLDEN);
}

#[test]
fn worlds_repeat_themselves_byte_for_byte_in_a_process_that_looks_different() {
    for seed in 0..200 {
        if let Err(divergence) = Scenario::draw(seed).run_twice() {
            panic!("SEED={seed}: {divergence}");
        }
    }
    let [one, two] = [1, 2].map(|seed| Scenario::draw(seed).run().hash);
    assert_ne!(one, two);
}

#[test]
fn a_run_that_depends_on_more_than_its_seed_is_found_out() {
    static ELSEWHERE: atomic::AtomicU64 = atomic::AtomicU64::new(0);
    let impure = |credentials: Checksum| {
        let seed = ELSEWHERE.fetch_add(1, atomic::Ordering::Relaxed);
        Checksum::new(credentials.local_id(), seed)
    };
    let run = |is_pure: bool| -> Trail {
        let mut net = Net::new(1);
        net.keep_trail();
        let a = net.node(Config::default());
        let b = match is_pure {
            true => net.node(Config::default()),
            false => net.node_with(Config::default(), impure),
        };
        net.introduce(a, b);
        net.connect(a, b);
        net.run_until(secs(5), |net| net.status(a, b) == Some(Connected));
        net.take_trail()
    };
    assert_eq!(run(true).first_difference(&run(true)), None);
    let difference = run(false).first_difference(&run(false));
    let difference = difference.expect("two runs cannot be alike");
    assert_eq!(
        difference.agree, 1,
        "only the answer is impure: {difference}"
    );
}
