//! Checks that others keep the rules of quicpool.
//!
//! - [`seam`]: a [`Runtime`](quicpool_driver::runtime::Runtime), which is what an adapter of an
//!   async runtime implements. One line of a macro makes a test of each rule.
//!
//! A rule has a name, one sentence that must hold, and a check of it.

mod report;
pub mod seam;

pub use report::{Finding, Report, Verdict};
