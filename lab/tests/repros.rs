//! Worlds that have failed once do not fail again.

use quicpool_lab::swarm::Repro;

#[test]
fn what_was_mended_stays_mended() {
    Repro::play_all(concat!(env!("CARGO_MANIFEST_DIR"), "/repros"));
}
