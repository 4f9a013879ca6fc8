//! Frames of the control stream: hello and LINES once, then acknowledgements.

use super::{
    code::CloseCode,
    grease::{Grease, Place},
    hello::Hello,
    lines::{Ack, Lines},
    varint,
};

/// The longest body of a control frame, in bytes. LINES of as many lines as a peer may ever have fits.
const BODY_BYTES_MAX: usize = 4_096;

const HELLO: u64 = 0x01;
const LINES: u64 = 0x02;
const ACK: u64 = 0x03;

/// A control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(Hello),
    Lines(Lines),
    Ack(Ack),
}

impl Frame {
    /// Appends the frame: type, length, body.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        self.encode_with(None, out);
    }

    fn encode_with(&self, grease: Option<&Grease>, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        let kind = match self {
            Self::Hello(hello) => {
                hello.encode_body(&mut body);
                if let Some(grease) = grease {
                    grease.put_parameter(&mut body);
                }
                HELLO
            }
            Self::Lines(lines) => {
                lines.encode_body(&mut body);
                LINES
            }
            Self::Ack(ack) => return encode_ack(ack, out),
        };
        varint::put(out, kind);
        varint::put(out, body.len() as u64);
        out.extend_from_slice(&body);
    }
}

/// Appends an acknowledgement, of which there are many, with one allocation of the length that it has.
fn encode_ack(ack: &Ack, out: &mut Vec<u8>) {
    let body_len = ack.body_len() as u64;
    out.reserve_exact(varint::len(ACK) + varint::len(body_len) + body_len as usize);
    varint::put(out, ACK);
    varint::put(out, body_len);
    ack.encode_body(out);
}

/// Appends a greeting: hello, LINES, and grease.
pub(crate) fn put_greeting(hello: Hello, lines: Lines, grease: &Grease, out: &mut Vec<u8>) {
    let put_grease = |place, out: &mut Vec<u8>| {
        if grease.place == place {
            grease.put_frame(out);
        }
    };
    put_grease(Place::BeforeHello, out);
    Frame::Hello(hello).encode_with(Some(grease), out);
    put_grease(Place::BeforeLines, out);
    Frame::Lines(lines).encode(out);
    put_grease(Place::AfterLines, out);
}

/// Puts frames together from what a stream delivers.
///
/// Holds at most one incomplete frame and what was pushed since the last call of `next`.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    /// Frames of unknown types since the last call of `take_skipped`.
    skipped: u64,
}

impl FrameReader {
    /// A reader at the start of a stream.
    pub(crate) const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            skipped: 0,
        }
    }

    /// Appends bytes of the stream; the caller then calls [`next`](Self::next) until it is empty.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of memory for the frame that is being put together.
    pub(crate) const fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    /// How many frames of unknown types were skipped since the last call of `take_skipped`.
    pub(crate) const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Drops the frame that has begun.
    pub(crate) fn forget(&mut self) {
        self.buffer = Vec::new();
    }

    /// Returns how many frames of unknown types were skipped since the last call.
    pub(crate) const fn take_skipped(&mut self) -> u64 {
        std::mem::replace(&mut self.skipped, 0)
    }

    /// The next whole frame of a known type.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, CloseCode> {
        loop {
            let Some((kind, at)) = varint::get(&self.buffer) else {
                return Ok(None);
            };
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
                LINES => Some(Frame::Lines(Lines::decode_body(body)?)),
                ACK => Some(Frame::Ack(Ack::decode_body(body)?)),
                _ => None,
            };
            self.buffer.drain(..end);
            if frame.is_some() {
                return Ok(frame);
            }
            self.skipped += 1;
        }
    }

    #[cfg(test)]
    pub(super) const fn memory_in_use(&self) -> usize {
        self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::lines::LineAck;
    use proptest::prelude::*;

    fn ack(received: u64, taken: u64, held: u64) -> Frame {
        Frame::Ack(Ack {
            held,
            passage: 0,
            line: LineAck {
                received,
                taken,
                credit: 0,
            },
        })
    }

    fn raw(kind: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        varint::put(&mut out, kind);
        varint::put(&mut out, body.len() as u64);
        out.extend_from_slice(body);
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<Frame>, CloseCode> {
        let mut reader = FrameReader::new();
        reader.push(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = reader.next()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn frames_of_unknown_types_are_skipped_and_counted() {
        let mut bytes = raw(0x04, b"of a later version");
        bytes.extend(raw(0x21 + 0x1f * 5, b"grease"));
        ack(2, 1, 0).encode(&mut bytes);
        bytes.extend(raw(varint::MAX, &[7; BODY_BYTES_MAX]));
        let mut reader = FrameReader::new();
        reader.push(&bytes);
        assert_eq!(reader.next(), Ok(Some(ack(2, 1, 0))));
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(reader.take_skipped(), 3);
        assert_eq!(reader.take_skipped(), 0);
    }

    #[test]
    fn a_length_bomb_is_refused_at_its_header() {
        for kind in [ACK, 0x21] {
            for length in [BODY_BYTES_MAX as u64 + 1, varint::MAX] {
                let mut bytes = Vec::new();
                varint::put(&mut bytes, kind);
                varint::put(&mut bytes, length);
                assert_eq!(read(&bytes), Err(CloseCode::FrameTooLong));
            }
        }
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(acks in prop::collection::vec((0..1u64 << 40, 0..1u64 << 40), 1..20), step in 1usize..50) {
            let acks: Vec<_> = acks
                .into_iter()
                .map(|(taken, more)| ack(taken + more, taken, more))
                .collect();
            let mut bytes = Vec::new();
            acks.iter().for_each(|ack| ack.encode(&mut bytes));
            let mut reader = FrameReader::new();
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
