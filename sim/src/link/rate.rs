//! Lets bytes leave one after the other, and keeps a queue of those that wait.

use std::{collections::VecDeque, time::Duration};

use quicpool_core::EcnCodepoint;

use super::{
    Queue, Rate,
    stage::{Context, Parcel, Stage, Verdict},
};

const NANOS_PER_SECOND: u128 = 1_000_000_000;
/// Bytes of the headers of IPv4 and UDP, added to each datagram.
const HEADERS: u64 = 20 + 8;

#[derive(Debug, Default)]
pub(super) struct Shaper {
    /// The datagram that is leaving, and when its last byte has left.
    leaving: Option<(Duration, Parcel)>,
    queue: VecDeque<Parcel>,
    queue_bytes: u64,
    /// The rest of the last datagrams' time beyond whole nanoseconds, in parts of `bytes_per_second`.
    carry: u128,
}

impl Shaper {
    /// The length of the queue with one datagram more, in the queue's unit, and its limit.
    fn filled(&self, rate: &Rate, parcel: &Parcel) -> (u64, u64) {
        match rate.queue {
            Queue::Bytes(max) => (self.queue_bytes + size(parcel), max),
            Queue::Packets(max) => (self.queue.len() as u64 + 1, max),
        }
    }

    fn send(&mut self, now: Duration, rate: &Rate, parcel: Parcel) {
        let per_second = u128::from(rate.bytes_per_second.max(1));
        let parts = u128::from(size(&parcel)) * NANOS_PER_SECOND + self.carry;
        let nanos = u64::try_from(parts / per_second).unwrap_or(u64::MAX);
        self.carry = parts % per_second;
        self.leaving = Some((now + Duration::from_nanos(nanos), parcel));
    }

    /// Decides about a datagram that has to wait, and marks it if the queue is long.
    fn queue_up(&self, rate: &Rate, parcel: &mut Parcel) -> Verdict {
        let (filled, max) = self.filled(rate, parcel);
        if filled > max {
            return Verdict::Lost;
        }
        let is_long = rate.mark_above.is_some_and(|limit| filled > limit);
        if !is_long || parcel.ecn.is_none() {
            return Verdict::Kept;
        }
        parcel.ecn = Some(EcnCodepoint::Ce);
        Verdict::KeptTouched
    }

    fn take_waiting(&mut self) -> Option<Parcel> {
        let parcel = self.queue.pop_front()?;
        self.queue_bytes -= size(&parcel);
        Some(parcel)
    }
}

fn size(parcel: &Parcel) -> u64 {
    parcel.payload.len() as u64 + HEADERS
}

