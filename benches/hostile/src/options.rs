//! The command line.

use std::{fmt, net::SocketAddr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Attacks a quicpool server over loopback, and measures what its memory and its honest peers keep.
///
/// Ends with 0 if every bar holds, 1 if one does not or something fails, 130 after Ctrl-C. Linux only.
#[derive(Debug, Parser)]
#[command(name = "hostile", version)]
pub struct Options {
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Echo, memory and new connections of honest peers under floods of first packets
    Flood(Flood),
    /// Resident memory and `memory_usage` of a server under attacks on its memory
    Memory(Memory),
    /// The server, which the program starts by itself
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        memory_max: Option<usize>,
    },
    /// Echo of honest peers beside one authenticated peer that is hostile
    Fair(Fair),
    /// Honest peers, which the program starts by itself
    #[command(hide = true)]
    Honest {
        server: String,
        loops: usize,
        dials: usize,
    },
    /// An attacker without an address, which the program starts by itself
    #[command(hide = true)]
    Spoofed,
    /// An attacker with one address, which the program starts by itself
    #[command(hide = true)]
    HalfOpen { server: SocketAddr, rate: u64 },
    /// An attacker with an identity, which the program starts by itself
    #[command(hide = true)]
    Greedy { case: Greed, server: SocketAddr },
    /// An attacker on memory, which the program starts by itself
    #[command(hide = true)]
    Siege { case: Siege, server: SocketAddr },
}

#[derive(Debug, Args)]
pub struct Flood {
    /// Packets a second, separated by commas; the bars of 20,000 hold up to it, those of 100,000 beyond
    #[arg(long, value_delimiter = ',', default_value = "20000,100000", value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    rate: Vec<u64>,
    /// Rounds, of which the tables have the medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// How long echoes are counted with each flood, at least
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub seconds: Duration,
}

impl Flood {
    pub fn rates(&self) -> Vec<u64> {
        self.rate.clone()
    }
}

#[derive(Debug, Args)]
pub struct Memory {
    /// `memory_max` of the server
    #[arg(long, default_value = "32MiB", value_parser = bytes)]
    pub memory_max: usize,
    /// How long each attack lasts at most; one that has done all its work ends after two seconds more
    #[arg(long, default_value = "20", value_parser = seconds)]
    pub seconds: Duration,
    /// Rounds, of which the table has the worst
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Attacks; all if not given
    #[arg(value_name = "CASE")]
    cases: Vec<Siege>,
}

impl Memory {
    pub fn cases(&self) -> Vec<Siege> {
        chosen(&self.cases)
    }
}

/// Attacks on memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Siege {
    /// 100 identities with 4 connections each that fill the data stream and never send hello
    Prehello,
    /// 400 identities with hello and a record of 1 MiB that lacks its last byte
    Partial,
    /// 200 connections with hello, without the first byte of the data stream and with all that may follow
    Gaps,
    /// One identity that connects 4,200 times with a certificate of 60 KB
    Certificates,
    /// One identity that fills the data stream without hello, closes and comes again, 220 times; its
    /// `max_ack_delay` of 16,383 ms has the server remember each close for long
    Drain,
}

#[derive(Debug, Args)]
pub struct Fair {
    /// Rounds, of which the table has the medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// How long echoes are counted, alone and beside the other peer
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub seconds: Duration,
    /// Attacks; all if not given
    #[arg(value_name = "CASE")]
    cases: Vec<Greed>,
}

impl Fair {
    pub fn cases(&self) -> Vec<Greed> {
        chosen(&self.cases)
    }
}

/// What a hostile peer sends as fast as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Greed {
    /// Acknowledgements that change nothing, 4 bytes each
    Acks,
    /// Control frames of a reserved type, 2 bytes each
    Reserved,
    /// Sealed records with one message of one byte
    Bytes,
    /// Sealed records with 65,536 empty messages
    Empty,
    /// DATAGRAM frames without a byte
    EmptyDatagrams,
    /// DATAGRAM frames of 1,100 bytes that do not open
    LongDatagrams,
}

impl fmt::Display for Greed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&argument(self))
    }
}

/// Those named, each once and in the usual order; all if none is named.
fn chosen<T: ValueEnum + PartialEq>(named: &[T]) -> Vec<T> {
    let all = T::value_variants().iter().cloned();
    all.filter(|value| named.is_empty() || named.contains(value))
        .collect()
}

/// The name of a value on the command line.
pub fn argument<T: ValueEnum>(value: &T) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

impl fmt::Display for Siege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&argument(self))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    const ALLOWED: std::ops::RangeInclusive<f64> = 1.0..=600.0;
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !ALLOWED.contains(&seconds) {
        return Err(format!("allowed is {ALLOWED:?}"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A number of bytes, with or without a unit.
fn bytes(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, usize); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let with_unit = UNITS
        .iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, unit) = with_unit.unwrap_or((text, 1));
    let number: usize = number
        .trim()
        .parse()
        .map_err(|_| "not a number".to_owned())?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        assert_eq!(bytes("32MiB"), Ok(32 << 20));
        assert_eq!(bytes("70"), Ok(70));
        assert!(bytes("a lot").is_err());
        assert!(bytes("99999999999999999GiB").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
