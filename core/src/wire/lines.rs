//! LINES and ACK: how far an end has come with the lines of the other, and what may be sent on them.
//!
//! A half has one line in this version of the wire, line 0.

use super::{code::CloseCode, varint};

/// The index of the line that always exists.
pub(crate) const LINE: u64 = 0;

/// Set for a line that has ended or was stopped, which line 0 never is.
const OVER: u64 = 1;

/// The lines of both ends, as the sender knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Bytes that the sender still holds for the receiver.
    pub(crate) held: u64,
    /// The number of the first message that the sender still holds.
    pub(crate) first: u64,
    /// The limit on the bytes of the receiver's lines on this connection.
    pub(crate) passage: u64,
    /// Whether the sender has seen lines of the receiver.
    pub(crate) has_seen: bool,
    /// The receiver's line, if the sender knows it.
    pub(crate) yours: Option<LineAck>,
}

/// How far the sender has come with the receiver's lines. Numbers and limits never go backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    /// Bytes that the sender still holds for the receiver.
    pub(crate) held: u64,
    /// The limit on the bytes of the receiver's lines on this connection.
    pub(crate) passage: u64,
    pub(crate) line: LineAck,
}

/// How far the sender has come with one line of the receiver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LineAck {
    /// The number of the next message wanted: no earlier one need be sent again.
    pub(crate) received: u64,
    /// The number of the next message that the application will take.
    pub(crate) taken: u64,
    /// The limit on the bytes of the line's stream on this connection.
    pub(crate) credit: u64,
}

impl Lines {
    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        let mine = [self.held.min(varint::MAX), LINE + 1, 1, LINE, self.first, 0];
        put_all(out, &mine);
        varint::put(out, self.passage.min(varint::MAX));
        match &self.yours {
            None => put_all(out, &[0, 0, 0]),
            Some(line) => {
                put_all(out, &[LINE + 1, 0, 1, LINE]);
                line.encode(out);
                varint::put(out, 0);
            }
        }
    }

    pub(super) fn decode_body(body: &[u8]) -> Result<Self, CloseCode> {
        let mut body = Numbers(body);
        let held = body.next()?;
        let next = body.next()?;
        let mut first = None;
        read_list(&mut body, next, |index, body| {
            first = Some(body.next()?);
            check_line(index, body.next()?)
        })?;
        let passage = body.next()?;
        let seen = body.next()?;
        let mut is_unseen = false;
        read_list(&mut body, seen, |index, _| {
            is_unseen = true;
            check_line(index, 0)
        })?;
        let mut yours = None;
        read_list(&mut body, seen, |index, body| {
            yours = Some(LineAck::decode(body)?);
            check_line(index, body.next()?)
        })?;
        body.end()?;
        if seen > LINE + 1 || is_unseen && yours.is_some() {
            return Err(CloseCode::BadLine);
        }
        Ok(Self {
            held,
            first: first.ok_or(CloseCode::BadLine)?,
            passage,
            has_seen: seen > 0,
            yours,
        })
    }
}

impl Ack {
    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        put_all(out, &self.numbers());
    }

    /// Bytes of the body.
    pub(super) fn body_len(&self) -> usize {
        self.numbers().into_iter().map(varint::len).sum()
    }

    fn numbers(&self) -> [u64; 6] {
        let LineAck {
            received,
            taken,
            credit,
        } = self.line;
        [self.held, self.passage, LINE, received, taken, credit].map(|n| n.min(varint::MAX))
    }

    pub(crate) fn decode_body(body: &[u8]) -> Result<Self, CloseCode> {
        let mut body = Numbers(body);
        let held = body.next()?;
        let passage = body.next()?;
        let mut line = None;
        while !body.is_at_end() {
            if body.next()? != LINE || line.is_some() {
                return Err(CloseCode::BadLine);
            }
            line = Some(LineAck::decode(&mut body)?);
        }
        Ok(Self {
            held,
            passage,
            line: line.unwrap_or_default(),
        })
    }
}

impl LineAck {
    fn encode(&self, out: &mut Vec<u8>) {
        put_all(
            out,
            &[self.received, self.taken, self.credit.min(varint::MAX)],
        );
    }

    fn decode(body: &mut Numbers<'_>) -> Result<Self, CloseCode> {
        let line = Self {
            received: body.next()?,
            taken: body.next()?,
            credit: body.next()?,
        };
        if line.taken > line.received {
            return Err(CloseCode::BadAcknowledgement);
        }
        Ok(line)
    }
}

fn put_all(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        varint::put(out, *number);
    }
}

/// The body of a frame that is a row of varints.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Result<u64, CloseCode> {
        varint::take(&mut self.0).ok_or(CloseCode::MalformedFrame)
    }

    const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    const fn end(&self) -> Result<(), CloseCode> {
        match self.is_at_end() {
            true => Ok(()),
            false => Err(CloseCode::MalformedFrame),
        }
    }
}

