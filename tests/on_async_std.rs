//! The loopback suite on async-std.

mod suite;

use suite::support;

/// The runtime of the managers.
pub(crate) use quicpool_async_std::AsyncStdRuntime as Tested;
