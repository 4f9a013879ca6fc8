//! One QUIC connection: a control stream and a stream of line 0 each way.

use bytes::Bytes;
use quinn_proto::{
    Connection, ConnectionHandle, Dir, Transmit, VarInt, crypto::ExportKeyingMaterialError,
};
use std::time::{Duration, Instant};

use super::{
    Ending,
    account::{Held, LINK_BYTES},
    allowance::Allowance,
    income::Income,
    intake::Intake,
    lane::Lane,
    outgo::{InFlight, Outgo},
    prices::Prices,
    quirks::{PastDeadlines, window},
    settings,
    stage::{Checks, Parameters, Stage},
    unread::Unread,
};
use crate::{
    Incarnation, MeshKey, PeerId, Sealing,
    peer::{
        PeerKey,
        chooser::Dialler,
        credit::{Grants, Limits, Room},
        outbox::Outgoing,
    },
    wire::{
        aead::{self, TAG_LEN},
        code::CloseCode,
        frame::{self, Frame},
        grease::Grease,
        greeting::Greeting,
        hello::{CHECK_LEN, HalfId, Hello},
        lines::{LINE, Lines},
        record::{Header, RecordReader, validate},
        seal::{self, Direction, RecordKey},
        stream,
    },
};

/// The ordinal of line 0's stream among the streams that this end opens. The first one is control.
const DATA: u32 = 1;

/// Control goes before data in every packet.
const CONTROL_PRIORITY: i32 = 1;

/// Bytes of data that are handed to QUIC before they are in packets. Enough for the largest burst
/// of datagrams, and little enough that what gathers behind it goes out in large batches.
const BACKLOG_MAX: usize = 256 * 1024;

/// How long a closed connection stays at most. RFC 9000 section 10.2 asks for three probe timeouts, to which the
/// other end may add 16 s each: this is as long for a round trip of up to a third of a second.
const CLOSING_MAX: Duration = Duration::from_secs(3);

