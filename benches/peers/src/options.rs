//! The command line.

use std::{fmt, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

use crate::transport::Contender;

/// Compares quicpool with quinn over loopback, in two processes.
///
/// Ends with 0 if the bars hold, 1 if one of them does not or something fails.
#[derive(Debug, Parser)]
#[command(name = "peers", version)]
pub struct Options {
    /// Rounds of each workload, in which the contenders take turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rounds: u32,
    /// How long each contender works in a round
    #[arg(long, default_value = "2", value_parser = seconds)]
    pub seconds: Duration,
    /// Workloads to measure, separated by commas; all if not given
    #[arg(long, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Contenders to measure, separated by commas; all if not given
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does instead of comparing.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The receiving side, which the program starts by itself
    #[command(hide = true)]
    Serve {
        contender: Contender,
        workload: Workload,
    },
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Workload {
    /// 64-byte messages, one way, as fast as they go
    #[value(name = "64b")]
    Small,
    /// 1,024-byte messages, one way, as fast as they go
    #[value(name = "1kib")]
    Large,
    /// 16,384-byte messages, one way, as fast as they go
    #[value(name = "16kib")]
    Huge,
    /// 256-byte messages there and back, 1,000 a second
    Echo,
}

impl Options {
    pub fn workloads(&self) -> Vec<Workload> {
        chosen(&self.only)
    }

    pub fn contenders(&self) -> Vec<Contender> {
        chosen(&self.contenders)
    }
}

/// Those named, each once and in the usual order; all if none is named.
fn chosen<T: ValueEnum + PartialEq>(named: &[T]) -> Vec<T> {
    let all = T::value_variants().iter().cloned();
    all.filter(|value| named.is_empty() || named.contains(value))
        .collect()
}

fn seconds(text: &str) -> Result<Duration, String> {
    const ALLOWED: std::ops::RangeInclusive<f64> = 0.1..=600.0;
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !ALLOWED.contains(&seconds) {
        return Err(format!("allowed is {ALLOWED:?}"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

impl Workload {
    /// Bytes of a message.
    pub const fn message_len(self) -> usize {
        match self {
            Self::Small => 64,
            Self::Large => 1_024,
            Self::Huge => 16_384,
            Self::Echo => 256,
        }
    }

    /// Its name on the command line of the child.
    pub fn argument(self) -> String {
        argument(&self)
    }
}

/// The name of a value on the command line.
pub fn argument<T: ValueEnum>(value: &T) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "64 B one way",
            Self::Large => "1 KiB one way",
            Self::Huge => "16 KiB one way",
            Self::Echo => "echo 256 B at 1,000/s",
        })
    }
}
