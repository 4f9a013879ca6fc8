//! One world to look at.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use quicpool_lab::swarm::{Scenario, Violation};
use quicpool_sim::{
    Crypto,
    trace::{Alert, Recorder, Recording},
};

use crate::{
    failure::panic_message,
    stdout::{remark, to_stdout},
    world::Source,
};

/// Which world, and how to show it. Without a choice, as `--text`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// A seed, or a file that `run` or `shrink` has written
    world: Source,
    /// What sessions of a seed are made of: checksum, or tls, which hides what is in packets
    #[arg(long, default_value_t)]
    crypto: Crypto,
    /// Write a page for a browser, to trace-SEED.html unless FILE is given; - is standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, group = "form")]
    html: Option<Option<PathBuf>>,
    /// Print a sequence chart
    #[arg(long, group = "form")]
    text: bool,
    /// Print one JSON object a line; the documentation of quicpool_sim names the keys
    #[arg(long, group = "form")]
    jsonl: bool,
    /// Leave out what happens later: 500ms, 60s, 5m
    #[arg(long, value_name = "TIME", value_parser = crate::duration)]
    until: Option<Duration>,
}

/// Plays a world and writes down what happened.
pub(crate) fn trace(options: &Options) -> ExitCode {
    let loaded = options.world.load(options.crypto);
    let loaded = loaded.map_err(|error| error.to_string());
    let result = loaded.and_then(|(scenario, _)| {
        let recording = record(&scenario, &name(&options.world), options.until);
        write(options, &recording)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            remark(format_args!("qsim: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Plays a world; one that panics is recorded until it does.
fn record(scenario: &Scenario, name: &str, until: Option<Duration>) -> Recording {
    let recorder = match until {
        None => Recorder::new(),
        Some(until) => Recorder::new().until(until),
    };
    let played = catch_unwind(AssertUnwindSafe(|| scenario.run_recorded(&recorder)));
    let mut recording = recorder.take();
    recording.title = format!("world {name}");
    match played {
        Ok(outcome) => recording
            .alerts
            .extend(outcome.violations.iter().map(alert)),
        Err(payload) => recording.alerts.push(Alert {
            at: recording.ended,
            property: "Panic".to_owned(),
            what: panic_message(&*payload).to_owned(),
        }),
    }
    recording
}

fn alert(violation: &Violation) -> Alert {
    Alert {
        at: violation.at,
        property: format!("{:?}", violation.property),
        what: violation.what.clone(),
    }
}

fn write(options: &Options, recording: &Recording) -> Result<(), String> {
    let Some(file) = &options.html else {
        let stdout = "standard output";
        return match options.jsonl {
            true => to_stdout(|out| recording.write_jsonl(out)),
            false => to_stdout(|out| recording.write_text(out)),
        }
        .map_err(|error| format!("{stdout}: {error}"));
    };
    let default = PathBuf::from(format!("trace-{}.html", name(&options.world)));
    let file = file.as_ref().unwrap_or(&default);
    if file == Path::new("-") {
        let written = to_stdout(|out| recording.write_html(out));
        return written.map_err(|error| format!("standard output: {error}"));
    }
    to_file(file, recording).map_err(|error| format!("{}: {error}", file.display()))?;
    let (datagrams, alerts) = (recording.datagrams.len(), recording.alerts.len());
    remark(format_args!(
        "{}: {datagrams} datagrams, {alerts} violations",
        file.display()
    ));
    Ok(())
}

/// Names a world by its seed, or by its file.
fn name(world: &Source) -> String {
    match world {
        Source::Seed(seed) => seed.to_string(),
        Source::File(_) => world.name(),
    }
}

fn to_file(file: &Path, recording: &Recording) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    recording.write_html(&mut out)?;
    out.flush()
}
