//! Strangers at the door: which first packets are looked at, and which handshakes go on.
//!
//! - [`gate`]: a pure look at the first bytes of a datagram, and buckets, before QUIC spends a key on it.
//! - [`half_open`]: places for handshakes, and which one makes way when all are taken.
//! - [`source`]: the address that both count by.

mod gate;
mod half_open;
mod source;

pub(crate) use self::{gate::Gate, half_open::HalfOpen, source::Source};
