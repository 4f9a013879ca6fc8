//! Which counters have been seen: a window behind the newest one (RFC 6479).

/// Words of the bitmap, of which the newest is only partly in use.
const WORDS: u64 = 16;

/// How far behind the newest counter one may be and still be distinguished from a repetition. Many more than
/// the packets by which a path reorders, since one packet may hold dozens of datagrams.
pub(crate) const WINDOW: u64 = (WORDS - 1) * 64;

/// The counters that have been seen, as far back as [`WINDOW`].
#[derive(Debug, Default)]
pub(crate) struct ReplayWindow {
    /// The number after the newest.
    next: u64,
    /// One bit for each counter, in a ring: advancing clears words and moves none.
    bits: [u64; WORDS as usize],
}

impl ReplayWindow {
    /// Whether a counter is certain not to have been seen.
    pub(crate) fn is_fresh(&self, counter: u64) -> bool {
        if counter >= self.next {
            return true;
        }
        self.next - counter <= WINDOW && self.bits[slot(counter)] & bit(counter) == 0
    }

    /// Notes a counter that has proved to be the other end's; never one from further back than the
    /// window reaches.
    pub(crate) fn mark(&mut self, counter: u64) {
        debug_assert!(self.is_fresh(counter), "the caller asks first");
        if counter >= self.next {
            let newest = self.next.saturating_sub(1) / 64;
            let last = counter / 64;
            for word in (newest + 1..=last).rev().take(WORDS as usize) {
                self.bits[slot(word * 64)] = 0;
            }
            self.next = counter + 1;
        }
        self.bits[slot(counter)] |= bit(counter);
    }
}

const fn slot(counter: u64) -> usize {
    (counter / 64 % WORDS) as usize
}

const fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// All that was ever seen.
    #[derive(Default)]
    struct Model {
        seen: BTreeSet<u64>,
    }

    impl Model {
        fn is_fresh(&self, counter: u64) -> bool {
            let newest = self.seen.last().copied();
            let is_old = newest.is_some_and(|newest| counter + WINDOW <= newest);
            !is_old && !self.seen.contains(&counter)
        }
    }

    #[test]
    fn a_counter_is_fresh_once() {
        let mut window = ReplayWindow::default();
        for counter in [0, 5, 3, 1, 4, 2] {
            assert!(window.is_fresh(counter), "{counter}");
            window.mark(counter);
            assert!(!window.is_fresh(counter), "{counter}");
        }
    }

    #[test]
    fn the_window_has_two_ends() {
        let mut window = ReplayWindow::default();
        window.mark(2 * WINDOW);
        assert!(!window.is_fresh(WINDOW), "too old to tell");
        assert!(window.is_fresh(WINDOW + 1), "the oldest that can be told");
        window.mark(WINDOW + 1);
        assert!(!window.is_fresh(WINDOW + 1));
    }

    /// Steps ahead of the newest, or back from it: mostly small, some across the whole window.
    fn steps() -> impl Strategy<Value = Vec<i64>> {
        let step = prop_oneof![
            5 => -70i64..70,
            2 => -1_100i64..1_100,
            1 => 1_000i64..100_000,
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn it_tells_what_a_memory_of_everything_tells(start in 0u64..5_000, steps in steps()) {
            let (mut window, mut model) = (ReplayWindow::default(), Model::default());
            for step in steps {
                let newest = model.seen.last().copied().unwrap_or(start);
                let counter = newest.saturating_add_signed(step);
                prop_assert_eq!(window.is_fresh(counter), model.is_fresh(counter), "{}", counter);
                if model.is_fresh(counter) {
                    window.mark(counter);
                    model.seen.insert(counter);
                }
            }
        }
    }
}
