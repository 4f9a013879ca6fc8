//! Compares quicpool with what a user would otherwise pick: two processes over loopback, the same
//! work for each, in rounds that take turns.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml` prints raw figures of each, then
//! the ratios that count, and ends with 0 only if the bars hold. The program starts itself as a
//! child for the receiving side.

mod child;
mod cpu;
mod drive;
mod message;
mod options;
mod over_quicpool;
mod over_quinn;
mod report;
mod serve;
mod transport;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use options::{Command, Options, Workload};
use report::Report;
use transport::Contender;

/// Threads of the runtime in each process.
const WORKERS: usize = 2;

/// The exit code of a program that Ctrl-C has ended: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let options = Options::parse();
    match block_on(options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(options: Options) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        match options.command {
            Some(Command::Serve {
                contender,
                workload,
            }) => serve::run(contender, workload)
                .await
                .map(|()| ExitCode::SUCCESS),
            None => compare_until_interrupted(&options).await,
        }
    });
    // Tasks of a connection that is being closed may wait for their peer, which is gone.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn compare_until_interrupted(options: &Options) -> Result<ExitCode> {
    tokio::select! {
        report = compare(options) => finish(options, &report?),
        // The other branch is dropped, and the child with it.
        signal = tokio::signal::ctrl_c() => {
            signal.context("cannot listen for Ctrl-C")?;
            eprintln!("\ninterrupted");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

fn finish(options: &Options, report: &Report) -> Result<ExitCode> {
    if options.json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    Ok(if report.bars_hold() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Measures every workload, with the contenders taking turns.
async fn compare(options: &Options) -> Result<Report> {
    let mut report = Report::default();
    for workload in options.workloads() {
        let contenders: Vec<Contender> = options
            .contenders()
            .into_iter()
            .filter(|contender| contender.takes_part(workload))
            .collect();
        for round in 1..=options.rounds {
            for &contender in &contenders {
                let figure = measure(options, contender, workload).await?;
                eprintln!(
                    "{workload}: round {round} of {}: {contender}: {figure}",
                    options.rounds
                );
                report.add(workload, contender, figure);
            }
        }
    }
    Ok(report)
}

async fn measure(
    options: &Options,
    contender: Contender,
    workload: Workload,
) -> Result<report::Figure> {
    drive::run(contender, workload, options.seconds)
        .await
        .with_context(|| format!("{contender}, {workload}"))
}
