//! The QUIC packets of a datagram (RFC 9000, section 17).

use std::{collections::BTreeMap, fmt};

use bytes::Buf;

use super::frames;
use crate::Crypto;

/// The connection IDs that our machines choose, in bytes. A short header does not hold the length.
const ID_LEN: usize = 8;
/// The tag at the end of each packet.
const TAG_LEN: usize = 16;
const LONG_HEADER: u8 = 0x80;

/// A packet, as far as it can be read.
///
/// Kind and length come from its header. Number and frames are there only if the cryptography
/// of the run leaves packets legible, as [`Checksum`](crate::Checksum) does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketRecord {
    /// The kind in its header.
    pub kind: PacketKind,
    /// Its bytes, header and tag included.
    pub length: usize,
    /// Its number, restored from the last one that was seen under the same connection ID.
    pub number: Option<u64>,
    /// Its frames, each in a few words.
    pub frames: Vec<String>,
}

/// The kinds of packets, by their headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PacketKind {
    /// Begins a handshake.
    Initial,
    /// Early data.
    ZeroRtt,
    /// Goes on with a handshake.
    Handshake,
    /// Asks to begin again with a token.
    Retry,
    /// Offers other versions.
    VersionNegotiation,
    /// All that comes after the handshake. A stateless reset looks like one.
    OneRtt,
    /// No packet of QUIC.
    Unknown,
}

impl PacketKind {
    /// As the standard calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Initial => "Initial",
            Self::ZeroRtt => "0-RTT",
            Self::Handshake => "Handshake",
            Self::Retry => "Retry",
            Self::VersionNegotiation => "Version Negotiation",
            Self::OneRtt => "1-RTT",
            Self::Unknown => "unknown",
        }
    }

    /// Packets of one space are numbered together (RFC 9000, section 12.3).
    fn space(self) -> Option<u8> {
        match self {
            Self::Initial => Some(0),
            Self::Handshake => Some(1),
            Self::ZeroRtt | Self::OneRtt => Some(2),
            Self::Retry | Self::VersionNegotiation | Self::Unknown => None,
        }
    }
}

impl fmt::Display for PacketRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match self.number {
            Some(number) => write!(f, " {number}"),
            None => Ok(()),
        }
    }
}

/// Whether packets can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Legibility {
    /// Numbers and frames are in the clear.
    #[default]
    Clear,
    /// Only the headers in the clear can be read.
    #[cfg(any(test, feature = "tls"))]
    Protected,
}

impl Legibility {
    pub(crate) fn of(crypto: Crypto) -> Self {
        match crypto {
            Crypto::Checksum => Self::Clear,
            #[cfg(feature = "tls")]
            Crypto::Tls => Self::Protected,
        }
    }
}

/// Reads packets, and remembers their numbers: a packet carries only the last digits of its own.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) legibility: Legibility,
    /// The greatest number seen, by connection ID and space.
    numbers: BTreeMap<(Vec<u8>, u8), u64>,
}

/// A packet whose bounds are known.
struct Parsed<'a> {
    kind: PacketKind,
    id: &'a [u8],
    whole: &'a [u8],
    /// Where the packet number is.
    number_at: Option<usize>,
}

impl Reader {
    pub(super) fn read(&mut self, mut datagram: &[u8]) -> Vec<PacketRecord> {
        let mut packets = Vec::new();
        while !datagram.is_empty() {
            let packet = parse(datagram).unwrap_or(Parsed {
                kind: PacketKind::Unknown,
                id: &[],
                whole: datagram,
                number_at: None,
            });
            packets.push(self.describe(&packet));
            datagram.advance(packet.whole.len());
        }
        packets
    }

    fn describe(&mut self, packet: &Parsed<'_>) -> PacketRecord {
        let (number, frames) = self.open(packet).unzip();
        PacketRecord {
            kind: packet.kind,
            length: packet.whole.len(),
            number,
            frames: frames.unwrap_or_default(),
        }
    }

    /// Number and frames. What is no packet after all, such as a stateless reset, has none.
    fn open(&mut self, packet: &Parsed<'_>) -> Option<(u64, Vec<String>)> {
        if self.legibility != Legibility::Clear {
            return None;
        }
        let (space, at) = (packet.kind.space()?, packet.number_at?);
        let width = usize::from(packet.whole.first()? & 3) + 1;
        let digits = packet.whole.get(at..at + width)?;
        let truncated = digits
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let end = packet.whole.len().checked_sub(TAG_LEN)?;
        let frames = frames::read(packet.whole.get(at + width..end)?)?;
        let seen = self.numbers.entry((packet.id.to_vec(), space)).or_default();
        let number = restore(truncated, width, *seen);
        *seen = number.max(*seen);
        Some((number, frames))
    }
}

