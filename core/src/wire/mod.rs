//! What is on the wire; `docs/wire.md` describes it for other implementations.

pub(crate) mod aead;
pub(crate) mod code;
pub(crate) mod datagram;
pub(crate) mod entries;
#[cfg(test)]
pub(crate) mod examples;
pub(crate) mod frame;
#[cfg(feature = "fuzz-internals")]
pub(crate) mod fuzzing;
pub(crate) mod grease;
pub(crate) mod greeting;
pub(crate) mod hello;
pub(crate) mod lines;
mod parameters;
pub(crate) mod record;
mod replay;
pub(crate) mod seal;
pub(crate) mod stream;
pub(crate) mod varint;

/// The version in the context of all keys. It changes with any change that an older peer would misread.
pub(crate) const WIRE_VERSION: u16 = 1;

/// The application protocol of TLS (RFC 7301); a peer that does not offer it is refused.
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub(crate) const ALPN: &[u8] = b"quicpool/1-d1";