impl Stage for Shaper {
    fn name(&self) -> &'static str {
        "rate"
    }

    fn judge(&mut self, context: &Context<'_>, parcel: &mut Parcel) -> Verdict {
        match (&context.faults.rate, &self.leaving) {
            (Some(rate), Some(_)) => self.queue_up(rate, parcel),
            (None, None) => Verdict::Pass,
            // The first, or one after the limit is gone: what is inside leaves first.
            (Some(_), None) | (None, Some(_)) => Verdict::Kept,
        }
    }

    fn keep(&mut self, context: &Context<'_>, parcel: Parcel) {
        match (&context.faults.rate, &self.leaving) {
            (Some(rate), None) => {
                self.carry = 0;
                self.send(context.now, rate, parcel);
            }
            (Some(_), Some(_)) | (None, _) => {
                self.queue_bytes += size(&parcel);
                self.queue.push_back(parcel);
            }
        }
    }

    fn due(&self, context: &Context<'_>) -> Option<Duration> {
        let (at, _) = self.leaving.as_ref()?;
        Some(context.faults.rate.map_or(Duration::ZERO, |_| *at))
    }

    fn release(&mut self, context: &Context<'_>) -> Option<Parcel> {
        let (_, parcel) = self.leaving.take()?;
        if let Some(waiting) = self.take_waiting() {
            match &context.faults.rate {
                Some(rate) => self.send(context.now, rate, waiting),
                None => self.leaving = Some((context.now, waiting)),
            }
        }
        Some(parcel)
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

    /// A datagram of this length is 1,000 bytes on the wire.
    const LENGTH: usize = 972;

    #[test]
    fn datagrams_leave_one_after_the_other() {
        let mut bench = bench(1_000_000, Queue::Packets(10), None);
        (0..3).for_each(|_| bench.offer(&[0; LENGTH]));
        let times = bench.run().into_iter().map(|(at, _)| at.as_micros());
        assert_eq!(times.collect::<Vec<_>>(), [1_000, 2_000, 3_000]);
    }

    #[test]
    fn nothing_is_lost_to_rounding() {
        // A third of a nanosecond for each byte.
        let mut bench = bench(3_000_000_000, Queue::Packets(100_000), None);
        (0..30_000).for_each(|_| bench.offer(&[0; LENGTH]));
        let (last, _) = bench.run().pop().expect("they leave");
        assert_eq!(last, Duration::from_millis(10));
    }

    #[test]
    fn a_queue_in_bytes_takes_what_fits_and_loses_the_rest() {
        let mut bench = bench(1_000_000, Queue::Bytes(2_500), None);
        (0..4).for_each(|_| bench.offer(&[0; LENGTH]));
        bench.offer(&[0; 400]);
        assert_eq!(bench.stage.counts().dropped, 1);
        assert_eq!(bench.run().len(), 4);
    }

    #[test]
    fn a_queue_in_packets_does_not_care_for_their_length() {
        let mut bench = bench(1_000_000, Queue::Packets(2), None);
        (0..4).for_each(|_| bench.offer(&[0; LENGTH]));
        assert_eq!(bench.stage.counts().dropped, 1);
    }

    #[test]
    fn a_long_queue_marks_those_who_understand_it() {
        let mut bench = bench(1_000_000, Queue::Packets(10), Some(1));
        for ecn in [
            Some(EcnCodepoint::Ect0),
            Some(EcnCodepoint::Ect0),
            None,
            Some(EcnCodepoint::Ect1),
        ] {
            bench.ecn = ecn;
            bench.offer(b"x");
        }
        let marks: Vec<_> = bench.run().into_iter().map(|(_, p)| p.ecn).collect();
        let (ect, ce) = (Some(EcnCodepoint::Ect0), Some(EcnCodepoint::Ce));
        assert_eq!(marks, [ect, ect, None, ce]);
        assert_eq!(bench.stage.counts().touched, 1);
    }

    #[test]
    fn when_the_limit_goes_those_who_wait_leave_at_once_and_in_order() {
        let mut bench = bench(1_000, Queue::Packets(10), None);
        (0..3).for_each(|_| bench.offer(&[0; LENGTH]));
        bench.faults.rate = None;
        bench.offer(b"late");
        let left = bench.run();
        assert!(left.iter().all(|(at, _)| *at == Duration::ZERO));
        let numbers: Vec<u64> = left.iter().map(|(_, p)| p.offered_as()).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(
            bytes_per_second in 1..100_000u64,
            queue in 0..500u64,
            mark_above in prop::option::of(0..500u64),
            steps in check::steps(),
        ) {
            for queue in [Queue::Bytes(queue), Queue::Packets(queue / 40)] {
                let rate = Some(Rate { bytes_per_second, queue, mark_above });
                let faults = Faults { rate, ..Faults::default() };
                check::conserves(Shaper::default(), faults, steps.clone())?;
            }
        }
    }

    fn bench(bytes_per_second: u64, queue: Queue, mark_above: Option<u64>) -> Bench {
        let rate = Rate {
            bytes_per_second,
            queue,
            mark_above,
        };
        let faults = Faults {
            rate: Some(rate),
            ..Faults::default()
        };
        Bench::new(Shaper::default(), faults)
    }
}
