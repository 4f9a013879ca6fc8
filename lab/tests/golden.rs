//! The same seed gives the same run in every process and every build, and tomorrow as well.

use std::{env, fmt::Write, fs, path::Path, sync::atomic};

use quicpool_core::{Config, ConnectionStatus::Connected, Credentials};
use quicpool_lab::swarm::Scenario;
use quicpool_sim::{Checksum, Crypto, Net, Trail, secs};

/// What is written down has one line for each seed: the seed and the hash of its world.
const SEEDS: u64 = 20;

/// A change of what is sent changes the hashes, on purpose: `GOLDEN=write cargo test --test golden`
/// writes them anew.
#[test]
fn worlds_have_the_hashes_that_are_written_down() {
    compare(Crypto::Checksum, include_str!("golden.txt"), "golden.txt");
}

#[cfg(feature = "tls")]
#[test]
fn worlds_with_tls_have_the_hashes_that_are_written_down() {
    compare(
        Crypto::Tls,
        include_str!("golden-tls.txt"),
        "golden-tls.txt",
    );
}

fn compare(crypto: Crypto, golden: &str, name: &str) {
    let mut hashes = String::new();
    for seed in 0..SEEDS {
        let hash = Scenario::draw(seed).crypto(crypto).run().hash;
        writeln!(hashes, "{seed} {hash:032x}").expect("a string takes everything");
    }
    if env::var("GOLDEN").is_ok_and(|what| what == "write") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(name);
        fs::write(path, &hashes).expect("the file can be written");
        return;
    }
    assert_eq!(hashes, golden);
}

#[test]
fn worlds_repeat_themselves_byte_for_byte_in_a_process_that_looks_different() {
    repeat(Crypto::Checksum, 200);
    #[cfg(feature = "tls")]
    repeat(Crypto::Tls, 100);
    let [one, two] = [1, 2].map(|seed| Scenario::draw(seed).run().hash);
    assert_ne!(one, two);
}

fn repeat(crypto: Crypto, seeds: u64) {
    for seed in 0..seeds {
        if let Err(divergence) = Scenario::draw(seed).crypto(crypto).run_twice() {
            panic!("SEED={seed} with {crypto}: {divergence}");
        }
    }
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
