//! The order of datagrams and streams in packets. See "datagrams first", "what is in a packet" and
//! "dropped in silence" in [`quirks`](super).
//!
//! quinn-proto writes the datagrams that it holds into a packet before anything of a stream. It is
//! given a packet's worth at a time, and only if what was last written on the control stream is in
//! packets and the streams have had a packet since the last datagrams: so a flood of datagrams delays
//! an acknowledgement by one packet at most, even one that was lost and is repeated.

use bytes::Bytes;
use quinn_proto::{Connection, ConnectionStats};

use crate::transport::lane::{Fates, SEND_BUFFER_BYTES};

/// The bytes that quinn-proto counts for a datagram in its buffer beside the payload.
pub(super) const BUFFER_COST: usize = size_of::<Bytes>();

/// Decides when a connection's datagrams may be given to quinn-proto, and counts what became of them.
pub(in crate::transport) struct Order {
    /// Whether something was written on the control stream that is in no packet, as far as frame counters
    /// show.
    control_waits: bool,
    turn: Turn,
    /// Datagrams given to quinn-proto.
    given: u64,
    /// Of those, the ones that are known to be in packets, or known to be dropped.
    settled: u64,
    /// Fates that [`take_fates`](Self::take_fates) has not returned.
    uncounted: Fates,
    /// DATAGRAM frames sent, and STREAM frames sent, at the last look.
    datagram_frames: u64,
    stream_frames: u64,
}

/// Owner of the next packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Datagrams,
    /// Datagrams have had one.
    Streams,
}

impl Order {
    pub(in crate::transport) const fn new() -> Self {
        Self {
            control_waits: false,
            turn: Turn::Datagrams,
            given: 0,
            settled: 0,
            uncounted: Fates {
                sent: 0,
                dropped: 0,
            },
            datagram_frames: 0,
            stream_frames: 0,
        }
    }

    /// Notes that something was written on the control stream.
    pub(in crate::transport) const fn control_written(&mut self) {
        self.control_waits = true;
    }

    /// Notes that a datagram was given to quinn-proto.
    pub(in crate::transport) const fn gave(&mut self) {
        self.given += 1;
    }

    /// Returns how many bytes of datagrams may be given to quinn-proto; 0 while it is not their turn.
    pub(in crate::transport) fn room(&self, connection: &mut Connection) -> usize {
        let is_theirs = match self.turn {
            Turn::Datagrams => !self.control_waits,
            Turn::Streams => false,
        };
        if !is_theirs || !is_clear(connection) {
            return 0;
        }
        connection.datagrams().max_size().unwrap_or(0)
    }

    /// Whether the frames of the next packets change anything here.
    pub(in crate::transport) const fn watches(&self) -> bool {
        self.control_waits || self.given > self.settled || matches!(self.turn, Turn::Streams)
    }

    /// Derives from frame counters what the packets hold that quinn-proto has just written.
    pub(in crate::transport) fn wrote(&mut self, connection: &mut Connection) {
        let ConnectionStats { frame_tx, .. } = connection.stats();
        let sent = frame_tx.datagram - self.datagram_frames;
        self.datagram_frames = frame_tx.datagram;
        self.settled += sent;
        self.uncounted.sent += sent;
        if frame_tx.stream != self.stream_frames {
            // Control is first in the streams' part of a packet.
            self.stream_frames = frame_tx.stream;
            self.control_waits = false;
            self.turn = Turn::Datagrams;
        } else if sent > 0 {
            self.turn = Turn::Streams;
        }
        self.find_dropped(connection);
    }

    /// Notes that quinn-proto has no packet to write: streams have no data, or everything is blocked.
    pub(in crate::transport) fn wrote_nothing(&mut self, connection: &mut Connection) {
        self.turn = Turn::Datagrams;
        self.find_dropped(connection);
    }

    /// Counts datagrams as dropped that left the buffer of quinn-proto without a frame: they have become
    /// too long for the path.
    fn find_dropped(&mut self, connection: &mut Connection) {
        if self.given > self.settled && is_clear(connection) {
            self.drop_given();
        }
    }

    /// Counts datagrams as dropped that are in no packet, at the end of the connection.
    pub(in crate::transport) const fn drop_given(&mut self) {
        self.uncounted.dropped += self.given - self.settled;
        self.settled = self.given;
    }

    /// Returns what has become of datagrams since the last call.
    pub(in crate::transport) fn take_fates(&mut self) -> Fates {
        std::mem::take(&mut self.uncounted)
    }
}

/// Whether quinn-proto holds no datagram to send.
pub(super) fn is_clear(connection: &mut Connection) -> bool {
    connection.datagrams().send_buffer_space() == SEND_BUFFER_BYTES - BUFFER_COST
}
