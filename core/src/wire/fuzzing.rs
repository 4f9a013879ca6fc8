//! Bodies of the fuzz targets of the wire. Each takes any bytes, and asserts what must hold whatever they are.
//!
//! What a decoder accepts is written again and read again. Readers of streams get the same bytes in one
//! piece and cut into pieces, and must find the same.

use std::{convert::Infallible, fmt::Debug};

use bytes::Bytes;

use super::{
    aead::TAG_LEN,
    code::{self, CloseCode},
    datagram::{Opener, Refused, Sealer, with_flow, without_flow},
    entries::{self, Run},
    frame::{Frame, FrameReader},
    greeting::Greeting,
    hello::{HalfId, Hello},
    lines::{Ack, LINE, LineAck, Lines},
    parameters::{Parameters, Value, put_bytes, put_number},
    record::{Header, Kind, Messages, RecordReader, validate},
    seal::{RecordKey, Stream},
    stream::{self, HeaderReader},
};
use crate::transport::reason_of;

/// Bytes of a body that a reader accepts: a small one and that of the default limits.
const BODIES_MAX: [usize; 2] = [4_096, (1 << 20) + 4];

/// What a reader may reserve before the bytes have come.
const RESERVE_MAX: usize = 64 * 1_024;

/// The longest control frame, with its type and its length.
const FRAME_MAX: usize = 4_096 + 16;

/// The longest text that a reason has.
const REASON_MAX: usize = 1_024;

const HALF: HalfId = HalfId([7; 16]);

/// Splits the bytes that choose how the rest is read from the front.
fn choices<const N: usize>(input: &[u8]) -> Option<([usize; N], &[u8])> {
    let (choices, rest) = input.split_first_chunk::<N>()?;
    Some((choices.map(usize::from), rest))
}

/// Records of a line's stream, sealed (though not opened) or not.
pub fn records(input: &[u8]) {
    let Some(([step, choice], stream)) = choices(input) else {
        return;
    };
    let body_max = BODIES_MAX[choice & 1];
    let tag_len = if choice & 2 == 0 { 0 } else { TAG_LEN };
    let read = |step| read_records(stream, step, body_max, tag_len);
    let (all, code) = read(stream.len().max(1));
    assert_eq!((&all, code), (&read(step + 1).0, read(step + 1).1), "cuts");
    let message_max = if choice & 4 == 0 { body_max } else { 16 };
    let mut at = 0;
    for (header, body) in &all {
        let encoded = header.encode();
        assert_eq!(encoded[..header.length()], stream[at..][..header.length()]);
        assert!(body.len() <= body_max + tag_len);
        at += header.length() + body.len();
        let body = &body[..header.len as usize];
        if validate(body, header, message_max).is_ok() {
            check_body(header, body, message_max);
        }
    }
}

/// Reads records from a stream that arrives in pieces, up to the first error.
fn read_records(
    stream: &[u8],
    step: usize,
    body_max: usize,
    tag_len: usize,
) -> (Vec<(Header, Vec<u8>)>, Option<CloseCode>) {
    let mut reader = RecordReader::new(body_max, tag_len);
    let (mut all, mut arrived) = (Vec::new(), 0);
    for mut piece in stream.chunks(step) {
        while !piece.is_empty() {
            match reader.push(piece) {
                Ok(used) => {
                    assert!(used > 0, "a reader that is not done takes something");
                    arrived += used;
                    piece = &piece[used..];
                }
                Err(code) => return (all, Some(code)),
            }
            assert!(reader.memory() <= RESERVE_MAX + TAG_LEN + 2 * arrived);
            all.extend(reader.take());
        }
    }
    (all, None)
}

/// A body that was accepted holds what its header announces.
fn check_body(header: &Header, body: &[u8], message_max: usize) {
    match header.kind {
        Kind::Plain => {
            let messages = Messages::new(Bytes::copy_from_slice(body));
            check_messages(messages, header.count, message_max);
        }
        Kind::Headed { .. } => check_entries(header.count, body, message_max),
    }
}

