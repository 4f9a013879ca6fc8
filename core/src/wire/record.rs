//! Data records.

/// The longest record, in bytes, header and tag included.
pub(crate) const fn bytes_max(batch_bytes_max: usize, message_bytes_max: usize) -> usize {
    let body = if batch_bytes_max > message_bytes_max + 8 {
        batch_bytes_max
    } else {
        message_bytes_max + 8
    };
    16 + body + 16
}
