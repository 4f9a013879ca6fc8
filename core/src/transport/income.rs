//! Streams of the other end: control, line 0, and those of unknown types, which are dropped.

use quinn_proto::{Connection, Dir, ReadError, ReadableError, Side, StreamId};

use super::{
    allowance::Allowance,
    intake::{FRAME_WORK, Intake},
};
use crate::{
    peer::credit::Grants,
    wire::{
        code::CloseCode,
        frame::{Frame, FrameReader},
        lines::LINE,
        record::{Header, RecordReader},
        stream::{self, HeaderReader},
    },
};

/// What is read of the control stream at a time, in bytes.
const FRAME_READ_MAX: usize = 1_024;

/// What is dropped of a stream of an unknown type at a time, in bytes.
const DROP_MAX: usize = 16 * 1_024;

/// The streams of the other end, and what was read of them.
pub(super) struct Income {
    frames: FrameReader,
    records: RecordReader,
    /// The ordinal of line 0's stream.
    line: Option<u64>,
    /// Streams beside that and control.
    others: Vec<Other>,
    /// Whether QUIC has reported streams that are not in `others` yet.
    pub(super) has_opened: bool,
    dropped: u64,
    pub(super) grants: Grants,
    allowance: Allowance,
    /// Since the last turn.
    read: Read,
}

/// What was read in a turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) bytes: usize,
    /// Whether any of it is of a line.
    pub(super) has_line_moved: bool,
}

impl Read {
    const NOTHING: Self = Self {
        bytes: 0,
        has_line_moved: false,
    };
}

/// A stream whose header is not whole, or whose type is not known.
struct Other {
    id: StreamId,
    /// `None` once it is known to be dropped.
    header: Option<HeaderReader>,
}

/// Whether a stream can bring more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Ended,
}

impl Income {
    pub(super) const fn new(records: RecordReader, grants: Grants, allowance: Allowance) -> Self {
        Self {
            frames: FrameReader::new(),
            records,
            line: None,
            others: Vec::new(),
            has_opened: false,
            dropped: 0,
            grants,
            allowance,
            read: Read::NOTHING,
        }
    }

    /// Bytes of memory for what is being put together.
    pub(super) const fn memory(&self) -> usize {
        self.frames.memory() + self.records.memory() + self.others.capacity() * size_of::<Other>()
    }

    /// Returns how many frames and streams of unknown types were skipped since the last call.
    pub(super) const fn take_skipped(&mut self) -> (u64, u64) {
        let streams = std::mem::replace(&mut self.dropped, 0);
        (self.frames.take_skipped(), streams)
    }

    /// The ordinal of line 0's stream among the streams of the other end.
    pub(super) fn ordinal(&self) -> Option<u32> {
        self.line.and_then(|ordinal| u32::try_from(ordinal).ok())
    }

    /// Returns what was read since the last call.
    pub(super) const fn take_read(&mut self) -> Read {
        std::mem::replace(&mut self.read, Read::NOTHING)
    }

    /// Drops what is being put together: the connection is closed, and nothing more is read.
    pub(super) fn forget(&mut self) {
        self.frames.forget();
        self.records.forget();
        self.others = Vec::new();
    }

    /// Bytes of the record that has begun.
    pub(super) fn begun(&self) -> usize {
        self.records.begun()
    }

    /// Lets the other end send what credit admits that was stated to it, with control frames beside.
    pub(super) fn widen(&mut self, connection: &mut Connection) {
        self.allowance.raise(self.grants.stated(), connection);
    }

    /// Bytes that the other end may send beyond what was read.
    pub(super) const fn outstanding(&self) -> usize {
        self.allowance.outstanding()
    }

    /// How many bytes the record that has begun, or the header of the next one, lacks.
    pub(super) fn wanted(&self) -> usize {
        self.records.wanted()
    }

    /// The next frame of the control stream, if the turn has work left for it.
    pub(super) fn read_frame(
        &mut self,
        connection: &mut Connection,
        intake: &mut Intake,
    ) -> Result<Option<Frame>, CloseCode> {
        let mut has_more = true;
        loop {
            let skipped = self.frames.skipped();
            let frame = self.frames.next()?;
            intake.spend(FRAME_WORK + self.frames.skipped() - skipped);
            // After less than was asked for there was no more: a second look would find nothing.
            if frame.is_some() || !has_more || intake.is_spent() {
                return Ok(frame);
            }
            // A frame at a time: a flood of them is held back by the stream's window.
            let control = StreamId::new(other(connection.side()), Dir::Uni, 0);
            let frames = &mut self.frames;
            let (read, end) = read_some(connection, control, FRAME_READ_MAX, |chunk| {
                frames.push(chunk);
                Ok(())
            })?;
            self.allowance.read(read, read);
            self.read.bytes += read;
            if end == End::Ended {
                return Err(CloseCode::UnexpectedStream);
            }
            has_more = read == FRAME_READ_MAX;
        }
    }

