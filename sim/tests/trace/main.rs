//! What a record of a run tells, and that keeping it changes nothing.

mod account;
mod forms;
mod page;
#[cfg(feature = "qsim")]
mod program;
mod storm;
#[cfg(feature = "tls")]
mod tls;
