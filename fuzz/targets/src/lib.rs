//! What the fuzz targets do with their bytes.
//!
//! libFuzzer calls them through `fuzz/fuzz_targets/`, and plain `cargo test` with every file of `fuzz/corpus/`.
//! A target returns, whatever its bytes are: it panics if something does not hold that must.

mod input;
mod machines;
mod node;
mod stranger;
mod text;

use quicpool_core::fuzz_internals as core;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its folder in `fuzz/corpus/`, and of its program in `fuzz/fuzz_targets/`.
    pub name: &'static str,
    /// What it does with its bytes.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    // Decoders of the wire.
    target("bodies", core::bodies),
    target("certificate", core::certificate),
    target("close_reason", core::close_reason),
    target("control", core::control),
    target("datagrams", core::datagrams),
    target("entries", core::entries),
    target("records", core::records),
    target("sealed_records", core::sealed_records),
    target("stream_header", core::stream_header),
    // Text.
    target("identity_file", text::identity_file),
    target("ids", text::ids),
    // Whole machines.
    target("machines", machines::machines),
    target("stranger", stranger::stranger),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// Returns the target with this name.
///
/// # Panics
///
/// If there is none.
pub fn named(name: &str) -> Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    *found.expect("the name is in the list of targets")
}
