//! Checks of programs that are to work together with quicpool.
//!
//! - [`wire`]: any program, in any language, that speaks the wire of quicpool.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod wire;
