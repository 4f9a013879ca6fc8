//! Records of a line's stream: one batch of entries each.
//!
//! A record is a header, a body, and a tag of 16 bytes if it is sealed. The body of a plain record is a row
//! of messages, each a varint length and its bytes; for that of a headed one see [`entries`](super::entries).

use bytes::{Buf, Bytes};

use super::{aead::TAG_LEN, code::CloseCode, entries, varint};

/// The length of a plain record's header, in bytes.
pub(crate) const HEADER_LEN: usize = 16;

/// The length of the longest header, that of a headed record, in bytes.
pub(super) const HEADER_LEN_MAX: usize = HEADER_LEN + 4;

/// The entries of a record at most: their count has three bytes.
pub(crate) const COUNT_MAX: u32 = (1 << 24) - 1;

const PLAIN: u8 = 0;
const HEADED: u8 = 1;

/// What a reader reserves before the bytes of a record have arrived, at most. One default batch:
/// a peer that announces a larger record has to send it before it is given the memory.
const RESERVE_MAX: usize = 64 * 1024;

/// What `bytes` keeps beside a buffer that has room beyond its end, or that is shared.
pub(crate) const SHARED_BYTES: usize = 24;

/// Bytes of memory behind a body of this length that a [`RecordReader`] has put together.
pub(crate) const fn memory(body_len: usize) -> usize {
    body_len + TAG_LEN + SHARED_BYTES
}

/// Bytes of the longest message whose record has a body of at most this many bytes.
pub(crate) fn message_max(body_bytes: usize) -> usize {
    let fits = |prefix: usize| {
        // A varint has two bits less than its bytes (RFC 9000 section 16).
        let longest = (1 << (8 * prefix - 2)) - 1;
        Some(body_bytes.checked_sub(prefix)?.min(longest))
    };
    [1, 2, 4, 8].into_iter().filter_map(fits).max().unwrap_or(0)
}

/// The longest body, in bytes: a full batch, or one largest message.
pub(crate) const fn body_max(batch_bytes_max: usize, message_bytes_max: usize) -> usize {
    let message = varint::len(message_bytes_max as u64) + message_bytes_max;
    if batch_bytes_max > message {
        batch_bytes_max
    } else {
        message
    }
}

/// The longest record, in bytes, header and tag included.
pub(crate) const fn bytes_max(batch_bytes_max: usize, message_bytes_max: usize) -> usize {
    HEADER_LEN + body_max(batch_bytes_max, message_bytes_max) + TAG_LEN
}

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Messages and nothing else.
    Plain,
    /// Entries, each with a head.
    Headed {
        /// The age of the batch when it was written, in milliseconds.
        age_ms: u32,
    },
}

/// What precedes a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Bytes of the body, without the tag.
    pub(crate) len: u32,
    /// Entries in the body.
    pub(crate) count: u32,
    /// The number of the first entry.
    pub(crate) first: u64,
}

impl Header {
    /// The header of a plain record.
    pub(crate) const fn plain(len: u32, count: u32, first: u64) -> Self {
        Self {
            kind: Kind::Plain,
            len,
            count,
            first,
        }
    }

    /// Returns the header's bytes, of which [`length`](Self::length) count.
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN_MAX] {
        let mut out = [0; HEADER_LEN_MAX];
        out[..4].copy_from_slice(&self.len.to_be_bytes());
        out[4..8].copy_from_slice(&self.count.to_be_bytes());
        out[4] = match self.kind {
            Kind::Plain => PLAIN,
            Kind::Headed { .. } => HEADED,
        };
        out[8..16].copy_from_slice(&self.first.to_be_bytes());
        if let Kind::Headed { age_ms } = self.kind {
            out[16..].copy_from_slice(&age_ms.to_be_bytes());
        }
        out
    }

    /// The length of the header, in bytes.
    pub(crate) const fn length(&self) -> usize {
        match self.kind {
            Kind::Plain => HEADER_LEN,
            Kind::Headed { .. } => HEADER_LEN_MAX,
        }
    }

    /// The number after that of the last entry.
    pub(crate) const fn next(&self) -> u64 {
        self.first + self.count as u64
    }

    fn decode(bytes: [u8; HEADER_LEN_MAX], body_max: usize) -> Result<Self, CloseCode> {
        let [a, b, c, d, kind, f, g, h, rest @ ..] = bytes;
        let [i, j, k, l, m, n, o, p, age @ ..] = rest;
        let header = Self {
            kind: match kind {
                PLAIN => Kind::Plain,
                HEADED => Kind::Headed {
                    age_ms: u32::from_be_bytes(age),
                },
                _ => return Err(CloseCode::MalformedRecord),
            },
            len: u32::from_be_bytes([a, b, c, d]),
            count: u32::from_be_bytes([0, f, g, h]),
            first: u64::from_be_bytes([i, j, k, l, m, n, o, p]),
        };
        if header.len as usize > body_max {
            return Err(CloseCode::RecordTooLong);
        }
        // Each entry takes at least the byte of its length.
        let plausible = header.count >= 1 && header.count <= header.len;
        if !plausible || header.first > varint::MAX - u64::from(header.count) {
            return Err(CloseCode::MalformedRecord);
        }
        Ok(header)
    }
}

