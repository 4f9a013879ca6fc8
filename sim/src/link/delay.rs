//! Holds each datagram for as long as it travels.

use std::time::Duration;

use super::{
    Delay, Order,
    stage::{Context, LinkDice, Parcel, Stage, Verdict},
};
use crate::{agenda::Agenda, dice::Domain};

#[derive(Debug)]
pub(super) struct Travel {
    travelling: Agenda<Parcel>,
    /// When the last of those that have entered arrives.
    last_arrival: Duration,
}

impl Travel {
    pub(super) fn new() -> Self {
        Self {
            travelling: Agenda::new(),
            last_arrival: Duration::ZERO,
        }
    }
}

impl Stage for Travel {
    fn name(&self) -> &'static str {
        "delay"
    }

    fn judge(&mut self, _context: &Context<'_>, _parcel: &mut Parcel) -> Verdict {
        Verdict::Kept
    }

    fn keep(&mut self, context: &Context<'_>, parcel: Parcel) {
        let travel = draw(context.dice, context.faults.delay, parcel.number);
        let arrival = context.now + travel;
        let at = match context.faults.order {
            Order::Kept => arrival.max(self.last_arrival),
            Order::Free => arrival,
        };
        self.last_arrival = self.last_arrival.max(at);
        self.travelling.insert(at, parcel);
    }

    fn due(&self, _context: &Context<'_>) -> Option<Duration> {
        self.travelling.first().map(|(at, _)| at)
    }

    fn release(&mut self, _context: &Context<'_>) -> Option<Parcel> {
        self.travelling.take_first()
    }
}

/// How long a datagram travels.
fn draw(dice: LinkDice, delay: Delay, number: u64) -> Duration {
    match delay {
        Delay::Constant(delay) => delay,
        Delay::Uniform { from, to } => {
            let part = dice.fraction(Domain::Delay, number);
            from + to.saturating_sub(from).mul_f64(part)
        }
        Delay::Normal { mean, deviation } => {
            let offset = normal(dice.bytes(Domain::Delay, number));
            let distance = deviation.mul_f64(offset.abs());
            match offset < 0.0 {
                true => mean.saturating_sub(distance),
                false => mean + distance,
            }
        }
    }
}

/// A number from a normal distribution: the sum of twelve from a uniform one, which no platform
/// rounds differently.
fn normal(bytes: [u8; 24]) -> f64 {
    let (pairs, _) = bytes.as_chunks();
    let sum: u32 = pairs
        .iter()
        .map(|pair| u32::from(u16::from_le_bytes(*pair)))
        .sum();
    (f64::from(sum) - 6.0 * f64::from(u16::MAX)) / f64::from(1 << 16)
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

    const MANY: u64 = 4_000;

    #[test]
    fn a_constant_delay_is_exact() {
        let times = travels(Delay::Constant(ms(10)), Order::Free);
        assert!(times.iter().all(|travel| *travel == ms(10)));
    }

    #[test]
    fn a_uniform_delay_stays_within_its_bounds_and_uses_them() {
        let (from, to) = (ms(20), ms(60));
        let mut times = travels(Delay::Uniform { from, to }, Order::Free);
        times.sort();
        assert!(times.iter().all(|travel| (from..to).contains(travel)));
        assert!(times[0] < ms(21) && times[times.len() - 1] > ms(59));
    }

    #[test]
    fn a_normal_delay_has_its_mean_and_its_deviation() {
        let (mean, deviation) = (ms(50), ms(10));
        let times = travels(Delay::Normal { mean, deviation }, Order::Free);
        let average = times.iter().sum::<Duration>() / MANY as u32;
        assert!((ms(49)..ms(51)).contains(&average), "{average:?}");
        let near = times
            .iter()
            .filter(|t| (ms(40)..ms(60)).contains(t))
            .count();
        assert!(
            (2_600..2_860).contains(&near),
            "{near} within one deviation"
        );
    }

    #[test]
    fn a_normal_delay_is_never_below_zero() {
        let (mean, deviation) = (ms(1), ms(10));
        let times = travels(Delay::Normal { mean, deviation }, Order::Free);
        assert!(times.contains(&Duration::ZERO));
    }

    #[test]
    fn order_is_kept_where_it_should_be() {
        let delay = Delay::Uniform {
            from: ms(0),
            to: ms(100),
        };
        assert!(is_sorted(arrivals(delay, Order::Kept)));
        assert!(!is_sorted(arrivals(delay, Order::Free)));
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(from in 0..50u64, to in 0..50u64, steps in check::steps()) {
            for delay in [
                Delay::Constant(ms(from)),
                Delay::Uniform { from: ms(from), to: ms(to) },
                Delay::Normal { mean: ms(from), deviation: ms(to) },
            ] {
                for order in [Order::Kept, Order::Free] {
                    check::conserves(Travel::new(), faults(delay, order), steps.clone())?;
                }
            }
        }
    }

    fn faults(delay: Delay, order: Order) -> Faults {
        Faults {
            delay,
            order,
            ..Faults::default()
        }
    }

    /// How long each of many datagrams travels that have left together.
    fn travels(delay: Delay, order: Order) -> Vec<Duration> {
        let mut bench = Bench::new(Travel::new(), faults(delay, order));
        (0..MANY).for_each(|_| bench.offer(b"x"));
        bench.run().into_iter().map(|(at, _)| at).collect()
    }

    /// In which order datagrams arrive that have left a millisecond apart.
    fn arrivals(delay: Delay, order: Order) -> Vec<u64> {
        let mut bench = Bench::new(Travel::new(), faults(delay, order));
        for n in 0..100 {
            bench.now = ms(n);
            bench.offer(b"x");
        }
        bench.run().into_iter().map(|(_, p)| p.number).collect()
    }

    fn is_sorted(numbers: Vec<u64>) -> bool {
        numbers.is_sorted()
    }
}
