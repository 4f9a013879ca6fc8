//! The end of a connection without a CONNECTION_CLOSE. See "abandon" in [`quirks`](super).

use std::time::{Duration, Instant};

use quinn_proto::Connection;

/// Longer than the idle timeout of any connection, however long its probe timeout.
const BEYOND_ANY_TIMEOUT: Duration = Duration::from_secs(86_400);

/// Ends a connection as its own idle timeout would, without a CONNECTION_CLOSE. Fires every other timer
/// of the connection on the way, of which none matters once it is over.
pub(in crate::transport) fn abandon(now: Instant, connection: &mut Connection) {
    connection.handle_timeout(now + BEYOND_ANY_TIMEOUT);
}
