//! Datagrams: messages that are sent once, outside of any line (RFC 9221).
//!
//! A payload is a varint, the flow, and what the application sends. A sealed datagram is a counter of 8 bytes, the
//! ciphertext, and a tag of 16 bytes. The counter is
//! explicit, since datagrams are lost and overtake each other, and it is the nonce: each direction
//! of each connection has a key of its own, which seals nothing but datagrams. One that is not
//! sealed is its payload and nothing else: QUIC itself delivers none twice.

use bytes::{Buf, Bytes};

use super::{
    aead::{AeadKey, Forged, TAG_LEN},
    replay::ReplayWindow,
    seal::{self, RECORDS_MAX},
    varint,
};

/// The exporter label (RFC 8446 section 7.5) of the keys of datagrams.
pub(crate) const KEY_LABEL: &[u8] = b"EXPORTER-quicpool-datagram";

/// The length of the counter, in bytes.
const COUNTER_LEN: usize = 8;

/// The flow of what the application sends as a datagram: a varint of one byte.
const FLOW: u8 = 0;

/// What the flow takes, in bytes.
pub(crate) const FLOW_LEN: usize = 1;

/// What the flow and sealing add to the bytes of the application, in bytes.
pub(crate) const OVERHEAD: usize = COUNTER_LEN + FLOW_LEN + TAG_LEN;

/// Why a datagram that has arrived is dropped. Neither closes the connection: datagrams are
/// independent of each other, so nothing is lost with one that is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The other end has not sealed it.
    Forged,
    /// It has arrived before, or is older than the replay window.
    Replayed,
    /// It belongs to a flow that this end does not know.
    UnknownFlow,
}

/// The payload of a datagram that is not sealed.
pub(crate) fn with_flow(bytes: &[u8]) -> Bytes {
    [&[FLOW], bytes].concat().into()
}

/// The bytes of the application in a payload.
pub(crate) fn without_flow(mut payload: Bytes) -> Result<Bytes, Refused> {
    match varint::get(&payload) {
        Some((flow, length)) if flow == u64::from(FLOW) => {
            payload.advance(length);
            Ok(payload)
        }
        Some(_) | None => Err(Refused::UnknownFlow),
    }
}

/// Seals what one direction sends. Neither printed nor cloned.
pub(crate) struct Sealer {
    key: AeadKey,
    next: u64,
}

/// Opens what one direction receives. Neither printed nor cloned.
pub(crate) struct Opener {
    key: AeadKey,
    window: ReplayWindow,
}

impl Sealer {
    /// With the key that `fill` writes into the place it is given.
    pub(crate) fn derive<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let key = AeadKey::derive(fill)?;
        Ok(Self { key, next: 0 })
    }

    /// Seals bytes of the application. `None` after [`RECORDS_MAX`] datagrams: the connection must end.
    #[must_use]
    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Option<Bytes> {
        if self.is_exhausted() {
            return None;
        }
        let counter = self.next.to_be_bytes();
        self.next += 1;
        let mut sealed = Vec::with_capacity(bytes.len() + OVERHEAD);
        sealed.extend_from_slice(&counter);
        sealed.push(FLOW);
        sealed.extend_from_slice(bytes);
        let body = &mut sealed[COUNTER_LEN..];
        let tag = self.key.seal(seal::nonce(counter), &counter, body);
        sealed.extend_from_slice(&tag);
        Some(sealed.into())
    }

    /// Whether the connection should be replaced.
    pub(crate) const fn is_exhausted(&self) -> bool {
        self.next >= RECORDS_MAX
    }

    /// Leaves one datagram.
    #[cfg(test)]
    pub(crate) const fn wear_out(&mut self) {
        self.next = RECORDS_MAX - 1;
    }
}

