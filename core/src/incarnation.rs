//! Which run of a process this is.

/// Tells one run of a process from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation {
    /// When the process started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// 64 random bits.
    pub random: u64,
}