/// Puts records together from what a stream delivers.
#[derive(Debug)]
pub(crate) struct RecordReader {
    body_max: usize,
    tag_len: usize,
    /// What is reserved for a record before its bytes have arrived, at most.
    reserve_max: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Header {
        bytes: [u8; HEADER_LEN_MAX],
        filled: usize,
        /// The length of this header.
        length: usize,
    },
    Body {
        header: Header,
        bytes: Vec<u8>,
    },
}

impl State {
    const START: Self = Self::Header {
        bytes: [0; HEADER_LEN_MAX],
        filled: 0,
        length: HEADER_LEN,
    };
}

impl RecordReader {
    /// A reader at the start of a stream; `tag_len` is 0 if records are not sealed.
    pub(crate) const fn new(body_max: usize, tag_len: usize) -> Self {
        Self {
            body_max,
            tag_len,
            reserve_max: RESERVE_MAX,
            state: State::START,
        }
    }

    /// How many bytes the header or the record still lacks; 0 if a record can be taken.
    pub(crate) fn wanted(&self) -> usize {
        match &self.state {
            State::Header { filled, length, .. } => length - filled,
            State::Body { header, bytes } => header.len as usize + self.tag_len - bytes.len(),
        }
    }

    /// The other end may send so many bytes: no more is reserved for a record of which less has arrived.
    pub(crate) fn expect_at_most(&mut self, bytes: usize) {
        self.reserve_max = bytes.min(RESERVE_MAX);
    }

    /// Bytes of the record that has begun, as far as they have come.
    pub(crate) const fn begun(&self) -> usize {
        match &self.state {
            State::Header { filled, .. } => *filled,
            State::Body { bytes, .. } => bytes.len(),
        }
    }

    /// Drops the record that has begun.
    pub(crate) fn forget(&mut self) {
        self.state = State::START;
    }

    /// Bytes of memory for the record that is being put together.
    pub(crate) const fn memory(&self) -> usize {
        match &self.state {
            State::Header { .. } => 0,
            State::Body { bytes, .. } => bytes.capacity(),
        }
    }

    /// Appends bytes of the stream, and returns how many of them belonged to this record.
    pub(crate) fn push(&mut self, mut chunk: &[u8]) -> Result<usize, CloseCode> {
        let offered = chunk.len();
        while let State::Header {
            bytes,
            filled,
            length,
        } = &mut self.state
        {
            let part = chunk.len().min(*length - *filled);
            bytes[*filled..*filled + part].copy_from_slice(&chunk[..part]);
            *filled += part;
            chunk.advance(part);
            if *filled < *length {
                return Ok(offered);
            }
            if bytes[4] == HEADED && *length == HEADER_LEN {
                *length = HEADER_LEN_MAX;
                continue;
            }
            let header = Header::decode(*bytes, self.body_max)?;
            self.state = State::Body {
                header,
                bytes: Vec::with_capacity(whole(&header).min(self.reserve_max)),
            };
        }
        let part = chunk.len().min(self.wanted());
        if let State::Body { header, bytes } = &mut self.state {
            let missing = (bytes.len() + part).saturating_sub(bytes.capacity());
            if missing > 0 {
                // Twice as much as has arrived, and never more than the whole: it is kept for long.
                let double = whole(header).min(2 * bytes.capacity());
                bytes.reserve_exact(double.max(bytes.len() + part) - bytes.len());
            }
            bytes.extend_from_slice(&chunk[..part]);
        }
        Ok(offered - chunk.len() + part)
    }

