//! Frames of the control stream: hello once, then acknowledgements.

use std::time::Duration;

use super::{WIRE_VERSION, code::CloseCode, varint};
use crate::Incarnation;

/// The longest body of a control frame. Hello takes 117 bytes; the rest is room to grow.
const BODY_BYTES_MAX: usize = 1_024;

const HELLO: u64 = 0x01;
const ACK: u64 = 0x02;

/// The name of an outbox: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineId(pub(crate) [u8; 16]);

/// What an end says first, once per connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) incarnation: Incarnation,
    /// The number of the dial if the sender dialled, 0 if it answered.
    pub(crate) dial: u64,
    pub(crate) sealed: Sealed,
    pub(crate) session_timeout: Duration,
    pub(crate) accepts: Accepts,
    /// What the sender will send.
    pub(crate) mine: Line,
    /// What the sender has of the receiver's line, if it knows one.
    pub(crate) yours: Option<Known>,
    /// Whether the sender knows an address of the receiver, and so can dial it.
    pub(crate) can_dial: bool,
}

/// Whether the sender seals, and a value that only an end with the same keys can state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) mode: u8,
    pub(crate) check: [u8; 8],
}

/// What the sender of a hello accepts. The other end sends nothing larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepts {
    /// Bytes of a message.
    pub(crate) message_bytes: u32,
    /// Bytes of a record's body.
    pub(crate) body_bytes: u32,
}

/// A line as its owner describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) id: LineId,
    /// The number of the first message that its owner still holds.
    pub(crate) first: u64,
    /// The number that the next accepted message will have.
    pub(crate) next: u64,
}

/// A line as the other end knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: LineId,
    /// The number of the next message wanted.
    pub(crate) received: u64,
    /// The number of the next message that the application will take.
    pub(crate) taken: u64,
}

/// How far the sender has come with the receiver's line. Numbers never go backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    /// The number of the next message wanted: no earlier one need be sent again.
    pub(crate) received: u64,
    /// The number of the next message that the application will take.
    pub(crate) taken: u64,
    /// Bytes that the sender still holds for the receiver.
    pub(crate) held: u64,
}

/// A control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(Hello),
    Ack(Ack),
}

impl Frame {
    /// Appends the frame: type, length, body.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(128);
        let kind = match self {
            Self::Hello(hello) => {
                hello.encode_body(&mut body);
                HELLO
            }
            Self::Ack(ack) => {
                ack.encode_body(&mut body);
                ACK
            }
        };
        varint::put(out, kind);
        varint::put(out, body.len() as u64);
        out.extend_from_slice(&body);
    }
}

impl Hello {
    fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&WIRE_VERSION.to_be_bytes());
        out.extend_from_slice(&self.incarnation.started_ms.to_be_bytes());
        out.extend_from_slice(&self.incarnation.random.to_be_bytes());
        out.extend_from_slice(&self.dial.to_be_bytes());
        out.push(self.sealed.mode);
        out.extend_from_slice(&self.sealed.check);
        let timeout = u64::try_from(self.session_timeout.as_millis()).unwrap_or(u64::MAX);
        out.extend_from_slice(&timeout.to_be_bytes());
        out.extend_from_slice(&self.accepts.message_bytes.to_be_bytes());
        out.extend_from_slice(&self.accepts.body_bytes.to_be_bytes());
        out.extend_from_slice(&self.mine.id.0);
        out.extend_from_slice(&self.mine.first.to_be_bytes());
        out.extend_from_slice(&self.mine.next.to_be_bytes());
        out.push(u8::from(self.yours.is_some()));
        let yours = self.yours.unwrap_or(Known {
            id: LineId([0; 16]),
            received: 0,
            taken: 0,
        });
        out.extend_from_slice(&yours.id.0);
        out.extend_from_slice(&yours.received.to_be_bytes());
        out.extend_from_slice(&yours.taken.to_be_bytes());
        out.push(u8::from(self.can_dial));
    }

    fn decode_body(body: &[u8]) -> Result<Self, CloseCode> {
        let mut body = Fields(body);
        if u16::from_be_bytes(body.take()?) != WIRE_VERSION {
            return Err(CloseCode::VersionMismatch);
        }
        let incarnation = Incarnation {
            started_ms: body.number()?,
            random: body.number()?,
        };
        let dial = body.number()?;
        let [mode] = body.take()?;
        let sealed = Sealed {
            mode,
            check: body.take()?,
        };
        let session_timeout = Duration::from_millis(body.number()?);
        let accepts = Accepts {
            message_bytes: u32::from_be_bytes(body.take()?),
            body_bytes: u32::from_be_bytes(body.take()?),
        };
        let mine = Line {
            id: LineId(body.take()?),
            first: body.number()?,
            next: body.number()?,
        };
        let [known] = body.take()?;
        let yours = Known {
            id: LineId(body.take()?),
            received: body.number()?,
            taken: body.number()?,
        };
        let [can_dial] = body.take()?;
        if mine.first > mine.next || yours.taken > yours.received || known.max(can_dial) > 1 {
            return Err(CloseCode::MalformedFrame);
        }
        let yours = (known == 1).then_some(yours);
        Ok(Self {
            incarnation,
            dial,
            sealed,
            session_timeout,
            accepts,
            mine,
            yours,
            can_dial: can_dial == 1,
        })
    }
}

