//! Hello: the parameters with which an end begins a connection.

use std::time::Duration;

use super::{
    code::CloseCode,
    entries::VOID_LEN,
    parameters::{Parameters, Value, put_bytes, put_number},
};
use crate::Incarnation;

const INCARNATION: u64 = 1;
const DIAL: u64 = 2;
const CHECK: u64 = 3;
const CAN_DIAL: u64 = 4;
const SESSION_TIMEOUT: u64 = 6;
const HALF: u64 = 7;
const KNOWN_HALF: u64 = 9;
const PASSAGE: u64 = 10;
const BODY_BYTES: u64 = 14;
const MESSAGE_BYTES: u64 = 16;
const CREDIT: u64 = 18;

/// Bytes of a check value.
pub(crate) const CHECK_LEN: usize = 8;

/// The name of what one end of a session sends: 128 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HalfId(pub(crate) [u8; 16]);

/// The first frame of an end on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) incarnation: Incarnation,
    /// The number of the dial; `None` from the end that accepted.
    pub(crate) dial: Option<u64>,
    /// A value that only an end with the same keys can send; `None` if the sender does not seal.
    pub(crate) check: Option<[u8; CHECK_LEN]>,
    /// Whether the sender knows an address of the receiver, and so can dial it.
    pub(crate) can_dial: bool,
    pub(crate) session_timeout: Duration,
    /// The sender's half.
    pub(crate) half: HalfId,
    /// The receiver's half, if the sender knows one.
    pub(crate) known: Option<HalfId>,
    pub(crate) accepts: Accepts,
    /// The first limit of all lines, in bytes.
    pub(crate) passage: u64,
    /// The first limit of line 0, in bytes.
    pub(crate) credit: u64,
}

/// The lengths that the sender of a hello accepts. The other end sends nothing longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepts {
    /// Bytes of a message.
    pub(crate) message_bytes: u32,
    /// Bytes of a record's body.
    pub(crate) body_bytes: u32,
}

impl Hello {
    pub(super) fn encode_body(&self, out: &mut Vec<u8>) {
        let mut incarnation = [0; 16];
        incarnation[..8].copy_from_slice(&self.incarnation.started_ms.to_be_bytes());
        incarnation[8..].copy_from_slice(&self.incarnation.random.to_be_bytes());
        put_bytes(out, INCARNATION, &incarnation);
        if let Some(dial) = self.dial {
            put_number(out, DIAL, dial);
        }
        if let Some(check) = &self.check {
            put_bytes(out, CHECK, check);
        }
        if self.can_dial {
            put_number(out, CAN_DIAL, 1);
        }
        let timeout = u64::try_from(self.session_timeout.as_millis()).unwrap_or(u64::MAX);
        put_number(out, SESSION_TIMEOUT, timeout);
        put_bytes(out, HALF, &self.half.0);
        if let Some(known) = &self.known {
            put_bytes(out, KNOWN_HALF, &known.0);
        }
        put_number(out, PASSAGE, self.passage);
        put_number(out, BODY_BYTES, self.accepts.body_bytes.into());
        put_number(out, MESSAGE_BYTES, self.accepts.message_bytes.into());
        put_number(out, CREDIT, self.credit);
    }

    pub(super) fn decode_body(body: &[u8]) -> Result<Self, CloseCode> {
        let mut read = Read::default();
        let mut parameters = Parameters::new(body, CloseCode::MalformedFrame);
        while let Some((key, value)) = parameters.next()? {
            read.take(key, value).ok_or(CloseCode::MalformedFrame)?;
        }
        read.hello().ok_or(CloseCode::MalformedFrame)
    }
}

/// A hello of which parameters are read.
#[derive(Default)]
struct Read {
    incarnation: Option<Incarnation>,
    dial: Option<u64>,
    check: Option<[u8; CHECK_LEN]>,
    can_dial: bool,
    session_timeout: Option<Duration>,
    half: Option<HalfId>,
    known: Option<HalfId>,
    passage: Option<u64>,
    body_bytes: Option<u32>,
    message_bytes: Option<u32>,
    credit: Option<u64>,
}

impl Read {
    /// Takes one parameter. `None` if its value has another form than its key asks for.
    fn take(&mut self, key: u64, value: Value<'_>) -> Option<()> {
        match (key, value) {
            (INCARNATION, Value::Bytes(bytes)) => {
                let (started_ms, random) = bytes.split_first_chunk()?;
                self.incarnation = Some(Incarnation {
                    started_ms: u64::from_be_bytes(*started_ms),
                    random: u64::from_be_bytes(random.try_into().ok()?),
                });
            }
            (DIAL, Value::Number(dial)) => self.dial = Some(dial),
            (CHECK, Value::Bytes(bytes)) => self.check = Some(bytes.try_into().ok()?),
            (CAN_DIAL, Value::Number(number)) => self.can_dial = truth(number)?,
            (SESSION_TIMEOUT, Value::Number(ms)) => {
                self.session_timeout = Some(Duration::from_millis(ms));
            }
            (HALF, Value::Bytes(bytes)) => self.half = Some(HalfId(bytes.try_into().ok()?)),
            (KNOWN_HALF, Value::Bytes(bytes)) => {
                self.known = Some(HalfId(bytes.try_into().ok()?));
            }
            (PASSAGE, Value::Number(bytes)) => self.passage = Some(bytes),
            (BODY_BYTES, Value::Number(bytes)) => self.body_bytes = Some(body_limit(bytes)?),
            (MESSAGE_BYTES, Value::Number(bytes)) => self.message_bytes = Some(saturated(bytes)),
            (CREDIT, Value::Number(bytes)) => self.credit = Some(bytes),
            // Of a later version, or grease.
            (_, Value::Number(_) | Value::Bytes(_)) => {}
        }
        Some(())
    }