    /// A whole record, if there is one: its header, and its body with the tag.
    pub(crate) fn take(&mut self) -> Option<(Header, Vec<u8>)> {
        if self.wanted() > 0 {
            return None;
        }
        match std::mem::replace(&mut self.state, State::START) {
            State::Body { header, bytes } => Some((header, bytes)),
            State::Header { .. } => None,
        }
    }
}

/// What a record is given to its end: room for the tag even if there is none, so that all records
/// are alike.
const fn whole(header: &Header) -> usize {
    header.len as usize + TAG_LEN
}

/// Checks that `body` holds exactly what its header announces, and no message above the limit.
pub(crate) fn validate(
    body: &[u8],
    header: &Header,
    message_bytes_max: usize,
) -> Result<(), CloseCode> {
    match header.kind {
        Kind::Plain => validate_plain(body, header.count, message_bytes_max),
        Kind::Headed { .. } => entries::validate(body, header.count, message_bytes_max),
    }
}

fn validate_plain(body: &[u8], count: u32, message_bytes_max: usize) -> Result<(), CloseCode> {
    let mut rest = body;
    for _ in 0..count {
        let (length, at) = varint::get(rest).ok_or(CloseCode::MalformedRecord)?;
        if length > message_bytes_max as u64 {
            return Err(CloseCode::RecordTooLong);
        }
        rest = rest
            .get(at + length as usize..)
            .ok_or(CloseCode::MalformedRecord)?;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(CloseCode::MalformedRecord)
    }
}

/// The messages of a plain body that [`validate`] has accepted, sharing its memory.
#[derive(Debug, Clone)]
pub(crate) struct Messages(Bytes);

impl Messages {
    pub(crate) const fn new(body: Bytes) -> Self {
        Self(body)
    }

    /// Bytes of the messages that are left, framing included.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Iterator for Messages {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let (length, at) = varint::get(&self.0)?;
        let end = at.checked_add(usize::try_from(length).ok()?)?;
        if end > self.0.len() {
            return None;
        }
        let mut message = self.0.split_to(end);
        message.advance(at);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_message_fills_the_body_of_its_record() {
        for body in (1..200).chain(16_380..16_400) {
            let longest = message_max(body);
            assert!(varint::len(longest as u64) + longest <= body, "{body}");
            let longer = longest + 1;
            assert!(varint::len(longer as u64) + longer > body, "{body}");
        }
    }

    const BODY_MAX: usize = 4_096;

    fn record(first: u64, messages: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Vec::new();
        for message in messages {
            varint::put(&mut body, message.len() as u64);
            body.extend_from_slice(message);
        }
        let header = Header::plain(body.len() as u32, messages.len() as u32, first);
        [&header.encode()[..HEADER_LEN], &body].concat()
    }

    fn header(len: u32, count: u32, first: u64) -> Result<usize, CloseCode> {
        let header = Header::plain(len, count, first);
        RecordReader::new(BODY_MAX, 0).push(&header.encode()[..HEADER_LEN])
    }

    #[test]
    fn a_record_beyond_the_limit_is_refused_at_its_header() {
        assert_eq!(header(BODY_MAX as u32, 1, 0), Ok(HEADER_LEN));
        assert_eq!(
            header(BODY_MAX as u32 + 1, 1, 0),
            Err(CloseCode::RecordTooLong)
        );
        assert_eq!(header(u32::MAX, 1, 0), Err(CloseCode::RecordTooLong));
    }

    #[test]
    fn a_count_bomb_is_refused_at_its_header() {
        assert_eq!(header(10, 10, 0), Ok(HEADER_LEN));
        assert_eq!(header(10, 11, 0), Err(CloseCode::MalformedRecord));
        assert_eq!(header(10, COUNT_MAX, 0), Err(CloseCode::MalformedRecord));
        assert_eq!(header(10, 0, 0), Err(CloseCode::MalformedRecord));
        assert_eq!(header(10, 1, u64::MAX), Err(CloseCode::MalformedRecord));
        assert_eq!(header(10, 2, varint::MAX - 2), Ok(HEADER_LEN));
        let beyond = header(10, 2, varint::MAX - 1);
        assert_eq!(beyond, Err(CloseCode::MalformedRecord));
    }

