//! The figures, and how they are printed.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use quicpool_sim::bench::Stack;
use serde_json::{Value, json};

use super::{Idle, Load};

/// Of what QUIC alone does, the machine without seals is to do as much, in handshakes and in
/// messages: two thirds.
const BAR: f64 = 2.0 / 3.0;

/// Everything that was measured.
pub(crate) struct Report {
    rates: BTreeMap<(Load, Stack), Figures>,
    worlds: Figures,
    idle: BTreeMap<Stack, IdleFigures>,
}

/// Idle connections, as all rounds have found them: medians.
struct IdleFigures {
    times_real: f64,
    kib_per_pair: Option<f64>,
}

/// One thing, as all rounds have found it.
pub(crate) struct Figures {
    median: f64,
    /// How far apart the middle half of the rounds is, as a part of the median.
    spread: f64,
    /// The median of what each round has found beside the bare figure of the same round.
    ratio: f64,
}

impl Figures {
    fn new(rounds: &[f64], bare: &[f64]) -> Self {
        let ratios: Vec<f64> = rounds
            .iter()
            .zip(bare)
            .map(|(rate, bare)| rate / bare)
            .collect();
        let median = quantile(rounds, 0.5);
        Self {
            median,
            spread: (quantile(rounds, 0.75) - quantile(rounds, 0.25)) / median,
            ratio: quantile(&ratios, 0.5),
        }
    }
}

impl IdleFigures {
    fn new(rounds: &[Idle]) -> Self {
        let times: Vec<f64> = rounds.iter().map(|idle| idle.times_real).collect();
        let memory: Option<Vec<f64>> = rounds.iter().map(|idle| idle.kib_per_pair).collect();
        Self {
            times_real: quantile(&times, 0.5),
            kib_per_pair: memory.map(|memory| quantile(&memory, 0.5)),
        }
    }
}

impl Report {
    pub(crate) fn new(
        rates: BTreeMap<(Load, Stack), Vec<f64>>,
        worlds: Vec<f64>,
        idle: BTreeMap<Stack, Vec<Idle>>,
    ) -> Self {
        let figures = |((load, stack), rounds): (&(Load, Stack), &Vec<f64>)| {
            let bare = &rates[&(*load, Stack::Bare)];
            ((*load, *stack), Figures::new(rounds, bare))
        };
        Self {
            rates: rates.iter().map(figures).collect(),
            worlds: Figures::new(&worlds, &worlds),
            idle: idle
                .into_iter()
                .map(|(stack, rounds)| (stack, IdleFigures::new(&rounds)))
                .collect(),
        }
    }

    /// Whether the machine without seals has this part of the bare figure in all that counts.
    pub(crate) fn reaches(&self, ratio: f64) -> bool {
        let counted = self
            .rates
            .iter()
            .filter(|((load, stack), _)| load.is_barred() && *stack == Stack::Plain);
        counted
            .map(|(_, figures)| figures.ratio)
            .all(|found| found >= ratio)
    }

    pub(crate) fn print(&self, as_json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if as_json {
            writeln!(out, "{}", self.json())?;
        } else {
            self.tabulate(&mut out)?;
        }
        out.flush()
    }

    fn json(&self) -> Value {
        let rates = self.rates.iter().map(|((load, stack), figures)| {
            json!({
                "load": load.name(),
                "stack": stack.name(),
                "per_second": figures.median,
                "spread": figures.spread,
                "ratio": figures.ratio,
            })
        });
        let idle = self.idle.iter().map(|(stack, idle)| {
            json!({
                "stack": stack.name(),
                "times_real": idle.times_real,
                "kib_per_pair": idle.kib_per_pair,
            })
        });
        json!({
            "rates": rates.collect::<Vec<_>>(),
            "idle": idle.collect::<Vec<_>>(),
            "worlds_per_second": self.worlds.median,
            "bar": BAR,
            "reached": self.reaches(BAR),
        })
    }

    fn tabulate(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{:17}{:8}{:>12}{:>9}{:>12}",
            "", "", "per CPU s", "spread", "of bare"
        )?;
        for ((load, stack), figures) in &self.rates {
            let Figures {
                median,
                spread,
                ratio,
            } = figures;
            let (load, stack) = (load.name(), stack.name());
            writeln!(
                out,
                "{load:17}{stack:8}{median:>12.0}{:>8.0}%{ratio:>12.2}",
                spread * 100.0
            )?;
        }
        let (median, spread) = (self.worlds.median, self.worlds.spread * 100.0);
        writeln!(
            out,
            "{:25}{median:>12.0}{spread:>8.0}%",
            "worlds of the swarm"
        )?;
        for (stack, idle) in &self.idle {
            let memory = idle.kib_per_pair.map_or_else(
                || "memory unknown".to_owned(),
                |kib| format!("{kib:.0} KiB a pair"),
            );
            let (stack, times) = (stack.name(), idle.times_real);
            writeln!(
                out,
                "{:17}{stack:8}{times:>11.0}x real time, {memory}",
                "10,000 idle"
            )?;
        }
        let verdict = match self.reaches(BAR) {
            true => "reached",
            false => "missed",
        };
        writeln!(
            out,
            "two thirds of bare in handshakes and messages: {verdict}"
        )
    }
}

/// The value below which this part of them lies.
fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = part * (sorted.len() - 1) as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use quicpool_sim::bench::Weather;

    use super::*;

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0];
        let quantiles = [0.0, 0.5, 0.75, 1.0].map(|part| quantile(&values, part));
        assert_eq!(quantiles, [1.0, 2.5, 3.25, 4.0]);
        assert_eq!(quantile(&[7.0], 0.75), 7.0);
    }

    #[test]
    fn a_ratio_is_of_figures_of_one_round() {
        // The machine slows down to a tenth between rounds, and the ratio stays.
        let figures = Figures::new(&[80.0, 8.0, 0.8], &[100.0, 10.0, 1.0]);
        assert!((figures.ratio - 0.8).abs() < 1e-9);
    }

    #[test]
    fn the_bar_is_for_the_machine_without_seals_on_a_clean_link() {
        let handshakes = Load::Handshakes;
        let [clean, lossy] = [Weather::Clean, Weather::Lossy].map(Load::Messages);
        let reaches = |rates: &[(Load, Stack, f64)]| {
            let bare = Load::ALL.map(|load| (load, Stack::Bare, 100.0));
            let rates = bare.iter().chain(rates);
            let rates = rates.map(|(load, stack, rate)| ((*load, *stack), vec![*rate]));
            Report::new(rates.collect(), vec![1.0], BTreeMap::new()).reaches(BAR)
        };
        let good = [
            (handshakes, Stack::Plain, 70.0),
            (clean, Stack::Plain, 67.0),
        ];
        assert!(reaches(&good));
        assert!(reaches(&[good[0], good[1], (clean, Stack::Sealed, 10.0)]));
        assert!(reaches(&[good[0], good[1], (lossy, Stack::Plain, 10.0)]));
        assert!(!reaches(&[good[0], (clean, Stack::Plain, 66.0)]));
        assert!(!reaches(&[(handshakes, Stack::Plain, 66.0), good[1]]));
    }
}
