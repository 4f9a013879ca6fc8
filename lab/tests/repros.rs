//! Worlds that have failed once do not fail again.

use quicpool_lab::swarm::play_all;

#[test]
fn what_was_mended_stays_mended() {
    play_all(concat!(env!("CARGO_MANIFEST_DIR"), "/repros"));
}