    #[test]
    fn an_announced_record_gets_memory_as_it_arrives() {
        let mut reader = RecordReader::new(1 << 30, 0);
        let announced = Header::plain(1 << 30, 1, 0);
        reader
            .push(&announced.encode()[..HEADER_LEN])
            .expect("within the limit");
        let State::Body { bytes, .. } = &reader.state else {
            panic!("the header is complete");
        };
        assert!(bytes.capacity() <= RESERVE_MAX);
    }

    #[test]
    fn an_unknown_kind_is_refused_at_its_header() {
        for kind in 2..=u8::MAX {
            let mut bytes = Header::plain(10, 1, 0).encode();
            bytes[4] = kind;
            let read = RecordReader::new(BODY_MAX, 0).push(&bytes[..HEADER_LEN]);
            assert_eq!(read, Err(CloseCode::MalformedRecord), "{kind}");
        }
    }

    #[test]
    fn a_headed_record_has_a_longer_header() {
        let header = Header {
            kind: Kind::Headed { age_ms: 77 },
            ..Header::plain(3, 1, 5)
        };
        let bytes = [&header.encode()[..], &[1, 3, 0]].concat();
        for step in 1..bytes.len() {
            let mut reader = RecordReader::new(BODY_MAX, 0);
            for piece in bytes.chunks(step) {
                let mut rest = piece;
                while !rest.is_empty() {
                    let used = reader.push(rest).expect("well formed");
                    rest = &rest[used..];
                }
            }
            assert_eq!(reader.take(), Some((header, vec![1, 3, 0])));
        }
    }

    #[test]
    fn a_body_is_exactly_its_messages() {
        let validate = |body: &[u8], count, max| {
            let header = Header::plain(body.len() as u32, count, 0);
            validate(body, &header, max)
        };
        assert_eq!(validate(&[1, 7, 0], 2, 9), Ok(()));
        assert_eq!(validate(&[1, 7, 0], 1, 9), Err(CloseCode::MalformedRecord));
        assert_eq!(validate(&[1, 7, 0], 3, 9), Err(CloseCode::MalformedRecord));
        assert_eq!(validate(&[2, 7], 1, 9), Err(CloseCode::MalformedRecord));
        assert_eq!(validate(&[2, 7, 7], 1, 1), Err(CloseCode::RecordTooLong));
        assert_eq!(validate(&[0xff; 8], 1, 9), Err(CloseCode::RecordTooLong));
    }

    proptest! {
        #[test]
        fn records_survive_any_cut(
            batches in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..20), 1..8),
            step in 1usize..200,
        ) {
            let stream: Vec<u8> = batches.iter().flat_map(|batch| record(3, batch)).collect();
            let mut reader = RecordReader::new(BODY_MAX, 0);
            let mut read = Vec::new();
            for mut piece in stream.chunks(step) {
                while !piece.is_empty() {
                    let used = reader.push(piece).expect("well formed");
                    piece = &piece[used..];
                    if let Some((header, body)) = reader.take() {
                        prop_assert_eq!(validate(&body, &header, 60), Ok(()));
                        prop_assert_eq!(header.next(), 3 + u64::from(header.count));
                        read.push(Messages::new(body.into()).map(|m| m.to_vec()).collect::<Vec<_>>());
                    }
                }
            }
            prop_assert_eq!(read, batches);
            prop_assert_eq!(reader.wanted(), HEADER_LEN);
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..600), count in any::<u32>()) {
            let mut reader = RecordReader::new(BODY_MAX, 16);
            let mut rest = &noise[..];
            while !rest.is_empty() {
                let Ok(used) = reader.push(rest) else { break };
                rest = &rest[used..];
                let _ = reader.take();
            }
            let _ = validate(&noise, &Header::plain(0, count, 0), 100);
            let _ = Messages::new(noise.into()).count();
        }
    }
}
