//! Records of the data stream: one batch of messages each.
//!
//! A record is a header of 16 bytes, a body, and a tag of 16 bytes if it is sealed. The body is a
//! row of messages, each a varint length and its bytes.

use bytes::{Buf, Bytes};

use super::{aead::TAG_LEN, code::CloseCode, varint};

/// The length of a header, in bytes.
pub(crate) const HEADER_LEN: usize = 16;

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

/// What precedes a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of the body, without the tag.
    pub(crate) len: u32,
    /// Messages in the body.
    pub(crate) count: u32,
    /// The number of the first message.
    pub(crate) first: u64,
}

impl Header {
    /// The header's bytes, big-endian.
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..4].copy_from_slice(&self.len.to_be_bytes());
        out[4..8].copy_from_slice(&self.count.to_be_bytes());
        out[8..].copy_from_slice(&self.first.to_be_bytes());
        out
    }

    /// The number after that of the last message.
    pub(crate) const fn next(&self) -> u64 {
        self.first + self.count as u64
    }

    fn decode(bytes: [u8; HEADER_LEN], body_max: usize) -> Result<Self, CloseCode> {
        let [a, b, c, d, e, f, g, h, first @ ..] = bytes;
        let header = Self {
            len: u32::from_be_bytes([a, b, c, d]),
            count: u32::from_be_bytes([e, f, g, h]),
            first: u64::from_be_bytes(first),
        };
        if header.len as usize > body_max {
            return Err(CloseCode::RecordTooLong);
        }
        // Each message takes at least the byte of its length.
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
    state: State,
}

#[derive(Debug)]
enum State {
    Header {
        bytes: [u8; HEADER_LEN],
        filled: usize,
    },
    Body {
        header: Header,
        bytes: Vec<u8>,
    },
}

impl State {
    const START: Self = Self::Header {
        bytes: [0; HEADER_LEN],
        filled: 0,
    };
}

impl RecordReader {
    /// A reader at the start of a stream; `tag_len` is 0 if records are not sealed.
    pub(crate) const fn new(body_max: usize, tag_len: usize) -> Self {
        Self {
            body_max,
            tag_len,
            state: State::START,
        }
    }

    /// How many bytes the header or the record still lacks; 0 if a record can be taken.
    pub(crate) fn wanted(&self) -> usize {
        match &self.state {
            State::Header { filled, .. } => HEADER_LEN - filled,
            State::Body { header, bytes } => header.len as usize + self.tag_len - bytes.len(),
        }
    }

    /// Bytes of memory for the record that is being put together.
    pub(crate) const fn memory(&self) -> usize {
        match &self.state {
            State::Header { .. } => 0,
            State::Body { bytes, .. } => bytes.capacity(),
        }
    }

    /// Appends bytes of the stream, and says how many of them belonged to this record.
    pub(crate) fn push(&mut self, mut chunk: &[u8]) -> Result<usize, CloseCode> {
        let offered = chunk.len();
        if let State::Header { bytes, filled } = &mut self.state {
            let part = chunk.len().min(HEADER_LEN - *filled);
            bytes[*filled..*filled + part].copy_from_slice(&chunk[..part]);
            *filled += part;
            chunk.advance(part);
            if *filled < HEADER_LEN {
                return Ok(offered);
            }
            let header = Header::decode(*bytes, self.body_max)?;
            self.state = State::Body {
                header,
                bytes: Vec::with_capacity(whole(&header).min(RESERVE_MAX)),
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

/// Checks that `body` holds exactly `count` messages, none above the limit.
pub(crate) fn validate(body: &[u8], count: u32, message_bytes_max: usize) -> Result<(), CloseCode> {
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

/// The messages of a body that [`validate`] has accepted, sharing its memory.
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

    /// Whether no message is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        let header = Header {
            len: body.len() as u32,
            count: messages.len() as u32,
            first,
        };
        [&header.encode()[..], &body].concat()
    }

    fn header(len: u32, count: u32, first: u64) -> Result<usize, CloseCode> {
        RecordReader::new(BODY_MAX, 0).push(&Header { len, count, first }.encode())
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
        assert_eq!(header(10, u32::MAX, 0), Err(CloseCode::MalformedRecord));
        assert_eq!(header(10, 0, 0), Err(CloseCode::MalformedRecord));
        assert_eq!(header(10, 1, u64::MAX), Err(CloseCode::MalformedRecord));
    }

    #[test]
    fn an_announced_record_gets_memory_as_it_arrives() {
        let mut reader = RecordReader::new(1 << 30, 0);
        let announced = Header {
            len: 1 << 30,
            count: 1,
            first: 0,
        };
        reader.push(&announced.encode()).expect("within the limit");
        let State::Body { bytes, .. } = &reader.state else {
            panic!("the header is complete");
        };
        assert!(bytes.capacity() <= RESERVE_MAX);
    }

    #[test]
    fn a_body_is_exactly_its_messages() {
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
                        prop_assert_eq!(validate(&body, header.count, 60), Ok(()));
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
            let _ = validate(&noise, count, 100);
            let _ = Messages::new(noise.into()).count();
        }
    }
}
