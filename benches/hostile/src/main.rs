//! Attacks a quicpool server over loopback, and measures what its memory and its honest peers keep.
//!
//! `cargo run --release --manifest-path benches/hostile/Cargo.toml -- --help` has the commands; README.md
//! beside this has what each row of their tables means. The program starts itself as children: the
//! server, honest peers, and attackers.

mod child;
mod fair;
mod flood;
mod flooders;
mod greedy;
mod gun;
mod honest;
mod losses;
mod memory;
mod options;
mod raw;
mod serve;
mod siege;
mod table;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use options::{Command, Options};

/// Threads of the runtime in each process.
const WORKERS: usize = 2;

/// The exit code of a program that Ctrl-C has ended: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let options = Options::parse();
    match block_on(options.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hostile: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(command: Command) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(run_until_interrupted(command));
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn run_until_interrupted(command: Command) -> Result<ExitCode> {
    tokio::select! {
        holds = run(command) => Ok(match holds? {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }),
        // The other branch is dropped, and the children with it.
        signal = tokio::signal::ctrl_c() => {
            signal.context("cannot listen for Ctrl-C")?;
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// Runs a command or a role; whether every bar holds.
async fn run(command: Command) -> Result<bool> {
    match command {
        Command::Memory(options) => memory::run(&options).await,
        Command::Flood(options) => flood::run(&options).await,
        Command::Fair(options) => fair::run(&options).await,
        Command::Greedy { case, server } => greedy::run(case, server).await.map(|()| true),
        Command::Honest {
            server,
            loops,
            dials,
        } => honest::run(server.parse()?, loops, dials)
            .await
            .map(|()| true),
        Command::Spoofed => flooders::spoofed().await.map(|()| true),
        Command::HalfOpen { server, rate } => flooders::half_open(server, rate as f64)
            .await
            .map(|()| true),
        Command::Serve { memory_max } => serve::run(memory_max).await.map(|()| true),
        Command::Siege { case, server } => siege::run(case, server).await.map(|()| true),
    }
}
