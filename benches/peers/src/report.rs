//! Figures, medians, ratios and bars.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Value, json};

use crate::{options::Workload, transport::Contender};

/// How many times the rate of quinn with a write per message quicpool must have.
const RATE_BAR: f64 = 2.0;

/// How many times the latency of quinn quicpool may have.
const LATENCY_BAR: f64 = 1.3;

/// What one contender has done in one round.
#[derive(Debug, Clone, Copy)]
pub enum Figure {
    OneWay {
        messages: u64,
        elapsed: Duration,
        cpu_sender: Duration,
        cpu_receiver: Duration,
    },
    Echo {
        p50: Duration,
        p99: Duration,
        cpu_sender: Duration,
        cpu_receiver: Duration,
    },
}

/// All rounds.
#[derive(Debug, Default)]
pub struct Report {
    figures: BTreeMap<(Workload, Contender), Vec<Figure>>,
}

/// The middle and the ends of what was measured.
#[derive(Debug, Clone, Copy)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

/// Two contenders compared.
struct Ratio {
    name: String,
    value: f64,
    bar: Option<Bar>,
}

#[derive(Debug, Clone, Copy)]
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Figure {
    fn rate(&self) -> Option<f64> {
        match *self {
            Self::OneWay {
                messages, elapsed, ..
            } => Some(messages as f64 / elapsed.as_secs_f64()),
            Self::Echo { .. } => None,
        }
    }

    /// CPU seconds of both processes for a million messages: sender, receiver.
    fn cpu_per_million(&self) -> Option<(f64, f64)> {
        match *self {
            Self::OneWay {
                messages,
                cpu_sender,
                cpu_receiver,
                ..
            } => {
                let millions = messages as f64 / 1e6;
                Some((
                    cpu_sender.as_secs_f64() / millions,
                    cpu_receiver.as_secs_f64() / millions,
                ))
            }
            Self::Echo { .. } => None,
        }
    }

    fn p50_us(&self) -> Option<f64> {
        match self {
            Self::OneWay { .. } => None,
            Self::Echo { p50, .. } => Some(p50.as_secs_f64() * 1e6),
        }
    }

    fn p99_us(&self) -> Option<f64> {
        match self {
            Self::OneWay { .. } => None,
            Self::Echo { p99, .. } => Some(p99.as_secs_f64() * 1e6),
        }
    }

    fn cpu(&self) -> (f64, f64) {
        match self {
            Self::OneWay {
                cpu_sender,
                cpu_receiver,
                ..
            }
            | Self::Echo {
                cpu_sender,
                cpu_receiver,
                ..
            } => (cpu_sender.as_secs_f64(), cpu_receiver.as_secs_f64()),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneWay { .. } => {
                let rate = self.rate().unwrap_or_default();
                write!(f, "{:.1} k messages/s", rate / 1e3)
            }
            Self::Echo { p50, p99, .. } => write!(f, "p50 {p50:.0?}, p99 {p99:.0?}"),
        }
    }
}

impl Report {
    pub fn add(&mut self, workload: Workload, contender: Contender, figure: Figure) {
        let figures = self.figures.entry((workload, contender)).or_default();
        figures.push(figure);
    }

    /// Whether every bar holds that was measured.
    pub fn bars_hold(&self) -> bool {
        self.ratios().iter().all(Ratio::holds)
    }

    /// The report for machines.
    pub fn json(&self) -> Value {
        let figures: Vec<Value> = self
            .figures
            .keys()
            .map(|&(workload, contender)| self.json_of(workload, contender))
            .collect();
        let ratios: Vec<Value> = self.ratios().iter().map(Ratio::json).collect();
        json!({ "figures": figures, "ratios": ratios, "bars_hold": self.bars_hold() })
    }

    fn json_of(&self, workload: Workload, contender: Contender) -> Value {
        let spread = |of: fn(&Figure) -> Option<f64>| {
            self.spread(workload, contender, of).map(
                |spread| json!({ "median": spread.median, "min": spread.min, "max": spread.max }),
            )
        };
        json!({
            "workload": workload.to_string(),
            "contender": contender.to_string(),
            "messages_per_second": spread(Figure::rate),
            "sender_cpu_s_per_million": spread(|f| f.cpu_per_million().map(|cpu| cpu.0)),
            "receiver_cpu_s_per_million": spread(|f| f.cpu_per_million().map(|cpu| cpu.1)),
            "p50_us": spread(Figure::p50_us),
            "p99_us": spread(Figure::p99_us),
            "sender_cpu_s": spread(|f| Some(f.cpu().0)),
            "receiver_cpu_s": spread(|f| Some(f.cpu().1)),
        })
    }

    fn spread(
        &self,
        workload: Workload,
        contender: Contender,
        of: impl Fn(&Figure) -> Option<f64>,
    ) -> Option<Spread> {
        let figures = self.figures.get(&(workload, contender))?;
        Spread::of(figures.iter().filter_map(of).collect())
    }

