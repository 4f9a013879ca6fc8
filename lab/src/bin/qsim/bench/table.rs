//! The figures, and how they are printed.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use quicpool_lab::bench::{Stack, Subject};
use quicpool_sim::Crypto;
use serde_json::{Value, json};

use super::{Idle, Load};

/// Of what QUIC alone does, the machine without seals is to do as much, in handshakes and in
/// messages: two thirds.
const BAR: f64 = 2.0 / 3.0;

/// Everything that was measured, round by round.
#[derive(Default)]
pub(crate) struct Report {
    rates: BTreeMap<(Crypto, Load, Stack), Vec<f64>>,
    worlds: Vec<f64>,
    idle: BTreeMap<Subject, Idle>,
}

/// One thing, as all rounds have found it.
struct Figures {
    median: f64,
    /// How far apart the middle half of the rounds is, as a part of the median.
    spread: f64,
}

impl Figures {
    fn new(rounds: &[f64]) -> Self {
        let median = quantile(rounds, 0.5);
        let spread = (quantile(rounds, 0.75) - quantile(rounds, 0.25)) / median;
        Self { median, spread }
    }
}

impl Report {
    pub(crate) fn add_rate(&mut self, load: Load, subject: Subject, rate: f64) {
        let key = (subject.crypto, load, subject.stack);
        self.rates.entry(key).or_default().push(rate);
    }

    pub(crate) fn add_worlds(&mut self, rate: f64) {
        self.worlds.push(rate);
    }

    pub(crate) fn add_idle(&mut self, subject: Subject, idle: Idle) {
        self.idle.insert(subject, idle);
    }

    /// Whether the machine without seals has this part of the bare figure in all that counts.
    pub(crate) fn reaches(&self, ratio: f64) -> bool {
        let mut counted = self
            .rates
            .keys()
            .filter(|(_, load, stack)| load.is_barred() && *stack == Stack::Plain);
        counted.all(|(crypto, load, stack)| self.ratio(*crypto, *load, *stack) >= ratio)
    }

    /// The median of what each round has found beside the bare figure of the same round.
    fn ratio(&self, crypto: Crypto, load: Load, stack: Stack) -> f64 {
        let bare = &self.rates[&(crypto, load, Stack::Bare)];
        let rounds = self.rates[&(crypto, load, stack)].iter().zip(bare);
        let ratios: Vec<f64> = rounds.map(|(rate, bare)| rate / bare).collect();
        quantile(&ratios, 0.5)
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
        let rates = self.rates.iter().map(|((crypto, load, stack), rounds)| {
            let Figures { median, spread } = Figures::new(rounds);
            json!({
                "crypto": crypto.to_string(),
                "load": load.name(),
                "stack": stack.name(),
                "per_second": median,
                "spread": spread,
                "ratio": self.ratio(*crypto, *load, *stack),
            })
        });
        let idle = self.idle.iter().map(|(subject, idle)| {
            json!({
                "crypto": subject.crypto.to_string(),
                "stack": subject.stack.name(),
                "times_real": idle.times_real,
                "kib_per_pair": idle.kib_per_pair,
            })
        });
        json!({
            "rates": rates.collect::<Vec<_>>(),
            "idle": idle.collect::<Vec<_>>(),
            "worlds_per_second": quantile(&self.worlds, 0.5),
            "bar": BAR,
            "reached": self.reaches(BAR),
        })
    }

    fn tabulate(&self, out: &mut impl Write) -> io::Result<()> {
        let columns = ["per CPU s", "spread", "of bare"];
        let [rate, spread, ratio] = columns;
        writeln!(out, "{:33}{rate:>12}{spread:>9}{ratio:>9}", "")?;
        for ((crypto, load, stack), rounds) in &self.rates {
            let Figures { median, spread } = Figures::new(rounds);
            let ratio = self.ratio(*crypto, *load, *stack);
            row(out, *crypto, load.name(), *stack)?;
            writeln!(out, "{median:>12.0}{:>8.0}%{ratio:>9.2}", spread * 100.0)?;
        }
        for (Subject { crypto, stack }, idle) in &self.idle {
            row(out, *crypto, "10,000 idle", *stack)?;
            let memory = idle.kib_per_pair.map_or_else(
                || "memory unknown".to_owned(),
                |kib| format!("{kib:.0} KiB a pair"),
            );
            writeln!(out, "{:>11.0}x real time, {memory}", idle.times_real)?;
        }
        let Figures { median, spread } = Figures::new(&self.worlds);
        let worlds = "worlds of the swarm";
        writeln!(out, "{worlds:33}{median:>12.0}{:>8.0}%", spread * 100.0)?;
        let verdict = match self.reaches(BAR) {
            true => "reached",
            false => "missed",
        };
        writeln!(
            out,
            "plain at two thirds of bare or more, in handshakes and messages: {verdict}"
        )
    }
}

fn row(out: &mut impl Write, crypto: Crypto, what: &str, stack: Stack) -> io::Result<()> {
    write!(out, "{crypto:10}{what:16}{:7}", stack.name())
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
    use quicpool_lab::bench::Weather;

    use super::*;

    const CLEAN: Load = Load::Messages(Weather::Clean);
    const LOSSY: Load = Load::Messages(Weather::Lossy);

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0];
        let quantiles = [0.0, 0.5, 0.75, 1.0].map(|part| quantile(&values, part));
        assert_eq!(quantiles, [1.0, 2.5, 3.25, 4.0]);
        assert_eq!(quantile(&[7.0], 0.75), 7.0);
    }

    #[test]
    fn a_ratio_is_of_figures_of_one_round() {
        let mut report = Report::default();
        // The computer slows down to a tenth between rounds, and the ratio stays.
        for bare in [100.0, 10.0, 1.0] {
            add(&mut report, CLEAN, Stack::Bare, bare);
            add(&mut report, CLEAN, Stack::Plain, bare * 0.8);
        }
        let ratio = report.ratio(Crypto::Checksum, CLEAN, Stack::Plain);
        assert!((ratio - 0.8).abs() < 1e-9, "{ratio}");
    }

    #[test]
    fn the_bar_is_for_the_machine_without_seals_on_a_clean_link() {
        let reaches = |rates: &[(Load, Stack, f64)]| {
            let mut report = Report::default();
            for load in Load::ALL {
                add(&mut report, load, Stack::Bare, 100.0);
            }
            for (load, stack, rate) in rates {
                add(&mut report, *load, *stack, *rate);
            }
            report.reaches(BAR)
        };
        let good = [
            (Load::Handshakes, Stack::Plain, 70.0),
            (CLEAN, Stack::Plain, 67.0),
        ];
        assert!(reaches(&good));
        assert!(reaches(&[good[0], good[1], (CLEAN, Stack::Sealed, 10.0)]));
        assert!(reaches(&[good[0], good[1], (LOSSY, Stack::Plain, 10.0)]));
        assert!(!reaches(&[good[0], (CLEAN, Stack::Plain, 66.0)]));
        assert!(!reaches(&[(Load::Handshakes, Stack::Plain, 66.0), good[1]]));
    }

    fn add(report: &mut Report, load: Load, stack: Stack, rate: f64) {
        let crypto = Crypto::Checksum;
        report.add_rate(load, Subject { crypto, stack }, rate);
    }
}
