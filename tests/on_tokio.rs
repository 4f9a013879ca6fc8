//! The loopback suite on tokio's current-thread scheduler, beside the tests themselves.

mod suite;

use suite::support;

/// The runtime of the managers.
pub(crate) use quicpool::TokioRuntime as Tested;
