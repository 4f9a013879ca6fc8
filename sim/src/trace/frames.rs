//! The frames of a packet in a few words (RFC 9000, section 19), and what our own streams carry
//! (`docs/wire.md`).

use bytes::Buf;

/// The frames of a packet; `None` if these bytes are none.
pub(super) fn read(mut payload: &[u8]) -> Option<Vec<String>> {
    let mut frames = Vec::new();
    while let Some(&first) = payload.first() {
        if first == 0 {
            let padding = payload.iter().take_while(|byte| **byte == 0).count();
            payload.advance(padding);
            frames.push(format!("PADDING × {padding}"));
        } else {
            frames.push(frame(&mut payload)?);
        }
    }
    Some(frames)
}

/// A variable-length integer (RFC 9000, section 16).
pub(super) fn integer(bytes: &mut &[u8]) -> Option<u64> {
    let first = *bytes.first()?;
    let width = 1 << (first >> 6);
    let digits = bytes.get(..width)?;
    *bytes = &bytes[width..];
    let rest = digits[1..].iter();
    Some(rest.fold(u64::from(first & 0x3f), |sum, byte| {
        sum << 8 | u64::from(*byte)
    }))
}

/// An integer that counts bytes.
pub(super) fn length(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(integer(bytes)?).ok()
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn frame(bytes: &mut &[u8]) -> Option<String> {
    let kind = integer(bytes)?;
    Some(match kind {
        0x01 => "PING".to_owned(),
        0x02 | 0x03 => acknowledgement(bytes, kind)?,
        0x06 => crypto(bytes)?,
        0x07 => {
            let token = length(bytes)?;
            take(bytes, token)?;
            format!("NEW_TOKEN of {token} B")
        }
        0x08..=0x0f => stream(bytes, kind)?,
        0x18 => new_connection_id(bytes)?,
        0x1a | 0x1b => {
            take(bytes, 8)?;
            let name = ["PATH_CHALLENGE", "PATH_RESPONSE"][kind as usize - 0x1a];
            name.to_owned()
        }
        0x1c | 0x1d => close(bytes, kind)?,
        0x1e => "HANDSHAKE_DONE".to_owned(),
        0x1f => "IMMEDIATE_ACK".to_owned(),
        // RFC 9221.
        0x30 | 0x31 => {
            let len = match kind {
                0x30 => bytes.len(),
                _ => length(bytes)?,
            };
            take(bytes, len)?;
            format!("DATAGRAM of {len} B")
        }
        _ => {
            let (name, fields) = plain(kind)?;
            let fields = (0..fields).map(|_| integer(bytes).map(|field| format!(" {field}")));
            name.to_owned() + &fields.collect::<Option<String>>()?
        }
    })
}

/// Frames that are a row of integers, and how many.
fn plain(kind: u64) -> Option<(&'static str, usize)> {
    Some(match kind {
        0x04 => ("RESET_STREAM", 3),
        0x05 => ("STOP_SENDING", 2),
        0x10 => ("MAX_DATA", 1),
        0x11 => ("MAX_STREAM_DATA", 2),
        0x12 => ("MAX_STREAMS (bidirectional)", 1),
        0x13 => ("MAX_STREAMS (unidirectional)", 1),
        0x14 => ("DATA_BLOCKED", 1),
        0x15 => ("STREAM_DATA_BLOCKED", 2),
        0x16 => ("STREAMS_BLOCKED (bidirectional)", 1),
        0x17 => ("STREAMS_BLOCKED (unidirectional)", 1),
        0x19 => ("RETIRE_CONNECTION_ID", 1),
        // draft-ietf-quic-ack-frequency
        0xaf => ("ACK_FREQUENCY", 4),
        _ => return None,
    })
}

fn acknowledgement(bytes: &mut &[u8], kind: u64) -> Option<String> {
    let mut greatest = integer(bytes)?;
    integer(bytes)?;
    let ranges = integer(bytes)?;
    let mut least = greatest.checked_sub(integer(bytes)?)?;
    let mut text = format!("ACK {}", range(least, greatest));
    for _ in 0..ranges {
        greatest = least.checked_sub(integer(bytes)? + 2)?;
        least = greatest.checked_sub(integer(bytes)?)?;
        text += &format!(", {}", range(least, greatest));
    }
    if kind == 0x03 {
        let counts = [integer(bytes)?, integer(bytes)?, integer(bytes)?];
        if counts[2] > 0 {
            text += &format!(", {} marked", counts[2]);
        }
    }
    Some(text)
}

fn range(least: u64, greatest: u64) -> String {
    match least == greatest {
        true => least.to_string(),
        false => format!("{least}–{greatest}"),
    }
}

fn crypto(bytes: &mut &[u8]) -> Option<String> {
    let (offset, length) = (integer(bytes)?, length(bytes)?);
    let data = take(bytes, length)?;
    let message = match (offset, data.first()) {
        (0, Some(1)) => " ClientHello",
        (0, Some(2)) => " ServerHello",
        (0, Some(8)) => " flight of the server",
        (0, Some(11)) => " flight of the client",
        _ => "",
    };
    let end = offset + length as u64;
    Some(format!("CRYPTO {offset}..{end}{message}"))
}

fn new_connection_id(bytes: &mut &[u8]) -> Option<String> {
    let (sequence, _retire) = (integer(bytes)?, integer(bytes)?);
    let id = take(bytes, 1)?[0];
    take(bytes, usize::from(id) + 16)?;
    Some(format!("NEW_CONNECTION_ID {sequence}"))
}

fn close(bytes: &mut &[u8], kind: u64) -> Option<String> {
    let code = integer(bytes)?;
    let whose = match kind {
        0x1c => {
            integer(bytes)?;
            "transport"
        }
        _ => "application",
    };
    let reason = length(bytes)?;
    let reason = take(bytes, reason)?;
    let is_text = !reason.is_empty() && reason.iter().all(|byte| (b' '..=b'~').contains(byte));
    let reason = match is_text {
        true => format!(" {:?}", String::from_utf8_lossy(reason)),
        false => String::new(),
    };
    Some(format!("CONNECTION_CLOSE {whose} {code:#04x}{reason}"))
}

fn stream(bytes: &mut &[u8], kind: u64) -> Option<String> {
    let id = integer(bytes)?;
    let offset = match kind & 4 {
        0 => 0,
        _ => integer(bytes)?,
    };
    let length = match kind & 2 {
        0 => bytes.len(),
        _ => length(bytes)?,
    };
    let data = take(bytes, length)?;
    let fin = ["", " FIN"][kind as usize & 1];
    let content = match id {
        2 | 3 => control(data),
        6 | 7 => line(offset, data),
        _ => None,
    };
    let content = content.map_or_else(String::new, |content| format!(" {content}"));
    let end = offset + length as u64;
    Some(format!("STREAM {id} {offset}..{end}{fin}{content}"))
}

/// The control frames in a piece of a control stream, if it begins and ends with whole ones.
fn control(mut data: &[u8]) -> Option<String> {
    let mut frames = Vec::new();
    while !data.is_empty() {
        let kind = integer(&mut data)?;
        let length = length(&mut data)?;
        let body = take(&mut data, length)?;
        frames.push(match kind {
            0x01 => hello(body)?,
            0x02 => lines(body)?,
            0x03 => our_acknowledgement(body)?,
            _ => format!("unknown frame {kind:#x}"),
        });
    }
    (!frames.is_empty()).then(|| frames.join(", "))
}

/// The key of the dial number in a hello.
const DIAL: u64 = 2;

fn hello(mut body: &[u8]) -> Option<String> {
    let mut text = "hello".to_owned();
    while !body.is_empty() {
        let key = integer(&mut body)?;
        let value = integer(&mut body)?;
        match key {
            DIAL => text += &format!(" of dial {value}"),
            _ if key % 2 == 1 => drop(take(&mut body, usize::try_from(value).ok()?)?),
            _ => {}
        }
    }
    Some(text)
}

fn lines(mut body: &[u8]) -> Option<String> {
    let [held, _next, _open, _index, first, _flags, _passage, seen] = numbers(&mut body)?;
    let mut text = format!("LINES: holds {held} B from {first} on");
    if seen > 0 {
        let [_unseen, _live, _index, received, taken] = numbers(&mut body)?;
        text += &format!(", received {received}, taken {taken}");
    }
    Some(text)
}

fn our_acknowledgement(mut body: &[u8]) -> Option<String> {
    let [held, _passage, _index, received, taken] = numbers(&mut body)?;
    Some(format!(
        "acknowledgement: received {received}, taken {taken}, held {held} B"
    ))
}

fn numbers<const N: usize>(body: &mut &[u8]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = integer(body)?;
    }
    Some(numbers)
}

