//! One QUIC connection: two streams each way, control and data.

use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionHandle, Dir, ReadError, ReadableError, Side, StreamId, Transmit, VarInt,
    WriteError, crypto::ExportKeyingMaterialError,
};
use std::{time::Duration, time::Instant};

use super::{
    Ending,
    lane::Lane,
    quirks::{PastDeadlines, window},
};
use crate::{
    Incarnation, MeshKey, PeerId, Sealing,
    peer::{PeerKey, chooser::Dialler, outbox::Outgoing},
    wire::{
        aead::{self, TAG_LEN},
        code::CloseCode,
        frame::{Frame, FrameReader, Hello, LineId, Sealed},
        record::{HEADER_LEN, Header, RecordReader, validate},
        seal::{self, Direction, RecordKey},
    },
};

/// The index of the control stream among the streams that an end opens.
const CONTROL: u64 = 0;

/// The index of the data stream.
const DATA: u64 = 1;

/// Control goes before data in every packet.
const CONTROL_PRIORITY: i32 = 1;

/// Bytes of data that are handed to QUIC before they are in packets. Enough for the largest burst
/// of datagrams, and little enough that what gathers behind it goes out in large batches.
const BACKLOG_MAX: usize = 256 * 1024;

/// Bytes of a packet beside data: its header, that of a STREAM frame, and the tag.
const PACKET_BYTES: usize = 40;

/// QUIC keeps data that was not read in the packets in which they came: what those take beside the data
/// is this part of them.
const PIECES_SHARE: usize = 16;

/// An entry in QUIC's list of such pieces, in bytes.
const PIECE_BYTES: usize = 56;

/// How far a connection has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// TLS is not done.
    Handshaking,
    /// Our hello is written, the other's has not come.
    Greeted,
    /// The other's hello has come, and another process with its identity may be alive.
    Waiting(Box<Hello>),
    /// The other's hello has come.
    Confirmed(Box<Hello>),
    /// Closed at this end or the other.
    Closed,
}

/// A connection, and what the machine knows about it.
pub(crate) struct Link {
    pub(super) connection: Connection,
    pub(super) handle: ConnectionHandle,
    pub(crate) dialler: Dialler,
    /// Whose it is: the peer that we dialled, or the one that has proved its identity.
    pub(crate) owner: Option<PeerKey>,
    /// The number of our dial; 0 if the other end dialled.
    pub(crate) dial: u64,
    pub(crate) stage: Stage,
    /// Which process we said that we are.
    pub(crate) said: Option<Incarnation>,
    /// How it ended, until its peer has been told. It is not polled meanwhile: the endpoint would
    /// forget it.
    pub(crate) ending: Option<Ending>,
    /// When a datagram last arrived that names the connection, which anybody can have sent.
    pub(super) arrival: Instant,
    pub(super) past_deadlines: PastDeadlines,
    probe: Probe,
    control: Outgo,
    data: Outgo,
    frames: FrameReader,
    records: RecordReader,
    seals: Seals,
    sealed: Option<Sealed>,
    /// Bytes of data that were handed to QUIC and are not yet in packets, or fewer.
    backlog: usize,
    /// STREAM frames sent when the backlog was last counted.
    stream_frames: u64,
    in_flight: InFlight,
    /// Bytes of data that have arrived and were not read, or more: packets are longer than the data
    /// in them.
    unread: usize,
    /// The most that this ever was: the list of pieces in QUIC only grows.
    most_unread: usize,
    /// Its part in what [`Transport`](super::Transport) says that all links hold.
    pub(super) counted: Held,
    pub(super) lane: Lane,
    message_bytes_max: usize,
}

/// Whether the connection is to be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    None,
    /// With the next packet, for which there is always room.
    Due,
}

/// What a connection holds, in bytes of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// In buffers of ours.
    pub(super) buffers: usize,
    /// In QUIC, roughly, beyond what an idle connection holds.
    pub(super) quic: usize,
}

/// A stream that we write.
struct Outgo {
    id: Option<StreamId>,
    /// What the stream has not accepted.
    rest: Bytes,
}

/// The keys of both directions.
enum Seals {
    Off,
    /// The handshake is not complete.
    Pending,
    On {
        ours: RecordKey,
        theirs: RecordKey,
    },
}

/// Records written on a connection, and how far the peer has received them.
#[derive(Debug, Default)]
struct InFlight {
    /// The number after each record's last message, and the record's bytes.
    records: std::collections::VecDeque<(u64, usize)>,
    bytes: usize,
}

/// What a link is made for.
pub(super) struct Parameters {
    pub(super) sealing: Sealing,
    pub(super) body_bytes_max: usize,
    pub(super) message_bytes_max: usize,
}

