//! Estimates what QUIC holds that has arrived and was not read: quinn-proto does not state it.

use quinn_proto::Connection;

use super::income::Read;

/// Bytes of a packet beside data: its header, that of a STREAM frame, the tag, and often an ACK frame.
const PACKET_BYTES: usize = 60;

/// What may arrive in a turn without a look at what it was, in bytes: less than one packet of data.
const UNNOTED_BYTES: usize = 512;

/// QUIC keeps data that was not read in the packets in which they came: what those take beside the data
/// is this part of them.
const PIECES_SHARE: usize = 16;

/// What arrives beside STREAM frames during a handshake and is not held, in bytes: a padded packet, and one that looks
/// for the path's MTU.
const PADDING_BYTES: usize = 2 * 1_452;

/// An entry in QUIC's list of such pieces, in bytes.
const PIECE_BYTES: usize = 56;

/// Pieces of one stream that QUIC keeps at most.
const PIECES_MAX: usize = 2_048;

/// What has arrived and was not read, as far as packets show it.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// Bytes of packets beside their headers, since the last turn.
    arrived: usize,
    /// STREAM frames when it was last looked at.
    frames: u64,
    /// Bytes that QUIC holds, and their pieces, roughly.
    bytes: usize,
    pieces: usize,
    /// The most bytes there ever were, before they were read: the list of pieces in QUIC only grows.
    most: usize,
}

impl Unread {
    /// A datagram has arrived.
    pub(super) const fn arrived(&mut self, datagram_len: usize) {
        self.arrived += datagram_len.saturating_sub(PACKET_BYTES);
    }

    /// A turn has ended in which this was read.
    ///
    /// Once a line has moved there is no gap in it but one that came with this turn. Padding, acknowledgements and
    /// repetitions arrive, too, and are not held: what has no STREAM frames is not counted.
    pub(super) fn settle(&mut self, read: Read, connection: &Connection) {
        let arrived = std::mem::take(&mut self.arrived);
        self.most = self.most.max(self.bytes + arrived);
        let Read {
            bytes,
            has_line_moved,
        } = read;
        if has_line_moved {
            self.bytes = arrived.saturating_sub(bytes);
            self.pieces = 0;
        } else if arrived > bytes + UNNOTED_BYTES {
            let frames = connection.stats().frame_rx.stream;
            let new = usize::try_from(frames - self.frames).unwrap_or(usize::MAX);
            self.frames = frames;
            if new > 0 {
                self.bytes += arrived - bytes;
                self.pieces = (self.pieces + new).min(PIECES_MAX);
            }
        } else {
            self.bytes = self.bytes.saturating_sub(bytes.saturating_sub(arrived));
        }
    }

    /// Bytes of memory for it, where the other end may have sent so many bytes and no more.
    pub(super) fn memory(&self, outstanding: usize, mtu: usize) -> usize {
        let bytes = self.bytes.saturating_sub(PADDING_BYTES).min(outstanding);
        let by_length = self.most / mtu;
        let pieces = self.pieces.max(by_length.next_power_of_two());
        bytes + bytes / PIECES_SHARE + pieces * PIECE_BYTES
    }
}
