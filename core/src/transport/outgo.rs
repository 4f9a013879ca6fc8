//! Streams that this end writes, and the records in flight on them.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use quinn_proto::{Connection, StreamId, WriteError};

/// Records for which a connection that has none in flight keeps their place.
const IN_FLIGHT_KEPT: usize = 16;

/// A stream that this end writes.
pub(super) struct Outgo {
    pub(super) id: Option<StreamId>,
    /// What QUIC or the limit has not accepted.
    pub(super) rest: Bytes,
    /// Bytes that QUIC has accepted.
    written: u64,
    /// Bytes that the other end accepts.
    pub(super) limit: u64,
}

impl Outgo {
    /// A stream that is not open.
    pub(super) const fn closed() -> Self {
        Self {
            id: None,
            rest: Bytes::new(),
            written: 0,
            limit: 0,
        }
    }

    /// Whether the limit lets more be written than has been.
    pub(super) const fn has_credit(&self) -> bool {
        self.written < self.limit
    }

    /// Whether nothing was written, nor waits.
    pub(super) const fn is_new(&self) -> bool {
        self.written == 0 && self.rest.is_empty()
    }

    /// Offers QUIC what is left, within the limit.
    pub(super) fn flush(&mut self, connection: &mut Connection) {
        let Some(id) = self.id else {
            return;
        };
        while !self.rest.is_empty() && self.has_credit() {
            let allowed = usize::try_from(self.limit - self.written).unwrap_or(usize::MAX);
            let mut stream = connection.send_stream(id);
            let written = match allowed >= self.rest.len() {
                true => stream.write_chunks(std::slice::from_mut(&mut self.rest)),
                false => {
                    let mut part = self.rest.slice(..allowed);
                    let written = stream.write_chunks(std::slice::from_mut(&mut part));
                    if let Ok(written) = &written {
                        self.rest.advance(written.bytes);
                    }
                    written
                }
            };
            match written {
                Ok(written) => self.written += written.bytes as u64,
                Err(WriteError::Blocked) => break,
                // The other end stops nothing that it lets us open; if it did, it closes next.
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                    self.rest = Bytes::new();
                }
            }
        }
    }
}

/// Records written on a connection, and how far the peer has received them.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// The number after each record's last message, and the record's bytes.
    records: VecDeque<(u64, usize)>,
    pub(super) bytes: usize,
}

impl InFlight {
    pub(super) fn memory(&self) -> usize {
        self.records.capacity() * size_of::<(u64, usize)>()
    }

    pub(super) fn wrote(&mut self, next: u64, bytes: usize) {
        self.records.push_back((next, bytes));
        self.bytes += bytes;
    }

    pub(super) fn received(&mut self, number: u64) {
        while let Some((next, bytes)) = self.records.front().copied()
            && next <= number
        {
            self.records.pop_front();
            self.bytes -= bytes;
        }
        if self.records.is_empty() && self.records.capacity() > IN_FLIGHT_KEPT {
            self.records = VecDeque::new();
        }
    }
}
