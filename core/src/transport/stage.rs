//! Names how far a connection has come, and what it is made for.

use crate::{
    Sealing,
    peer::credit::Ahead,
    wire::{
        greeting::Greeting,
        hello::{CHECK_LEN, Hello},
    },
};

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// TLS is not done.
    Handshaking,
    /// Our greeting is written, the other's has not come whole.
    Greeted(Option<Box<Hello>>),
    /// The other's greeting has come, and another process with its identity may be alive.
    Waiting(Box<Greeting>),
    /// The other's greeting was accepted.
    Confirmed(Box<Greeting>),
    /// Closed at this end or the other.
    Closed,
}

/// The check values of both directions; `None` where records are not sealed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checks {
    /// In our hello.
    pub(crate) ours: Option<[u8; CHECK_LEN]>,
    /// That the other's hello must have.
    pub(crate) theirs: Option<[u8; CHECK_LEN]>,
}

/// What a link is made for.
pub(super) struct Parameters {
    pub(super) sealing: Sealing,
    pub(super) body_bytes_max: usize,
    pub(super) message_bytes_max: usize,
    pub(super) ahead: Ahead,
    pub(super) control_reserve: usize,
}
