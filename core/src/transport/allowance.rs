//! Decides how much the other end may send on all streams together: little until its greeting is accepted, and from
//! then on what credit admits, with room for control frames beside it.
//!
//! QUIC holds what leaves a gap, or what nothing reads, up to the limit that MAX_DATA has stated. quinn-proto extends
//! that limit by all that is read, so that it would follow the most that was ever granted. Here it follows what
//! is granted: [`Allowance`] raises the window for a moment and lowers it again. The limit stays raised, and
//! quinn-proto leaves as many bytes unanswered when they are read.

use quinn_proto::{Connection, VarInt};

/// What the other end may send before its greeting is accepted, and beside its lines later, in bytes. A flight of ten
/// packets fits: more does not leave within the first round trip (RFC 9002 section 7.2).
pub(super) const CONTROL_WINDOW: u32 = 16 * 1024;

/// The limit that MAX_DATA states, as this end computes it.
///
/// `limit = read + CONTROL_WINDOW + debt` always. A stream that is reset before it was read pays of quinn-proto's debt
/// and not of this one: the limit is then lower than computed, and never less than `CONTROL_WINDOW` beyond
/// what was read.
#[derive(Debug)]
pub(super) struct Allowance {
    limit: u64,
    /// Bytes that quinn-proto will not add to the limit when they are read.
    debt: u64,
    /// Bytes of streams that are not those of lines, as far as they were read.
    control: u64,
    /// The least and the most that is left for them, in bytes.
    least: u64,
    most: u64,
}

impl Allowance {
    /// The windows of a connection, which leave at least this many bytes for control frames once it is confirmed.
    pub(super) const fn new(control_reserve: usize) -> Self {
        let least = control_reserve as u64;
        Self {
            limit: CONTROL_WINDOW as u64,
            debt: 0,
            control: 0,
            least,
            most: least + CONTROL_WINDOW as u64,
        }
    }

    /// Bytes were read on a stream, of which these are none of a line.
    pub(super) const fn read(&mut self, bytes: usize, of_control: usize) {
        let bytes = bytes as u64;
        self.control += of_control as u64;
        self.limit += bytes.saturating_sub(self.debt);
        self.debt = self.debt.saturating_sub(bytes);
    }

    /// Raises the limit to what lines may use by the credit that was stated, and room for control frames.
    pub(super) fn raise(&mut self, credit: u64, connection: &mut Connection) {
        let used = credit + self.control;
        if self.limit >= used + self.least {
            return;
        }
        let more = used + self.most - self.limit;
        let raised = u64::from(CONTROL_WINDOW) + more;
        // Both calls together leave the window as it is, and the limit raised.
        connection.set_receive_window(VarInt::from_u64(raised).unwrap_or(VarInt::MAX));
        connection.set_receive_window(VarInt::from_u32(CONTROL_WINDOW));
        self.limit += more;
        self.debt += more;
    }

    /// Bytes that the other end may send beyond what was read.
    pub(super) const fn outstanding(&self) -> usize {
        (CONTROL_WINDOW as u64 + self.debt) as usize
    }
}
