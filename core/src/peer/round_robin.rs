//! Takes turns between members with pieces of different cost.
//!
//! Deficit round robin (Shreedhar and Varghese 1995): each gets the same number of bytes in turn, and
//! what it could not use of a turn counts for its next one while it has more. How long a burst of
//! packets is shows only once it is built, so here a turn may be overdrawn, and what is over is paid
//! back before the next one.

use std::collections::VecDeque;

/// A row of members that have something, each with the bytes that are left of its turn.
///
/// Between two that always have more, the bytes that they have had never differ by more than a turn and the
/// largest piece. A member that has nothing leaves, and keeps neither what was left nor its place.
///
/// ```
/// use quicpool_core::driver::DeficitRoundRobin;
///
/// let mut turns = DeficitRoundRobin::new(100);
/// turns.join("bulk");
/// turns.join("lone");
/// assert_eq!(turns.current(), Some("bulk"));
/// turns.spend(60);
/// assert_eq!(turns.current(), Some("bulk"), "it has 40 bytes left");
/// turns.spend(60);
/// assert_eq!(turns.current(), Some("lone"));
/// turns.leave();
/// assert_eq!(turns.current(), Some("bulk"));
/// ```
#[derive(Debug)]
pub struct DeficitRoundRobin<K> {
    /// Bytes of a turn.
    quantum: usize,
    row: VecDeque<(K, isize)>,
}

impl<K: Copy> DeficitRoundRobin<K> {
    /// Creates an empty row, in which each turn has this many bytes: at least 1.
    #[must_use]
    pub fn new(quantum: usize) -> Self {
        Self {
            quantum: quantum.max(1),
            row: VecDeque::new(),
        }
    }

    /// Changes the bytes of the turns that are to come: at least 1.
    pub fn set_quantum(&mut self, quantum: usize) {
        self.quantum = quantum.max(1);
    }

    /// Whether the row is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row.is_empty()
    }

    /// The memory of the row, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.row.capacity() * std::mem::size_of::<(K, isize)>()
    }

    /// Adds a member that is not in the row, at its end.
    pub fn join(&mut self, key: K) {
        self.row.push_back((key, self.turn()));
    }

    /// Returns the member that has its turn. Those that have overdrawn are passed over until they have paid.
    pub fn current(&mut self) -> Option<K> {
        loop {
            let turn = self.turn();
            let (key, left) = self.row.front_mut()?;
            if *left > 0 {
                return Some(*key);
            }
            *left = left.saturating_add(turn);
            self.row.rotate_left(1);
        }
    }

    /// Charges the member that has its turn for this many bytes.
    pub fn spend(&mut self, bytes: usize) {
        if let Some((_, left)) = self.row.front_mut() {
            *left = left.saturating_sub(isize::try_from(bytes).unwrap_or(isize::MAX));
        }
    }

    /// Removes the member that has its turn: it has nothing more.
    pub fn leave(&mut self) {
        self.row.pop_front();
    }

    fn turn(&self) -> isize {
        isize::try_from(self.quantum).unwrap_or(isize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn of_two_who_always_have_more_neither_is_ahead_by_more_than_a_turn_and_a_piece(
            quantum in 1..5_000usize,
            pieces in prop::collection::vec(1..9_000usize, 1..400),
            others in 0..5usize,
        ) {
            let mut turns = DeficitRoundRobin::new(quantum);
            (0..2 + others).for_each(|key| turns.join(key));
            let mut had = vec![0; 2 + others];
            let largest = pieces.iter().copied().max().unwrap_or(0);
            for piece in pieces {
                let key = turns.current().expect("all have more");
                turns.spend(piece);
                had[key] += piece;
                let ahead = had.iter().max().expect("two") - had.iter().min().expect("two");
                prop_assert!(ahead <= quantum + largest, "{had:?}");
            }
        }

        #[test]
        fn who_comes_waits_for_a_turn_and_a_piece_of_each_other_at_most(
            quantum in 1..5_000usize,
            piece in 1..9_000usize,
            before in 0..300usize,
            others in 1..6usize,
        ) {
            let mut turns = DeficitRoundRobin::new(quantum);
            (0..others).for_each(|key| turns.join(key));
            for _ in 0..before {
                let _ = turns.current();
                turns.spend(piece);
            }
            turns.join(others);
            let mut waited = 0;
            while turns.current() != Some(others) {
                turns.spend(piece);
                waited += piece;
            }
            prop_assert!(waited <= others * (quantum + piece), "{waited} bytes");
        }

        #[test]
        fn everybody_with_something_is_served_and_nobody_twice_at_once(
            quantum in 1..100usize,
            queues in prop::collection::vec(prop::collection::vec(0..300usize, 0..20), 1..8),
        ) {
            let mut queues = queues;
            let mut turns = DeficitRoundRobin::new(quantum);
            (0..queues.len()).for_each(|key| turns.join(key));
            let mut steps = 0;
            while let Some(key) = turns.current() {
                match queues[key].pop() {
                    Some(piece) => turns.spend(piece),
                    None => turns.leave(),
                }
                steps += 1;
                prop_assert!(steps < 1_000, "it ends");
            }
            prop_assert!(queues.iter().all(Vec::is_empty));
            prop_assert!(turns.is_empty());
        }
    }

    #[test]
    fn who_has_nothing_keeps_no_credit() {
        let mut turns = DeficitRoundRobin::new(100);
        turns.join('a');
        turns.join('b');
        for _ in 0..10 {
            assert_eq!(turns.current(), Some('a'));
            turns.leave();
            turns.join('a');
            assert_eq!(turns.current(), Some('b'));
            turns.spend(100);
        }
        // However often it had nothing, its turn has 100 bytes.
        assert_eq!(turns.current(), Some('a'));
        turns.spend(100);
        assert_eq!(turns.current(), Some('b'));
    }

    #[test]
    fn who_has_overdrawn_pays_even_if_it_had_nothing_more() {
        let mut turns = DeficitRoundRobin::new(100);
        turns.join('a');
        turns.join('b');
        assert_eq!(turns.current(), Some('a'));
        turns.spend(350);
        // What is overdrawn is paid in the row: it leaves only in its turn, three turns later.
        for _ in 0..3 {
            assert_eq!(turns.current(), Some('b'));
            turns.spend(100);
        }
        assert_eq!(turns.current(), Some('a'));
    }
}
