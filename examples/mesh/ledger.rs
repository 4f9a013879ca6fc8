//! What was sent, what arrived, what was reported: and whether it adds up.

use std::ops::Range;

/// What a message carries before its padding: the sender's life, its number, and when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// How often the sender had been started before.
    pub(crate) life: u32,
    /// The sender's messages for one receiver are numbered from 0 in each of its lives.
    pub(crate) number: u64,
    /// Nanoseconds since the mesh began.
    pub(crate) sent_ns: u64,
}

impl Header {
    /// The length of a header, which is that of the shortest message.
    pub(crate) const LEN: usize = 20;

    /// Writes the header, and padding that depends on it.
    pub(crate) fn write(self, message: &mut [u8]) {
        message[..4].copy_from_slice(&self.life.to_le_bytes());
        message[4..12].copy_from_slice(&self.number.to_le_bytes());
        message[12..Self::LEN].copy_from_slice(&self.sent_ns.to_le_bytes());
        message[Self::LEN..].fill(self.padding());
    }

    /// Reads a header, if the message is one that `write` has made.
    pub(crate) fn read(message: &[u8]) -> Option<Self> {
        let (life, rest) = message.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (sent_ns, padding) = rest.split_first_chunk()?;
        let header = Self {
            life: u32::from_le_bytes(*life),
            number: u64::from_le_bytes(*number),
            sent_ns: u64::from_le_bytes(*sent_ns),
        };
        let intact = padding.iter().all(|byte| *byte == header.padding());
        intact.then_some(header)
    }

    fn padding(self) -> u8 {
        self.number as u8 ^ self.life as u8
    }
}

/// A set of message numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers(Vec<u64>);

impl Numbers {
    /// Adds a number, and returns whether it is new.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    fn contains(&self, number: u64) -> bool {
        let word = self.0.get(number as usize / 64);
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

/// What one life of a receiver has got from one life of a sender.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arrived {
    numbers: Numbers,
    last: Option<u64>,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
}

impl Arrived {
    /// A message has arrived.
    pub(crate) fn note(&mut self, number: u64) {
        if !self.numbers.insert(number) {
            self.duplicates += 1;
        } else if self.last.is_some_and(|last| number < last) {
            self.out_of_order += 1;
        }
        self.last = Some(number);
    }
}

/// What one life of a sender has sent to one receiver.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    /// Messages that were accepted.
    pub(crate) accepted: u64,
    /// Messages that were reported as undelivered.
    pub(crate) reported: Vec<Range<u64>>,
    /// Whether this life ended in a crash, with what was queued.
    pub(crate) crashed: bool,
}

/// How the messages of one life of a sender to one receiver have fared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Messages accepted.
    pub(crate) sent: u64,
    /// Messages that some life of the receiver has got.
    pub(crate) delivered: u64,
    /// Messages not delivered, and known to be in doubt: reported, or queued in a crashed sender.
    pub(crate) undelivered: u64,
    /// Messages neither delivered nor reported.
    pub(crate) lost: u64,
    /// Messages that arrived twice in one life of the receiver.
    pub(crate) duplicates: u64,
    /// Messages that arrived after later ones in one life of the receiver.
    pub(crate) out_of_order: u64,
}

impl Account {
    /// Settles what was sent against what the receiver's lives have got.
    pub(crate) fn settle(sent: &Sent, lives: &[&Arrived]) -> Self {
        let mut account = Self {
            sent: sent.accepted,
            ..Self::default()
        };
        for life in lives {
            account.duplicates += life.duplicates;
            account.out_of_order += life.out_of_order;
        }
        // What a crashed sender had queued went with it: an unbroken tail, and nothing before.
        let mut died_with_sender = sent.crashed;
        for number in (0..sent.accepted).rev() {
            if lives.iter().any(|life| life.numbers.contains(number)) {
                account.delivered += 1;
                died_with_sender = false;
            } else if died_with_sender || sent.reported.iter().any(|range| range.contains(&number))
            {
                account.undelivered += 1;
            } else {
                account.lost += 1;
            }
        }
        account
    }

    /// Adds another account.
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.undelivered += other.undelivered;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
    }

    /// Whether nothing went wrong that must not.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicates == 0 && self.out_of_order == 0
    }
}
