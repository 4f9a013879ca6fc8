//! Checks everything of this repository that the conformance kit can check, and prints two tables:
//! the rules of the runtime seam by adapters, and the rules of the wire by programs. Exits with 0
//! only if no rule is broken. Takes about a minute.

#[path = "../tests/support/loops.rs"]
mod loops;
#[path = "../tests/support/managed.rs"]
mod managed;

use std::process::ExitCode;

use loops::{LoopProgram, event_loop_mio, event_loop_std};
use managed::{Managed, OnAsyncStd, OnSmol, OnTokio};
use quicpool::TokioRuntime;
use quicpool_async_std::{AsyncStdRuntime, SmolRuntime};
use quicpool_conformance::{Report, Table, seam, wire};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let mut kept = true;
    for (title, check) in [
        ("The runtime seam", seam_tier as fn() -> Vec<Report>),
        ("The wire", wire_tier),
    ] {
        let reports = check();
        kept &= reports.iter().all(Report::is_kept);
        println!("{title}\n\n{}", Table::new(reports));
    }
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn seam_tier() -> Vec<Report> {
    // A new runtime for each rule: nothing of the last one is left on it.
    let on = |mut builder: Builder| {
        let runtime = builder.enable_all().build();
        runtime.expect("there are threads")
    };
    vec![
        seam::check("tokio", &TokioRuntime, |check| {
            on(Builder::new_multi_thread()).block_on(check)
        }),
        seam::check("tokio-1", &TokioRuntime, |check| {
            on(Builder::new_current_thread()).block_on(check)
        }),
        seam::check("async-std", &AsyncStdRuntime, async_std::task::block_on),
        seam::check("smol", &SmolRuntime, smol::block_on),
    ]
}

fn wire_tier() -> Vec<Report> {
    let (threads, one_thread) = (OnTokio::with_threads(), OnTokio::with_one_thread());
    vec![
        wire::check("tokio", || Managed::new(threads.clone())),
        wire::check("tokio-1", || Managed::new(one_thread.clone())),
        wire::check("async-std", || Managed::new(OnAsyncStd)),
        wire::check("smol", || Managed::new(OnSmol)),
        wire::check("mio", LoopProgram::<event_loop_mio::EventLoop>::new),
        wire::check("std", LoopProgram::<event_loop_std::EventLoop>::new),
    ]
}