/// The number with these last bytes that is nearest to the one expected (RFC 9000, appendix A.3).
fn restore(truncated: u64, width: usize, greatest: u64) -> u64 {
    let (expected, window) = (greatest + 1, 1u64 << (8 * width));
    let candidate = (expected & !(window - 1)) | truncated;
    if candidate + window / 2 <= expected {
        candidate + window
    } else if candidate > expected + window / 2 && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

/// The first packet of a datagram.
fn parse(datagram: &[u8]) -> Option<Parsed<'_>> {
    let first = *datagram.first()?;
    if first & LONG_HEADER == 0 {
        // A packet with a short header has no length: it is the last.
        return Some(Parsed {
            kind: PacketKind::OneRtt,
            id: datagram.get(1..1 + ID_LEN).unwrap_or_default(),
            whole: datagram,
            number_at: Some(1 + ID_LEN),
        });
    }
    let mut rest = datagram.get(1..)?;
    let version = rest.try_get_u32().ok()?;
    let id = take_id(&mut rest)?;
    take_id(&mut rest)?;
    let kind = match (version, first >> 4 & 3) {
        (0, _) => PacketKind::VersionNegotiation,
        (_, 0) => PacketKind::Initial,
        (_, 1) => PacketKind::ZeroRtt,
        (_, 2) => PacketKind::Handshake,
        (_, _) => PacketKind::Retry,
    };
    let whole = |whole, number_at| Parsed {
        kind,
        id,
        whole,
        number_at,
    };
    if kind.space().is_none() {
        return Some(whole(datagram, None));
    }
    if kind == PacketKind::Initial {
        let token = frames::length(&mut rest)?;
        rest = rest.get(token..)?;
    }
    let length = frames::length(&mut rest)?;
    let at = datagram.len() - rest.len();
    Some(whole(datagram.get(..at.checked_add(length)?)?, Some(at)))
}

fn take_id<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first()?;
    let (id, rest) = rest.split_at_checked((*length).into())?;
    *bytes = rest;
    Some(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: [u8; 2] = [1, 0xaa];

    #[test]
    fn coalesced_packets_are_told_apart() {
        let initial = [&[0xc0, 0, 0, 0, 1][..], &ID, &ID, &[0]].concat();
        let initial = [&initial[..], &[19, 7, 0x01, 0x00], &[9; 16]].concat();
        let handshake = [&[0xe0, 0, 0, 0, 1][..], &ID, &ID].concat();
        let handshake = [&handshake[..], &[18, 8, 0x01], &[9; 16]].concat();
        let one_rtt = [&[0x40][..], &[5; 8], &[9, 0x1e], &[9; 16]].concat();
        let packets = Reader::default().read(&[initial, handshake, one_rtt].concat());
        let told: Vec<String> = packets
            .iter()
            .map(|packet| format!("{packet} {} {:?}", packet.length, packet.frames))
            .collect();
        assert_eq!(
            told,
            [
                "Initial 7 30 [\"PING\", \"PADDING × 1\"]",
                "Handshake 8 28 [\"PING\"]",
                "1-RTT 9 27 [\"HANDSHAKE_DONE\"]",
            ]
        );
    }

    #[test]
    fn what_is_protected_has_neither_number_nor_frames() {
        let mut reader = Reader {
            legibility: Legibility::Protected,
            ..Reader::default()
        };
        let packets = reader.read(&[&[0x40][..], &[5; 8], &[9, 0x1e], &[9; 16]].concat());
        assert_eq!(
            (packets[0].kind, packets[0].number),
            (PacketKind::OneRtt, None)
        );
        assert!(packets[0].frames.is_empty());
    }

    #[test]
    fn numbers_are_restored_from_their_last_bytes() {
        // The example of RFC 9000, appendix A.3.
        assert_eq!(restore(0x9b32, 2, 0xa82f_30ea), 0xa82f_9b32);
        assert_eq!(restore(2, 1, 255), 258);
        assert_eq!(restore(255, 1, 256), 255);
        assert_eq!(restore(0, 1, 0), 0);
    }

    #[test]
    fn retry_and_negotiation_stand_alone_and_the_rest_is_unknown() {
        let kind = |datagram: &[u8]| Reader::default().read(datagram)[0].kind;
        let retry = [&[0xf0, 0, 0, 0, 1][..], &ID, &ID, &[0x40; 30]].concat();
        assert_eq!(kind(&retry), PacketKind::Retry);
        let negotiation = [&[0xc0, 0, 0, 0, 0][..], &ID, &ID, &[0, 0, 0, 1]].concat();
        assert_eq!(kind(&negotiation), PacketKind::VersionNegotiation);
        assert_eq!(kind(&[0xc0, 0, 0]), PacketKind::Unknown);
        assert_eq!(Reader::default().read(&[]), []);
    }

    proptest! {
        #[test]
        fn packets_cover_any_datagram(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let packets = Reader::default().read(&bytes);
            let length: usize = packets.iter().map(|packet| packet.length).sum();
            prop_assert_eq!(length, bytes.len());
        }
    }
}
