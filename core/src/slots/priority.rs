//! Distinguishes dials of the user from dials that the machine makes by itself.

/// The priority of a dial. A background dial never delays one in the foreground: not in the queue, not
/// by the dial rate (`rate.rs`), and not by holding a slot (`table.rs`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Priority {
    /// The user has called `send` or `connect` since the last dial failed.
    Foreground,
    /// The machine dials by itself: messages wait, or a connection was asked for earlier.
    #[default]
    Background,
}
