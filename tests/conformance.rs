//! What speaks the wire keeps its rules: the manager on tokio, and the event loops of the examples.

#[path = "support/loops.rs"]
mod loops;
#[path = "support/managed.rs"]
mod managed;

use std::{env, future::Future, process, sync::Arc};

use loops::{LoopProgram, event_loop_mio, event_loop_std};
use managed::{Blocking, Managed};
use quicpool::TokioRuntime;
use quicpool_conformance::wire::{Command, Program, check};

/// Tokio with one thread that runs what is spawned.
#[derive(Clone)]
struct OnTokio(Arc<tokio::runtime::Runtime>);

impl OnTokio {
    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build();
        Self(Arc::new(runtime.expect("there are threads")))
    }
}

impl Blocking for OnTokio {
    type Runtime = TokioRuntime;

    fn runtime(&self) -> TokioRuntime {
        TokioRuntime
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

fn keeps_every_rule<P: Program>(name: &str, program: impl Fn() -> P) {
    let report = check(name, program);
    println!("{report}");
    assert!(report.is_kept(), "{report}");
}

#[test]
fn the_manager_on_tokio_keeps_every_rule() {
    let tokio = OnTokio::new();
    keeps_every_rule("tokio", || Managed::new(tokio.clone()));
}

#[test]
fn the_event_loop_over_std_keeps_every_rule() {
    keeps_every_rule("std", LoopProgram::<event_loop_std::EventLoop>::new);
}

#[test]
fn the_event_loop_over_mio_keeps_every_rule() {
    keeps_every_rule("mio", LoopProgram::<event_loop_mio::EventLoop>::new);
}

#[test]
fn a_program_in_a_process_of_its_own_keeps_every_rule() {
    // Cargo puts examples beside the directory of this program.
    let mut path = env::current_exe().expect("this program has a path");
    path.pop();
    path.pop();
    let child = path.join("examples").join("wire_child");
    keeps_every_rule("child", || Command::new(process::Command::new(&child)));
}