/// The records in a piece of a line's stream, behind its header.
fn line(offset: u64, mut data: &[u8]) -> Option<String> {
    if offset == 0 {
        take(&mut data, LINE_HEADER_LEN)?;
    }
    records(data)
}

/// The length of the header of line 0's stream: type and index.
const LINE_HEADER_LEN: usize = 2;

/// The length of a record's header: length, kind, count, first.
const RECORD_HEADER_LEN: usize = 16;
/// Bytes of the age in the header of a headed record.
const AGE_LEN: usize = 4;
const HEADED: u32 = 1;
/// Bytes that a seal adds.
const SEAL_LEN: usize = 16;
/// Beyond this it is no record but the middle of one: the largest body that a configuration allows.
const RECORD_BODY_MAX: u32 = 64 << 20;

/// The records in a piece of a data stream, if it begins with a whole header.
///
/// A piece does not show whether it does, nor whether records are sealed. So both are tried, and
/// what adds up is believed: the last record ends with the piece, or goes beyond its end.
fn records(data: &[u8]) -> Option<String> {
    let whole = |seal| row(data, seal).filter(|(_, rest)| *rest == 0);
    let (records, _) = whole(0)
        .or_else(|| whole(SEAL_LEN))
        .or_else(|| row(data, SEAL_LEN))?;
    Some(records)
}