impl Link {
    pub(super) fn new(
        now: Instant,
        connection: Connection,
        handle: ConnectionHandle,
        dialler: Dialler,
        dial: u64,
        parameters: &Parameters,
    ) -> Self {
        let (seals, tag_len) = match parameters.sealing {
            Sealing::On => (Seals::Pending, TAG_LEN),
            Sealing::Off => (Seals::Off, 0),
        };
        Self {
            connection,
            handle,
            dialler,
            owner: None,
            dial,
            stage: Stage::Handshaking,
            said: None,
            ending: None,
            arrival: now,
            past_deadlines: PastDeadlines::default(),
            probe: Probe::None,
            control: Outgo::closed(),
            data: Outgo::closed(),
            frames: FrameReader::default(),
            records: RecordReader::new(parameters.body_bytes_max, tag_len),
            seals,
            sealed: None,
            backlog: 0,
            stream_frames: 0,
            in_flight: InFlight::default(),
            unread: 0,
            most_unread: 0,
            counted: Held::default(),
            lane: Lane::new(parameters.sealing),
            message_bytes_max: parameters.message_bytes_max,
        }
    }

    /// Opens our streams and derives the keys, once TLS is done.
    pub(crate) fn establish(&mut self, mesh_key: Option<&MeshKey>) -> Result<Sealed, CloseCode> {
        for outgo in [&mut self.control, &mut self.data] {
            let id = self.connection.streams().open(Dir::Uni);
            // An end that does not let us open both streams speaks another protocol.
            outgo.id = Some(id.ok_or(CloseCode::VersionMismatch)?);
        }
        if let Some(id) = self.control.id {
            let mut stream = self.connection.send_stream(id);
            stream
                .set_priority(CONTROL_PRIORITY)
                .map_err(|_| CloseCode::UnexpectedStream)?;
        }
        let sealed = self
            .derive_keys(mesh_key)
            .map_err(|ExportKeyingMaterialError| CloseCode::SealingMismatch)?;
        self.lane
            .establish(&mut self.connection, self.dialler, mesh_key)
            .map_err(|ExportKeyingMaterialError| CloseCode::SealingMismatch)?;
        self.sealed = Some(sealed);
        Ok(sealed)
    }

    fn derive_keys(
        &mut self,
        mesh_key: Option<&MeshKey>,
    ) -> Result<Sealed, ExportKeyingMaterialError> {
        let mut sealed = Sealed {
            mode: 0,
            check: [0; 8],
        };
        if matches!(self.seals, Seals::Off) {
            return Ok(sealed);
        }
        let session = self.connection.crypto_session();
        let (ours, theirs) = match self.dialler {
            Dialler::Us => (Direction::FromDialler, Direction::FromAcceptor),
            Dialler::Them => (Direction::FromAcceptor, Direction::FromDialler),
        };
        let key = |direction| {
            let context = seal::context(direction, mesh_key);
            RecordKey::derive(|bytes| {
                session.export_keying_material(bytes, seal::KEY_LABEL, &context[..])
            })
        };
        let context = seal::context(Direction::FromDialler, mesh_key);
        // The context has the mesh key in it.
        aead::scrubbed(|| {
            session.export_keying_material(&mut sealed.check, seal::CHECK_LABEL, &context[..])
        })?;
        sealed.mode = 1;
        self.seals = Seals::On {
            ours: key(ours)?,
            theirs: key(theirs)?,
        };
        Ok(sealed)
    }

    /// What our hello said of sealing.
    pub(crate) const fn sealed(&self) -> Option<Sealed> {
        self.sealed
    }

    /// Writes a frame on the control stream.
    pub(crate) fn write_frame(&mut self, frame: &Frame) {
        let mut bytes = self.control.rest.to_vec();
        frame.encode(&mut bytes);
        self.control.rest = bytes.into();
        self.control.flush(&mut self.connection);
        self.lane.order.control_written();
    }

