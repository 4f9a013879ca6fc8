//! How fast: the machine beside QUIC alone, and the simulator itself.

mod clock;
mod idle;
mod table;

use std::{collections::BTreeMap, hint::black_box, io, process::ExitCode};

use indicatif::{ProgressBar, ProgressStyle};
use quicpool_sim::{
    bench::{Stack, Weather, handshakes, messages},
    swarm::Scenario,
};

use self::{idle::Idle, table::Report};

/// What one round does of each. Enough that the grain of the clock does not matter.
const HANDSHAKES: u64 = 3_000;
const MESSAGES: u64 = 200_000;
const WORLDS: u64 = 100;

/// What to measure, and how often.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds; figures are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Exit with 1 if the machine without seals has less than this part of the bare figure, in
    /// handshakes or in messages on a clean link
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    require: Option<f64>,
    /// Measure idle connections of one stack, and nothing else: what the others do to the heap
    /// does not count
    #[arg(long, hide = true, value_parser = stack)]
    idle: Option<Stack>,
}

/// What is timed for each stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Load {
    Handshakes,
    Messages(Weather),
}

impl Load {
    const ALL: [Self; 3] = [
        Self::Handshakes,
        Self::Messages(Weather::Clean),
        Self::Messages(Weather::Lossy),
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Handshakes => "handshakes",
            Self::Messages(Weather::Clean) => "messages",
            Self::Messages(Weather::Lossy) => "messages, lossy",
        }
    }

    /// Whether it counts for the bar.
    const fn is_barred(self) -> bool {
        matches!(self, Self::Handshakes | Self::Messages(Weather::Clean))
    }

    /// How many per second of CPU time.
    fn rate(self, stack: Stack) -> f64 {
        match self {
            Self::Handshakes => clock::rate(HANDSHAKES, || handshakes(stack, HANDSHAKES)),
            Self::Messages(weather) => clock::rate(MESSAGES, || messages(stack, weather, MESSAGES)),
        }
    }
}

/// Measures, and prints.
pub(crate) fn run(options: &Options) -> io::Result<ExitCode> {
    if let Some(stack) = options.idle {
        println!("{}", idle::measure(stack));
        return Ok(ExitCode::SUCCESS);
    }
    let report = measure(options)?;
    report.print(options.json)?;
    let missed = options.require.is_some_and(|ratio| !report.reaches(ratio));
    Ok(ExitCode::from(u8::from(missed)))
}

fn measure(options: &Options) -> io::Result<Report> {
    let bar = progress_bar(options.rounds);
    let mut rates: BTreeMap<(Load, Stack), Vec<f64>> = BTreeMap::new();
    let mut idle: BTreeMap<Stack, Vec<Idle>> = BTreeMap::new();
    let mut worlds = Vec::new();
    for round in 0..usize::from(options.rounds) {
        for load in Load::ALL {
            // In turns, so that no stack is always the first after another load.
            for place in 0..Stack::ALL.len() {
                let stack = Stack::ALL[(round + place) % Stack::ALL.len()];
                bar.set_message(format!("{}, {}", load.name(), stack.name()));
                let rate = load.rate(stack);
                rates.entry((load, stack)).or_default().push(rate);
                bar.inc(1);
            }
        }
        bar.set_message("worlds");
        worlds.push(clock::rate(WORLDS, play_worlds));
        bar.inc(1);
        for stack in Stack::ALL {
            bar.set_message(format!("idle connections, {}", stack.name()));
            let found = Idle::of_child(stack)?;
            idle.entry(stack).or_default().push(found);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(Report::new(rates, worlds, idle))
}

fn play_worlds() {
    for seed in 0..WORLDS {
        black_box(Scenario::draw(seed).run());
    }
}

fn progress_bar(rounds: u16) -> ProgressBar {
    let (stacks, loads) = (Stack::ALL.len() as u64, Load::ALL.len() as u64);
    let bar = ProgressBar::new(u64::from(rounds) * (stacks * (loads + 1) + 1));
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len}: {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text
        .parse()
        .ok()
        .filter(|ratio| (0.0..=10.0).contains(ratio));
    ratio.ok_or_else(|| "allowed is a number from 0 to 10, such as 0.66".to_owned())
}

fn stack(text: &str) -> Result<Stack, String> {
    let stack = Stack::ALL.into_iter().find(|stack| stack.name() == text);
    stack.ok_or_else(|| "allowed are bare, plain and sealed".to_owned())
}
