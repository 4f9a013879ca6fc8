//! Seeded randomness for a library that asks for it through `&'static` references.
//!
//! rustls takes its sources as statics, so they cannot know the session that asks. Each session
//! brings its own draws and lends them to its thread while rustls works for it. So no session
//! disturbs the draws of another, networks may take turns on one thread, and threads share nothing.

use std::cell::Cell;

use rustls::crypto::{GetRandomFailed, SecureRandom};

use crate::hash::Hasher;

thread_local! {
    /// The draws of the session that rustls works for.
    static CURRENT: Cell<Option<Draws>> = const { Cell::new(None) };
}

/// The draws of one session: each is a function of the key and of its number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    key: u128,
    drawn: u64,
}

impl Draws {
    /// Those of a key, which must be a hash: keys that differ in some bits only share draws.
    pub(super) const fn new(key: u128) -> Self {
        Self { key, drawn: 0 }
    }

    /// Calls `act`, in which rustls takes its randomness from here.
    pub(super) fn during<R>(&mut self, act: impl FnOnce() -> R) -> R {
        let lent = Lent {
            outer: CURRENT.replace(Some(*self)),
        };
        let result = act();
        *self = lent.current();
        result
    }

    fn fill(&mut self, out: &mut [u8]) {
        Hasher::new(self.key).word(self.drawn).fill(out);
        self.drawn += 1;
    }
}

/// While it lives a thread has a session's draws. They are taken back after a panic, too, since
/// the caller that catches it may go on with another network.
struct Lent {
    outer: Option<Draws>,
}

impl Lent {
    fn current(&self) -> Draws {
        CURRENT
            .get()
            .expect("invariant: draws are lent until this is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

/// Fills `out` from the session that rustls works for.
///
/// # Panics
///
/// If rustls works for none: it would not be the same in the next run.
pub(super) fn fill(out: &mut [u8]) {
    let draws = CURRENT.get();
    let mut draws = draws.expect("invariant: TLS draws randomness in calls of a session only");
    draws.fill(out);
    CURRENT.set(Some(draws));
}

/// The randomness of the session that rustls works for.
#[derive(Debug)]
pub(super) struct SeededRandom;

impl SecureRandom for SeededRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), GetRandomFailed> {
        fill(out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        thread,
    };

    use super::*;

    fn draw() -> [u8; 32] {
        let mut out = [0; 32];
        fill(&mut out);
        out
    }

    fn draws(seed: u64) -> Draws {
        Draws::new(Hasher::new(0).word(seed).finish())
    }

    fn three(draws: &mut Draws) -> [[u8; 32]; 3] {
        [0; 3].map(|_| draws.during(draw))
    }

    #[test]
    fn draws_are_those_of_the_key_and_none_comes_twice() {
        let drawn = three(&mut draws(1));
        assert_eq!(drawn, three(&mut draws(1)));
        let others = three(&mut draws(2));
        for draw in drawn {
            assert_eq!(drawn.iter().filter(|other| **other == draw).count(), 1);
            assert!(!others.contains(&draw));
        }
    }

    #[test]
    fn sessions_that_take_turns_or_call_each_other_do_not_disturb_each_other() {
        let (expected, others) = (three(&mut draws(1)), three(&mut draws(2)));
        let [mut one, mut two] = [draws(1), draws(2)];
        for n in 0..3 {
            let mut inner = [0; 32];
            let outer = one.during(|| {
                inner = two.during(draw);
                draw()
            });
            assert_eq!((outer, inner), (expected[n], others[n]));
        }
    }

    #[test]
    fn a_panic_takes_the_draws_back() {
        let mut draws = draws(1);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            draws.during(|| panic!("as it happens"))
        }));
        assert!(panicked.is_err());
        assert!(CURRENT.get().is_none());
    }

    #[test]
    fn nothing_is_drawn_outside_of_a_session_nor_on_another_thread() {
        assert!(catch_unwind(draw).is_err());
        let on_another = draws(1).during(|| thread::spawn(draw).join());
        assert!(on_another.is_err());
    }
}