    /// The next frame of the other end's control stream.
    pub(crate) fn read_frame(&mut self) -> Result<Option<Frame>, CloseCode> {
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(Some(frame));
            }
            // A frame at a time: a flood of them is held back by the stream's window.
            let frames = &mut self.frames;
            let read = read_some(&mut self.connection, CONTROL, FRAME_READ_MAX, |chunk| {
                frames.push(chunk);
                Ok(())
            })?;
            if read < FRAME_READ_MAX {
                // There was no more: a second look would find nothing.
                return self.frames.next();
            }
        }
    }

    /// The next whole record of the other end's data stream, opened and validated.
    pub(crate) fn read_record(
        &mut self,
        line: LineId,
    ) -> Result<Option<(Header, Bytes)>, CloseCode> {
        loop {
            if let Some((header, body)) = self.records.take() {
                return self.open(line, header, body).map(Some);
            }
            let wanted = self.records.wanted();
            let records = &mut self.records;
            let read = read_some(&mut self.connection, DATA, wanted, |chunk| {
                let used = records.push(chunk)?;
                debug_assert_eq!(used, chunk.len(), "no more was read than was wanted");
                Ok(())
            })?;
            if read < wanted {
                self.unread = 0;
                return Ok(None);
            }
            self.unread = self.unread.saturating_sub(read);
        }
    }

    /// A datagram of the connection has arrived.
    pub(super) const fn arrived(&mut self, datagram_len: usize) {
        self.unread += datagram_len.saturating_sub(PACKET_BYTES);
        if self.unread > self.most_unread {
            self.most_unread = self.unread;
        }
    }

    /// What it holds at this moment; the other end is given a window of this length.
    pub(super) fn held(&self, stream_window: usize) -> Held {
        let sealed = match self.seals {
            Seals::Off | Seals::Pending => 0,
            Seals::On { .. } => self.backlog,
        };
        let unread = self.unread.min(stream_window);
        let most = self.most_unread.min(stream_window);
        let pieces = (most / usize::from(self.connection.current_mtu())).next_power_of_two();
        Held {
            buffers: self.records.memory() + self.frames.memory() + self.in_flight.memory(),
            quic: sealed + unread + unread / PIECES_SHARE + pieces * PIECE_BYTES,
        }
    }

    fn open(
        &mut self,
        line: LineId,
        header: Header,
        mut body: Vec<u8>,
    ) -> Result<(Header, Bytes), CloseCode> {
        match &mut self.seals {
            Seals::Off => {}
            Seals::Pending => return Err(CloseCode::SealBroken),
            Seals::On { theirs, .. } => {
                let len = header.len as usize;
                let tag =
                    <[u8; TAG_LEN]>::try_from(&body[len..]).map_err(|_| CloseCode::SealBroken)?;
                body.truncate(len);
                theirs.open(line, &header, &mut body, tag)?;
            }
        }
        validate(&body, header.count, self.message_bytes_max)?;
        Ok((header, body.into()))
    }

    /// Whether another record may be written.
    pub(crate) fn wants_data(&self, in_flight_max: usize) -> bool {
        self.data.rest.is_empty()
            && self.backlog < BACKLOG_MAX
            && self.in_flight.bytes < in_flight_max
            && !self.is_exhausted()
    }

    /// Whether everything that was written is in packets.
    pub(crate) fn is_dry(&self) -> bool {
        self.backlog == 0 && self.data.rest.is_empty()
    }

    /// Whether a sealing key has been used as often as it may be.
    pub(crate) fn is_exhausted(&self) -> bool {
        let records = match &self.seals {
            Seals::Off | Seals::Pending => false,
            Seals::On { ours, theirs } => ours.is_exhausted() || theirs.is_exhausted(),
        };
        records || self.lane.is_exhausted()
    }

    /// Writes a record on the data stream, sealed if we seal.
    pub(crate) fn write_record(&mut self, line: LineId, outgoing: &Outgoing) {
        debug_assert!(self.data.rest.is_empty(), "the caller asks wants_data");
        let record = match &mut self.seals {
            Seals::Off => outgoing.record.clone(),
            Seals::Pending => return,
            Seals::On { ours, .. } => {
                let mut sealed = Vec::with_capacity(outgoing.record.len() + TAG_LEN);
                sealed.extend_from_slice(&outgoing.record);
                let Some(tag) = ours.seal(line, &outgoing.header, &mut sealed[HEADER_LEN..]) else {
                    return;
                };
                sealed.extend_from_slice(&tag);
                sealed.into()
            }
        };
        self.in_flight.wrote(outgoing.header.next(), record.len());
        self.backlog += record.len();
        self.data.rest = record;
        self.data.flush(&mut self.connection);
    }

    /// The peer has received everything before this number.
    pub(crate) fn received(&mut self, number: u64) {
        self.in_flight.received(number);
    }

    /// Offers what streams did not accept again.
    pub(super) fn flush(&mut self) {
        self.control.flush(&mut self.connection);
        self.data.flush(&mut self.connection);
    }

    /// The next packets, appended to `buf`, which is empty.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        datagrams_max: usize,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let transmit = match std::mem::replace(&mut self.probe, Probe::None) {
            Probe::None => self.connection.poll_transmit(now, datagrams_max, buf),
            Probe::Due => self.poll_probe(now, buf),
        };
        let Some(transmit) = transmit else {
            self.lane.order.wrote_nothing(&mut self.connection);
            return None;
        };
        if self.lane.order.watches() {
            self.lane.order.wrote(&mut self.connection);
        }
        if self.backlog > 0 {
            let frames = self.connection.stats().frame_tx.stream;
            // Packets are longer than the data in them, so this counts too few rather than too
            // many: data never waits behind a backlog that is gone.
            if frames != self.stream_frames {
                self.stream_frames = frames;
                self.backlog = self.backlog.saturating_sub(transmit.size);
            }
        }
        Some(transmit)
    }

    /// Has the other end acknowledge a PING, however much is in flight.
    pub(super) fn probe(&mut self) {
        self.connection.ping();
        self.probe = Probe::Due;
    }

    fn poll_probe(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        if self.connection.is_closed() {
            // Its window was lifted for its last words, and stays so.
            return self.connection.poll_transmit(now, 1, buf);
        }
        window::lift(&self.connection);
        let transmit = self.connection.poll_transmit(now, 1, buf);
        window::lower(&self.connection);
        transmit
    }

    /// When the latest packet left that the other end has acknowledged, if there is one on the
    /// present path.
    pub(crate) fn answered(&self) -> Option<Instant> {
        window::answered(&self.connection)
    }

    /// The smoothed round-trip time.
    pub(crate) fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// The peer's identity, once TLS is done.
    pub(super) fn peer_id(&self, credentials: &dyn crate::Credentials) -> Option<PeerId> {
        credentials.peer_id(self.connection.crypto_session())
    }

    pub(super) fn close(&mut self, now: Instant, code: CloseCode, reason: Bytes) {
        self.forget_queues();
        let code = VarInt::from_u64(code as u64).expect("invariant: codes are small");
        self.connection.close(now, code, reason);
    }

    /// Keys and queues go as soon as they are of no more use; the connection drains without them.
    /// All that it has to say is that it is closed.
    pub(super) fn forget_queues(&mut self) {
        self.control = Outgo::closed();
        self.data = Outgo::closed();
        self.seals = match self.seals {
            Seals::Off => Seals::Off,
            Seals::Pending | Seals::On { .. } => Seals::Pending,
        };
        self.lane.close();
        self.in_flight = InFlight::default();
        self.backlog = 0;
        window::lift(&self.connection);
    }
}

