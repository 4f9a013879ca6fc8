//! Managers on real sockets: what the handle promises, on tokio.

mod binding;
mod endings;
mod messages;
mod peers;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod told;
