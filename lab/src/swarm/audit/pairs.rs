//! The auditors of pairs of nodes.

use super::{
    agreement::Agreement,
    backoff::Backoff,
    calm::{Calm, KeptAlive},
    expiry::Expiry,
    health::HealthTold,
    left_out::LeftOut,
    progress::Progress,
    punctual::Punctual,
    visits::Visits,
};

/// One process and one of its peers.
#[derive(Default)]
pub(super) struct Pair {
    pub(super) backoff: Backoff,
    pub(super) expiry: Expiry,
    pub(super) health: HealthTold,
    pub(super) kept_alive: KeptAlive,
    pub(super) left_out: LeftOut,
    pub(super) punctual: Punctual,
    pub(super) visits: Visits,
}

/// Two nodes, and what is between them.
#[derive(Default)]
pub(super) struct Between {
    pub(super) agreement: Agreement,
    pub(super) calm: Calm,
    /// By the sender's end.
    pub(super) progress: [Progress; 2],
}

/// The place of two nodes among all pairs, and which end the first of them is.
pub(super) fn between(place: usize, peer: usize) -> (usize, usize) {
    let (least, most) = (place.min(peer), place.max(peer));
    (most * (most - 1) / 2 + least, usize::from(place > peer))
}
