//! Connections of one peer, from their first packet to their last.
//!
//! - `rules`: what a hello, a close and a proof of life mean; `check` explores it, `acting` carries it out.
//! - `close`: connections that this end closes.
//! - `monitoring`: how well a peer can be reached on them.
//! - `lost`: what the loss of a connection means for its peer.
//! - `processes`: several processes with one identity.
//! - `greeting`: both ends' greetings.
//! - `reconnect`: peers that cannot dial us.

mod acting;
#[cfg(test)]
mod check;
pub(super) mod close;
pub(super) mod greeting;
pub(super) mod lost;
pub(super) mod monitoring;
pub(super) mod processes;
pub(super) mod reconnect;
pub(super) mod rules;
