//! What the messages hold, and how the receiver proves that all of them have come.

/// The number of the message that ends a workload.
const END: u64 = u64::MAX;

/// Messages as the sender makes them: a number, and bytes that depend on nothing.
#[derive(Debug)]
pub struct Maker {
    bytes: Vec<u8>,
}

impl Maker {
    /// Messages of a length, which is a multiple of eight.
    pub fn new(len: usize) -> Self {
        let bytes = (0..len).map(|at| (at % 251) as u8).collect();
        Self { bytes }
    }

    /// The message with a number.
    pub fn number(&mut self, number: u64) -> &[u8] {
        self.bytes[..8].copy_from_slice(&number.to_le_bytes());
        &self.bytes
    }

    /// The message after the last one.
    pub fn end(&mut self) -> &[u8] {
        self.number(END)
    }
}

/// The number of a message; `None` if it is the one after the last.
pub fn number_of(message: &[u8]) -> Option<u64> {
    Some(word(message.get(..8)?)).filter(|number| *number != END)
}

/// Whether a message is the one after the last.
pub fn is_end(message: &[u8]) -> bool {
    message.get(..8).is_some_and(|start| word(start) == END)
}

/// Messages counted and summed up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub count: u64,
    pub sum: u64,
    /// Messages whose number was not the one expected.
    pub misplaced: u64,
}

impl Tally {
    pub fn add(&mut self, message: &[u8]) {
        let misplaced = number_of(message) != Some(self.count);
        self.misplaced += u64::from(misplaced);
        self.count += 1;
        let words = message.chunks_exact(8).map(word);
        self.sum = words.fold(self.sum, u64::wrapping_add);
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_notices_what_is_lost_swapped_or_damaged() {
        let mut maker = Maker::new(64);
        let mut tally = |numbers: &[u64], damage: u8| {
            let mut tally = Tally::default();
            for &number in numbers {
                let mut message = maker.number(number).to_vec();
                message[40] ^= damage;
                tally.add(&message);
            }
            tally
        };
        let good = tally(&[0, 1, 2], 0);
        assert_eq!(good.misplaced, 0);
        assert_ne!(tally(&[0, 1], 0), good);
        assert_ne!(tally(&[1, 0, 2], 0), good);
        assert_ne!(tally(&[0, 1, 2], 4), good);
    }

    #[test]
    fn the_end_is_no_number() {
        let mut maker = Maker::new(64);
        assert!(is_end(maker.end()));
        assert_eq!(number_of(maker.end()), None);
        assert_eq!(number_of(maker.number(7)), Some(7));
    }
}
