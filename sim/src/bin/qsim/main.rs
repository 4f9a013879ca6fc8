//! Thousands of simulated worlds: each seed draws its own, and what must hold is checked in all.
//!
//! `run`, `cover` and `replay` exit with 0 if everything holds, 2 if something went wrong, or if a mark
//! was not reached by a run of 2,000 worlds or more, 3 if something never happened, 4 if a run did
//! not repeat, 5 if the machine panicked, 130 if it was interrupted. All exit with 1 if they cannot
//! do what was asked.

mod bench;
mod cover;
mod failure;
mod replay;
mod report;
mod run;
mod shrink;
mod trace;
mod world;

use std::{error::Error, ops::Range, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use quicpool_sim::Crypto;

/// Where failing worlds are written to.
const OUT: &str = "target/sim";

#[derive(Parser)]
#[command(about = "Runs quicpool in simulated worlds, and checks what must hold in all of them")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the worlds of many seeds
    Run(Options),
    /// Run them, and say how often each mark was reached and in how many worlds, the rarest first
    Cover(Options),
    /// Play one world, and tell what happens in it
    Replay(replay::Options),
    /// Make a failing world smaller, as long as it fails in the same way
    Shrink(shrink::Options),
    /// Time the machine beside QUIC alone, on one thread
    Bench(bench::Options),
    /// Show what happens in one world
    Trace(trace::Options),
}

/// What to run, and how.
#[derive(clap::Args)]
struct Options {
    /// Seeds, from the first up to, but not including, the last
    #[arg(long, default_value = "0..1000", value_parser = seeds)]
    seeds: Range<u64>,
    /// Begin no further world after this time: 500ms, 60s, 5m
    #[arg(long, value_parser = duration)]
    budget: Option<Duration>,
    /// Threads; as many as there are cores unless said otherwise
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// What sessions are made of: checksum, or tls as in production
    #[arg(long, default_value_t)]
    crypto: Crypto,
    /// Run each world twice, and compare every byte that was sent
    #[arg(long)]
    check_twice: bool,
    /// Begin no further world once one has failed
    #[arg(long)]
    fail_fast: bool,
    /// Where to write worlds that fail
    #[arg(long, default_value = OUT)]
    out: PathBuf,
    /// Print one JSON object instead of a summary
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(options) => run_worlds(&options),
        Command::Cover(options) => cover_worlds(&options),
        Command::Replay(options) => replay::replay(&options).map_err(Into::into),
        Command::Shrink(options) => shrink::shrink(&options).map_err(Into::into),
        Command::Bench(options) => bench::run(&options).map_err(Into::into),
        Command::Trace(options) => return trace::trace(&options),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("qsim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_worlds(options: &Options) -> Result<u8, Box<dyn Error>> {
    let report = run::run(options);
    report.print(options.json)?;
    Ok(report.exit_code())
}

fn cover_worlds(options: &Options) -> Result<u8, Box<dyn Error>> {
    Ok(run::run(options).print_cover(options.json)?)
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(first, last)| {
        let range = first.parse().ok()?..last.parse().ok()?;
        (range.start < range.end).then_some(range)
    });
    range.ok_or_else(|| "allowed is A..B with A below B, such as 0..2000".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: Option<u32> = number.parse().ok();
    let unit = match unit {
        "ms" => Some(Duration::from_millis(1)),
        "s" => Some(Duration::from_secs(1)),
        "m" => Some(Duration::from_secs(60)),
        _ => None,
    };
    let duration = number
        .zip(unit)
        .and_then(|(number, unit)| unit.checked_mul(number));
    duration.ok_or_else(|| "allowed are 500ms, 60s, 5m and the like".to_owned())
}
