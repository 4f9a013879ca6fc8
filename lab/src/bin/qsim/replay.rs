//! Prints one world step by step.

use std::{
    io::{self, ErrorKind, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use quicpool_core::Event;
use quicpool_lab::swarm::{
    Effect, Failure, Outcome, Phase, Repro, ReproError, Step, Violation, Watch,
};
use quicpool_sim::Crypto;

use crate::{duration, failure::Failed, world::Source};

/// What to replay, and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A seed, or a file that `run` or `shrink` has written
    world: Source,
    /// What sessions of a seed are made of: checksum, or tls as in production
    #[arg(long, default_value_t)]
    crypto: Crypto,
    /// Leave it at this time of its own, and show how things are: 1500ms, 60s
    #[arg(long, value_name = "TIME", value_parser = duration)]
    until: Option<Duration>,
    /// Print the events of the machines, too
    #[arg(short, long)]
    verbose: bool,
}

/// Plays a world, and gives the exit code.
pub(crate) fn replay(options: &Options) -> Result<u8, ReproError> {
    let (scenario, repro) = options.world.load(options.crypto)?;
    let mut teller = Teller {
        out: io::stdout().lock(),
        error: None,
        tells: match options.verbose {
            true => Tells::Events,
            false => Tells::Steps,
        },
    };
    teller.line(format_args!("{scenario}"));
    let played = catch_unwind(AssertUnwindSafe(|| {
        scenario.play(&mut teller, options.until)
    }));
    let failed = match &played {
        Ok(outcome) => Failed::of(outcome).or_else(|| differs(repro.as_ref(), options.until)),
        Err(payload) => Some(Failed::panicked(&**payload)),
    };
    if let Ok(outcome) = &played {
        teller.end(outcome);
    }
    if let Some(repro) = &repro {
        teller.line(format_args!(
            "It was written down because of: {}",
            repro.what
        ));
    }
    match &failed {
        None => teller.line(format_args!("Everything holds.")),
        Some(failed) => teller.line(format_args!("{}: {}", failed.failure, failed.story())),
    }
    teller.error.map_or(Ok(()), Err)?;
    Ok(failed.map_or(0, |failed| failed.kind().exit_code()))
}

/// Plays a world twice more, if its file has the failure that its runs differ.
fn differs(repro: Option<&Repro>, until: Option<Duration>) -> Option<Failed> {
    let repro = repro.filter(|repro| repro.failure == Failure::Difference && until.is_none())?;
    match catch_unwind(AssertUnwindSafe(|| repro.scenario.run_twice())) {
        Ok(twice) => twice.err().map(|divergence| Failed::diverged(&divergence)),
        Err(payload) => Some(Failed::panicked(&*payload)),
    }
}

struct Teller<'a> {
    out: io::StdoutLock<'a>,
    /// Why something could not be printed.
    error: Option<io::Error>,
    tells: Tells,
}

/// How much is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tells {
    Steps,
    Events,
}

impl Teller<'_> {
    /// Prints a line. A closed pipe is no error.
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        if let Err(error) = writeln!(self.out, "{line}")
            && error.kind() != ErrorKind::BrokenPipe
        {
            self.error.get_or_insert(error);
        }
    }

    fn at(&mut self, at: Duration, what: std::fmt::Arguments<'_>) {
        self.line(format_args!("{:>12.6} s  {what}", at.as_secs_f64()));
    }

    fn end(&mut self, outcome: &Outcome) {
        let (messages, hash) = (outcome.messages, outcome.hash);
        self.line(format_args!("\n{messages} messages; hash {hash:032x}"));
        if let Some(time) = outcome.converged_in {
            let time = time.as_secs_f64();
            self.line(format_args!(
                "Everything was settled {time:.0} s after the storm."
            ));
        }
        if outcome.violations.is_empty() && !outcome.picture.is_empty() {
            self.line(format_args!("{}", outcome.picture));
        }
    }
}

impl Watch for Teller<'_> {
    fn step(&mut self, at: Duration, step: &Step, effect: Effect) {
        match effect {
            Effect::Some => self.at(at, format_args!("{}", step.operation)),
            Effect::None => self.at(at, format_args!("{}, to no effect", step.operation)),
        }
    }

    fn event(&mut self, at: Duration, node: usize, event: &Event) {
        if self.tells == Tells::Events {
            self.at(at, format_args!("    n{node}: {event:?}"));
        }
    }

    fn phase(&mut self, at: Duration, phase: Phase) {
        match phase {
            Phase::Storm => self.at(at, format_args!("the storm begins")),
            Phase::Convergence { within } => {
                let within = within.as_secs_f64();
                self.at(
                    at,
                    format_args!(
                        "the core is well again, and has {within:.0} s to settle everything"
                    ),
                );
            }
            Phase::Farewell => self.at(at, format_args!("everyone forgets everyone")),
            _ => {}
        }
    }

    fn violation(&mut self, violation: &Violation) {
        self.at(violation.at, format_args!("!!! {violation}"));
    }
}
