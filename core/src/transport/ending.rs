//! What the end of a connection means: from quinn-proto's errors and the other end's codes to our
//! reasons.

use quinn_proto::{ConnectionError, TransportErrorCode};

use crate::{
    Reason,
    wire::{
        code::{self, CloseCode},
        lines::Ack,
    },
};

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) reason: Reason,
    /// The other end's close code, if it closed the connection after the handshake.
    pub(crate) code: Option<CloseCode>,
    /// How far the other end had come, if it closed deliberately.
    pub(crate) ack: Option<Ack>,
}

/// Whether the other end's identity was proved before the connection ended. What comes before is only claimed:
/// anyone who sees our packets, or guesses when they leave, can have sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    Claimed,
    Proved,
}

/// What an error of quinn-proto means.
pub(super) fn ending(error: ConnectionError, identity: Identity) -> Ending {
    let mut code = None;
    let mut ack = None;
    let reason = match &error {
        ConnectionError::VersionMismatch => Reason::ProtocolRefused,
        ConnectionError::TimedOut if identity == Identity::Claimed => Reason::HandshakeTimeout,
        ConnectionError::TimedOut => Reason::Unresponsive,
        ConnectionError::Reset => Reason::Reset,
        ConnectionError::ConnectionClosed(close) => closed(close.error_code, &close.reason),
        ConnectionError::TransportError(error) if is_no_protocol(error.code) => {
            Reason::ProtocolRefused
        }
        // QUIC has such a close in packets with the keys of a finished handshake only (RFC 9000 section 12.5).
        ConnectionError::ApplicationClosed(_) if identity == Identity::Claimed => {
            Reason::Transport("closed by the application amid the handshake".into())
        }
        ConnectionError::ApplicationClosed(close) => {
            code = CloseCode::from_u64(close.error_code.into_inner());
            ack = code
                .filter(|code| code.carries_ack())
                .and_then(|_| code::read_ack_reason(&close.reason));
            remote_reason(close.error_code.into_inner(), code, &close.reason)
        }
        // Our own words, with what TLS has found wrong: it may quote the other end.
        ConnectionError::TransportError(error) => {
            Reason::Transport(format!("{}{}", error.code, quoted(error.reason.as_bytes())))
        }
        ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => {
            Reason::Transport(error.to_string())
        }
    };
    Ending { reason, code, ack }
}

/// What a CONNECTION_CLOSE of QUIC itself means (RFC 9000 section 19.19).
fn closed(code: TransportErrorCode, text: &[u8]) -> Reason {
    if code == TransportErrorCode::CONNECTION_REFUSED {
        return Reason::Busy { retry_after: None };
    }
    if is_no_protocol(code) {
        return Reason::ProtocolRefused;
    }
    Reason::Transport(format!("closed by the other end: {code}{}", quoted(text)))
}

/// The longest text of the other end that a reason has in it, in bytes after escaping.
const QUOTE_MAX: usize = 100;

/// Text of the other end, for a log or a terminal: in quotes, anything but printable ASCII escaped, and cut.
fn quoted(text: &[u8]) -> String {
    let mut quote = String::new();
    for byte in text {
        let escaped = byte.escape_ascii();
        if quote.len() + escaped.len() > QUOTE_MAX {
            return format!(": \"{quote}\"...");
        }
        quote.extend(escaped.map(char::from));
    }
    match quote.is_empty() {
        true => quote,
        false => format!(": \"{quote}\""),
    }
}

/// The TLS alert no_application_protocol (RFC 7301), as RFC 9001 section 4.8 carries it.
fn is_no_protocol(code: TransportErrorCode) -> bool {
    code == TransportErrorCode::crypto(120)
}

fn remote_reason(raw: u64, code: Option<CloseCode>, reason: &[u8]) -> Reason {
    let Some(code) = code else {
        return Reason::Transport(format!("closed by the peer with unknown code {raw:#x}"));
    };
    reason_of(code, reason)
}

