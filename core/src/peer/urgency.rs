//! Who asks for a dial.
//!
//! What the user asks for never waits for what the machine does by itself: not in the row of dials,
//! not for the dial rate (`limits.rs`), and not for a slot (`pool.rs`): a background dial that holds
//! one makes way, and waits for another.

/// Who asks for a dial.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// The user has called `send` or `connect` since the last dial failed.
    User,
    /// The machine, because something waits, or since a connection was asked for some time ago.
    #[default]
    Background,
}
