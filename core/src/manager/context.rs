//! Holds what a function of the machine may touch: all parts, or those that one peer touches.

use std::time::Instant;

use super::{
    peer::{Peer, Peers},
    shared::Shared,
};
use crate::{peer::PeerKey, slots::Slots, transport::Transport};

/// The parts of the machine at one moment, for what concerns several peers.
pub(super) struct Parts<'a> {
    pub(super) now: Instant,
    pub(super) peers: &'a mut Peers,
    pub(super) transport: &'a mut Transport,
    pub(super) slots: &'a mut Slots,
    pub(super) shared: &'a mut Shared,
}

/// A peer at one moment, with the parts of the machine that its connections and dials touch.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) peer: &'a mut Peer,
    pub(super) transport: &'a mut Transport,
    pub(super) slots: &'a mut Slots,
    pub(super) shared: &'a mut Shared,
}

impl Parts<'_> {
    /// The peer that a connection, a deadline or a slot belongs to.
    pub(super) fn at(&mut self, key: PeerKey) -> Context<'_> {
        Context {
            now: self.now,
            peer: self.peers.owner(key),
            transport: self.transport,
            slots: self.slots,
            shared: self.shared,
        }
    }
}