    fn ratios(&self) -> Vec<Ratio> {
        use Contender::{Batched, Framed, Sealed, Unsealed};
        use Workload::{Echo, Huge, Large, Small};

        let rate = |workload, ours, theirs, bar| {
            self.ratio(workload, ours, theirs, "rate", Figure::rate, bar)
        };
        let p50 = |ours, bar| self.ratio(Echo, ours, Framed, "p50", Figure::p50_us, bar);
        let p99 = |ours| self.ratio(Echo, ours, Framed, "p99", Figure::p99_us, None);
        [
            rate(Small, Sealed, Framed, Some(Bar::AtLeast(RATE_BAR))),
            rate(Small, Unsealed, Framed, None),
            rate(Small, Sealed, Batched, None),
            rate(Small, Unsealed, Batched, None),
            rate(Large, Sealed, Framed, None),
            rate(Large, Unsealed, Framed, None),
            rate(Huge, Sealed, Framed, None),
            rate(Huge, Unsealed, Framed, None),
            p50(Sealed, Some(Bar::AtMost(LATENCY_BAR))),
            p50(Unsealed, None),
            p99(Sealed),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn ratio(
        &self,
        workload: Workload,
        ours: Contender,
        theirs: Contender,
        what: &str,
        of: fn(&Figure) -> Option<f64>,
        bar: Option<Bar>,
    ) -> Option<Ratio> {
        let median = |contender| Some(self.spread(workload, contender, of)?.median);
        Some(Ratio {
            name: format!("{workload}, {what}: {ours} / {theirs}"),
            value: median(ours)? / median(theirs)?,
            bar,
        })
    }

    fn write_figures(
        &self,
        f: &mut fmt::Formatter<'_>,
        workload: Workload,
        contender: Contender,
    ) -> fmt::Result {
        let spread = |of: fn(&Figure) -> Option<f64>| self.spread(workload, contender, of);
        write!(f, "  {contender:<18}")?;
        if let (Some(rate), Some(sender), Some(receiver)) = (
            spread(Figure::rate),
            spread(|figure| figure.cpu_per_million().map(|cpu| cpu.0)),
            spread(|figure| figure.cpu_per_million().map(|cpu| cpu.1)),
        ) {
            let both = sender.median + receiver.median;
            write!(
                f,
                "{}   {both:.3} = {:.3} + {:.3}",
                rate.scaled(1e6, rate_digits(workload)),
                sender.median,
                receiver.median
            )?;
        }
        if let (Some(p50), Some(p99), Some(sender), Some(receiver)) = (
            spread(Figure::p50_us),
            spread(Figure::p99_us),
            spread(|figure| Some(figure.cpu().0)),
            spread(|figure| Some(figure.cpu().1)),
        ) {
            write!(
                f,
                "{}   {}   {:.2} + {:.2}",
                p50.scaled(1.0, 0),
                p99.scaled(1.0, 0),
                sender.median,
                receiver.median
            )?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for &(workload, contender) in self.figures.keys() {
            if last.replace(workload) != Some(workload) {
                writeln!(f, "{workload}: {}", columns(workload))?;
            }
            self.write_figures(f, workload, contender)?;
        }
        writeln!(f)?;
        for ratio in self.ratios() {
            writeln!(f, "{ratio}")?;
        }
        Ok(())
    }
}

/// What the columns of a table mean.
const fn columns(workload: Workload) -> &'static str {
    match workload {
        Workload::Small | Workload::Large | Workload::Huge => {
            "M messages/s, median [min..max]; CPU s per M messages, sender + receiver"
        }
        Workload::Echo => "p50 µs [min..max]; p99 µs [min..max]; CPU s, sender + receiver",
    }
}

/// Digits of a rate in millions: of long messages there are some ten thousand a second.
const fn rate_digits(workload: Workload) -> usize {
    match workload {
        Workload::Small | Workload::Large | Workload::Echo => 2,
        Workload::Huge => 4,
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = (values.len().checked_sub(1)?) / 2;
        let upper = values.len() / 2;
        Some(Self {
            min: *values.first()?,
            median: f64::midpoint(values[middle], values[upper]),
            max: *values.last()?,
        })
    }

    fn scaled(self, unit: f64, digits: usize) -> String {
        let Self { min, median, max } = self;
        let [min, median, max] = [min, median, max].map(|value| value / unit);
        let ends = format!("[{min:.digits$}..{max:.digits$}]");
        format!("{median:>7.digits$} {ends:<14}")
    }
}

impl Ratio {
    fn holds(&self) -> bool {
        match self.bar {
            None => true,
            Some(Bar::AtLeast(bar)) => self.value >= bar,
            Some(Bar::AtMost(bar)) => self.value <= bar,
        }
    }

    fn json(&self) -> Value {
        let bar = self.bar.map(|bar| match bar {
            Bar::AtLeast(bar) => json!({ "at_least": bar }),
            Bar::AtMost(bar) => json!({ "at_most": bar }),
        });
        json!({ "name": self.name, "value": self.value, "bar": bar, "holds": self.holds() })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:.2}x", self.name, self.value)?;
        match self.bar {
            None => Ok(()),
            Some(bar) => {
                let verdict = if self.holds() {
                    "holds"
                } else {
                    "DOES NOT HOLD"
                };
                match bar {
                    Bar::AtLeast(bar) => write!(f, " (bar: at least {bar}x: {verdict})"),
                    Bar::AtMost(bar) => write!(f, " (bar: at most {bar}x: {verdict})"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_way(messages: u64) -> Figure {
        Figure::OneWay {
            messages,
            elapsed: Duration::from_secs(1),
            cpu_sender: Duration::from_secs(1),
            cpu_receiver: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_bar_that_does_not_hold_is_told() {
        for (rate, holds) in [(199, false), (200, true)] {
            let mut report = Report::default();
            report.add(Workload::Small, Contender::Sealed, one_way(rate));
            report.add(Workload::Small, Contender::Framed, one_way(100));
            assert_eq!(report.bars_hold(), holds);
            assert_eq!(report.to_string().contains("DOES NOT HOLD"), !holds);
        }
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        let median = |values: &[f64]| Spread::of(values.to_vec()).map(|spread| spread.median);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
