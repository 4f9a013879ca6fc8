//! Connections as they can be seen on the wire, and the data streams in them.

use std::{collections::BTreeMap, net::SocketAddr};

use quicpool_core::Config;

use super::{
    quic::{self, Frame, Kind, Packet},
    records::{RecordStart, Records},
};
use crate::swarm::marks::{Log, always, never, sometimes};

/// The streams of line 0 of both ends: the second that each opens one way (RFC 9000, section 2.1).
const DATA_STREAMS: [u64; 2] = [6, 7];
/// The least length of a datagram that begins a connection (RFC 9000, section 14.1).
const BEGINNING_LEN: usize = 1_200;
/// The length of the header of such a stream.
const STREAM_HEADER_LEN: u64 = 2;
/// The close code of a connection in whose place another stays.
const REPLACED: u64 = 3;

/// All connections that were ever begun.
#[derive(Debug, Default)]
pub(super) struct Wire {
    connections: Vec<Connection>,
    /// Which connection goes by an id.
    ids: BTreeMap<Vec<u8>, usize>,
}

#[derive(Debug)]
struct Connection {
    dialler: usize,
    acceptor: usize,
    is_closed: bool,
    /// Of the dialler, and of the acceptor.
    streams: [Stream; 2],
    /// Where each end has found the other first.
    found_at: [Option<SocketAddr>; 2],
}

/// A data stream, as far as it was ever sent.
#[derive(Debug, Default)]
pub(super) struct Stream {
    offset: u64,
    pub(super) header: Vec<u8>,
    /// Bytes of the record that are yet to come.
    pub(super) rest: usize,
    /// The beginning of its body.
    pub(super) body: Vec<u8>,
}

/// A datagram that leaves a node.
pub(super) struct Leaving<'a> {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) destination: SocketAddr,
    pub(super) payload: &'a [u8],
    /// The longest body that the receiver accepts, in bytes.
    pub(super) accepts: usize,
}

impl Wire {
    /// Reads a datagram, and gives the records that begin in it.
    pub(super) fn leave(
        &mut self,
        log: &mut Log,
        config: &Config,
        records: &mut Records,
        leaving: &Leaving<'_>,
    ) -> Vec<RecordStart> {
        let mut starts = Vec::new();
        let mut datagram = leaving.payload;
        while let Some(packet) = quic::take_packet(&mut datagram) {
            let Some(place) = self.place_of(&packet, leaving) else {
                // A stateless reset looks like a packet of some connection.
                continue;
            };
            self.notice(log, place, leaving);
            for frame in packet.frames {
                self.read(log, place, leaving, &frame);
                let Frame::Stream { id, offset, data } = frame else {
                    continue;
                };
                if DATA_STREAMS.contains(&id) {
                    let connection = &mut self.connections[place];
                    let stream = &mut connection.streams[connection.end_of(leaving.from)];
                    let data = stream.news(log, offset, data);
                    records.read(log, config, leaving, stream, data, &mut starts);
                }
            }
        }
        starts
    }

    /// How many connections a node has begun.
    pub(super) fn dials(&self, node: usize) -> u64 {
        let dials = self.connections.iter().filter(|c| c.dialler == node);
        dials.count() as u64
    }

    fn place_of(&mut self, packet: &Packet<'_>, leaving: &Leaving<'_>) -> Option<usize> {
        let known = self.ids.get(packet.destination).copied();
        let place = match (known, packet.kind) {
            (Some(place), _) => place,
            (None, Kind::Initial) if leaving.payload.len() >= BEGINNING_LEN => {
                self.begin(packet, leaving)
            }
            // A refusal of a first packet whose ids were damaged belongs to no connection, either.
            (None, Kind::Initial | Kind::Handshake | Kind::OneRtt | Kind::Retry) => return None,
        };
        if let Some(source) = packet.source
            && !source.is_empty()
            && !self.ids.contains_key(source)
        {
            self.ids.insert(source.to_vec(), place);
        }
        Some(place)
    }

    fn begin(&mut self, packet: &Packet<'_>, leaving: &Leaving<'_>) -> usize {
        // An answer to an address that has moved looks like a beginning: its id is known then.
        let source = packet.source.unwrap_or_default();
        let place = self.ids.get(source).copied().unwrap_or_else(|| {
            self.connections.push(Connection {
                dialler: leaving.from,
                acceptor: leaving.to,
                is_closed: false,
                streams: [Stream::default(), Stream::default()],
                found_at: [None, None],
            });
            self.connections.len() - 1
        });
        self.ids.insert(packet.destination.to_vec(), place);
        place
    }

    /// An end may have moved.
    fn notice(&mut self, log: &mut Log, place: usize, leaving: &Leaving<'_>) {
        let connection = &mut self.connections[place];
        let end = connection.end_of(leaving.from);
        let first = connection.found_at[end].get_or_insert(leaving.destination);
        sometimes!(
            log,
            *first != leaving.destination,
            "a connection survived that its peer moved"
        );
    }

