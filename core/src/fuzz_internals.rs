//! Bodies of the fuzz targets of what is private: `fuzz/targets` calls them.
//!
//! A target is a crate of its own and reaches public items only. No part of the interface: it may change with
//! any commit.

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub use crate::identity::fuzzing::certificate;
pub use crate::wire::fuzzing::{
    bodies, close_reason, control, datagrams, entries, records, sealed_records, stream_header,
};