/// Reads a list of lines by ascending index, each below `bound`.
fn read_list(
    body: &mut Numbers<'_>,
    bound: u64,
    mut read: impl FnMut(u64, &mut Numbers<'_>) -> Result<(), CloseCode>,
) -> Result<(), CloseCode> {
    let mut least = 0;
    for _ in 0..body.next()? {
        let index = body.next()?;
        if index < least || index >= bound {
            return Err(CloseCode::BadLine);
        }
        least = index + 1;
        read(index, body)?;
    }
    Ok(())
}

/// Checks that a line may be in a list: line 0, which is never over.
const fn check_line(index: u64, flags: u64) -> Result<(), CloseCode> {
    match index == LINE && flags & OVER == 0 {
        true => Ok(()),
        false => Err(CloseCode::BadLine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINES: Lines = Lines {
        held: 7,
        first: 5,
        passage: 9_000,
        has_seen: true,
        yours: Some(LineAck {
            received: 200,
            taken: 150,
            credit: 1_000,
        }),
    };

    fn encoded(lines: &Lines) -> Vec<u8> {
        let mut body = Vec::new();
        lines.encode_body(&mut body);
        body
    }

    fn numbers(numbers: &[u64]) -> Vec<u8> {
        let mut body = Vec::new();
        put_all(&mut body, numbers);
        body
    }

    #[test]
    fn lines_come_out_as_they_went_in() {
        let unknown = Lines {
            has_seen: false,
            yours: None,
            ..LINES
        };
        for lines in [LINES, unknown] {
            let body = encoded(&lines);
            assert_eq!(Lines::decode_body(&body), Ok(lines));
            for end in 0..body.len() {
                assert_eq!(
                    Lines::decode_body(&body[..end]),
                    Err(CloseCode::MalformedFrame)
                );
            }
            let longer = [&body[..], &[0]].concat();
            assert_eq!(Lines::decode_body(&longer), Err(CloseCode::MalformedFrame));
        }
    }

    #[test]
    fn lists_that_contradict_themselves_are_refused() {
        let bad = [
            // Line 0 is missing, twice, another one, not below the next index, over.
            numbers(&[7, 1, 0, 9, 0, 0, 0]),
            numbers(&[7, 1, 2, 0, 5, 0, 0, 5, 0, 9, 0, 0, 0]),
            numbers(&[7, 2, 2, 0, 5, 0, 1, 5, 0, 9, 0, 0, 0]),
            numbers(&[7, 0, 1, 0, 5, 0, 9, 0, 0, 0]),
            numbers(&[7, 1, 1, 0, 5, 1, 9, 0, 0, 0]),
            // Of the other half: line 0 not below what was seen, another line, unseen and live, over.
            numbers(&[7, 1, 1, 0, 5, 0, 9, 0, 0, 1, 0, 2, 1, 9, 0]),
            numbers(&[7, 1, 1, 0, 5, 0, 9, 2, 0, 0]),
            numbers(&[7, 1, 1, 0, 5, 0, 9, 2, 0, 1, 1, 2, 1, 9, 0]),
            numbers(&[7, 1, 1, 0, 5, 0, 9, 1, 1, 0, 1, 0, 2, 1, 9, 0]),
            numbers(&[7, 1, 1, 0, 5, 0, 9, 1, 0, 1, 0, 2, 1, 9, 1]),
        ];
        for body in bad {
            assert_eq!(
                Lines::decode_body(&body),
                Err(CloseCode::BadLine),
                "{body:02x?}"
            );
        }
        let backwards = numbers(&[7, 1, 1, 0, 5, 0, 9, 1, 0, 1, 0, 1, 2, 9, 0]);
        assert_eq!(
            Lines::decode_body(&backwards),
            Err(CloseCode::BadAcknowledgement)
        );
        let unseen = numbers(&[7, 1, 1, 0, 5, 0, 9, 1, 1, 0, 0]);
        assert_eq!(
            Lines::decode_body(&unseen).map(|lines| lines.yours),
            Ok(None)
        );
        // Other flags are for later.
        let flags = numbers(&[7, 1, 1, 0, 5, 6, 9, 1, 0, 1, 0, 2, 1, 9, 6]);
        assert!(Lines::decode_body(&flags).is_ok());
    }

    #[test]
    fn an_ack_names_each_line_once_or_not_at_all() {
        let nothing = Ack {
            held: 7,
            passage: 9,
            line: LineAck::default(),
        };
        assert_eq!(Ack::decode_body(&numbers(&[7, 9])), Ok(nothing));
        for (body, code) in [
            (numbers(&[7]), CloseCode::MalformedFrame),
            (numbers(&[7, 9, 0, 2, 1]), CloseCode::MalformedFrame),
            (numbers(&[7, 9, 1, 2, 1, 9]), CloseCode::BadLine),
            (numbers(&[7, 9, 0, 2, 1, 9, 0, 2, 1, 9]), CloseCode::BadLine),
            (numbers(&[7, 9, 0, 1, 2, 9]), CloseCode::BadAcknowledgement),
        ] {
            assert_eq!(Ack::decode_body(&body), Err(code), "{body:02x?}");
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Lines::decode_body(&noise);
            let _ = Ack::decode_body(&noise);
        }

        #[test]
        fn small_numbers_never_panic(noise in prop::collection::vec(0u64..4, 0..30)) {
            let _ = Lines::decode_body(&numbers(&noise));
        }
    }
}