    fn read(&mut self, log: &mut Log, place: usize, leaving: &Leaving<'_>, frame: &Frame<'_>) {
        match *frame {
            Frame::NewConnectionId(id) => {
                self.ids.insert(id.to_vec(), place);
            }
            Frame::PathResponse => sometimes!(log, true, "a path was validated"),
            Frame::Ping => sometimes!(log, true, "a quiet connection was kept alive"),
            Frame::Close(code) => self.close(log, place, code),
            Frame::Stream { .. } | Frame::Other => {}
            Frame::Unknown => never!(
                log,
                true,
                RecordsAddUp,
                "it sends what is no frame: {:?}",
                leaving.payload
            ),
        }
    }

    fn close(&mut self, log: &mut Log, place: usize, code: u64) {
        let closed = &self.connections[place];
        if closed.is_closed {
            return;
        }
        let ends = (closed.dialler, closed.acceptor);
        let is_rival = |c: &Connection| !c.is_closed && (c.acceptor, c.dialler) == ends;
        let has_rival = self.connections.iter().any(is_rival);
        let is_replaced = code == REPLACED;
        sometimes!(log, is_replaced, "a connection was replaced by another");
        sometimes!(
            log,
            is_replaced && has_rival,
            "both ends dialled at once and one connection stayed"
        );
        self.connections[place].is_closed = true;
    }
}

impl Connection {
    /// The place of an end among both.
    fn end_of(&self, node: usize) -> usize {
        usize::from(node != self.dialler)
    }
}

impl Stream {
    /// What of this data was never sent before. New data is sent in order.
    fn news<'a>(&mut self, log: &mut Log, offset: u64, data: &'a [u8]) -> &'a [u8] {
        let known = self.offset.saturating_sub(offset) as usize;
        let Some(news) = data.get(known..) else {
            sometimes!(log, true, "stream data was sent again on its connection");
            return &[];
        };
        sometimes!(
            log,
            known > 0,
            "stream data was sent again on its connection"
        );
        always!(
            log,
            offset <= self.offset,
            RecordsAddUp,
            "a data stream leaps from {} to {offset}",
            self.offset
        );
        let first = offset.max(self.offset);
        self.offset = first + news.len() as u64;
        let header = STREAM_HEADER_LEN.saturating_sub(first) as usize;
        &news[header.min(news.len())..]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::swarm::Property::RecordsAddUp;
    use crate::swarm::audit::quic::tests::one_rtt;

    #[test]
    fn data_that_is_sent_again_is_read_once_and_a_leap_is_noticed() {
        let (mut log, mut stream) = (Log::new(), Stream::default());
        assert_eq!(stream.news(&mut log, 0, b"\x01"), b"", "the header");
        assert_eq!(stream.news(&mut log, 1, b"\0abc"), b"abc");
        assert_eq!(stream.news(&mut log, 3, b"bcd"), b"d");
        assert_eq!(stream.news(&mut log, 2, b"ab"), b"");
        assert_eq!(log.broken(), []);
        stream.news(&mut log, 7, b"f");
        assert_eq!(log.broken(), [RecordsAddUp]);
    }

    #[test]
    fn a_connection_is_known_by_all_its_ids() {
        let (mut log, mut wire) = (Log::new(), Wire::default());
        let mut records = Records::new(2);
        let mut leave = |from: usize, payload: &[u8]| {
            let leaving = Leaving {
                from,
                to: 1 - from,
                destination: ([10, 0, 0, 1], 1).into(),
                payload,
                accepts: usize::MAX,
            };
            wire.leave(&mut log, &Config::default(), &mut records, &leaving);
            (wire.connections.len(), wire.ids.len())
        };
        let initial = |destination: [u8; 8], source: [u8; 8]| {
            let body = [&[9, 0x01][..], &[0; 16]].concat();
            let ids = [&[8][..], &destination, &[8], &source].concat();
            let mut initial = [&[0xc0, 0, 0, 0, 1], &ids[..], &[0, 18], &body].concat();
            initial.resize(BEGINNING_LEN, 0);
            initial
        };
        assert_eq!(leave(0, &initial([1; 8], [2; 8])), (1, 2));
        assert_eq!(leave(1, &initial([2; 8], [3; 8])), (1, 3));
        let new_id = [&[0x18, 1, 0, 8][..], &[4; 8], &[0; 16]].concat();
        assert_eq!(leave(0, &one_rtt([3; 8], &new_id)), (1, 4));
        assert_eq!(leave(1, &one_rtt([4; 8], &[0x01])), (1, 4));
        assert_eq!(leave(1, &one_rtt([9; 8], &[0x01])), (1, 4), "a reset");
        let refusal = &initial([5; 8], [6; 8])[..47];
        assert_eq!(leave(1, refusal), (1, 4), "of a damaged beginning");
        assert_eq!(wire.dials(0), 1);
        assert_eq!(wire.dials(1), 0);
    }
}
