//! Checks that others keep the rules of quicpool.
//!
//! - [`seam`]: a [`Runtime`](quicpool_driver::runtime::Runtime), which is what an adapter of an
//!   async runtime implements. One line of a macro makes a test of each rule.
//! - [`wire`]: any program, in any language, that speaks the wire of quicpool.
//!
//! A rule has a name, one sentence that must hold, and a check of it. A [`Report`] has what came of
//! the checks, and a [`Table`] several reports side by side.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod report;
pub mod seam;
pub mod wire;

pub use report::{Line, Outcome, Report, Table};
