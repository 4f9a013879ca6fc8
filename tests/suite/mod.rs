//! Managers on real sockets: what the handle promises, on any runtime.
//!
//! Each program `tests/on_*.rs` runs all of it with managers on the runtime `crate::Tested`. The
//! tests themselves, their clocks and their tasks, run on tokio: a handle is tied to no runtime.

mod binding;
mod datagrams;
mod endings;
mod failures;
mod flushes;
mod held;
mod messages;
mod peers;
mod rough;
mod sessions;
pub(crate) mod support;
mod told;
mod unknown;
