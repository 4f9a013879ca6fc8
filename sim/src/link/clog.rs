//! Holds everything for a while, and then lets it go at once, in order.

use std::{collections::VecDeque, time::Duration};

use super::stage::{Context, Parcel, Stage, Verdict};

#[derive(Debug, Default)]
pub(super) struct Clog {
    stuck: VecDeque<Parcel>,
}

impl Stage for Clog {
    fn name(&self) -> &'static str {
        "clog"
    }

    fn judge(&mut self, context: &Context<'_>, _parcel: &mut Parcel) -> Verdict {
        // What comes when the clog has just ended waits behind what is stuck still.
        match context.now < context.clogged_until || !self.stuck.is_empty() {
            true => Verdict::KeptTouched,
            false => Verdict::Pass,
        }
    }

    fn keep(&mut self, _context: &Context<'_>, parcel: Parcel) {
        self.stuck.push_back(parcel);
    }

    fn due(&self, context: &Context<'_>) -> Option<Duration> {
        (!self.stuck.is_empty()).then_some(context.clogged_until)
    }

    fn release(&mut self, _context: &Context<'_>) -> Option<Parcel> {
        self.stuck.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Faults,
        link::testing::{Bench, check},
        ms,
    };

    #[test]
    fn what_is_stuck_leaves_at_once_and_in_order() {
        let mut bench = Bench::new(Clog::default(), Faults::default());
        bench.offer(b"before");
        assert_eq!(bench.take().len(), 1);
        bench.clogged_until = ms(50);
        for at in [10, 20, 50] {
            bench.now = ms(at);
            bench.offer(b"stuck");
        }
        assert!(bench.take().is_empty());
        let left = bench.run();
        assert!(left.iter().all(|(at, _)| *at == ms(50)));
        let numbers: Vec<u64> = left.iter().map(|(_, p)| p.offered_as()).collect();
        assert_eq!(numbers, [1, 2, 3]);
        bench.offer(b"after");
        assert_eq!(bench.take().len(), 1);
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(steps in check::steps()) {
            check::conserves(Clog::default(), Faults::default(), steps)?;
        }
    }
}