/// The records that follow each other if each has a seal of this length, and how many bytes of the
/// last one are not there.
fn row(mut data: &[u8], seal: usize) -> Option<(String, usize)> {
    let mut records = Vec::new();
    loop {
        let mut header = data.get(..RECORD_HEADER_LEN)?;
        let (length, count, first) = (header.get_u32(), header.get_u32(), header.get_u64());
        let (kind, count) = (count >> 24, count & 0xff_ffff);
        let is_likely = length <= RECORD_BODY_MAX && kind <= HEADED;
        if !is_likely || count == 0 || count > length || first >= 1 << 62 {
            return None;
        }
        records.push(format!("{first}..{}", first + u64::from(count)));
        let age = if kind == HEADED { AGE_LEN } else { 0 };
        let total = RECORD_HEADER_LEN + age + length as usize + seal;
        if total >= data.len() {
            let messages = format!("messages {}", records.join(", "));
            return Some((messages, total - data.len()));
        }
        data.advance(total);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_are_told_in_a_few_words() {
        let told = |bytes: &[u8]| read(bytes).expect("these are frames").join("; ");
        assert_eq!(told(&[0x02, 9, 0, 1, 2, 1, 3]), "ACK 7–9, 1–4");
        assert_eq!(told(&[0x03, 9, 0, 0, 0, 1, 0, 2]), "ACK 9, 2 marked");
        assert_eq!(told(&[0x06, 0, 2, 1, 9]), "CRYPTO 0..2 ClientHello");
        assert_eq!(told(&[0x11, 6, 0x40, 200]), "MAX_STREAM_DATA 6 200");
        assert_eq!(
            told(&[0x31, 2, 0, 0, 0x30, 1, 1]),
            "DATAGRAM of 2 B; DATAGRAM of 2 B"
        );
        assert_eq!(told(&[0x1d, 4, 0]), "CONNECTION_CLOSE application 0x04");
        assert_eq!(
            told(&[0x1c, 2, 0, 2, b'n', b'o', 0, 0, 1]),
            "CONNECTION_CLOSE transport 0x02 \"no\"; PADDING × 2; PING"
        );
    }

    /// The examples of `docs/wire.md`.
    #[test]
    fn our_own_streams_are_told_too() {
        let acknowledgement = [
            0x03, 0x11, 0x80, 1, 0x11, 0x70, 0x80, 0x20, 0, 0x48, 0, 0x40, 0xc8, 0x40, 0x96, 0x80,
            0x10, 0, 0,
        ];
        assert_eq!(
            control(&acknowledgement).as_deref(),
            Some("acknowledgement: received 200, taken 150, held 70000 B")
        );
        let hello = [0x01, 6, 2, 7, 27, 2, 9, 9];
        assert_eq!(control(&hello).as_deref(), Some("hello of dial 7"));
        let lines = [0x02, 13, 9, 1, 1, 0, 5, 0, 8, 1, 0, 1, 0, 4, 3];
        assert_eq!(
            control(&lines).as_deref(),
            Some("LINES: holds 9 B from 5 on, received 4, taken 3")
        );
        let record = [
            &[0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 5][..],
            b"hello\0",
        ]
        .concat();
        assert_eq!(records(&record).as_deref(), Some("messages 5..7"));
        let twice = [&record[..], &record].concat();
        assert_eq!(records(&twice).as_deref(), Some("messages 5..7, 5..7"));
        let sealed = [&record[..], &[1; 16]].concat();
        assert_eq!(records(&sealed).as_deref(), Some("messages 5..7"));
        assert_eq!(records(&record[5..]), None, "the middle of one");
        let begun = [&[1, 0][..], &record].concat();
        assert_eq!(line(0, &begun).as_deref(), Some("messages 5..7"));
        assert_eq!(line(9, &record).as_deref(), Some("messages 5..7"));
    }

    #[test]
    fn what_is_no_frame_is_not_told() {
        for bytes in [&[0x40, 0x99][..], &[0x06, 0, 9, 1], &[0x02, 1, 0, 0, 2]] {
            assert_eq!(read(bytes), None);
        }
    }

    proptest! {
        #[test]
        fn no_packet_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
            control(&bytes);
            records(&bytes);
        }
    }
}