impl Opener {
    /// With the key that `fill` writes into the place it is given.
    pub(crate) fn derive<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let key = AeadKey::derive(fill)?;
        let window = ReplayWindow::default();
        Ok(Self { key, window })
    }

    /// The bytes of the application, if the other end has sealed the datagram and it has not arrived before.
    pub(crate) fn open(&mut self, sealed: &[u8]) -> Result<Bytes, Refused> {
        let (counter, rest) = sealed.split_first_chunk().ok_or(Refused::Forged)?;
        let (body, tag) = rest.split_last_chunk().ok_or(Refused::Forged)?;
        let (counter, number): (&[u8; COUNTER_LEN], _) = (counter, u64::from_be_bytes(*counter));
        let tag: &[u8; TAG_LEN] = tag;
        if number >= RECORDS_MAX {
            return Err(Refused::Forged);
        }
        if !self.window.is_fresh(number) {
            return Err(Refused::Replayed);
        }
        let mut payload = body.to_vec();
        self.key
            .open(seal::nonce(*counter), counter, &mut payload, *tag)
            .map_err(|Forged| Refused::Forged)?;
        // Only now: a forged counter must not push the window ahead.
        self.window.mark(number);
        without_flow(payload.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, convert::Infallible};

    fn fill(byte: u8) -> impl FnOnce(&mut [u8]) -> Result<(), Infallible> {
        move |bytes| {
            bytes.fill(byte);
            Ok(())
        }
    }

    fn ends(sealing: u8, opening: u8) -> (Sealer, Opener) {
        let (Ok(sealer), Ok(opener)) =
            (Sealer::derive(fill(sealing)), Opener::derive(fill(opening)));
        (sealer, opener)
    }

    #[test]
    fn what_is_sealed_opens_once_in_any_order() {
        let (mut sealer, mut opener) = ends(1, 1);
        let payloads: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; usize::from(n)]).collect();
        let sealed: Vec<Bytes> = payloads
            .iter()
            .map(|payload| sealer.seal(payload).expect("young key"))
            .collect();
        for (payload, sealed) in payloads.iter().zip(&sealed).rev() {
            assert_eq!(sealed.len(), payload.len() + OVERHEAD);
            assert_eq!(opener.open(sealed).as_deref(), Ok(&payload[..]));
            assert_eq!(opener.open(sealed), Err(Refused::Replayed));
        }
        assert_eq!(sealed.iter().collect::<BTreeSet<_>>().len(), 100);
    }

    #[test]
    fn another_key_opens_nothing() {
        let (mut sealer, mut opener) = ends(1, 2);
        let sealed = sealer.seal(b"payload").expect("young key");
        assert_eq!(opener.open(&sealed), Err(Refused::Forged));
    }

    #[test]
    fn a_forged_counter_does_not_move_the_window() {
        let (mut sealer, mut opener) = ends(1, 1);
        let sealed = sealer.seal(b"payload").expect("young key");
        let mut forged = sealed.to_vec();
        forged[..COUNTER_LEN].copy_from_slice(&(RECORDS_MAX - 1).to_be_bytes());
        assert_eq!(opener.open(&forged), Err(Refused::Forged));
        assert!(opener.open(&sealed).is_ok());
    }

    #[test]
    fn other_flows_are_dropped() {
        assert_eq!(
            without_flow(with_flow(b"hello")).as_deref(),
            Ok(&b"hello"[..])
        );
        for payload in [&b""[..], b"\x01hello", b"\x40", b"\x40\x01"] {
            let refused = without_flow(Bytes::copy_from_slice(payload));
            assert_eq!(refused, Err(Refused::UnknownFlow), "{payload:02x?}");
        }
    }

    #[test]
    fn the_last_counter_ends_the_key() {
        let (mut sealer, mut opener) = ends(1, 1);
        sealer.next = RECORDS_MAX - 1;
        let last = sealer.seal(b"last").expect("one is left");
        assert!(opener.open(&last).is_ok());
        assert!(sealer.is_exhausted());
        assert_eq!(sealer.seal(b"one more"), None);
    }

    proptest! {
        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let (_, mut opener) = ends(1, 1);
            prop_assert_eq!(opener.open(&bytes), Err(Refused::Forged));
        }

        #[test]
        fn any_flipped_bit_is_noticed(payload in prop::collection::vec(any::<u8>(), 0..100), flip in any::<prop::sample::Index>()) {
            let (mut sealer, mut opener) = ends(1, 1);
            let mut sealed = sealer.seal(&payload).expect("young key").to_vec();
            let bit = flip.index(sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(opener.open(&sealed), Err(Refused::Forged));
        }
    }
}
