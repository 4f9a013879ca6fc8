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
