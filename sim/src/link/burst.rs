//! Loses datagrams in bursts.

use super::{
    Burst,
    stage::{Context, LinkDice, Parcel, Stage, Verdict},
};
use crate::dice::Domain;

#[derive(Debug, Default)]
pub(super) struct Bursts {
    weather: Weather,
    /// Datagrams offered to the link up to the last update of the weather.
    told: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Weather {
    #[default]
    Good,
    Bad,
}

impl Bursts {
    /// Lets the weather turn with every datagram that was offered to the link, those included that
    /// never got here: so it does not depend on what else goes wrong.
    fn advance(&mut self, dice: LinkDice, burst: &Burst, offered: u64) {
        for n in self.told..=offered {
            let draw = dice.fraction(Domain::BurstTurn, n);
            self.weather = match (self.weather, draw) {
                (Weather::Good, draw) if draw < burst.to_bad => Weather::Bad,
                (Weather::Bad, draw) if draw < burst.to_good => Weather::Good,
                (weather, _) => weather,
            };
        }
        self.told = offered + 1;
    }

    fn loses(&mut self, context: &Context<'_>, parcel: &Parcel) -> bool {
        let offered = parcel.offered_as();
        let Some(burst) = &context.faults.burst else {
            self.weather = Weather::Good;
            self.told = offered + 1;
            return false;
        };
        self.advance(context.dice, burst, offered);
        self.weather == Weather::Bad && context.happens(Domain::BurstLoss, parcel, burst.loss)
    }
}

impl Stage for Bursts {
    fn name(&self) -> &'static str {
        "burst"
    }

    fn judge(&mut self, context: &Context<'_>, parcel: &mut Parcel) -> Verdict {
        Verdict::lost_if(self.loses(context, parcel))
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
    fn losses_come_in_a_row_and_as_often_as_they_should() {
        let mut bench = Bench::new(Bursts::default(), faults(0.02, 0.2, 1.0));
        let fates: Vec<bool> = (0..20_000)
            .map(|_| {
                bench.offer(b"x");
                bench.take().is_empty()
            })
            .collect();
        // p / (p + r) of the time is bad, and a burst lasts for 1 / r datagrams.
        let lost = fates.iter().filter(|lost| **lost).count();
        assert!((1_500..2_150).contains(&lost), "{lost} lost");
        let bursts = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        let length = lost as f64 / bursts as f64;
        assert!((4.3..5.7).contains(&length), "{length} in a row");
    }

    #[test]
    fn the_weather_turns_whether_or_not_anyone_gets_here() {
        let fates = |step: u64| {
            let mut bench = Bench::new(Bursts::default(), faults(0.1, 0.3, 0.7));
            let numbers = (0..600).step_by(step as usize);
            let fates = numbers.map(|n| (n, bench.offer_as(n, b"x")));
            fates.filter(|(n, _)| n % 6 == 0).collect::<Vec<_>>()
        };
        assert_eq!(fates(1), fates(6));
    }

    proptest! {
        #[test]
        fn no_datagram_goes_missing(
            to_bad in 0.0..1.0,
            to_good in 0.0..1.0,
            loss in 0.0..1.0,
            steps in check::steps(),
        ) {
            check::conserves(Bursts::default(), faults(to_bad, to_good, loss), steps)?;
        }
    }

    fn faults(to_bad: f64, to_good: f64, loss: f64) -> Faults {
        Faults {
            burst: Some(Burst {
                to_bad,
                to_good,
                loss,
            }),
            ..Faults::default()
        }
    }
}
