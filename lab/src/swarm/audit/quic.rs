//! Packets and frames of legible datagrams (RFC 9000, sections 17 and 19), as far as auditors look
//! at them.

/// The length of the connection ids of machines, in bytes: a short header does not hold it.
pub(super) const ID_LEN: usize = 8;
/// The length of a packet's tag, in bytes.
const TAG_LEN: usize = 16;

const LONG_HEADER: u8 = 0x80;
const INITIAL: u8 = 0;
const RETRY: u8 = 3;

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) kind: Kind,
    /// The connection id that the receiver goes by.
    pub(super) destination: &'a [u8],
    /// The one that the sender goes by, if the packet holds it.
    pub(super) source: Option<&'a [u8]>,
    pub(super) frames: Frames<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Initial,
    Handshake,
    OneRtt,
    Retry,
}

/// A frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Stream {
        id: u64,
        offset: u64,
        data: &'a [u8],
    },
    NewConnectionId(&'a [u8]),
    PathResponse,
    Ping,
    /// The application's close, with its code.
    Close(u64),
    Other,
    /// No frame that a machine sends.
    Unknown,
}

/// Takes the first packet of a datagram, if there is one.
pub(super) fn take_packet<'a>(datagram: &mut &'a [u8]) -> Option<Packet<'a>> {
    let mut reader = Reader(datagram);
    let first = reader.byte()?;
    if first & LONG_HEADER == 0 {
        let destination = reader.take(ID_LEN)?;
        let frames = protected(first, std::mem::take(&mut reader.0))?;
        *datagram = &[];
        return Some(Packet {
            kind: Kind::OneRtt,
            destination,
            source: None,
            frames,
        });
    }
    reader.take(4)?;
    let destination = reader.bytes_8()?;
    let source = Some(reader.bytes_8()?);
    let kind = match first >> 4 & 3 {
        INITIAL => Kind::Initial,
        RETRY => Kind::Retry,
        _ => Kind::Handshake,
    };
    if kind == Kind::Initial {
        reader.bytes()?;
    }
    let frames = match kind {
        Kind::Retry => Frames(&[]),
        Kind::Initial | Kind::Handshake | Kind::OneRtt => protected(first, reader.bytes()?)?,
    };
    *datagram = if kind == Kind::Retry { &[] } else { reader.0 };
    Some(Packet {
        kind,
        destination,
        source,
        frames,
    })
}

/// Returns the frames between the packet number and the tag.
fn protected(first: u8, bytes: &[u8]) -> Option<Frames<'_>> {
    let number_len = usize::from(first & 3) + 1;
    let end = bytes.len().checked_sub(TAG_LEN)?;
    bytes.get(number_len..end).map(Frames)
}

