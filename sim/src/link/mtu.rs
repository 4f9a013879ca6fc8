//! Swallows datagrams that are too long.

use std::time::Duration;

use super::{
    Faults,
    stage::{Context, Parcel, Stage, Verdict},
};

#[derive(Debug)]
pub(super) struct Mtu;

/// The longest datagram that passes at this moment.
fn limit(faults: &Faults, now: Duration) -> usize {
    match &faults.black_hole {
        Some(hole) if (hole.from..hole.until).contains(&now) => faults.mtu.min(hole.mtu),
        _ => faults.mtu,
    }
}

impl Stage for Mtu {
    fn name(&self) -> &'static str {
        "mtu"
    }

    fn judge(&mut self, context: &Context<'_>, parcel: &mut Parcel) -> Verdict {
        Verdict::lost_if(parcel.payload.len() > limit(context.faults, context.now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        BlackHole,
        link::testing::{Bench, check},
    };

    #[test]
    fn a_datagram_longer_than_the_mtu_is_lost() {
        let mut bench = bench(1_200, None);
        assert_eq!(passes(&mut bench, 1_200), 1);
        assert_eq!(passes(&mut bench, 1_201), 0);
    }

    #[test]
    fn a_black_hole_has_a_beginning_and_an_end() {
        let hole = BlackHole {
            mtu: 1_000,
            from: Duration::from_secs(1),
            until: Duration::from_secs(2),
        };
        let mut bench = bench(1_200, Some(hole));
        for (at, length, expected) in [
            (999, 1_200, 1),
            (1_000, 1_001, 0),
            (1_000, 1_000, 1),
            (1_999, 1_001, 0),
            (2_000, 1_200, 1),
        ] {
            bench.now = Duration::from_millis(at);
            assert_eq!(
                passes(&mut bench, length),
                expected,
                "{length} B at {at} ms"
            );
        }
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(mtu in 0..100usize, steps in check::steps()) {
            let faults = Faults { mtu, ..Faults::default() };
            check::conserves(Mtu, faults, steps)?;
        }
    }

    fn bench(mtu: usize, black_hole: Option<BlackHole>) -> Bench {
        let faults = Faults {
            mtu,
            black_hole,
            ..Faults::default()
        };
        Bench::new(Mtu, faults)
    }

    fn passes(bench: &mut Bench, length: usize) -> usize {
        bench.offer(&vec![0; length]);
        bench.take().len()
    }
}
