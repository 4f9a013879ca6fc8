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

/// What an error of quinn-proto means.
pub(super) fn ending(error: ConnectionError, handshaking: bool) -> Ending {
    let mut code = None;
    let mut ack = None;
    let reason = match &error {
        ConnectionError::VersionMismatch => Reason::VersionMismatch,
        ConnectionError::TimedOut if handshaking => Reason::HandshakeTimeout,
        ConnectionError::TimedOut => Reason::Unresponsive,
        ConnectionError::Reset => Reason::Reset,
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            Reason::Busy { retry_after: None }
        }
        ConnectionError::ConnectionClosed(close) if is_no_protocol(close.error_code) => {
            Reason::VersionMismatch
        }
        ConnectionError::TransportError(error) if is_no_protocol(error.code) => {
            Reason::VersionMismatch
        }
        ConnectionError::ApplicationClosed(close) => {
            code = CloseCode::from_u64(close.error_code.into_inner());
            ack = code
                .filter(|code| code.carries_ack())
                .and_then(|_| code::read_ack_reason(&close.reason));
            remote_reason(close.error_code.into_inner(), code, &close.reason)
        }
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::TransportError(_)
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => Reason::Transport(error.to_string()),
    };
    Ending { reason, code, ack }
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
