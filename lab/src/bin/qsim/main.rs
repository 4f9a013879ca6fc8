//! Thousands of simulated worlds: each seed draws its own, and what must hold is checked in all.
//!
//! `run`, `cover` and `replay` exit with 0 if everything holds, 2 if something went wrong, or if a mark
//! was not reached by a run of 2,000 worlds or more, 3 if something never happened, 4 if a run did
//! not repeat, 5 if the machine panicked, 130 if it was interrupted; a failure goes before an
//! interruption. `compare` exits with 2 if something differs. `shrink` exits with 130 if it was interrupted, and with 0 if it has made a world
//! smaller. All exit with 1 if they cannot do what was asked, or do not understand it.

mod bench;
mod compare;
mod cover;
mod failure;
mod interrupt;
mod outcomes;
mod replay;
mod report;
mod run;
mod shrink;
mod stdout;
mod trace;
mod world;

use std::{error::Error, ops::Range, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use quicpool_sim::Crypto;

use self::stdout::remark;

/// Where failing worlds are written to.
const OUT: &str = "target/sim";

const EXIT_CODES: &str = "\
Exit codes:
  0    everything holds
  1    it cannot do what was asked
  2    something went wrong, a mark was not reached, or two builds differ
  3    something never happened that had to
  4    two runs of a world differ
  5    the machine panicked
  130  interrupted, and nothing had failed before";

const OUTCOMES: &str = "\
Write how worlds end, to compare this build with another: `qsim compare` reads two such files.

The file has a JSON object on each line: for each world how it ended, for each of its nodes the events
without a peer and the node's counters, and for each node and each other node the events about that
peer, in the order in which the application had them, and the peer's metrics. Events are a hash and
a count by kind; --whole writes the sequences, too. Times of events are left out, those of all earlier
processes of a node are in. Counters are those after the world has settled, before all nodes forget
each other; a node that is down then has none.";

const COMPARE: &str = "\
Compare what `outcomes` of two builds have written, for the same seeds:

    before/qsim outcomes --seeds 0..2000 --to before.jsonl
    after/qsim outcomes --seeds 0..2000 --to after.jsonl
    qsim compare before.jsonl after.jsonl

Each line that differs is printed with its seed, node and peer, then the totals by kind of difference:
the number of events of a kind (events.NAME), their order or contents, and each counter or metric.
Change is the sum over all lines of what a count has grown by.";

#[derive(Parser)]
#[command(
    about = "Runs quicpool in simulated worlds, and checks what must hold in all of them",
    after_help = EXIT_CODES
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the worlds of many seeds
    Run(Options),
    /// Run them, and print how often each mark was reached and in how many worlds, the rarest first
    Cover(Options),
    /// Play one world, and print what happens in it
    Replay(replay::Options),
    /// Make a failing world smaller, as long as it fails in the same way
    Shrink(shrink::Options),
    /// Time the machine beside QUIC alone, on one thread
    Bench(bench::Options),
    /// Show what happens in one world
    Trace(trace::Options),
    /// Write how worlds end, to compare this build with another
    #[command(long_about = OUTCOMES)]
    Outcomes(outcomes::Options),
    /// Compare what `outcomes` of two builds have written
    #[command(long_about = COMPARE)]
    Compare(compare::Options),
}

/// What to run, and how.
#[derive(clap::Args)]
struct Options {
    /// Seeds, from the first up to, but not including, the last
    #[arg(long, value_name = "A..B", default_value = "0..1000", value_parser = seeds)]
    seeds: Range<u64>,
    /// Begin no further world after this time: 500ms, 60s, 5m; without end by default
    #[arg(long, value_name = "TIME", value_parser = duration)]
    budget: Option<Duration>,
    /// Threads, from 1 to 1024; as many as there are cores by default
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// What sessions are made of: checksum, or tls as in production
    #[arg(long, default_value_t)]
    crypto: Crypto,
    /// Add peers that are no nodes to each world: raw QUIC, and any bytes in it
    #[arg(long)]
    strangers: bool,
    /// Run each world twice, and compare every byte that was sent
    #[arg(long)]
    check_twice: bool,
    /// Begin no further world once one has failed
    #[arg(long)]
    fail_fast: bool,
    /// Where to write worlds that fail: a directory, which is made if it is missing
    #[arg(long, value_name = "DIRECTORY", default_value = OUT)]
    out: PathBuf,
    /// Print one JSON object instead of a summary
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return explain(&error),
    };
    let result = match command {
        Command::Run(options) => run_worlds(&options),
        Command::Cover(options) => cover_worlds(&options),
        Command::Replay(options) => replay::replay(&options).map_err(Into::into),
        Command::Shrink(options) => shrink::shrink(&options).map_err(Into::into),
        Command::Bench(options) => bench::run(&options).map_err(Into::into),
        Command::Trace(options) => return trace::trace(&options),
        Command::Outcomes(options) => outcomes::write(&options).map_err(Into::into),
        Command::Compare(options) => compare::compare(&options).map_err(Into::into),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            remark(format_args!("qsim: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints help, or what is wrong with the command line. That is no 2, which is kept for worlds.
fn explain(error: &clap::Error) -> ExitCode {
    // Without a reader there is nothing to explain.
    let _ = error.print();
    match error.use_stderr() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
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