impl Ack {
    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        varint::put(out, self.received);
        varint::put(out, self.taken);
        varint::put(out, self.held.min(varint::MAX));
    }

    pub(crate) fn decode_body(body: &[u8]) -> Result<Self, CloseCode> {
        let mut body = Fields(body);
        let ack = Self {
            received: body.varint()?,
            taken: body.varint()?,
            held: body.varint()?,
        };
        if ack.taken > ack.received {
            return Err(CloseCode::BadAcknowledgement);
        }
        Ok(ack)
    }
}

/// Bytes that are read from the front; what is left at the end is room for later versions.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CloseCode> {
        let (field, rest) = self
            .0
            .split_first_chunk()
            .ok_or(CloseCode::MalformedFrame)?;
        self.0 = rest;
        Ok(*field)
    }

    fn number(&mut self) -> Result<u64, CloseCode> {
        self.take().map(u64::from_be_bytes)
    }

    fn varint(&mut self) -> Result<u64, CloseCode> {
        let (value, length) = varint::get(self.0).ok_or(CloseCode::MalformedFrame)?;
        self.0 = &self.0[length..];
        Ok(value)
    }
}

/// Puts frames together from what a stream delivers.
///
/// Holds at most one incomplete frame and what was pushed since the last call of `next`.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
}

impl FrameReader {
    /// Appends bytes of the stream; the caller then calls [`next`](Self::next) until it is empty.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of memory for the frame that is being put together.
    pub(crate) const fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    /// The next whole frame.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, CloseCode> {
        loop {
            let Some((kind, at)) = varint::get(&self.buffer) else {
                return Ok(None);
            };
            if kind != HELLO && kind != ACK && !is_reserved(kind) {
                return Err(CloseCode::UnknownFrame);
            }
            let Some((length, length_len)) = varint::get(&self.buffer[at..]) else {
                return Ok(None);
            };
            if length > BODY_BYTES_MAX as u64 {
                return Err(CloseCode::FrameTooLong);
            }
            let start = at + length_len;
            let end = start + length as usize;
            let Some(body) = self.buffer.get(start..end) else {
                return Ok(None);
            };
            let frame = match kind {
                HELLO => Some(Frame::Hello(Hello::decode_body(body)?)),
                ACK => Some(Frame::Ack(Ack::decode_body(body)?)),
                _ => None,
            };
            self.buffer.drain(..end);
            if frame.is_some() {
                return Ok(frame);
            }
        }
    }
}