fn check_messages(messages: Messages, count: u32, message_max: usize) {
    let lengths: Vec<_> = messages.map(|message| message.len()).collect();
    assert_eq!(lengths.len(), count as usize);
    assert!(lengths.iter().all(|length| *length <= message_max));
}

fn check_entries(count: u32, body: &[u8], message_max: usize) {
    let mut sum = 0;
    for run in entries::runs(body) {
        match run {
            Run::Messages(count, framed) => {
                sum += count;
                check_messages(Messages::new(framed.into()), count, message_max);
            }
            Run::Voids(count) => sum += count,
        }
    }
    assert_eq!(sum, count);
}

/// The body of a headed record.
pub fn entries(input: &[u8]) {
    let Some(([count, message_max], body)) = choices(input) else {
        return;
    };
    if entries::validate(body, count as u32, message_max).is_ok() {
        check_entries(count as u32, body, message_max);
    }
}

/// The control stream: frames, and the greeting that its first two make.
pub fn control(input: &[u8]) {
    let Some(([step], stream)) = choices(input) else {
        return;
    };
    let whole = read_frames(stream, stream.len().max(1));
    assert_eq!(whole, read_frames(stream, step + 1), "cuts");
    for frame in &whole.frames {
        match frame {
            Frame::Lines(lines) => check_line(lines.yours),
            Frame::Ack(ack) => check_line(Some(ack.line)),
            Frame::Hello(_) => {}
        }
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let written = match frame {
            Frame::Lines(lines) => Frame::Lines(as_written(*lines)),
            Frame::Hello(_) | Frame::Ack(_) => *frame,
        };
        assert_eq!(read_frames(&bytes, bytes.len()).frames, [written]);
    }
    if let [Frame::Hello(hello), Frame::Lines(lines), ..] = &whole.frames[..]
        && let Ok(greeting) = Greeting::new(hello, lines)
    {
        assert_eq!(greeting.yours.is_some(), hello.known.is_some());
    }
}

#[derive(Debug, PartialEq)]
struct ReadFrames {
    frames: Vec<Frame>,
    skipped: u64,
    code: Option<CloseCode>,
}

fn read_frames(stream: &[u8], step: usize) -> ReadFrames {
    let mut reader = FrameReader::new();
    let mut read = ReadFrames {
        frames: Vec::new(),
        skipped: 0,
        code: None,
    };
    for piece in stream.chunks(step) {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(frame)) => read.frames.push(frame),
                Ok(None) => break,
                Err(code) => read.code = Some(code),
            }
            if read.code.is_some() {
                read.skipped += reader.take_skipped();
                return read;
            }
        }
        read.skipped += reader.take_skipped();
        // A vector holds at most twice of what it was pushed.
        assert!(reader.memory() <= 2 * (FRAME_MAX + piece.len()));
    }
    read
}

/// The bodies of single frames, and parameters.
pub fn bodies(input: &[u8]) {
    let Some(([kind], body)) = choices(input) else {
        return;
    };
    match kind % 4 {
        0 => again(body, Hello::decode_body, Hello::encode_body),
        1 => {
            let decode = |body: &[u8]| Lines::decode_body(body).map(as_written);
            check_line(decode(body).ok().and_then(|lines| lines.yours));
            again(body, decode, Lines::encode_body);
        }
        2 => {
            check_line(Ack::decode_body(body).ok().map(|ack| ack.line));
            again(body, Ack::decode_body, Ack::encode_body);
        }
        _ => parameters(body),
    }
}

/// Nothing is taken that was not received.
fn check_line(line: Option<LineAck>) {
    assert!(line.is_none_or(|line| line.taken <= line.received));
}

/// A peer may have seen our half and have forgotten its line. We write no such LINES.
fn as_written(lines: Lines) -> Lines {
    Lines {
        has_seen: lines.yours.is_some(),
        ..lines
    }
}

/// What was read is written, and read again.
fn again<T: PartialEq + Debug>(
    body: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, CloseCode>,
    encode: impl Fn(&T, &mut Vec<u8>),
) {
    match decode(body) {
        Ok(read) => {
            let mut bytes = Vec::new();
            encode(&read, &mut bytes);
            assert_eq!(decode(&bytes), Ok(read));
        }
        Err(code) => assert!(code.is_violation(), "{code:?}"),
    }
}

