//! Lets nothing pass while the link is cut.

use super::stage::{Context, Parcel, Stage, Verdict};

/// A link has one at either end: a cut takes what is offered, and what is in flight as well.
#[derive(Debug)]
pub(super) struct Gate;

impl Stage for Gate {
    fn name(&self) -> &'static str {
        "cut"
    }

    fn judge(&mut self, context: &Context<'_>, _parcel: &mut Parcel) -> Verdict {
        Verdict::lost_if(context.is_cut)
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
    fn a_gate_is_shut_for_as_long_as_the_link_is_cut() {
        let mut bench = Bench::new(Gate, Faults::default());
        for (is_cut, passes) in [(false, 1), (true, 0), (true, 0), (false, 1)] {
            bench.is_cut = is_cut;
            bench.offer(b"x");
            assert_eq!(bench.take().len(), passes);
        }
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(steps in check::steps()) {
            check::conserves(Gate, Faults::default(), steps)?;
        }
    }
}
