//! Finds the kinds of packets in a datagram by the headers in the clear.

/// The packets of a datagram, as far as their headers are in the clear (RFC 9000, section 17).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds {
    pub(super) initial: bool,
    /// Early data.
    pub zero_rtt: bool,
    pub(super) handshake: bool,
    pub(super) one_rtt: bool,
}

const LONG_HEADER: u8 = 0x80;
const INITIAL: u8 = 0;
const ZERO_RTT: u8 = 1;
const HANDSHAKE: u8 = 2;
const RETRY: u8 = 3;

impl Kinds {
    /// Walks through the packets of a datagram, and stops at what is none.
    pub fn of(mut datagram: &[u8]) -> Self {
        let mut kinds = Self::default();
        while let Some(rest) = kinds.take_packet(datagram) {
            datagram = rest;
        }
        kinds
    }

    /// Notes the first packet, and gives what follows it.
    fn take_packet<'a>(&mut self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (first, rest) = datagram.split_first()?;
        if first & LONG_HEADER == 0 {
            // A packet with a short header has no length: it is the last.
            self.one_rtt = true;
            return None;
        }
        let kind = first >> 4 & 3;
        let (version, rest) = rest.split_first_chunk()?;
        // In version negotiation the kind means nothing, and a Retry stands alone.
        if *version == [0; 4] || kind == RETRY {
            return None;
        }
        self.initial |= kind == INITIAL;
        self.zero_rtt |= kind == ZERO_RTT;
        self.handshake |= kind == HANDSHAKE;
        let rest = skip_id(skip_id(rest)?)?;
        let rest = match kind {
            INITIAL => skip_bytes(rest)?,
            _ => rest,
        };
        skip_bytes(rest)
    }
}

/// Skips a connection ID and the byte before it, its length.
fn skip_id(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first()?;
    rest.get(usize::from(*length)..)
}

/// Skips bytes and the integer before them, their number (RFC 9000, section 16).
fn skip_bytes(bytes: &[u8]) -> Option<&[u8]> {
    let first = *bytes.first()?;
    let width = 1 << (first >> 6);
    let tail = bytes.get(1..width)?.iter();
    let length = tail.fold(u64::from(first & 0x3f), |sum, byte| {
        sum << 8 | u64::from(*byte)
    });
    bytes.get(width..)?.get(usize::try_from(length).ok()?..)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: [u8; 2] = [1, 0xaa];

    #[test]
    fn each_packet_of_a_datagram_is_seen() {
        let datagram = [initial(), handshake(), vec![0x40, 1, 2]].concat();
        assert_eq!(kinds(&datagram), [true, true, true]);
        assert_eq!(kinds(&initial()), [true, false, false]);
        assert_eq!(kinds(&handshake()), [false, true, false]);
        assert_eq!(kinds(&[0x41]), [false, false, true]);
    }

    #[test]
    fn what_is_none_of_them_is_seen_as_none() {
        let retry = [&[0xf0, 0, 0, 0, 1][..], &ID, &ID, &[0x40; 30]].concat();
        let negotiation = [&[0xc0, 0, 0, 0, 0][..], &ID, &ID, &[0, 0, 0, 1]].concat();
        for datagram in [&[][..], &[0xc0], &[0xc0, 0, 0], &retry, &negotiation] {
            assert_eq!(kinds(datagram), [false; 3]);
        }
    }

    proptest! {
        #[test]
        fn no_datagram_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            Kinds::of(&bytes);
        }
    }

    fn kinds(datagram: &[u8]) -> [bool; 3] {
        let kinds = Kinds::of(datagram);
        [kinds.initial, kinds.handshake, kinds.one_rtt]
    }

    /// An Initial packet with a token of three bytes, and a length of two digits.
    pub(in crate::link) fn initial() -> Vec<u8> {
        let header = [&[0xc0, 0, 0, 0, 1][..], &ID, &ID, &[3, 9, 9, 9]].concat();
        [&header[..], &[0x40, 70], &[0x40; 70]].concat()
    }

    pub(in crate::link) fn handshake() -> Vec<u8> {
        [&[0xe0, 0, 0, 0, 1][..], &ID, &ID, &[20], &[0x40; 20]].concat()
    }
}
