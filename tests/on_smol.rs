//! The loopback suite on smol.

mod suite;

use suite::support;

/// The runtime of the managers.
pub(crate) use quicpool_async_std::SmolRuntime as Tested;
