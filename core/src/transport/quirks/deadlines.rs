//! Deadlines in the past. See "past deadlines" in [`quirks`](super).

use std::time::{Duration, Instant};

use quinn_proto::Connection;

/// Attempts to serve a deadline that lies in the past, before it is put off.
const ATTEMPTS_MAX: u8 = 16;

/// The time by which a deadline that stays in the past is put off.
const PUT_OFF: Duration = Duration::from_millis(1);

/// Counts the attempts in a row to serve a connection's deadline.
#[derive(Debug, Default)]
pub(in crate::transport) struct PastDeadlines {
    attempts: u8,
}

impl PastDeadlines {
    /// Whether the connection's deadline is not later than `now` and is to be served once more.
    pub(in crate::transport) fn is_due(
        &mut self,
        now: Instant,
        connection: &mut Connection,
    ) -> bool {
        let is_past = connection.poll_timeout().is_some_and(|at| at <= now);
        if !is_past || self.attempts >= ATTEMPTS_MAX {
            self.attempts = 0;
            return false;
        }
        self.attempts += 1;
        true
    }
}

/// Returns the connection's deadline, put off if it is not later than `now`.
pub(in crate::transport) fn later_than(
    now: Instant,
    connection: &mut Connection,
) -> Option<Instant> {
    let at = connection.poll_timeout()?;
    Some(if at > now { at } else { now + PUT_OFF })
}
