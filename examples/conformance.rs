//! Checks every adapter of this repository against the rules of the runtime seam, and prints a table
//! of rules by adapters. Exits with 0 only if none is broken.

use std::process::ExitCode;

use quicpool_async_std::{AsyncStdRuntime, SmolRuntime};
use quicpool_conformance::{Report, seam};
use quicpool_tokio::TokioRuntime;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let on = |mut builder: Builder| {
        let runtime = builder.enable_all().build();
        runtime.expect("a runtime of tokio can be had")
    };
    let threads = on(Builder::new_multi_thread());
    let reports = [
        seam::check("tokio", &TokioRuntime, |check| threads.block_on(check)),
        seam::check("tokio, one thread", &TokioRuntime, |check| {
            // A new one for each rule: nothing runs on it while nothing is awaited.
            on(Builder::new_current_thread()).block_on(check)
        }),
        seam::check("async-std", &AsyncStdRuntime, async_std::task::block_on),
        seam::check("smol", &SmolRuntime, smol::block_on),
    ];
    print!("{}", Report::table(&reports));
    if reports.iter().all(|report| report.broken().count() == 0) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