/// Types that are skipped, so that peers keep the ability to skip (as RFC 9114 section 7.2.8 does).
const fn is_reserved(kind: u64) -> bool {
    kind >= 0x21 && (kind - 0x21).is_multiple_of(0x1f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello() -> Hello {
        Hello {
            incarnation: Incarnation {
                started_ms: 1,
                random: 2,
            },
            dial: 3,
            sealed: Sealed {
                mode: 1,
                check: [4; 8],
            },
            session_timeout: Duration::from_secs(300),
            accepts: Accepts {
                message_bytes: 11,
                body_bytes: 12,
            },
            mine: Line {
                id: LineId([5; 16]),
                first: 6,
                next: 7,
            },
            yours: Some(Known {
                id: LineId([8; 16]),
                received: 10,
                taken: 9,
            }),
            can_dial: true,
        }
    }

    fn raw(kind: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(&mut out, kind);
        varint::put(&mut out, body.len() as u64);
        out.extend_from_slice(body);
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<Frame>, CloseCode> {
        let mut reader = FrameReader::default();
        reader.push(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = reader.next()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn hello_comes_out_as_it_went_in() {
        let unknown = Hello {
            yours: None,
            can_dial: false,
            ..hello()
        };
        let mut bytes = Vec::new();
        Frame::Hello(hello()).encode(&mut bytes);
        Frame::Hello(unknown).encode(&mut bytes);
        assert_eq!(
            read(&bytes),
            Ok(vec![Frame::Hello(hello()), Frame::Hello(unknown)])
        );
    }

    #[test]
    fn a_later_hello_may_be_longer_and_never_shorter() {
        let mut body = Vec::new();
        hello().encode_body(&mut body);
        assert_eq!(body.len(), 117);
        for short in 2..body.len() {
            assert_eq!(
                read(&raw(HELLO, &body[..short])),
                Err(CloseCode::MalformedFrame)
            );
        }
        body.extend_from_slice(b"more");
        assert_eq!(read(&raw(HELLO, &body)), Ok(vec![Frame::Hello(hello())]));
        body[1] = 2;
        assert_eq!(read(&raw(HELLO, &body)), Err(CloseCode::VersionMismatch));
    }

    #[test]
    fn contradictions_are_refused() {
        let mut backwards = hello();
        backwards.mine.first = 8;
        let mut bytes = Vec::new();
        Frame::Hello(backwards).encode(&mut bytes);
        assert_eq!(read(&bytes), Err(CloseCode::MalformedFrame));

        let mut body = Vec::new();
        hello().encode_body(&mut body);
        for truth in [83, 116] {
            let mut body = body.clone();
            assert_eq!(body[truth], 1);
            body[truth] = 2;
            assert_eq!(read(&raw(HELLO, &body)), Err(CloseCode::MalformedFrame));
        }

        let mut bytes = Vec::new();
        Frame::Ack(Ack {
            received: 1,
            taken: 2,
            held: 0,
        })
        .encode(&mut bytes);
        assert_eq!(read(&bytes), Err(CloseCode::BadAcknowledgement));
    }

    #[test]
    fn unknown_frames_are_refused_and_reserved_ones_skipped() {
        assert_eq!(read(&raw(3, b"")), Err(CloseCode::UnknownFrame));
        let ack = Ack {
            received: 2,
            taken: 1,
            held: 0,
        };
        let mut bytes = raw(0x21 + 0x1f * 5, b"grease");
        Frame::Ack(ack).encode(&mut bytes);
        assert_eq!(read(&bytes), Ok(vec![Frame::Ack(ack)]));
    }

    #[test]
    fn a_length_bomb_is_refused_at_its_header() {
        let mut bytes = Vec::new();
        varint::put(&mut bytes, ACK);
        varint::put(&mut bytes, varint::MAX);
        assert_eq!(read(&bytes), Err(CloseCode::FrameTooLong));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(acks in prop::collection::vec((0..1u64 << 40, 0..1u64 << 40), 1..20), step in 1usize..50) {
            let acks: Vec<_> = acks
                .into_iter()
                .map(|(taken, more)| Frame::Ack(Ack { received: taken + more, taken, held: more }))
                .collect();
            let mut bytes = Vec::new();
            acks.iter().for_each(|ack| ack.encode(&mut bytes));
            let mut reader = FrameReader::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(step) {
                reader.push(piece);
                while let Some(frame) = reader.next().expect("well formed") {
                    read.push(frame);
                }
            }
            prop_assert_eq!(read, acks);
            prop_assert!(reader.buffer.is_empty());
        }

        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..3_000)) {
            let _ = read(&noise);
        }
    }
}
