//! What a peer has sent, and its name among everything that was ever sent.

use std::{fmt, num::NonZeroU64, ops::RangeInclusive};

use bytes::Bytes;

use crate::{MessageNumber, PeerId, wire::hello::HalfId};

/// A message, or a datagram, that a peer has sent us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The peer that sent it.
    pub from: PeerId,
    /// Its bytes. Those of a message share the memory of the record they came in: copy what is kept
    /// for long.
    pub payload: Bytes,
    place: Option<Place>,
}

/// Where a message stands in what its sender sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    half: HalfId,
    /// One more than its number.
    ordinal: NonZeroU64,
}

impl Message {
    /// Makes one that has no key, as a datagram has none.
    #[must_use]
    pub const fn new(from: PeerId, payload: Bytes) -> Self {
        Self {
            from,
            payload,
            place: None,
        }
    }

    /// Makes one as it comes from a peer.
    ///
    /// ```
    /// use quicpool_core::{Message, MessageKey};
    ///
    /// let key = MessageKey::from_bytes([7; MessageKey::LEN]);
    /// assert_eq!(Message::with_key(key, "hello".into()).key(), Some(key));
    /// ```
    #[must_use]
    pub const fn with_key(key: MessageKey, payload: Bytes) -> Self {
        Self::of_half(key.from, key.half, key.number, payload)
    }

    pub(crate) const fn of_half(from: PeerId, half: HalfId, number: u64, payload: Bytes) -> Self {
        // Numbers are below 2^62; the last of all would have no successor.
        let place = match NonZeroU64::new(number.wrapping_add(1)) {
            Some(ordinal) => Some(Place { half, ordinal }),
            None => None,
        };
        Self {
            from,
            payload,
            place,
        }
    }

    /// Returns its key; `None` for a datagram.
    #[must_use]
    pub const fn key(&self) -> Option<MessageKey> {
        match self.place {
            Some(place) => Some(MessageKey {
                from: self.from,
                half: place.half,
                number: place.ordinal.get() - 1,
            }),
            None => None,
        }
    }
}

impl Message {
    /// Whether another message of the same peer is a later one of the same half.
    fn is_followed_by(&self, next: &Self) -> bool {
        let later = |one: Place, next: Place| next.half == one.half && next.ordinal > one.ordinal;
        let places = self.place.zip(next.place);
        places.is_some_and(|(one, next)| later(one, next))
    }
}

/// Names a message for ever: it is the same however often the message comes, and no other message of any
/// peer has it.
///
/// A message comes again when this process has restarted before it had taken it, and the sender has
/// [`OnPeerRestart::Resend`](crate::OnPeerRestart::Resend); when a session ended amid it; and when a message that is
/// held was dropped without `done`. An application that stores the key together with what the message has
/// caused, and looks it up first, acts on each message once.
///
/// A sender that has restarted numbers anew: its keys are other ones.
///
/// ```
/// use quicpool_core::MessageKey;
///
/// let key = MessageKey::from_bytes([7; MessageKey::LEN]);
/// assert_eq!(MessageKey::from_bytes(key.to_bytes()), key);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageKey {
    from: PeerId,
    half: HalfId,
    number: u64,
}

impl MessageKey {
    /// The length of its bytes: sender 32, half 16, channel 8 (zero), number 8 in network order.
    pub const LEN: usize = 64;

    #[cfg(test)]
    pub(crate) const fn new(from: PeerId, half: HalfId, number: u64) -> Self {
        Self { from, half, number }
    }

    /// Returns the peer that sent the message. A peer names its halves itself, so that the others could be
    /// imitated by it if this were no part of the key.
    #[must_use]
    pub const fn sender(&self) -> PeerId {
        self.from
    }

    /// Returns its number, as the sender's `send` has returned it.
    #[must_use]
    pub const fn number(&self) -> MessageNumber {
        MessageNumber::new(self.number)
    }

    /// Returns what to store.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..32].copy_from_slice(self.from.as_bytes());
        bytes[32..48].copy_from_slice(&self.half.0);
        bytes[56..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// Reads what was stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let (mut from, mut half, mut number) = ([0; 32], [0; 16], [0; 8]);
        from.copy_from_slice(&bytes[..32]);
        half.copy_from_slice(&bytes[32..48]);
        number.copy_from_slice(&bytes[56..]);
        Self {
            from: PeerId::from_bytes(from),
            half: HalfId(half),
            number: u64::from_be_bytes(number),
        }
    }
}

/// Messages of one peer that its application has taken, next to each other in the order in which they were read:
/// see [`mark_taken`](crate::driver::Driver::mark_taken).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenMessages {
    first: MessageKey,
    last: u64,
}

impl TakenMessages {
    /// Makes one of a single message.
    #[must_use]
    pub const fn new(key: MessageKey) -> Self {
        Self {
            first: key,
            last: key.number,
        }
    }

    /// Makes those of messages of one peer that were read one after the other. Datagrams are left out.
    pub fn of(messages: &[Message]) -> impl Iterator<Item = Self> {
        messages
            .chunk_by(|one, next| one.is_followed_by(next))
            .filter_map(|run| {
                let (first, last) = (run.first()?.key()?, run.last()?.key()?.number);
                Some(Self { first, last })
            })
    }

    /// Adds the message that was read after the last one of these. Returns false, and changes nothing, if it is of
    /// another peer or another session.
    pub fn add(&mut self, next: MessageKey) -> bool {
        let fits =
            next.number > self.last && next.half == self.first.half && next.from == self.first.from;
        if fits {
            self.last = next.number;
        }
        fits
    }

    /// Returns the peer that sent them.
    #[must_use]
    pub const fn sender(&self) -> PeerId {
        self.first.from
    }

    pub(crate) const fn half(&self) -> HalfId {
        self.first.half
    }

    pub(crate) const fn numbers(&self) -> RangeInclusive<u64> {
        self.first.number..=self.last
    }
}

/// The sender, its half in hexadecimal digits, and the number.
impl fmt::Display for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.from)?;
        for byte in self.half.0 {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "/{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: MessageKey = MessageKey::new(PeerId::from_bytes([1; 32]), HalfId([2; 16]), 3);

    #[test]
    fn a_key_differs_in_each_of_its_parts() {
        let others = [
            MessageKey::new(PeerId::from_bytes([9; 32]), HalfId([2; 16]), 3),
            MessageKey::new(PeerId::from_bytes([1; 32]), HalfId([9; 16]), 3),
            MessageKey::new(PeerId::from_bytes([1; 32]), HalfId([2; 16]), 9),
        ];
        for other in others {
            assert_ne!(other, KEY);
            assert_ne!(other.to_bytes(), KEY.to_bytes());
            assert_ne!(other.to_string(), KEY.to_string());
            assert_eq!(MessageKey::from_bytes(other.to_bytes()), other);
        }
    }

    #[test]
    fn a_message_has_the_key_with_which_it_was_made() {
        for number in [0, 1, (1 << 62) - 1] {
            let key = MessageKey::new(KEY.from, KEY.half, number);
            assert_eq!(Message::with_key(key, Bytes::new()).key(), Some(key));
        }
        assert_eq!(Message::new(KEY.from, Bytes::new()).key(), None);
    }

    #[test]
    fn a_message_is_small() {
        // It is moved several times between its record and the application.
        assert_eq!(size_of::<Message>(), 88);
    }
}
