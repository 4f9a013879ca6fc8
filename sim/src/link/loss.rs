//! Loses datagrams at random, each for itself.

use super::stage::{Context, Parcel, Stage, Verdict};
use crate::dice::Domain;

#[derive(Debug)]
pub(super) struct Loss;

impl Stage for Loss {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn judge(&mut self, context: &Context<'_>, parcel: &mut Parcel) -> Verdict {
        Verdict::lost_if(context.happens(Domain::Loss, parcel, context.faults.loss))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Faults,
        link::testing::{Bench, check},
    };

    #[test]
    fn as_many_are_lost_as_should_be() {
        for (loss, range) in [(0.0, 0..1), (0.3, 2_800..3_200), (1.0, 10_000..10_001)] {
            let mut bench = Bench::new(Loss, faults(loss));
            (0..10_000).for_each(|_| bench.offer(b"x"));
            let lost = bench.stage.counts().dropped;
            assert!(range.contains(&lost), "{lost} lost at {loss}");
        }
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(loss in 0.0..1.0, steps in check::steps()) {
            check::conserves(Loss, faults(loss), steps)?;
        }
    }

    fn faults(loss: f64) -> Faults {
        Faults {
            loss,
            ..Faults::default()
        }
    }
}
