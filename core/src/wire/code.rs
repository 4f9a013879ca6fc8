//! The codes with which a connection is closed: one frozen table.

use bytes::Bytes;
use std::time::Duration;

use super::{lines::Ack, varint};

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $value:literal,)*) => {
        /// Why one end closed a connection, as the application error code of its
        /// CONNECTION_CLOSE frame (RFC 9000 section 19.19).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u64)]
        pub(crate) enum CloseCode {
            $($(#[doc = $doc])* $name = $value,)*
        }

        impl CloseCode {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code with this number, if there is one.
            pub(crate) const fn from_u64(value: u64) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The code's name, for logs and reasons.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

codes! {
    /// The session ends; its reason carries a final acknowledgement.
    Goodbye = 0x00,
    /// Idle for `pool_ttl`; the session stays. Its reason carries a final acknowledgement.
    Idle = 0x01,
    /// Another peer needs the slot; the session stays. Its reason carries a final acknowledgement.
    Evicted = 0x02,
    /// Another connection to the same peer stays. Its reason carries a final acknowledgement.
    Replaced = 0x03,
    /// No slot is free. Its reason carries a delay in milliseconds, as a varint.
    Busy = 0x04,
    /// Not the peer that was dialled.
    WrongPeer = 0x05,
    /// Another wire version.
    VersionMismatch = 0x06,
    /// One end seals and the other does not, or mesh keys differ.
    SealingMismatch = 0x07,
    /// The peer is not accepted here.
    NotAccepted = 0x08,
    /// Another process with the same identity is alive, and has its place.
    IdentityInUse = 0x09,
    /// The dial is no longer wanted.
    CalledOff = 0x0a,
    /// No hello within `handshake_timeout`.
    HandshakeTimeout = 0x0b,
    /// The session was given up for another process with the same identity.
    Forgotten = 0x0c,
    /// A control frame whose body cannot be read.
    MalformedFrame = 0x11,
    /// A control frame beyond the limit.
    FrameTooLong = 0x12,
    /// The first control frames are not hello and LINES, or there is a second hello.
    UnexpectedHello = 0x13,
    /// A stream that ended and must not.
    UnexpectedStream = 0x14,
    /// A record whose header or body cannot be read.
    MalformedRecord = 0x15,
    /// A record or a message beyond the limit.
    RecordTooLong = 0x16,
    /// A record that was not sealed by the other end for this place.
    SealBroken = 0x17,
    /// Numbers are missing.
    Gap = 0x18,
    /// An acknowledgement of what was never sent, or one that contradicts itself.
    BadAcknowledgement = 0x19,
    /// A line that is not there or may not be, or a second stream of a line.
    BadLine = 0x1a,
    /// Bytes beyond credit or passage.
    OverCredit = 0x1b,
    /// More cheap frames than the limit.
    Excessive = 0x1c,
    /// More memory than there is, within all limits. Reserved: it is read and never sent.
    OverBudget = 0x1d,
}

impl CloseCode {
    /// Whether the other end broke the protocol.
    pub(crate) const fn is_violation(self) -> bool {
        matches!(self as u64, 0x10..=0x1c)
    }

    /// Whether the connection ends because something went wrong with it.
    pub(crate) const fn is_error(self) -> bool {
        !self.is_deliberate() && !matches!(self, Self::IdentityInUse)
    }

    /// Whether the receiver of the code has done nothing wrong, and may dial again.
    pub(crate) const fn is_deliberate(self) -> bool {
        self.carries_ack() || matches!(self, Self::CalledOff | Self::Forgotten)
    }

    /// Whether the close is deliberate and its reason carries a final acknowledgement.
    pub(crate) const fn carries_ack(self) -> bool {
        self as u64 <= 0x03
    }
}

/// The reason bytes of a deliberate close.
pub(crate) fn ack_reason(ack: &Ack) -> Bytes {
    let mut out = Vec::with_capacity(32);
    ack.encode_body(&mut out);
    out.into()
}

/// The final acknowledgement in the reason bytes of a deliberate close, if one is there.
pub(crate) fn read_ack_reason(reason: &[u8]) -> Option<Ack> {
    Ack::decode_body(reason).ok()
}

/// The reason bytes of `Busy`.
pub(crate) fn busy_reason(retry_after: Duration) -> Bytes {
    let mut out = Vec::with_capacity(8);
    let millis = u64::try_from(retry_after.as_millis()).unwrap_or(varint::MAX);
    varint::put(&mut out, millis.min(varint::MAX));
    out.into()
}

/// How long `Busy` asks to wait, if it has a time.
pub(crate) fn read_busy_reason(reason: &[u8]) -> Option<Duration> {
    varint::get(reason).map(|(millis, _)| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::lines::LineAck;

    #[test]
    fn the_table_is_frozen() {
        let table: String = CloseCode::ALL
            .iter()
            .map(|code| format!("{:#04x} {}\n", *code as u64, code.name()))
            .collect();
        assert_eq!(
            table,
            include_str!("code.snapshot.txt"),
            "codes never change their meaning"
        );
    }

    #[test]
    fn numbers_and_codes_correspond() {
        for code in CloseCode::ALL {
            assert_eq!(CloseCode::from_u64(*code as u64), Some(*code));
        }
        assert_eq!(CloseCode::from_u64(0xff), None);
    }

    #[test]
    fn reasons_survive_the_wire() {
        let ack = Ack {
            held: 1 << 40,
            passage: 0,
            line: LineAck {
                received: 7,
                taken: 3,
                credit: 0,
            },
        };
        assert_eq!(read_ack_reason(&ack_reason(&ack)), Some(ack));
        assert_eq!(read_ack_reason(b""), None);
        let delay = Duration::from_millis(1_500);
        assert_eq!(read_busy_reason(&busy_reason(delay)), Some(delay));
        assert_eq!(read_busy_reason(b""), None);
        assert!(read_busy_reason(&busy_reason(Duration::MAX)).is_some());
    }
}
