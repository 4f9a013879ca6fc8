//! What a record of a run tells, and that keeping it changes nothing.

mod account;
mod storm;
