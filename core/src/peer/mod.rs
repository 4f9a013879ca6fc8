//! Policy: what to do about a peer. Knows nothing of QUIC.

pub(crate) mod addresses;
pub(crate) mod backoff;
pub(crate) mod batch;
pub(crate) mod chooser;
pub(crate) mod credit;
pub(crate) mod datagrams;
pub(crate) mod flushes;
pub(crate) mod health;
pub(crate) mod inbox;
pub(crate) mod lifecycle;
pub(crate) mod links;
mod on_demand;
pub(crate) mod outbox;
pub(crate) mod processes;
pub(crate) mod round_robin;
mod voids;

/// A peer's place in the machine's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerKey(u32);

impl PeerKey {
    pub(crate) const fn new(index: u32) -> Self {
        Self(index)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A connection's place in the transport's table; never the same for two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId {
    index: u32,
    generation: u32,
}

impl LinkId {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    pub(crate) const fn index(self) -> usize {
        self.index as usize
    }
}