/// A connection, and what the machine knows about it.
pub(crate) struct Link {
    pub(super) connection: Connection,
    pub(super) handle: ConnectionHandle,
    pub(crate) dialler: Dialler,
    /// The peer that we dialled, or the one that has proved its identity.
    pub(crate) owner: Option<PeerKey>,
    /// The number of our dial; 0 if the other end dialled.
    pub(crate) dial: u64,
    pub(crate) stage: Stage,
    /// The incarnation that we named in our hello.
    pub(crate) said: Option<Incarnation>,
    /// How it ended, until that is handled. It is not polled meanwhile: the endpoint would forget it.
    pub(crate) ending: Option<Ending>,
    /// When a datagram last arrived that names the connection, which anybody can have sent.
    pub(super) arrival: Instant,
    pub(super) past_deadlines: PastDeadlines,
    probe: Probe,
    control: Outgo,
    data: Outgo,
    income: Income,
    pub(super) intake: Intake,
    pub(super) prices: Prices,
    /// The limits of the other end.
    limits: Limits,
    seals: Seals,
    checks: Checks,
    /// The content of a stream of a reserved type, until it is written.
    grease: Option<Vec<u8>>,
    /// Bytes of data that were handed to QUIC and are not yet in packets, or fewer.
    backlog: usize,
    /// STREAM frames sent when the backlog was last counted.
    stream_frames: u64,
    in_flight: InFlight,
    unread: Unread,
    /// When it was closed, by either end.
    closed_at: Option<Instant>,
    /// Whether it has sent all that it ever will.
    pub(super) is_silent: bool,
    /// Its part in what [`Transport`](super::Transport) counts as held by all links.
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

/// The keys of both directions.
enum Seals {
    Off,
    /// The handshake is not complete.
    Pending,
    On {
        ours: Sealed,
        theirs: Sealed,
    },
}

/// The key of a direction, and the stream of line 0 once its half is known.
struct Sealed {
    key: RecordKey,
    stream: Option<seal::Stream>,
}

impl Sealed {
    /// The key, and the stream of line 0 in a half.
    fn at(&mut self, half: HalfId, ordinal: u32) -> (&mut RecordKey, &mut seal::Stream) {
        let new = || seal::Stream::new(half, LINE, ordinal);
        (&mut self.key, self.stream.get_or_insert_with(new))
    }
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
            income: Income::new(
                RecordReader::new(parameters.body_bytes_max, tag_len),
                Grants::new(parameters.ahead),
                Allowance::new(parameters.control_reserve),
            ),
            intake: Intake::new(now),
            prices: Prices::new(now),
            limits: Limits::default(),
            seals,
            checks: Checks::default(),
            grease: None,
            backlog: 0,
            stream_frames: 0,
            in_flight: InFlight::default(),
            unread: Unread::default(),
            closed_at: None,
            is_silent: false,
            counted: Held::default(),
            lane: Lane::new(parameters.sealing),
            message_bytes_max: parameters.message_bytes_max,
        }
    }

    /// Opens our streams and derives the keys, once TLS is done.
    pub(crate) fn establish(&mut self, mesh_key: Option<&MeshKey>) -> Result<Checks, CloseCode> {
        for outgo in [&mut self.control, &mut self.data] {
            let id = self.connection.streams().open(Dir::Uni);
            // An end that does not let us open both streams speaks another protocol.
            outgo.id = Some(id.ok_or(CloseCode::VersionMismatch)?);
        }
        self.control.limit = u64::MAX;
        if let Some(id) = self.control.id {
            let mut stream = self.connection.send_stream(id);
            stream
                .set_priority(CONTROL_PRIORITY)
                .map_err(|_| CloseCode::UnexpectedStream)?;
        }
        self.derive_keys(mesh_key)
            .map_err(|ExportKeyingMaterialError| CloseCode::SealingMismatch)?;
        self.lane
            .establish(&mut self.connection, self.dialler, mesh_key)
            .map_err(|ExportKeyingMaterialError| CloseCode::SealingMismatch)?;
        Ok(self.checks)
    }

    fn derive_keys(&mut self, mesh_key: Option<&MeshKey>) -> Result<(), ExportKeyingMaterialError> {
        if matches!(self.seals, Seals::Off) {
            return Ok(());
        }
        let session = self.connection.crypto_session();
        let ours = match self.dialler {
            Dialler::Us => Direction::FromDialler,
            Dialler::Them => Direction::FromAcceptor,
        };
        let key = |direction| {
            let context = seal::context(direction, mesh_key);
            let key = RecordKey::derive(|bytes| {
                session.export_keying_material(bytes, seal::KEY_LABEL, &context[..])
            })?;
            Ok(Sealed { key, stream: None })
        };
        let check = |direction| {
            let context = seal::context(direction, mesh_key);
            let mut check = [0; CHECK_LEN];
            // The context has the mesh key in it.
            aead::scrubbed(|| {
                session.export_keying_material(&mut check, seal::CHECK_LABEL, &context[..])
            })?;
            Ok(Some(check))
        };
        self.checks = Checks {
            ours: check(ours)?,
            theirs: check(ours.other())?,
        };
        self.seals = Seals::On {
            ours: key(ours)?,
            theirs: key(ours.other())?,
        };
        Ok(())
    }

    /// The check values of this connection.
    pub(crate) const fn checks(&self) -> Checks {
        self.checks
    }

    /// Writes our greeting.
    pub(crate) fn write_greeting(&mut self, hello: Hello, lines: Lines, grease: &Grease) {
        let mut bytes = Vec::with_capacity(256);
        frame::put_greeting(hello, lines, grease, &mut bytes);
        self.grease = grease.stream();
        self.write_control(bytes);
    }

    /// Writes a frame on the control stream.
    pub(crate) fn write_frame(&mut self, frame: &Frame) {
        let mut bytes = self.control.rest.to_vec();
        frame.encode(&mut bytes);
        self.write_control(bytes);
    }

    fn write_control(&mut self, bytes: Vec<u8>) {
        self.control.rest = bytes.into();
        self.control.flush(&mut self.connection);
        self.lane.order.control_written();
    }

    /// The next frame of the other end's control stream.
    pub(crate) fn read_frame(&mut self) -> Result<Option<Frame>, CloseCode> {
        self.income
            .read_frame(&mut self.connection, &mut self.intake)
    }

    /// Confirms the connection: the other end may open more streams, and use its credit.
    pub(crate) fn confirm(&mut self, greeting: Greeting) {
        self.stage = Stage::Confirmed(Box::new(greeting));
        self.widen();
        self.write_grease();
        let streams = VarInt::from_u32(settings::STREAMS_MAX);
        self.connection
            .set_max_concurrent_streams(Dir::Uni, streams);
    }

    /// Writes the stream of a reserved type, if there is to be one and the other end lets us open it.
    pub(super) fn write_grease(&mut self) {
        if !matches!(self.stage, Stage::Confirmed(_)) {
            return;
        }
        let Some(bytes) = &self.grease else {
            return;
        };
        if let Some(id) = self.connection.streams().open(Dir::Uni) {
            let mut stream = self.connection.send_stream(id);
            // It is of no importance whether it gets through.
            let _ = stream.write(bytes);
            let _ = stream.finish();
            self.grease = None;
        }
    }

    /// Returns how many frames and streams of unknown types were skipped since the last call.
    pub(crate) const fn take_skipped(&mut self) -> (u64, u64) {
        self.income.take_skipped()
    }

    /// QUIC has reported new streams of the other end.
    pub(super) const fn streams_opened(&mut self) {
        self.income.has_opened = true;
    }

    /// The next whole record of the other end's line 0, opened and validated.
    pub(crate) fn read_record(
        &mut self,
        half: HalfId,
    ) -> Result<Option<(Header, Bytes)>, CloseCode> {
        let record = self.income.read_record(&mut self.connection)?;
        let Some((header, body)) = record else {
            return Ok(None);
        };
        self.spend_on_record(&header);
        self.open(half, header, body).map(Some)
    }

    // Limits

    /// Raises the limits of the other end. Returns whether it needs to know at once.
    pub(crate) fn grant(&mut self, room: Option<Room>) -> bool {
        let wanted = self.income.wanted();
        self.income.grants.raise(room, wanted);
        // Control frames that were read make room for others.
        self.widen();
        self.income.grants.are_due(wanted)
    }

    /// Bytes of the record that has begun.
    pub(crate) fn begun(&self) -> usize {
        self.income.begun()
    }

    /// How many bytes the record that has begun, or the header of the next one, lacks.
    pub(crate) fn wanted(&self) -> usize {
        self.income.wanted()
    }

    /// Bytes that the other end may write and that were not read, and those of the record that has begun: its
    /// inbox does not have them yet.
    pub(crate) fn outstanding_credit(&self) -> usize {
        self.income.grants.outstanding() + self.income.begun()
    }

    /// Returns the limits of the other end, for a frame that is about to be written.
    pub(crate) fn tell_limits(&mut self) -> Limits {
        let limits = self.income.grants.tell();
        self.widen();
        limits
    }

    /// Raises the window of QUIC to what was granted, once the other end has proved itself.
    fn widen(&mut self) {
        if matches!(self.stage, Stage::Confirmed(_)) {
            self.income.widen(&mut self.connection);
        }
    }

    /// Takes limits that the other end has set. Returns whether one was raised.
    pub(crate) fn take_limits(&mut self, limits: Limits) -> bool {
        let before = self.limits;
        self.limits.raise(limits);
        self.data.limit = self.limits.bytes();
        self.data.flush(&mut self.connection);
        self.limits != before
    }

    /// A datagram of the connection has arrived.
    pub(super) const fn arrived(&mut self, datagram_len: usize) {
        self.unread.arrived(datagram_len);
    }

    /// Everything that has arrived was read, as far as it may be: the rest is held by QUIC.
    pub(super) fn settle(&mut self) {
        let mut read = self.income.take_read();
        // A turn that was spent leaves input behind, wherever the line has come to.
        read.has_line_moved &= !self.intake.is_spent();
        self.unread.settle(read, &self.connection);
    }

    /// What it holds at this moment.
    pub(super) fn held(&self) -> Held {
        let sealed = match self.seals {
            Seals::Off | Seals::Pending => 0,
            Seals::On { .. } => self.backlog,
        };
        let mtu = self.connection.current_mtu().into();
        let quic = sealed + self.unread.memory(self.income.outstanding(), mtu);
        Held {
            buffers: self.income.memory() + self.in_flight.memory() + self.intake.memory(),
            quic,
            closing: match self.closed_at {
                Some(_) => LINK_BYTES + quic,
                None => 0,
            },
        }
    }

    fn open(
        &mut self,
        half: HalfId,
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
                let ordinal = self.income.ordinal().ok_or(CloseCode::SealBroken)?;
                let (key, stream) = theirs.at(half, ordinal);
                key.open(stream, &header, &mut body, tag)?;
            }
        }
        validate(&body, &header, self.message_bytes_max)?;
        Ok((header, body.into()))
    }

    /// Whether another record may be written.
    pub(crate) fn wants_data(&self, in_flight_max: usize) -> bool {
        self.data.rest.is_empty()
            && self.backlog < BACKLOG_MAX
            && self.in_flight.bytes < in_flight_max
            && self.data.has_credit()
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
            Seals::On { ours, theirs } => ours.key.is_exhausted() || theirs.key.is_exhausted(),
        };
        records || self.lane.is_exhausted()
    }

    /// Leaves a key one use.
    #[cfg(test)]
    pub(crate) const fn wear_out(&mut self, key: super::Key) {
        match (key, &mut self.seals) {
            (super::Key::Ours, Seals::On { ours, .. }) => ours.key.wear_out(),
            (super::Key::Theirs, Seals::On { theirs, .. }) => theirs.key.wear_out(),
            (_, _) => self.lane.wear_out(),
        }
    }

    /// Writes a record on the stream of line 0, sealed if we seal.
    pub(crate) fn write_record(&mut self, half: HalfId, outgoing: &Outgoing) {
        debug_assert!(self.data.rest.is_empty(), "the caller asks wants_data");
        let mut sealed = Vec::new();
        if self.data.is_new() {
            stream::put_entries(&mut sealed, LINE);
        }
        let is_first = !sealed.is_empty();
        let record = match &mut self.seals {
            Seals::Off if !is_first => outgoing.record.clone(),
            Seals::Off => {
                sealed.extend_from_slice(&outgoing.record);
                sealed.into()
            }
            Seals::Pending => return,
            Seals::On { ours, .. } => {
                let body = sealed.len() + outgoing.header.length();
                sealed.reserve_exact(outgoing.record.len() + TAG_LEN);
                sealed.extend_from_slice(&outgoing.record);
                let (key, stream) = ours.at(half, DATA);
                let Some(tag) = key.seal(stream, &outgoing.header, &mut sealed[body..]) else {
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

    /// The peer's identity, once TLS is done.
    pub(super) fn peer_id(&self, credentials: &dyn crate::Credentials) -> Option<PeerId> {
        credentials.peer_id(self.connection.crypto_session())
    }

    pub(super) fn close(&mut self, now: Instant, code: CloseCode, reason: Bytes) {
        self.forget_queues(now);
        let code = VarInt::from_u64(code as u64).expect("invariant: codes are small");
        self.connection.close(now, code, reason);
    }

    /// When it is to be forgotten, if it is closed.
    pub(super) fn forgotten_at(&self) -> Option<Instant> {
        self.closed_at.map(|at| at + CLOSING_MAX)
    }

    /// Drops keys and queues as soon as they are of no more use; the connection drains without them. It sends
    /// nothing more but its close.
    pub(super) fn forget_queues(&mut self, now: Instant) {
        self.closed_at.get_or_insert(now);
        self.income.forget();
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
