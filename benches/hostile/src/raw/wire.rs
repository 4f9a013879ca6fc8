//! Bytes of the wire, as docs/wire.md has them: written and read without the core.

/// Frames of the control stream.
const HELLO: u64 = 0x01;
const LINES: u64 = 0x02;
const ACK: u64 = 0x03;
/// The first type that is reserved, and so skipped by every end.
const RESERVED: u64 = 0x21;

/// The header of the stream of line 0.
pub const LINE: [u8; 2] = [1, 0];

/// A limit that is never reached.
const NO_LIMIT: u64 = 1 << 40;

/// The longest message that an end accepts by default, and a record's body that has just that one.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
const BODY_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 4;

/// Bytes of a plain record before its body, and after it if it is sealed.
pub const RECORD_HEADER_LEN: usize = 16;
pub const TAG_LEN: usize = 16;

/// A greeting: hello with its check value, and LINES of an end that has sent and seen nothing.
pub fn greeting(half: &[u8; 16], incarnation: &[u8; 16], check: &[u8; 8]) -> Vec<u8> {
    let mut hello = Vec::new();
    let mut put = |key: u64, number: u64, bytes: &[u8]| {
        hello.extend([varint(key), varint(number)].concat());
        hello.extend(bytes);
    };
    put(1, 16, incarnation);
    put(2, 1, &[]);
    put(3, 8, check);
    put(6, 300_000, &[]);
    put(7, 16, half);
    put(10, NO_LIMIT, &[]);
    put(14, BODY_BYTES_MAX as u64, &[]);
    put(16, MESSAGE_BYTES_MAX as u64, &[]);
    put(18, NO_LIMIT, &[]);
    let lines = numbers(&[0, 1, 1, 0, 0, 0, NO_LIMIT, 0, 0, 0]);
    [frame(HELLO, &hello), frame(LINES, &lines)].concat()
}

/// An acknowledgement that changes nothing: nothing held, no passage, no lines.
pub fn useless_ack() -> Vec<u8> {
    frame(ACK, &numbers(&[0, 0]))
}

/// A control frame of a reserved type without a body.
pub fn reserved_frame() -> Vec<u8> {
    frame(RESERVED, &[])
}

/// The header of a plain record.
pub fn record_header(body_len: usize, count: usize, first: u64) -> [u8; RECORD_HEADER_LEN] {
    let mut header = [0; RECORD_HEADER_LEN];
    header[..4].copy_from_slice(&(body_len as u32).to_be_bytes());
    // The kind is 0, and the count has three bytes.
    header[4..8].copy_from_slice(&(count as u32 & 0xff_ffff).to_be_bytes());
    header[8..].copy_from_slice(&first.to_be_bytes());
    header
}

/// Reads what the other end grants from its control stream.
#[derive(Debug, Default)]
pub struct Heard {
    rest: Vec<u8>,
    /// Whether its greeting has arrived.
    pub is_greeted: bool,
    /// Limits on the bytes of line 0's stream.
    credit: u64,
    passage: u64,
}

impl Heard {
    /// Takes bytes of the control stream, in order.
    pub fn read(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.rest);
        let mut rest = &all[..];
        while let Some((kind, body, after)) = take_frame(rest) {
            rest = after;
            self.frame(kind, body);
        }
        self.rest = rest.to_vec();
    }

    /// Bytes that may be written on the stream of line 0.
    pub fn limit(&self) -> usize {
        usize::try_from(self.credit.min(self.passage)).unwrap_or(usize::MAX)
    }

    fn frame(&mut self, kind: u64, body: &[u8]) {
        match kind {
            HELLO => self.hello(body),
            LINES => {
                self.is_greeted = true;
                // Passage is the seventh; the live line, if there is one, has its credit at 13.
                self.grant(varints(body), 6, 13);
            }
            ACK => self.grant(varints(body), 1, 5),
            _ => {}
        }
    }

    fn hello(&mut self, mut body: &[u8]) {
        while let (Some(key), Some(number)) = (take_varint(&mut body), take_varint(&mut body)) {
            match key {
                10 => self.passage = number,
                18 => self.credit = number,
                _ if key % 2 == 1 => {
                    let length = usize::try_from(number).unwrap_or(usize::MAX);
                    body = body.get(length..).unwrap_or_default();
                }
                _ => {}
            }
        }
    }

    fn grant(&mut self, numbers: Vec<u64>, passage: usize, credit: usize) {
        let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
        self.passage = self.passage.max(number(passage));
        self.credit = self.credit.max(number(credit));
    }
}

/// The first frame, if it is there in full: its type, its body and what follows.
fn take_frame(mut bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let kind = take_varint(&mut bytes)?;
    let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
    let (body, rest) = bytes.split_at_checked(length)?;
    Some((kind, body, rest))
}

fn frame(kind: u64, body: &[u8]) -> Vec<u8> {
    [&varint(kind)[..], &varint(body.len() as u64), body].concat()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| varint(*number)).collect()
}

fn varints(mut body: &[u8]) -> Vec<u64> {
    std::iter::from_fn(|| take_varint(&mut body)).collect()
}

/// A variable-length integer (RFC 9000, section 16).
pub fn varint(value: u64) -> Vec<u8> {
    match value {
        0..=0x3f => vec![value as u8],
        0x40..=0x3fff => (value as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..=0x3fff_ffff => (value as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1 << (bytes.first()? >> 6);
    let (number, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    let first = u64::from(number[0] & 0x3f);
    let rest = number[1..].iter();
    Some(rest.fold(first, |sum, byte| sum << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_pieces_of_frames() {
        let mut heard = Heard::default();
        let greeting = greeting(&[1; 16], &[2; 16], &[3; 8]);
        for byte in &greeting {
            assert!(!heard.is_greeted);
            heard.read(&[*byte]);
        }
        assert!(heard.is_greeted);
        assert_eq!(heard.limit(), 1 << 40);
    }

    #[test]
    fn a_record_has_the_header_of_the_document() {
        let header = record_header(7, 2, 5);
        assert_eq!(header, [0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5]);
    }

    #[test]
    fn varints_are_those_of_the_document() {
        for (value, bytes) in [
            (37, &[0x25][..]),
            (15_293, &[0x7b, 0xbd]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
        ] {
            assert_eq!(varint(value), bytes);
            assert_eq!(take_varint(&mut &bytes[..]), Some(value));
        }
    }
}
