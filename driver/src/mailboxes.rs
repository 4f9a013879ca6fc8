//! Messages that wait for the application: those of each peer in order, and peers in turn.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
};

use quicpool_core::{Message, PeerId, driver::DeficitRoundRobin};
use slab::Slab;

/// Bytes of one peer that the application is given before it is the next one's turn: a batch of the default
/// size. So a message waits for one batch of each peer that floods us, and a caller that takes many at once
/// seldom has to change peers.
const TURN_BYTES: usize = 64 * 1024;

/// What a message costs beside its bytes: an empty one is not free.
const MESSAGE_BYTES: usize = mem::size_of::<Message>();

/// Messages for which a queue may keep its memory once it is empty.
const SPARE_MESSAGES_MAX: usize = 1_024;

/// A queue for each peer of which something waits.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    mailboxes: Slab<Mailbox>,
    keys: HashMap<PeerId, usize>,
    turns: DeficitRoundRobin<usize>,
    /// Messages in all of them.
    len: usize,
    /// The memory of a queue for the next one: a peer of which single messages come has a new one
    /// for each.
    spare: VecDeque<Message>,
}

#[derive(Debug)]
struct Mailbox {
    from: PeerId,
    /// Handed out before, and put back. They come first, in their old order.
    returned: BTreeMap<Ordinal, Message>,
    messages: VecDeque<Message>,
}

/// The place of a message among all that were ever handed out.
pub(crate) type Ordinal = u64;

impl Default for Mailboxes {
    fn default() -> Self {
        Self {
            mailboxes: Slab::new(),
            keys: HashMap::new(),
            turns: DeficitRoundRobin::new(TURN_BYTES),
            len: 0,
            spare: VecDeque::new(),
        }
    }
}

impl Mailboxes {
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory, but for those of the messages.
    pub(crate) const fn memory(&self) -> usize {
        self.len * MESSAGE_BYTES
    }

    /// Moves messages in, which should be of one peer: it is looked up again where it changes.
    pub(crate) fn extend(&mut self, messages: &mut Vec<Message>) {
        self.len += messages.len();
        let mut current: Option<(PeerId, usize)> = None;
        for message in messages.drain(..) {
            let key = match current {
                Some((from, key)) if from == message.from => key,
                Some(_) | None => self.key(message.from),
            };
            current = Some((message.from, key));
            self.mailboxes[key].messages.push_back(message);
        }
    }

    fn key(&mut self, from: PeerId) -> usize {
        *self.keys.entry(from).or_insert_with(|| {
            let messages = mem::take(&mut self.spare);
            let key = self.mailboxes.insert(Mailbox {
                from,
                returned: BTreeMap::new(),
                messages,
            });
            self.turns.join(key);
            key
        })
    }

    /// Takes back a message that was handed out, to be the next one of its peer.
    pub(crate) fn put_back(&mut self, ordinal: Ordinal, message: Message) {
        let key = self.key(message.from);
        self.len += 1;
        self.mailboxes[key].returned.insert(ordinal, message);
    }

    /// The next message of the peer whose turn it is, and its ordinal if it was handed out before.
    pub(crate) fn pop(&mut self) -> Option<(Message, Option<Ordinal>)> {
        loop {
            let key = self.turns.current()?;
            if let Some(next) = self.mailboxes[key].pop() {
                self.turns.spend(MESSAGE_BYTES + next.0.payload.len());
                self.len -= 1;
                return Some(next);
            }
            self.turns.leave();
            let emptied = self.mailboxes.remove(key);
            self.keys.remove(&emptied.from);
            if emptied.messages.capacity() <= SPARE_MESSAGES_MAX {
                self.spare = emptied.messages;
            }
        }
    }

    /// Drops what waits of one peer.
    pub(crate) fn clear(&mut self, peer: PeerId) {
        if let Some(key) = self.keys.get(&peer) {
            // It leaves the row in its turn.
            let mailbox = &mut self.mailboxes[*key];
            let messages = mem::take(&mut mailbox.messages);
            let returned = mem::take(&mut mailbox.returned);
            self.len -= messages.len() + returned.len();
        }
    }
}