fn parameters(body: &[u8]) {
    let read = |bytes: &[u8]| {
        let mut parameters = Parameters::new(bytes, CloseCode::MalformedFrame);
        let mut out = Vec::new();
        loop {
            match parameters.next() {
                Ok(Some((key, Value::Number(number)))) => put_number(&mut out, key, number),
                Ok(Some((key, Value::Bytes(bytes)))) => put_bytes(&mut out, key, bytes),
                Ok(None) => return Some(out),
                Err(_) => return None,
            }
        }
    };
    if let Some(written) = read(body) {
        assert!(written.len() <= body.len(), "the shortest form");
        assert_eq!(read(&written).as_ref(), Some(&written));
    }
}

/// The header of a stream.
pub fn stream_header(input: &[u8]) {
    let Some(([step], bytes)) = choices(input) else {
        return;
    };
    let read = |step| {
        let (mut reader, mut used) = (HeaderReader::default(), 0);
        for piece in bytes.chunks(step) {
            let (part, header) = reader.push(piece);
            used += part;
            assert_eq!(used, reader.len());
            if header.is_some() {
                return (used, header);
            }
        }
        (used, None)
    };
    let whole = read(bytes.len().max(1));
    assert_eq!(whole, read(step + 1), "cuts");
    if let Some(stream::Header::Entries(index)) = whole.1 {
        let mut written = Vec::new();
        stream::put_entries(&mut written, index);
        assert_eq!(HeaderReader::default().push(&written).1, whole.1);
    }
}

/// What closes a connection: a code, and the bytes of its reason.
pub fn close_reason(input: &[u8]) {
    let Some(([number], reason)) = choices(input) else {
        return;
    };
    if let Some(ack) = code::read_ack_reason(reason) {
        assert_eq!(code::read_ack_reason(&code::ack_reason(&ack)), Some(ack));
    }
    if let Some(delay) = code::read_busy_reason(reason) {
        let written = code::busy_reason(delay);
        assert_eq!(code::read_busy_reason(&written), Some(delay));
    }
    if let Some(code) = CloseCode::from_u64(number as u64) {
        let text = reason_of(code, reason).to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(text.len() <= REASON_MAX);
    }
}

