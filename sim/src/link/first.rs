//! Loses the first datagrams of a kind.

use super::{
    FirstLost,
    kind::Kind,
    stage::{Context, Next, Parcel, Stage, StageCounts},
};

#[derive(Debug, Default)]
pub(super) struct First {
    counts: StageCounts,
    /// What the counting is for. It begins anew when this changes.
    plan: FirstLost,
    seen: FirstLost,
}

impl First {
    /// Whether the plan says that this one is lost.
    fn loses(&mut self, datagram: &[u8]) -> bool {
        let (seen, limit) = match Kind::of(datagram) {
            Kind::Initial => (&mut self.seen.initial, self.plan.initial),
            Kind::Handshake => (&mut self.seen.handshake, self.plan.handshake),
            Kind::OneRtt => (&mut self.seen.one_rtt, self.plan.one_rtt),
            Kind::Other => return false,
        };
        let loses = *seen < limit;
        *seen = seen.saturating_add(1);
        loses
    }
}

impl Stage for First {
    fn name(&self) -> &'static str {
        "first"
    }

    fn enter(&mut self, context: &Context<'_>, parcel: Parcel, next: Next<'_>) {
        self.counts.entered += 1;
        if self.plan != context.faults.first {
            self.plan = context.faults.first;
            self.seen = FirstLost::default();
        }
        if self.loses(&parcel.payload) {
            self.counts.dropped += 1;
            return;
        }
        self.counts.left += 1;
        next(parcel);
    }

    fn counts(&self) -> StageCounts {
        self.counts
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

    const INITIAL: [u8; 5] = [0xc0, 0, 0, 0, 1];
    const HANDSHAKE: [u8; 5] = [0xe0, 0, 0, 0, 1];
    const ONE_RTT: [u8; 5] = [0x40; 5];

    #[test]
    fn the_first_of_each_kind_are_lost_and_no_others() {
        let first = FirstLost {
            initial: 2,
            one_rtt: 1,
            ..FirstLost::default()
        };
        let mut bench = Bench::new(First::default(), faults(first));
        assert_eq!(passes(&mut bench, INITIAL), 0);
        assert_eq!(passes(&mut bench, HANDSHAKE), 1);
        assert_eq!(passes(&mut bench, ONE_RTT), 0);
        assert_eq!(passes(&mut bench, INITIAL), 0);
        assert_eq!(passes(&mut bench, INITIAL), 1);
        assert_eq!(passes(&mut bench, ONE_RTT), 1);
    }

    #[test]
    fn another_plan_begins_to_count_anew() {
        let one = |initial| FirstLost {
            initial,
            ..FirstLost::default()
        };
        let mut bench = Bench::new(First::default(), faults(FirstLost::default()));
        assert_eq!(passes(&mut bench, INITIAL), 1);
        bench.faults.first = one(1);
        assert_eq!(passes(&mut bench, INITIAL), 0);
        assert_eq!(passes(&mut bench, INITIAL), 1);
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

    fn passes(bench: &mut Bench<First>, bytes: [u8; 5]) -> usize {
        bench.offer(&bytes);
        bench.take().len()
    }
}
