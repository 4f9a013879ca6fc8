//! Distinguishes dials of the user from dials that the machine makes by itself.

/// The priority of a dial. A background dial delays none in the foreground in the queue or by the dial rate
/// (`rate.rs`), and gives its slot to one (`table.rs`) unless a dial to its peer has given way before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Priority {
    /// The user has called `send` or `connect` since the last dial failed.
    Foreground,
    /// The machine dials by itself: messages wait, or a connection was asked for earlier.
    #[default]
    Background,
}
