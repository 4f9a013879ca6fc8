//! Applications on simulated nodes: their inputs and times, that runs repeat, and that faults
//! of the application are found.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an application passes over what it has no use for"
)]

mod caught;
mod hostile;
mod inputs;
mod pressure;
mod replicas;
mod storms;
