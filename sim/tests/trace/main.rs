//! The contents of a record of a run, and that keeping it changes nothing.

mod account;
mod forms;
mod page;
mod storm;
#[cfg(feature = "tls")]
mod tls;