impl Mailbox {
    fn pop(&mut self) -> Option<(Message, Option<Ordinal>)> {
        let returned = self.returned.pop_first();
        let returned = returned.map(|(ordinal, message)| (message, Some(ordinal)));
        returned.or_else(|| self.messages.pop_front().map(|message| (message, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: PeerId = PeerId::from_bytes([1; 32]);
    const LONE: PeerId = PeerId::from_bytes([2; 32]);

    fn mailboxes(from: &[(PeerId, usize, usize)]) -> Mailboxes {
        let mut mailboxes = Mailboxes::default();
        for &(from, count, len) in from {
            let payload = bytes::Bytes::from(vec![0; len]);
            let message = Message::new(from, payload);
            mailboxes.extend(&mut vec![message; count]);
        }
        mailboxes
    }

    /// Messages, and their bytes, that come before the first of a peer.
    fn before(mailboxes: &mut Mailboxes, peer: PeerId) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        while let Some((message, _)) = mailboxes.pop().filter(|(next, _)| next.from != peer) {
            count += 1;
            bytes += message.payload.len();
        }
        (count, bytes)
    }

    #[test]
    fn a_lone_message_waits_for_one_turn_of_a_flood() {
        // An inbox of the default size, full, of whatever messages: 1 MiB, or 16,384 of them.
        for (count, len) in [(1_024, 1_024), (16_384, 1), (16_384, 0), (17, 60_000)] {
            let mut mailboxes = mailboxes(&[(FLOOD, count, len), (LONE, 1, 5)]);
            let (count, bytes) = before(&mut mailboxes, LONE);
            assert!(count <= 1_024, "{count} messages of {len} bytes");
            assert!(
                bytes <= TURN_BYTES + len,
                "{bytes} bytes in pieces of {len}"
            );
        }
    }

    #[test]
    fn of_two_floods_neither_is_ahead_by_more_than_a_turn_and_a_message() {
        let mut mailboxes = mailboxes(&[(FLOOD, 8_000, 100), (LONE, 24, 50_000)]);
        let (mut small, mut large) = (0usize, 0usize);
        for _ in 0..5_000 {
            let (message, _) = mailboxes.pop().expect("both have more");
            let cost = MESSAGE_BYTES + message.payload.len();
            match message.from == FLOOD {
                true => small += cost,
                false => large += cost,
            }
            let ahead = small.abs_diff(large);
            assert!(ahead <= TURN_BYTES + 50_000 + MESSAGE_BYTES, "{ahead}");
        }
    }

    #[test]
    fn nothing_is_left_of_peers_of_which_nothing_waits() {
        let mut mailboxes = mailboxes(&[(FLOOD, 3, 1), (LONE, 3, 1)]);
        mailboxes.clear(FLOOD);
        assert_eq!(before(&mut mailboxes, FLOOD), (3, 3));
        assert!(mailboxes.is_empty());
        assert!(mailboxes.mailboxes.is_empty() && mailboxes.keys.is_empty());
        assert!(mailboxes.turns.is_empty());
    }
    #[test]
    fn messages_that_are_put_back_come_first_and_in_their_old_order() {
        let mut mailboxes = mailboxes(&[(LONE, 3, 1), (FLOOD, 1, 1)]);
        let (first, _) = mailboxes.pop().expect("it has three");
        let (second, _) = mailboxes.pop().expect("it has two");
        mailboxes.put_back(1, second);
        mailboxes.put_back(0, first);
        let ordinals = [0; 3].map(|_| mailboxes.pop().expect("three of it").1);
        assert_eq!(ordinals, [Some(0), Some(1), None]);
        assert_eq!(before(&mut mailboxes, LONE), (1, 1));
        assert!(mailboxes.is_empty());
    }
}
