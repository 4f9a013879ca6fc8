//! What is on the wire.

pub(crate) mod record;
