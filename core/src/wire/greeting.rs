//! A greeting: hello and the first LINES of an end, read together.

use std::time::Duration;

use super::{
    code::CloseCode,
    hello::{Accepts, HalfId, Hello},
    lines::Lines,
};
use crate::Incarnation;

/// What an end states on a connection before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) incarnation: Incarnation,
    /// The number of the dial if the sender dialled, 0 if it answered.
    pub(crate) dial: u64,
    pub(crate) session_timeout: Duration,
    pub(crate) accepts: Accepts,
    /// What the sender will send.
    pub(crate) mine: Half,
    /// What the sender has of the receiver's half, if it knows one.
    pub(crate) yours: Option<Known>,
    /// Whether the sender knows an address of the receiver, and so can dial it.
    pub(crate) can_dial: bool,
}

/// A half as its owner describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Half {
    pub(crate) id: HalfId,
    /// The number of the first message that its owner still holds.
    pub(crate) first: u64,
    /// Bytes of messages that its owner still holds.
    pub(crate) held: u64,
}

/// A half as the other end knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: HalfId,
    /// The number of the next message wanted.
    pub(crate) received: u64,
    /// The number of the next message that the application will take.
    pub(crate) taken: u64,
}

impl Greeting {
    /// Reads hello and LINES together.
    pub(crate) fn new(hello: &Hello, lines: &Lines) -> Result<Self, CloseCode> {
        if hello.known.is_none() && lines.has_seen {
            return Err(CloseCode::BadLine);
        }
        let yours = lines.yours.unwrap_or_default();
        Ok(Self {
            incarnation: hello.incarnation,
            dial: hello.dial.unwrap_or(0),
            session_timeout: hello.session_timeout,
            accepts: hello.accepts,
            mine: Half {
                id: hello.half,
                first: lines.first,
                held: lines.held,
            },
            yours: hello.known.map(|id| Known {
                id,
                received: yours.received,
                taken: yours.taken,
            }),
            can_dial: hello.can_dial,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::lines::LineAck;

    const THEIRS: HalfId = HalfId([6; 16]);

    fn hello(known: Option<HalfId>) -> Hello {
        Hello {
            incarnation: Incarnation {
                started_ms: 1,
                random: 2,
            },
            dial: None,
            check: None,
            can_dial: true,
            session_timeout: Duration::from_secs(300),
            half: HalfId([5; 16]),
            known,
            accepts: Accepts {
                message_bytes: 11,
                body_bytes: 12,
            },
            passage: 13,
            credit: 14,
        }
    }

    fn lines(has_seen: bool, yours: Option<LineAck>) -> Lines {
        Lines {
            held: 3,
            first: 4,
            passage: 13,
            has_seen,
            yours,
        }
    }

    #[test]
    fn a_half_that_is_known_without_a_line_was_read_up_to_nothing() {
        let line = LineAck {
            received: 9,
            taken: 8,
            credit: 7,
        };
        for (has_seen, yours, expected) in [
            (true, Some(line), [9, 8]),
            (true, None, [0, 0]),
            (false, None, [0, 0]),
        ] {
            let greeting = Greeting::new(&hello(Some(THEIRS)), &lines(has_seen, yours));
            let known = greeting.ok().and_then(|greeting| greeting.yours);
            let [received, taken] = expected;
            let expected = Known {
                id: THEIRS,
                received,
                taken,
            };
            assert_eq!(known, Some(expected));
        }
    }

    #[test]
    fn lines_of_a_half_that_hello_does_not_name_are_refused() {
        let read = |has_seen| Greeting::new(&hello(None), &lines(has_seen, None));
        assert_eq!(read(true), Err(CloseCode::BadLine));
        assert_eq!(read(false).map(|greeting| greeting.yours), Ok(None));
    }
}