/// What a close code of the other end means, with the bytes that came with it.
pub(crate) fn reason_of(code: CloseCode, bytes: &[u8]) -> Reason {
    match code {
        CloseCode::Goodbye => Reason::Goodbye,
        CloseCode::Idle => Reason::Idle,
        CloseCode::Evicted => Reason::Evicted,
        CloseCode::Replaced => Reason::Replaced,
        CloseCode::Busy => Reason::Busy {
            retry_after: code::read_busy_reason(bytes),
        },
        CloseCode::WrongPeer => Reason::WrongPeer { found: None },
        CloseCode::VersionMismatch => Reason::VersionMismatch,
        CloseCode::SealingMismatch => Reason::SealingMismatch,
        CloseCode::NotAccepted => Reason::NotAccepted,
        CloseCode::IdentityInUse => Reason::IdentityInUse,
        CloseCode::CalledOff => Reason::CalledOff,
        CloseCode::HandshakeTimeout => Reason::HandshakeTimeout,
        CloseCode::Forgotten => Reason::Forgotten,
        CloseCode::MalformedFrame
        | CloseCode::FrameTooLong
        | CloseCode::UnexpectedHello
        | CloseCode::UnexpectedStream
        | CloseCode::MalformedRecord
        | CloseCode::RecordTooLong
        | CloseCode::SealBroken
        | CloseCode::Gap
        | CloseCode::BadAcknowledgement
        | CloseCode::BadLine
        | CloseCode::OverCredit
        | CloseCode::Excessive
        | CloseCode::OverBudget => {
            Reason::Transport(format!("the peer closed the connection: {}", code.name()))
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use quinn_proto::{ApplicationClose, ConnectionClose, TransportError, VarInt};

    use super::*;

    fn closed_with(code: TransportErrorCode, text: &[u8]) -> ConnectionError {
        ConnectionError::ConnectionClosed(ConnectionClose {
            error_code: code,
            frame_type: None,
            reason: Bytes::copy_from_slice(text),
        })
    }

    fn codes() -> impl Iterator<Item = TransportErrorCode> {
        let others = [
            TransportErrorCode::NO_ERROR,
            TransportErrorCode::INTERNAL_ERROR,
            TransportErrorCode::CONNECTION_REFUSED,
            TransportErrorCode::PROTOCOL_VIOLATION,
            TransportErrorCode::INVALID_TOKEN,
            TransportErrorCode::APPLICATION_ERROR,
            TransportErrorCode::NO_VIABLE_PATH,
        ];
        (0..=255).map(TransportErrorCode::crypto).chain(others)
    }

    /// Failure 35.
    #[test]
    fn nothing_lasting_follows_from_what_was_only_claimed() {
        let alert = TransportErrorCode::crypto(120);
        let mut endings = vec![
            ConnectionError::VersionMismatch,
            ConnectionError::Reset,
            ConnectionError::TimedOut,
            ConnectionError::TransportError(TransportError {
                code: alert,
                frame: None,
                reason: String::new(),
            }),
        ];
        endings.extend(codes().map(|code| closed_with(code, b"")));
        endings.extend((0..64u32).map(|code| {
            ConnectionError::ApplicationClosed(ApplicationClose {
                error_code: VarInt::from_u32(code),
                reason: Bytes::new(),
            })
        }));
        for error in endings {
            let ending = ending(error.clone(), Identity::Claimed);
            assert!(!ending.reason.is_lasting(), "{error:?}");
            assert_eq!(ending.code, None, "{error:?}");
        }
    }

    proptest! {
        /// Failure 36.
        #[test]
        fn text_of_the_other_end_is_escaped_and_cut(
            text in prop::collection::vec(any::<u8>(), 0..300),
            code in prop::sample::select(codes().collect::<Vec<_>>()),
            is_proved: bool,
        ) {
            let identity = match is_proved {
                true => Identity::Proved,
                false => Identity::Claimed,
            };
            let error = closed_with(code, &text);
            let words = ending(error, identity).reason.to_string();
            prop_assert!(words.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{words:?}");
            prop_assert!(words.len() <= 250, "{words}");
        }
    }

    #[test]
    fn a_quote_reads_as_it_was_written() {
        assert_eq!(quoted(b""), "");
        assert_eq!(quoted(b"no such peer"), ": \"no such peer\"");
        assert_eq!(quoted(b"a\x1b[2J\r\n\"b"), ": \"a\\x1b[2J\\r\\n\\\"b\"");
        let long = quoted(&[b'a'; 300]);
        assert_eq!(long, format!(": \"{}\"...", "a".repeat(QUOTE_MAX)));
    }
}