/// Records for which a connection that has none in flight keeps their place.
const IN_FLIGHT_KEPT: usize = 16;

/// What is read of the control stream at a time.
const FRAME_READ_MAX: usize = 1_024;

/// Reads up to `max` bytes of the other end's stream; 0 if nothing waits.
fn read_some(
    connection: &mut Connection,
    index: u64,
    max: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), CloseCode>,
) -> Result<usize, CloseCode> {
    let id = StreamId::new(other(connection.side()), Dir::Uni, index);
    let mut stream = connection.recv_stream(id);
    let mut chunks = match stream.read(true) {
        Ok(chunks) => chunks,
        // Not opened yet: the other end has not written anything on it.
        Err(ReadableError::ClosedStream) => return Ok(0),
        Err(ReadableError::IllegalOrderedRead) => {
            unreachable!("streams are read in order, always")
        }
    };
    let mut read = 0;
    let mut outcome = Ok(());
    while read < max && outcome.is_ok() {
        match chunks.next(max - read) {
            Ok(Some(chunk)) => {
                read += chunk.bytes.len();
                outcome = take(&chunk.bytes);
            }
            // Neither stream ever ends before its connection does.
            Ok(None) | Err(ReadError::Reset(_)) => outcome = Err(CloseCode::UnexpectedStream),
            Err(ReadError::Blocked) => break,
        }
    }
    // The frames that it asks for go with the next packet: the caller polls for one anyway.
    let _ = chunks.finalize();
    outcome.map(|()| read)
}

const fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}

impl Outgo {
    const fn closed() -> Self {
        Self {
            id: None,
            rest: Bytes::new(),
        }
    }

    fn flush(&mut self, connection: &mut Connection) {
        let Some(id) = self.id.filter(|_| !self.rest.is_empty()) else {
            return;
        };
        let mut stream = connection.send_stream(id);
        while !self.rest.is_empty() {
            match stream.write_chunks(std::slice::from_mut(&mut self.rest)) {
                Ok(_) => {}
                Err(WriteError::Blocked) => break,
                // The other end stops nothing that it lets us open; if it did, it closes next.
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                    self.rest = Bytes::new();
                }
            }
        }
    }
}

impl InFlight {
    fn memory(&self) -> usize {
        self.records.capacity() * size_of::<(u64, usize)>()
    }

    fn wrote(&mut self, next: u64, bytes: usize) {
        self.records.push_back((next, bytes));
        self.bytes += bytes;
    }

    fn received(&mut self, number: u64) {
        while let Some((next, bytes)) = self.records.front().copied()
            && next <= number
        {
            self.records.pop_front();
            self.bytes -= bytes;
        }
        if self.records.is_empty() && self.records.capacity() > IN_FLIGHT_KEPT {
            self.records = std::collections::VecDeque::new();
        }
    }
}
