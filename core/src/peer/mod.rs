//! Policy: what to do about a peer. Knows nothing of QUIC.

pub(crate) mod batch;
pub(crate) mod inbox;
pub(crate) mod outbox;
