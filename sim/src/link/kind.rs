//! What kind of packet a datagram begins with, as anyone on the way can tell.

/// The kinds that a link can tell apart (RFC 9000, section 17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Initial,
    Handshake,
    OneRtt,
    /// 0-RTT, Retry, Version Negotiation, and what is no packet at all.
    Other,
}

impl Kind {
    pub(super) fn of(datagram: &[u8]) -> Self {
        let Some(&first) = datagram.first() else {
            return Self::Other;
        };
        let is_long = first & 0x80 != 0;
        if !is_long {
            return Self::OneRtt;
        }
        // Version 0 is Version Negotiation, where the type means nothing.
        let has_version = datagram.get(1..5).is_some_and(|version| version != [0; 4]);
        match first >> 4 & 3 {
            0 if has_version => Self::Initial,
            2 if has_version => Self::Handshake,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_form_tells_the_kind() {
        assert_eq!(Kind::of(&[0xc3, 0, 0, 0, 1]), Kind::Initial);
        assert_eq!(Kind::of(&[0xd0, 0, 0, 0, 1]), Kind::Other);
        assert_eq!(Kind::of(&[0xe1, 0, 0, 0, 1]), Kind::Handshake);
        assert_eq!(Kind::of(&[0xf0, 0, 0, 0, 1]), Kind::Other);
        assert_eq!(Kind::of(&[0x41]), Kind::OneRtt);
        assert_eq!(Kind::of(&[0xc3, 0, 0, 0, 0]), Kind::Other);
        assert_eq!(Kind::of(&[0xc3, 0]), Kind::Other);
        assert_eq!(Kind::of(&[]), Kind::Other);
    }
}