    /// The next whole record of line 0: its header, and its body with the tag. The other end's greeting was
    /// accepted.
    pub(super) fn read_record(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<(Header, Vec<u8>)>, CloseCode> {
        self.sort(connection)?;
        let Some(line) = self.line else {
            return Ok(None);
        };
        let id = StreamId::new(other(connection.side()), Dir::Uni, line);
        self.records.expect_at_most(self.grants.outstanding());
        loop {
            if let Some(record) = self.records.take() {
                return Ok(Some(record));
            }
            let wanted = self.records.wanted();
            let records = &mut self.records;
            let (part, end) = read_some(connection, id, wanted, |chunk| {
                let used = records.push(chunk)?;
                debug_assert_eq!(used, chunk.len(), "no more was read than was wanted");
                Ok(())
            })?;
            self.grants.read(part)?;
            self.allowance.read(part, 0);
            self.read.bytes += part;
            self.read.has_line_moved |= part > 0;
            if end == End::Ended {
                return Err(CloseCode::UnexpectedStream);
            }
            if part < wanted {
                return Ok(None);
            }
        }
    }

    /// Reads headers, and drops what comes on streams of unknown types.
    fn sort(&mut self, connection: &mut Connection) -> Result<(), CloseCode> {
        if std::mem::replace(&mut self.has_opened, false) {
            while let Some(id) = connection.streams().accept(Dir::Uni) {
                // The first one is control.
                if id.index() > 0 {
                    let header = Some(HeaderReader::default());
                    self.others.push(Other { id, header });
                }
            }
        }
        let mut at = 0;
        while let Some(other) = self.others.get_mut(at) {
            let mut read = 0;
            let news = other.read(connection, &mut read)?;
            self.allowance.read(read, read);
            self.read.bytes += read;
            match news {
                News::None => {
                    at += 1;
                    continue;
                }
                News::Over => self.dropped += 1,
                // Its header counts for nothing but credit: the limit is higher by two bytes.
                News::Entries { index, header_len } if index == LINE && self.line.is_none() => {
                    self.line = Some(other.id.index());
                    self.grants.read(header_len)?;
                }
                News::Entries { .. } => return Err(CloseCode::BadLine),
            }
            self.others.swap_remove(at);
        }
        Ok(())
    }
}

/// What was found on a stream that is no line's yet.
enum News {
    None,
    /// It carries the entries of the line with this index, after a header of so many bytes.
    Entries {
        index: u64,
        header_len: usize,
    },
    /// It is of an unknown type, and has ended.
    Over,
}

impl Other {
    /// `total` counts what was read.
    fn read(&mut self, connection: &mut Connection, total: &mut usize) -> Result<News, CloseCode> {
        while let Some(reader) = &mut self.header {
            let mut header = None;
            let (read, end) = read_some(connection, self.id, 1, |byte| {
                header = reader.push(byte).1;
                Ok(())
            })?;
            *total += read;
            match header {
                Some(stream::Header::Entries(index)) => {
                    let header_len = reader.len();
                    return Ok(News::Entries { index, header_len });
                }
                Some(stream::Header::Unknown) => self.header = None,
                None if end == End::Ended => return Ok(News::Over),
                None if read == 0 => return Ok(News::None),
                None => {}
            }
        }
        loop {
            let (read, end) = read_some(connection, self.id, DROP_MAX, |_| Ok(()))?;
            *total += read;
            match end {
                End::Ended => return Ok(News::Over),
                End::Open if read < DROP_MAX => return Ok(News::None),
                End::Open => {}
            }
        }
    }
}

/// Reads up to `max` bytes of a stream. Returns how many there were, and whether more can come.
fn read_some(
    connection: &mut Connection,
    id: StreamId,
    max: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), CloseCode>,
) -> Result<(usize, End), CloseCode> {
    let mut stream = connection.recv_stream(id);
    let mut chunks = match stream.read(true) {
        Ok(chunks) => chunks,
        // Not opened yet: the other end has not written anything on it.
        Err(ReadableError::ClosedStream) => return Ok((0, End::Open)),
        Err(ReadableError::IllegalOrderedRead) => {
            unreachable!("streams are read in order, always")
        }
    };
    let mut read = 0;
    let mut outcome = Ok(End::Open);
    while read < max && outcome == Ok(End::Open) {
        match chunks.next(max - read) {
            Ok(Some(chunk)) => {
                read += chunk.bytes.len();
                outcome = take(&chunk.bytes).map(|()| End::Open);
            }
            Ok(None) | Err(ReadError::Reset(_)) => outcome = Ok(End::Ended),
            Err(ReadError::Blocked) => break,
        }
    }
    // The frames that it asks for go with the next packet: the caller polls for one anyway.
    let _ = chunks.finalize();
    outcome.map(|end| (read, end))
}

const fn other(side: Side) -> Side {
    match side {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    }
}