/// One step of a peer that has the key and of an attacker that has not.
enum Step<'a> {
    /// Seals these bytes.
    Seal(&'a [u8]),
    /// Delivers what was sealed.
    Deliver(usize),
    /// Delivers what was sealed, with a changed byte.
    Change(usize, u8),
    /// Delivers what was sealed, cut short.
    Cut(usize, usize),
    /// Delivers these bytes.
    Forge(&'a [u8]),
}

impl<'a> Step<'a> {
    fn take(input: &mut &'a [u8], sealed: usize) -> Option<Self> {
        let ([kind, number], rest) = choices(input)?;
        let (bytes, after) = rest.split_at(number.min(rest.len()));
        let which = number.checked_rem(sealed);
        let (step, rest) = match (kind % 5, which) {
            (0, _) | (1..=3, None) => (Self::Seal(bytes), after),
            (1, Some(which)) => (Self::Deliver(which), rest),
            (2, Some(which)) => (Self::Change(which, (kind / 5) as u8), rest),
            (3, Some(which)) => (Self::Cut(which, kind / 5), rest),
            _ => (Self::Forge(bytes), after),
        };
        *input = rest;
        Some(step)
    }
}

/// Changes one byte, whose place the number is.
fn changed(bytes: &[u8], number: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let place = usize::from(number) % bytes.len();
    bytes[place] ^= 1 << (number % 8);
    bytes
}

fn fill(key: &mut [u8]) -> Result<(), Infallible> {
    key.fill(7);
    Ok(())
}

/// Datagrams: what was sealed opens once, and nothing else opens.
pub fn datagrams(mut input: &[u8]) {
    let plain = without_flow(Bytes::copy_from_slice(input));
    if let Ok(payload) = plain {
        assert_eq!(without_flow(with_flow(&payload)), Ok(payload));
    }
    let (Ok(mut sealer), Ok(mut opener)) = (Sealer::derive(fill), Opener::derive(fill));
    let mut sealed: Vec<(Bytes, &[u8], bool)> = Vec::new();
    while let Some(step) = Step::take(&mut input, sealed.len()) {
        match step {
            Step::Seal(payload) => {
                sealed.extend(sealer.seal(payload).map(|bytes| (bytes, payload, false)));
            }
            Step::Deliver(which) => {
                let (bytes, payload, is_opened) = &mut sealed[which];
                match opener.open(bytes) {
                    Ok(opened) => assert!(!*is_opened && opened == *payload),
                    // Opened before, or too old.
                    Err(refused) => assert_eq!(refused, Refused::Replayed),
                }
                *is_opened = true;
            }
            Step::Change(which, number) => {
                assert!(opener.open(&changed(&sealed[which].0, number)).is_err());
            }
            Step::Cut(which, by) => {
                let bytes = &sealed[which].0;
                let short = bytes.len() - 1 - by % bytes.len();
                assert!(opener.open(&bytes[..short]).is_err());
            }
            Step::Forge(bytes) => assert!(opener.open(bytes).is_err()),
        }
    }
}

/// A record as it is delivered.
#[derive(Clone)]
struct Delivery {
    header: Header,
    body: Vec<u8>,
    tag: [u8; TAG_LEN],
}

impl Delivery {
    fn seal(key: &mut RecordKey, stream: &mut Stream, first: usize, bytes: &[u8]) -> Option<Self> {
        let mut sealed = Self::forged(first, bytes);
        sealed.tag = key.seal(stream, &sealed.header, &mut sealed.body)?;
        Some(sealed)
    }

    fn forged(first: usize, bytes: &[u8]) -> Self {
        Self {
            header: Header::plain(bytes.len() as u32, 1, first as u64),
            body: bytes.to_vec(),
            tag: [0; TAG_LEN],
        }
    }

    fn with_changed_tag(&self, number: u8) -> Self {
        let tag = changed(&self.tag, number);
        let tag = tag.try_into().unwrap_or(self.tag);
        let changed = self.clone();
        Self { tag, ..changed }
    }

    /// The header counts what is left of the body.
    fn cut(&self, by: usize) -> Self {
        let left = self.body.len().saturating_sub(by + 1);
        let mut cut = Self::forged(self.header.first as usize ^ 1, &self.body[..left]);
        cut.tag = self.tag;
        cut
    }
}

/// Sealed records: each opens in its place, and nothing else opens.
pub fn sealed_records(mut input: &[u8]) {
    let (Ok(mut sealing), Ok(mut opening)) = (RecordKey::derive(fill), RecordKey::derive(fill));
    let [mut writer, mut reader] = [Stream::new(HALF, LINE, 1); 2];
    let (mut sealed, mut plain): (Vec<Delivery>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    // Opening counts records whatever comes of it, so the place of each is that of its delivery.
    let mut delivered = 0;
    while let Some(step) = Step::take(&mut input, sealed.len()) {
        let mut delivery = match step {
            Step::Seal(bytes) => {
                let next = Delivery::seal(&mut sealing, &mut writer, sealed.len(), bytes);
                sealed.extend(next);
                plain.push(bytes);
                continue;
            }
            Step::Deliver(which) => sealed[which].clone(),
            Step::Change(which, number) => sealed[which].with_changed_tag(number),
            Step::Cut(which, by) => sealed[which].cut(by),
            Step::Forge(bytes) => Delivery::forged(delivered, bytes),
        };
        let is_in_place = matches!(step, Step::Deliver(which) if which == delivered);
        let Delivery { header, body, tag } = &mut delivery;
        let opened = opening.open(&mut reader, header, body, *tag);
        assert_eq!(opened.is_ok(), is_in_place);
        assert!(!is_in_place || plain[delivered] == *body);
        delivered += 1;
    }
}
