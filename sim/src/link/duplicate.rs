//! Makes copies of datagrams.

use super::stage::{Context, Parcel, Stage, Verdict};
use crate::dice::Domain;

#[derive(Debug)]
pub(super) struct Duplicate;

impl Stage for Duplicate {
    fn name(&self) -> &'static str {
        "duplicate"
    }

    fn judge(&mut self, context: &Context<'_>, parcel: &mut Parcel) -> Verdict {
        let faults = context.faults;
        if faults.duplicate_max == 0
            || !context.happens(Domain::Duplicate, parcel, faults.duplicate)
        {
            return Verdict::Pass;
        }
        let roll = context.dice.roll(Domain::DuplicateCount, parcel.number);
        Verdict::Copied(1 + roll % u64::from(faults.duplicate_max))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        Faults,
        link::testing::{Bench, check},
    };

    #[test]
    fn copies_are_equal_but_for_their_numbers_and_never_too_many() {
        let mut bench = Bench::new(Duplicate, faults(0.5, 3));
        let mut seen = BTreeSet::new();
        let mut numbers = BTreeSet::new();
        for _ in 0..1_000 {
            bench.offer(b"x");
            let parcels = bench.take();
            assert!(parcels.iter().all(|parcel| parcel.payload == b"x"[..]));
            seen.insert(parcels.len());
            for parcel in parcels {
                assert!(numbers.insert(parcel.number), "two with one number");
            }
        }
        assert_eq!(seen, (1..=4).collect());
    }

    #[test]
    fn the_most_copies_still_have_numbers_of_their_own() {
        let mut bench = Bench::new(Duplicate, faults(1.0, u8::MAX));
        (0..1_000).for_each(|_| bench.offer(b"x"));
        let parcels = bench.take();
        let numbers: BTreeSet<u64> = parcels.iter().map(|parcel| parcel.number).collect();
        assert_eq!(numbers.len(), parcels.len());
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(
            probability in 0.0..1.0,
            max in any::<u8>(),
            steps in check::steps(),
        ) {
            check::conserves(Duplicate, faults(probability, max), steps)?;
        }
    }

    fn faults(duplicate: f64, duplicate_max: u8) -> Faults {
        Faults {
            duplicate,
            duplicate_max,
            ..Faults::default()
        }
    }
}
