//! Entries of headed records: messages with heads, and voids.
//!
//! An entry is a head and a message, each with its length before it. An empty head makes it a message.

use super::{
    code::CloseCode,
    parameters::Parameters,
    record::{COUNT_MAX, Header, Kind},
    varint,
};

/// The kind of an entry that keeps the place of its number and has no message.
const VOID: u64 = 3;

/// A void: a head of one byte, and a size.
const VOID_ENTRY: [u8; 3] = [1, VOID as u8, 0];

/// Bytes of a void, which each end has to accept.
pub(super) const VOID_LEN: usize = VOID_ENTRY.len();

/// Entries of one kind, one after the other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// So many messages, framed as in a plain body.
    Messages(u32, Vec<u8>),
    Voids(u32),
}

/// One entry.
enum Entry<'a> {
    Message(&'a [u8]),
    Void,
}

/// Checks that `body` holds exactly `count` entries of known kinds, and no message above the limit.
pub(super) fn validate(
    mut body: &[u8],
    count: u32,
    message_bytes_max: usize,
) -> Result<(), CloseCode> {
    for _ in 0..count {
        if let Entry::Message(message) = next(&mut body)?
            && message.len() > message_bytes_max
        {
            return Err(CloseCode::RecordTooLong);
        }
    }
    match body.is_empty() {
        true => Ok(()),
        false => Err(CloseCode::MalformedRecord),
    }
}

/// Returns the entries of a body that was validated, with neighbours of one kind together.
pub(crate) fn runs(mut body: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    while let Some(entry) = (!body.is_empty())
        .then(|| next(&mut body))
        .transpose()
        .ok()
        .flatten()
    {
        match (entry, runs.last_mut()) {
            (Entry::Message(message), Some(Run::Messages(count, framed))) => {
                *count += 1;
                put_message(framed, message);
            }
            (Entry::Message(message), Some(Run::Voids(_)) | None) => {
                let mut framed = Vec::new();
                put_message(&mut framed, message);
                runs.push(Run::Messages(1, framed));
            }
            (Entry::Void, Some(Run::Voids(count))) => *count += 1,
            (Entry::Void, Some(Run::Messages(..)) | None) => runs.push(Run::Voids(1)),
        }
    }
    runs
}

fn put_message(framed: &mut Vec<u8>, message: &[u8]) {
    varint::put(framed, message.len() as u64);
    framed.extend_from_slice(message);
}

/// Takes the entry at the front.
fn next<'a>(body: &mut &'a [u8]) -> Result<Entry<'a>, CloseCode> {
    let mut head = take(body)?;
    let message = take(body)?;
    if head.is_empty() {
        return Ok(Entry::Message(message));
    }
    let kind = varint::take(&mut head).ok_or(CloseCode::MalformedRecord)?;
    let mut parameters = Parameters::new(head, CloseCode::MalformedRecord);
    while parameters.next()?.is_some() {}
    match kind == VOID && message.is_empty() {
        true => Ok(Entry::Void),
        false => Err(CloseCode::MalformedRecord),
    }
}

/// Takes bytes with their length before them.
fn take<'a>(body: &mut &'a [u8]) -> Result<&'a [u8], CloseCode> {
    let length = varint::take(body).and_then(|length| usize::try_from(length).ok());
    let taken = length.and_then(|length| body.split_at_checked(length));
    let (bytes, rest) = taken.ok_or(CloseCode::MalformedRecord)?;
    *body = rest;
    Ok(bytes)
}

/// Returns a record of as many voids as fit into a body, and at most `count`, from the number `first` on.
pub(crate) fn voids(first: u64, count: u64, body_bytes_max: usize) -> (Header, Vec<u8>) {
    let fitting = (body_bytes_max / VOID_LEN).clamp(1, COUNT_MAX as usize);
    let count = count.min(fitting as u64) as u32;
    let header = Header {
        kind: Kind::Headed { age_ms: 0 },
        len: count * VOID_LEN as u32,
        count,
        first,
    };
    let mut record = header.encode().to_vec();
    (0..count).for_each(|_| record.extend_from_slice(&VOID_ENTRY));
    (header, record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(bytes: &[u8], message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_message(&mut out, bytes);
        put_message(&mut out, message);
        out
    }

    #[test]
    fn neighbours_of_one_kind_are_one_run() {
        let body = [
            head(b"", b"one"),
            head(b"", b""),
            head(&[3], b""),
            head(&[3, 2, 9], b""),
            head(b"", b"five"),
        ]
        .concat();
        assert_eq!(validate(&body, 5, 4), Ok(()));
        assert_eq!(validate(&body, 5, 3), Err(CloseCode::RecordTooLong));
        assert_eq!(validate(&body, 4, 4), Err(CloseCode::MalformedRecord));
        assert_eq!(validate(&body, 6, 4), Err(CloseCode::MalformedRecord));
        let expected = vec![
            Run::Messages(2, b"\x03one\x00".to_vec()),
            Run::Voids(2),
            Run::Messages(1, b"\x04five".to_vec()),
        ];
        assert_eq!(runs(&body), expected);
    }

    #[test]
    fn other_kinds_and_voids_with_content_are_refused() {
        for entry in [
            head(&[1], b""),
            head(&[2], b""),
            head(&[4], b""),
            head(&[3], b"x"),
            // Parameters that do not ascend, and one that ends early.
            head(&[3, 2, 9, 2, 9], b""),
            head(&[3, 2], b""),
        ] {
            let read = validate(&entry, 1, 9);
            assert_eq!(read, Err(CloseCode::MalformedRecord), "{entry:02x?}");
        }
    }

    #[test]
    fn a_record_of_voids_is_read_as_such() {
        for (count, body_bytes_max, fits) in [(5, 100, 5), (50, 100, 33), (2, 0, 1)] {
            let (header, record) = voids(7, count, body_bytes_max);
            assert_eq!(header.count, fits);
            let body = &record[header.length()..];
            assert_eq!(body.len(), header.len as usize);
            assert_eq!(validate(body, header.count, 0), Ok(()));
            assert_eq!(runs(body), vec![Run::Voids(fits)]);
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300), count in 0u32..9) {
            if validate(&noise, count, 50).is_ok() {
                let entries: u32 = runs(&noise)
                    .iter()
                    .map(|run| match run {
                        Run::Messages(count, _) | Run::Voids(count) => *count,
                    })
                    .sum();
                prop_assert_eq!(entries, count);
            }
        }
    }
}
