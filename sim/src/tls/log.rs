//! The kinds of the handshakes of a process.

use std::sync::{Mutex, PoisonError};

use quicpool_core::PeerId;

/// The kind of a TLS message that has a certificate in it (RFC 8446 section 4).
const CERTIFICATE: u8 = 11;

/// Bytes before a TLS message: its kind, and its length.
const HEAD_LEN: usize = 4;

/// Every handshake that processes have completed, in order. It outlives them: clones of credentials
/// are made with it, see [`SeededTls::logged`](super::SeededTls::logged).
#[derive(Debug, Default)]
pub struct HandshakeLog(Mutex<Vec<Handshake>>);

/// A handshake that one end has completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// The peer that this end has dialled; `None` if it was dialled.
    pub dialled: Option<PeerId>,
    /// How the other end has proved its identity.
    pub kind: HandshakeKind,
}

/// How an end of a handshake has proved its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeKind {
    /// By a certificate and a signature.
    Full,
    /// By a ticket of an earlier handshake.
    Resumed,
}

impl HandshakeLog {
    /// Takes the handshakes since the last call.
    pub fn take(&self) -> Vec<Handshake> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn note(&self, handshake: Handshake) {
        let mut handshakes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handshakes.push(handshake);
    }
}

/// Follows the messages that one end reads, in pieces of any length.
#[derive(Debug)]
pub(super) struct Messages {
    head: Vec<u8>,
    /// Bytes of the present message that are left.
    rest: usize,
    kind: HandshakeKind,
}

impl Messages {
    pub(super) const fn new() -> Self {
        Self {
            head: Vec::new(),
            rest: 0,
            kind: HandshakeKind::Resumed,
        }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.rest > 0 {
                self.rest -= 1;
                continue;
            }
            self.head.push(*byte);
            if self.head.len() == HEAD_LEN {
                let len = self.head[1..].iter();
                self.rest = len.fold(0, |len, byte| len << 8 | usize::from(*byte));
                if self.head[0] == CERTIFICATE {
                    self.kind = HandshakeKind::Full;
                }
                self.head.clear();
            }
        }
    }

    pub(super) const fn kind(&self) -> HandshakeKind {
        self.kind
    }
}
