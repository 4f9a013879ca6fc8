//! Loses the first datagrams of a kind.

use super::{
    FirstLost,
    kind::Kinds,
    stage::{Context, Parcel, Stage, Verdict},
};

#[derive(Debug, Default)]
pub(super) struct First {
    /// The plan of the counts. They begin anew when this changes.
    plan: FirstLost,
    seen: FirstLost,
}

impl First {
    /// Whether the plan loses this datagram. It counts for each kind it holds.
    fn loses(&mut self, datagram: &[u8]) -> bool {
        if self.plan == FirstLost::default() {
            return false;
        }
        let kinds = Kinds::of(datagram);
        let (seen, plan) = (&mut self.seen, &self.plan);
        let losses = [
            kinds.initial && count(&mut seen.initial, plan.initial),
            kinds.handshake && count(&mut seen.handshake, plan.handshake),
            kinds.one_rtt && count(&mut seen.one_rtt, plan.one_rtt),
        ];
        losses.contains(&true)
    }
}

/// Counts one more, and returns whether it is within a limit.
fn count(seen: &mut u32, limit: u32) -> bool {
    let is_within = *seen < limit;
    *seen = seen.saturating_add(1);
    is_within
}

impl Stage for First {
    fn name(&self) -> &'static str {
        "first"
    }

    fn judge(&mut self, context: &Context<'_>, parcel: &mut Parcel) -> Verdict {
        if self.plan != context.faults.first {
            self.plan = context.faults.first;
            self.seen = FirstLost::default();
        }
        Verdict::lost_if(self.loses(&parcel.payload))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Faults,
        link::{
            kind::tests::{handshake, initial},
            testing::{Bench, check},
        },
    };

    const ONE_RTT: [u8; 5] = [0x40; 5];

    #[test]
    fn the_first_of_each_kind_are_lost_and_no_others() {
        let first = FirstLost {
            initial: 2,
            one_rtt: 1,
            ..FirstLost::default()
        };
        let mut bench = Bench::new(First::default(), faults(first));
        assert_eq!(passes(&mut bench, &initial()), 0);
        assert_eq!(passes(&mut bench, &handshake()), 1);
        assert_eq!(passes(&mut bench, &ONE_RTT), 0);
        assert_eq!(passes(&mut bench, &initial()), 0);
        assert_eq!(passes(&mut bench, &initial()), 1);
        assert_eq!(passes(&mut bench, &ONE_RTT), 1);
    }

    #[test]
    fn a_datagram_counts_for_each_kind_it_holds() {
        let first = FirstLost {
            initial: 1,
            handshake: 2,
            ..FirstLost::default()
        };
        let mut bench = Bench::new(First::default(), faults(first));
        let both = [initial(), handshake()].concat();
        assert_eq!(passes(&mut bench, &both), 0);
        assert_eq!(passes(&mut bench, &initial()), 1);
        assert_eq!(passes(&mut bench, &both), 0);
        assert_eq!(passes(&mut bench, &both), 1);
    }

    #[test]
    fn another_plan_begins_to_count_anew() {
        let one = |initial| FirstLost {
            initial,
            ..FirstLost::default()
        };
        let mut bench = Bench::new(First::default(), faults(FirstLost::default()));
        assert_eq!(passes(&mut bench, &initial()), 1);
        bench.faults.first = one(1);
        assert_eq!(passes(&mut bench, &initial()), 0);
        assert_eq!(passes(&mut bench, &initial()), 1);
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(initial in 0..9u32, handshake in 0..9u32, steps in check::steps()) {
            let first = FirstLost { initial, handshake, one_rtt: 3 };
            check::conserves(First::default(), faults(first), steps)?;
        }
    }

    fn faults(first: FirstLost) -> Faults {
        Faults {
            first,
            ..Faults::default()
        }
    }

    fn passes(bench: &mut Bench, bytes: &[u8]) -> usize {
        bench.offer(bytes);
        bench.take().len()
    }
}
