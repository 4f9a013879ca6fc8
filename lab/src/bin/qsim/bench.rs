//! How fast: the machine beside QUIC alone, and the simulator itself.

mod clock;
mod idle;
mod table;

use std::{hint::black_box, io};

use indicatif::{ProgressBar, ProgressStyle};
use quicpool_lab::{
    bench::{Stack, Subject, Weather, handshakes, messages},
    swarm::Scenario,
};
use quicpool_sim::Crypto;

use self::{idle::Idle, table::Report};

/// Messages of one round. Enough that the grain of the clock does not matter, as with all of these.
const MESSAGES: u64 = 200_000;
const WORLDS: u64 = 100;

/// What to measure, and how often.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds; rates are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// What sessions are made of: checksum, tls, or both one after the other
    #[arg(long, default_value = "both", value_parser = cryptos)]
    crypto: Cryptos,
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

#[derive(Clone)]
struct Cryptos(Vec<Crypto>);

/// What is timed for each subject.
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
    fn rate(self, subject: Subject) -> f64 {
        match self {
            Self::Handshakes => {
                let count = handshakes_of_round(subject.crypto);
                clock::rate(count, || handshakes(subject, count))
            }
            Self::Messages(weather) => {
                clock::rate(MESSAGES, || messages(subject, weather, MESSAGES))
            }
        }
    }
}

/// They take about as long whatever they are made of.
fn handshakes_of_round(crypto: Crypto) -> u64 {
    if crypto == Crypto::Checksum {
        3_000
    } else {
        600
    }
}

/// Measures, and prints.
pub(crate) fn run(options: &Options) -> io::Result<u8> {
    let cryptos = &options.crypto.0;
    if let (Some(stack), [crypto]) = (options.idle, &cryptos[..]) {
        let crypto = *crypto;
        println!("{}", idle::measure(Subject { crypto, stack }));
        return Ok(0);
    }
    let report = measure(options.rounds, cryptos)?;
    report.print(options.json)?;
    let missed = options.require.is_some_and(|ratio| !report.reaches(ratio));
    Ok(u8::from(missed))
}

fn measure(rounds: u16, cryptos: &[Crypto]) -> io::Result<Report> {
    let mut report = Report::default();
    let bar = progress_bar(rounds, cryptos);
    for round in 0..rounds {
        for crypto in cryptos {
            for load in Load::ALL {
                for subject in in_turn(round, *crypto) {
                    bar.set_message(format!("{}, {}", load.name(), name(subject)));
                    report.add_rate(load, subject, load.rate(subject));
                    bar.inc(1);
                }
            }
        }
        bar.set_message("worlds");
        report.add_worlds(clock::rate(WORLDS, play_worlds));
        bar.inc(1);
    }
    // Once: these are slow to make, and what they hold does not vary.
    for subject in cryptos.iter().flat_map(|crypto| in_turn(0, *crypto)) {
        bar.set_message(format!("idle connections, {}", name(subject)));
        report.add_idle(subject, Idle::of_child(subject)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(report)
}

/// The stacks take turns in being the first.
fn in_turn(round: u16, crypto: Crypto) -> [Subject; Stack::ALL.len()] {
    let mut stacks = Stack::ALL;
    stacks.rotate_left(usize::from(round) % Stack::ALL.len());
    stacks.map(|stack| Subject { crypto, stack })
}

fn name(subject: Subject) -> String {
    format!("{} with {}", subject.stack.name(), subject.crypto)
}

fn play_worlds() {
    for seed in 0..WORLDS {
        black_box(Scenario::draw(seed).run());
    }
}

fn progress_bar(rounds: u16, cryptos: &[Crypto]) -> ProgressBar {
    let subjects = (cryptos.len() * Stack::ALL.len()) as u64;
    let loads = Load::ALL.len() as u64;
    let bar = ProgressBar::new(u64::from(rounds) * (subjects * loads + 1) + subjects);
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len}: {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn cryptos(text: &str) -> Result<Cryptos, String> {
    if text == "both" {
        return Ok(Cryptos(Crypto::ALL.to_vec()));
    }
    let crypto = text.parse::<Crypto>();
    let crypto = crypto.map_err(|error| error.to_string())?;
    Ok(Cryptos(vec![crypto]))
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