    /// The hello, if no required parameter is missing.
    fn hello(self) -> Option<Hello> {
        Some(Hello {
            incarnation: self.incarnation?,
            dial: self.dial,
            check: self.check,
            can_dial: self.can_dial,
            session_timeout: self.session_timeout?,
            half: self.half?,
            known: self.known,
            accepts: Accepts {
                message_bytes: self.message_bytes?,
                body_bytes: self.body_bytes?,
            },
            passage: self.passage?,
            credit: self.credit?,
        })
    }
}

const fn truth(number: u64) -> Option<bool> {
    match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Voids have to fit, since they are sent whatever the limits.
fn body_limit(bytes: u64) -> Option<u32> {
    (bytes >= VOID_LEN as u64).then(|| saturated(bytes))
}

/// No record is longer than 4 GiB, whatever the other end accepts.
fn saturated(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::varint;

    fn hello() -> Hello {
        Hello {
            incarnation: Incarnation {
                started_ms: 1,
                random: 2,
            },
            dial: Some(3),
            check: Some([4; 8]),
            can_dial: true,
            session_timeout: Duration::from_secs(300),
            half: HalfId([5; 16]),
            known: Some(HalfId([6; 16])),
            accepts: Accepts {
                message_bytes: 11,
                body_bytes: 12,
            },
            passage: 13,
            credit: 14,
        }
    }

    fn encoded(hello: &Hello) -> Vec<u8> {
        let mut body = Vec::new();
        hello.encode_body(&mut body);
        body
    }

    /// The body of `hello` with some of its parameters left out or written otherwise.
    fn changed(change: impl Fn(u64, Value<'_>, &mut Vec<u8>)) -> Result<Hello, CloseCode> {
        let body = encoded(&hello());
        let mut parameters = Parameters::new(&body, CloseCode::MalformedFrame);
        let mut out = Vec::new();
        while let Some((key, value)) = parameters.next()? {
            change(key, value, &mut out);
        }
        Hello::decode_body(&out)
    }

    fn put(out: &mut Vec<u8>, key: u64, value: Value<'_>) {
        match value {
            Value::Number(number) => put_number(out, key, number),
            Value::Bytes(bytes) => put_bytes(out, key, bytes),
        }
    }

    #[test]
    fn it_comes_out_as_it_went_in() {
        let least = Hello {
            dial: None,
            check: None,
            can_dial: false,
            known: None,
            ..hello()
        };
        for hello in [hello(), least] {
            assert_eq!(Hello::decode_body(&encoded(&hello)), Ok(hello));
        }
    }

    #[test]
    fn parameters_that_are_not_known_are_skipped() {
        let mut body = Vec::new();
        put_number(&mut body, 0, 7);
        body.extend(encoded(&hello()));
        put_bytes(&mut body, 27, b"grease");
        put_number(&mut body, 58, 1);
        assert_eq!(Hello::decode_body(&body), Ok(hello()));
    }

    #[test]
    fn required_parameters_are_missed_and_others_are_not() {
        for missing in [1, 2, 3, 4, 6, 7, 9, 10, 14, 16, 18] {
            let read = changed(|key, value, out| {
                if key != missing {
                    put(out, key, value);
                }
            });
            let is_optional = [DIAL, CHECK, CAN_DIAL, KNOWN_HALF].contains(&missing);
            assert_eq!(read.is_ok(), is_optional, "{missing}: {read:?}");
            assert!(is_optional || read == Err(CloseCode::MalformedFrame));
        }
    }

    #[test]
    fn values_of_another_length_are_refused() {
        for key_of_bytes in [INCARNATION, CHECK, HALF, KNOWN_HALF] {
            for length in [0, 7, 9, 15, 17, 300] {
                let read = changed(|key, value, out| match key == key_of_bytes {
                    true => put_bytes(out, key, &vec![0; length]),
                    false => put(out, key, value),
                });
                assert_eq!(
                    read,
                    Err(CloseCode::MalformedFrame),
                    "{key_of_bytes} with {length}"
                );
            }
        }
        let read = changed(|key, value, out| match key {
            CAN_DIAL => put_number(out, key, 2),
            _ => put(out, key, value),
        });
        assert_eq!(read, Err(CloseCode::MalformedFrame));
    }

    #[test]
    fn a_body_is_long_enough_for_a_void() {
        for (bytes, is_enough) in [(0, false), (2, false), (3, true)] {
            let read = changed(|key, value, out| match key {
                BODY_BYTES => put_number(out, key, bytes),
                _ => put(out, key, value),
            });
            let malformed = read == Err(CloseCode::MalformedFrame);
            assert_eq!(
                (read.is_ok(), malformed),
                (is_enough, !is_enough),
                "{bytes}"
            );
        }
    }

    #[test]
    fn numbers_have_62_bits() {
        let read = changed(|key, value, out| match key {
            BODY_BYTES | MESSAGE_BYTES | SESSION_TIMEOUT => put_number(out, key, varint::MAX),
            _ => put(out, key, value),
        });
        assert_eq!(
            read.map(|hello| hello.accepts.body_bytes),
            Ok(u32::MAX),
            "a limit above all others is none"
        );
    }
}
