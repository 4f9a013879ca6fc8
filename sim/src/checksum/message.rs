//! Handshake messages: one per flight.

use bytes::BufMut;
use quicpool_core::PeerId;
use quinn_proto::{TransportError, TransportErrorCode};

use super::keys::TAG_LEN;

/// The length of a client's or a server's random (RFC 8446 section 4.1.2).
pub(super) const RANDOM_LEN: usize = 32;

/// The longest message that is read: what a peer can make us hold, and what quinn-proto holds for a
/// level of encryption.
pub(super) const MESSAGE_LEN_MAX: usize = 16 * 1024;
/// One byte of kind and three of length, as in TLS.
const HEADER_LEN: usize = 4;

/// The alerts of TLS that a handshake can end with (RFC 8446 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alert {
    UnexpectedMessage = 10,
    IllegalParameter = 47,
    DecodeError = 50,
    DecryptError = 51,
    NoApplicationProtocol = 120,
}

impl Alert {
    pub(super) fn because(self, reason: &str) -> TransportError {
        TransportError {
            code: TransportErrorCode::crypto(self as u8),
            frame: None,
            reason: reason.into(),
        }
    }
}

/// Which flight a message is, under the number of its first message in TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ClientHello = 1,
    ServerHello = 2,
    /// EncryptedExtensions, CertificateRequest, Certificate, CertificateVerify, Finished.
    ServerFlight = 8,
    /// Certificate, CertificateVerify, Finished.
    ClientFlight = 11,
}

/// A message that is being written.
pub(super) struct Writer {
    kind: Kind,
    /// How long the whole message will be, if it has no more to say.
    len: usize,
    body: Vec<u8>,
}

impl Writer {
    pub(super) fn new(kind: Kind, len: usize) -> Self {
        let body = Vec::new();
        Self { kind, len, body }
    }

    pub(super) fn random(mut self, random: &[u8; RANDOM_LEN]) -> Self {
        self.body.extend_from_slice(random);
        self
    }

    /// A string under a length of two bytes.
    pub(super) fn string(mut self, string: &[u8]) -> Self {
        let len = u16::try_from(string.len())
            .expect("invariant: protocols and transport parameters are short");
        self.body.put_u16(len);
        self.body.extend_from_slice(string);
        self
    }

    pub(super) fn identity(mut self, identity: Option<PeerId>) -> Self {
        self.body.put_u8(u8::from(identity.is_some()));
        if let Some(id) = identity {
            self.body.extend_from_slice(id.as_bytes());
        }
        self
    }

    /// The padded message.
    pub(super) fn finish(self) -> Vec<u8> {
        self.seal(|_| [])
    }

    /// The padded message with a tag at its end over everything before it.
    pub(super) fn seal<const N: usize>(self, tag: impl FnOnce(&[u8]) -> [u8; N]) -> Vec<u8> {
        let usual = self.len.saturating_sub(HEADER_LEN);
        let len = usual.max(self.body.len() + N);
        let mut message = Vec::with_capacity(HEADER_LEN + len);
        message.put_u8(self.kind as u8);
        message.put_uint(len as u64, HEADER_LEN - 1);
        message.extend_from_slice(&self.body);
        message.resize(HEADER_LEN + len - N, 0);
        let tag = tag(&message);
        message.extend_from_slice(&tag);
        message
    }
}

/// A message that is being read.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads a whole message of this kind.
    pub(super) fn new(kind: Kind, message: &'a [u8]) -> Result<Self, TransportError> {
        let mut reader = Self { rest: message };
        let header = reader.take(HEADER_LEN)?;
        if header[0] != kind as u8 {
            return Err(Alert::UnexpectedMessage.because("another message was due"));
        }
        Ok(reader)
    }

    pub(super) fn random(&mut self) -> Result<[u8; RANDOM_LEN], TransportError> {
        self.array()
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], TransportError> {
        let len = u16::from_be_bytes(self.array()?);
        self.take(len.into())
    }

    pub(super) fn identity(&mut self) -> Result<Option<PeerId>, TransportError> {
        let [stated] = self.array()?;
        match stated {
            0 => Ok(None),
            1 => Ok(Some(PeerId::from_bytes(self.array()?))),
            _ => Err(Alert::DecodeError.because("an identity is there or not")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TransportError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(too_short)?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], TransportError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(too_short)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Cuts the first whole message off what has arrived.
pub(super) fn next_message(arrived: &mut Vec<u8>) -> Result<Option<Vec<u8>>, TransportError> {
    let Some((&[_kind, high, middle, low], _)) = arrived.split_first_chunk() else {
        return Ok(None);
    };
    let len = HEADER_LEN + u32::from_be_bytes([0, high, middle, low]) as usize;
    if len > MESSAGE_LEN_MAX {
        return Err(Alert::DecodeError.because("a handshake message is too long"));
    }
    if arrived.len() < len {
        return Ok(None);
    }
    let rest = arrived.split_off(len);
    Ok(Some(std::mem::replace(arrived, rest)))
}

/// A message without the tag at its end, and the tag.
pub(super) fn split_tag(message: &[u8]) -> Result<(&[u8], &[u8; TAG_LEN]), TransportError> {
    message.split_last_chunk().ok_or_else(too_short)
}

fn too_short() -> TransportError {
    Alert::DecodeError.because("a handshake message is too short")
}
