//! The laboratory of quicpool, for its developers. Nothing here is published.
//!
//! - [`swarm`] draws whole worlds from seeds, plays them in a network of
//!   [`quicpool_sim`], and checks what must hold in all of them.
//! - [`bench`](mod@bench) runs the machine beside QUIC alone in the same network.
//!
//! The program `qsim` runs both; `mutants` plants bugs and checks that `qsim` finds them.

pub mod bench;
mod driven;
pub mod swarm;

// What the laboratory takes from the simulator; `lab` is what users of it do not see.
pub(crate) use driven::Driven;
pub(crate) use quicpool_sim::{
    Crypto, Delay, Difference, Faults, LinkFault, Net, NodeId, Order, Path, Trail,
    lab::{Dice, Domain, Draw, Hasher, Kinds, duration, machine, watch},
    ms, secs,
    trace::Recorder,
};
