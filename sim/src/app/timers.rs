//! The timers of one process, by name and by time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Set timers. Those of one instant come in the order in which they were set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_name: BTreeMap<String, (Duration, u64)>,
    by_time: BTreeSet<(Duration, u64, String)>,
    set: u64,
}

impl Timers {
    pub(super) fn set(&mut self, name: String, at: Duration) {
        self.cancel(&name);
        let number = self.set;
        self.set += 1;
        self.by_name.insert(name.clone(), (at, number));
        self.by_time.insert((at, number, name));
    }

    pub(super) fn cancel(&mut self, name: &str) {
        if let Some((name, (at, number))) = self.by_name.remove_entry(name) {
            self.by_time.remove(&(at, number, name));
        }
    }

    /// When the first is due.
    pub(super) fn first(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, ..)| *at)
    }

    /// Takes the first, if it is due by now.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<String> {
        self.first().filter(|at| *at <= now)?;
        let (_, _, name) = self.by_time.pop_first()?;
        self.by_name.remove(&name);
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ms, secs};

    #[test]
    fn a_timer_that_is_set_again_has_moved() {
        let mut timers = Timers::default();
        timers.set("a".to_owned(), ms(10));
        timers.set("b".to_owned(), ms(20));
        timers.set("a".to_owned(), ms(20));
        assert_eq!(timers.first(), Some(ms(20)));
        assert_eq!(timers.take_due(ms(19)), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.take_due(ms(20))).collect();
        assert_eq!(due, ["b", "a"]);
    }

    #[test]
    fn a_cancelled_timer_is_gone() {
        let mut timers = Timers::default();
        timers.set("a".to_owned(), ms(10));
        timers.cancel("b");
        timers.cancel("a");
        assert_eq!((timers.first(), timers.take_due(secs(1))), (None, None));
    }
}