/// The frames of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frames<'a>(&'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        while let Some((0, rest)) = self.0.split_first() {
            self.0 = rest;
        }
        if self.0.is_empty() {
            return None;
        }
        let mut reader = Reader(self.0);
        let frame = reader.frame();
        self.0 = if frame.is_some() { reader.0 } else { &[] };
        Some(frame.unwrap_or(Frame::Unknown))
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn frame(&mut self) -> Option<Frame<'a>> {
        let kind = self.varint()?;
        match kind {
            0x01 => return Some(Frame::Ping),
            0x02 | 0x03 => self.acknowledgement(kind == 0x03)?,
            0x04 => self.skip(3)?,
            0x05 | 0x11 | 0x15 => self.skip(2)?,
            0x06 => {
                self.varint()?;
                self.bytes()?;
            }
            0x07 => {
                self.bytes()?;
            }
            0x08..=0x0f => return self.stream(kind),
            0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => self.skip(1)?,
            0x18 => {
                self.skip(2)?;
                let id = self.bytes_8()?;
                self.take(16)?;
                return Some(Frame::NewConnectionId(id));
            }
            0x1a => {
                self.take(8)?;
            }
            0x1b => {
                self.take(8)?;
                return Some(Frame::PathResponse);
            }
            0x1c => {
                self.skip(2)?;
                self.bytes()?;
            }
            0x1d => {
                let code = self.varint()?;
                self.bytes()?;
                return Some(Frame::Close(code));
            }
            // HANDSHAKE_DONE, IMMEDIATE_ACK.
            0x1e | 0x1f => {}
            // DATAGRAM: up to the end of the packet, or with its length.
            0x30 => self.0 = &[],
            0x31 => {
                self.bytes()?;
            }
            // ACK_FREQUENCY.
            0xaf => self.skip(4)?,
            _ => return None,
        }
        Some(Frame::Other)
    }

    fn acknowledgement(&mut self, has_ecn_counts: bool) -> Option<()> {
        self.skip(2)?;
        let ranges = self.varint()?;
        self.skip(1)?;
        for _ in 0..ranges {
            self.skip(2)?;
        }
        self.skip(if has_ecn_counts { 3 } else { 0 })
    }

    fn stream(&mut self, kind: u64) -> Option<Frame<'a>> {
        let id = self.varint()?;
        let offset = if kind & 4 == 0 { 0 } else { self.varint()? };
        let data = match kind & 2 {
            0 => std::mem::take(&mut self.0),
            _ => self.bytes()?,
        };
        Some(Frame::Stream { id, offset, data })
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let tail = self.take((1 << (first >> 6)) - 1)?;
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(tail.iter().fold(u64::from(first & 0x3f), fold))
    }

    /// Skips as many integers.
    fn skip(&mut self, integers: usize) -> Option<()> {
        for _ in 0..integers {
            self.varint()?;
        }
        Some(())
    }

    /// Bytes behind an integer, their number.
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.varint()?;
        self.take(usize::try_from(len).ok()?)
    }

    /// Bytes behind a byte, their number.
    fn bytes_8(&mut self) -> Option<&'a [u8]> {
        let len = self.byte()?;
        self.take(len.into())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet with a short header that holds these frames.
    pub(in crate::swarm::audit) fn one_rtt(id: [u8; ID_LEN], frames: &[u8]) -> Vec<u8> {
        [&[0x40][..], &id, &[9], frames, &[0; TAG_LEN]].concat()
    }

    #[test]
    fn packets_that_share_a_datagram_are_told_apart() {
        let ids = [&[1, 0xaa][..], &[2, 0xbb, 0xbb]].concat();
        let body = [&[9, 0x01][..], &[0; TAG_LEN]].concat();
        let long = |first: u8, token: &[u8]| {
            let header = [&[first, 0, 0, 0, 1], &ids[..], token].concat();
            [&header[..], &[body.len() as u8], &body].concat()
        };
        let short = one_rtt([7; ID_LEN], &[0x1e]);
        let datagram = [long(0xc0, &[1, 5]), long(0xe0, &[]), short].concat();
        let mut rest = &datagram[..];
        let packets: Vec<Packet<'_>> = std::iter::from_fn(|| take_packet(&mut rest)).collect();
        let kinds: Vec<Kind> = packets.iter().map(|packet| packet.kind).collect();
        assert_eq!(kinds, [Kind::Initial, Kind::Handshake, Kind::OneRtt]);
        assert_eq!(packets[0].source, Some(&[0xbb, 0xbb][..]));
        assert_eq!(packets[0].frames.collect::<Vec<_>>(), [Frame::Ping]);
        assert_eq!(packets[2].destination, [7; ID_LEN]);
    }

    #[test]
    fn frames_are_read_and_what_is_none_is_said_to_be_none() {
        let ack = [0x02, 5, 0, 1, 0, 1, 1];
        let stream = [0x0e, 6, 0x40, 70, 2, 0xab, 0xcd];
        let close = [0x1d, 1, 0];
        let frames = [&[0, 0][..], &ack, &stream, &close, &[0x08, 2, 1]].concat();
        let packet = one_rtt([7; ID_LEN], &frames);
        let packet = take_packet(&mut &packet[..]).expect("it is a packet");
        let data = &[0xab, 0xcd][..];
        let (id, offset) = (6, 70);
        let expected = [
            Frame::Other,
            Frame::Stream { id, offset, data },
            Frame::Close(1),
            Frame::Stream {
                id: 2,
                offset: 0,
                data: &[1],
            },
        ];
        assert_eq!(packet.frames.collect::<Vec<_>>(), expected);
        assert_eq!(
            Frames(&[0x3f, 1]).collect::<Vec<_>>(),
            [Frame::Unknown],
            "no such frame"
        );
    }

    proptest! {
        #[test]
        fn no_datagram_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &bytes[..];
            while let Some(packet) = take_packet(&mut rest) {
                packet.frames.for_each(drop);
            }
        }
    }
}
