//! Holds some datagrams up, so that others overtake them.

use std::time::Duration;

use super::stage::{Context, Parcel, Stage, Verdict};
use crate::{agenda::Agenda, dice::Domain};

#[derive(Debug)]
pub(super) struct Reorder {
    late: Agenda<Parcel>,
}

impl Reorder {
    pub(super) fn new() -> Self {
        Self {
            late: Agenda::new(),
        }
    }
}

impl Stage for Reorder {
    fn name(&self) -> &'static str {
        "reorder"
    }

    fn judge(&mut self, context: &Context<'_>, parcel: &mut Parcel) -> Verdict {
        match context.happens(Domain::Reorder, parcel, context.faults.reorder) {
            true => Verdict::KeptTouched,
            false => Verdict::Pass,
        }
    }

    fn keep(&mut self, context: &Context<'_>, parcel: Parcel) {
        let part = context.dice.fraction(Domain::ReorderBy, parcel.number);
        let extra = context.faults.reorder_extra.mul_f64(part);
        self.late.insert(context.now + extra, parcel);
    }

    fn due(&self, _context: &Context<'_>) -> Option<Duration> {
        self.late.first().map(|(at, _)| at)
    }

    fn release(&mut self, _context: &Context<'_>) -> Option<Parcel> {
        self.late.take_first()
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
    fn reordered_datagrams_travel_longer_but_not_too_long() {
        let mut bench = Bench::new(Reorder::new(), faults(0.5));
        (0..1_000).for_each(|_| bench.offer(b"x"));
        let prompt = bench.take().len();
        assert!((400..600).contains(&prompt), "{prompt} in time");
        let late = bench.run();
        assert_eq!(late.len(), 1_000 - prompt);
        assert!(late.iter().all(|(at, _)| *at < ms(30)));
        assert!(late.iter().any(|(at, _)| *at > ms(29)));
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(probability in 0.0..1.0, steps in check::steps()) {
            check::conserves(Reorder::new(), faults(probability), steps)?;
        }
    }

    fn faults(reorder: f64) -> Faults {
        Faults {
            reorder,
            reorder_extra: ms(30),
            ..Faults::default()
        }
    }
}
