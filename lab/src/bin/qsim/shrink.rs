//! A failing world made smaller.

use std::{
    io::Write,
    ops::ControlFlow,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use quicpool_lab::swarm::{End, Failure, Repro, ReproError, Scenario, Shrink};
use quicpool_sim::Crypto;

use crate::{
    OUT, duration, interrupt,
    stdout::{remark, to_stdout},
    world::Source,
};

/// What to make smaller, and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A seed, or a file that `run` or `shrink` has written
    world: Source,
    /// What sessions of a seed are made of: checksum, or tls as in production
    #[arg(long, default_value_t)]
    crypto: Crypto,
    /// Where to write what is left of it; a name of its own in target/sim by default
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Be content after this time: 500ms, 60s, 5m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    budget: Duration,
}

/// Makes a world smaller, writes it down, and gives the exit code.
pub(crate) fn shrink(options: &Options) -> Result<u8, ReproError> {
    let (scenario, repro) = options.world.load(options.crypto)?;
    interrupt::watch();
    // Panics are what is looked for here. They are printed once, in the end.
    panic::set_hook(Box::new(|_| {}));
    let Some(failure) = failure_of(&scenario, repro.as_ref()) else {
        remark(format_args!("qsim: {}: nothing fails in it", options.world));
        return Ok(1);
    };
    let (began, bar) = (Instant::now(), ProgressBar::new_spinner());
    let fails = |world: &Scenario| failure.befalls(world);
    let shrunk = Shrink::default().run(scenario, fails, |runs, best| {
        let (steps, nodes) = (best.steps.len(), best.nodes);
        bar.set_message(format!(
            "{runs} worlds tried; {steps} steps of {nodes} nodes are left"
        ));
        bar.tick();
        match began.elapsed() < options.budget && !interrupt::has_come() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    bar.finish_and_clear();
    let how = match shrunk.end {
        End::Stopped if interrupt::has_come() => "it was interrupted",
        End::Minimal => "nothing simpler fails",
        End::Stopped => "there was no time for more",
    };
    let (runs, time) = (shrunk.runs, began.elapsed().as_secs_f64());
    remark(format_args!(
        "qsim: {runs} worlds tried in {time:.1} s: {how}"
    ));
    let what = what(&shrunk.scenario, &failure);
    let summary = format!("{failure}: {what}\n\n{}", shrunk.scenario);
    let name = format!("{}-shrunk.json", options.world.name());
    let out = options
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from(OUT).join(name));
    // Written before it is printed, as stdout may be closed, and printed even if it cannot be written.
    let written = Repro::new(shrunk.scenario, failure, what).write(&out);
    let shown = out.display();
    to_stdout(|stdout| {
        writeln!(stdout, "{summary}")?;
        match &written {
            Ok(()) => writeln!(stdout, "written to {shown}\nagain: qsim replay {shown}"),
            Err(_) => Ok(()),
        }
    })?;
    written.map_err(|error| ReproError::File {
        error: Box::new(error.into()),
        path: out.clone(),
    })?;
    Ok(match interrupt::has_come() {
        true => interrupt::EXIT_CODE,
        false => 0,
    })
}

/// How the world fails: as in its file, if it still does.
fn failure_of(scenario: &Scenario, repro: Option<&Repro>) -> Option<Failure> {
    let known = repro.map(|repro| repro.failure.clone());
    known
        .filter(|failure| failure.befalls(scenario))
        .or_else(|| Failure::of(scenario).map(|(failure, _)| failure))
}

/// What is seen when it fails.
fn what(scenario: &Scenario, failure: &Failure) -> String {
    let outcome = match catch_unwind(AssertUnwindSafe(|| scenario.run())) {
        Ok(outcome) => outcome,
        Err(payload) => return Failure::in_panic(&*payload).1,
    };
    let mut violations = outcome.violations.iter();
    let same = violations.find(|violation| *failure == Failure::Property(violation.property));
    same.map_or_else(|| failure.to_string(), ToString::to_string)
}
