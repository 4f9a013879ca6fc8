//! The open batch: the tail of an outbox, to which messages are appended.

use std::time::Instant;

/// Framed messages that gather until their batch leaves.
///
/// A driver keeps one per peer under a small lock, so that other threads append without waiting
/// for the machine.
#[derive(Debug, Default)]
pub struct OpenBatch {}

#[allow(unused_variables, missing_docs)]
impl OpenBatch {
    pub const fn new() -> Self {
        Self {}
    }
    /// Bytes that a message of this length takes from the outbox's room, framing included.
    pub const fn cost(message_len: usize) -> usize {
        message_len + 8
    }
    pub fn append(&mut self, now: Instant, message: &[u8]) {}
    pub fn is_empty(&self) -> bool {
        true
    }
    pub fn messages(&self) -> usize {
        0
    }
    /// Bytes of all messages, framing included.
    pub fn bytes(&self) -> usize {
        0
    }
    pub fn first_queued_at(&self) -> Option<Instant> {
        None
    }
    /// Asks that the batch leave at once.
    pub fn express(&mut self) {}
}
