//! Programs that speak the wire keep its rules: the manager on every runtime, and the event loops of
//! the examples.

#[path = "support/loops.rs"]
mod loops;
#[path = "support/managed.rs"]
mod managed;

use std::{env, process};

use loops::{LoopProgram, event_loop_mio, event_loop_std};
use managed::{Managed, OnAsyncStd, OnSmol, OnTokio};
use quicpool_conformance::wire::{Command, Program, check};

fn keeps_every_rule<P: Program>(name: &str, program: impl Fn() -> P) {
    let report = check(name, program);
    println!("{report}");
    assert!(report.is_kept(), "{report}");
}

#[test]
fn the_manager_on_tokio_keeps_every_rule() {
    let tokio = OnTokio::with_threads();
    keeps_every_rule("tokio", || Managed::new(tokio.clone()));
}

#[test]
fn the_manager_on_one_thread_of_tokio_keeps_every_rule() {
    let tokio = OnTokio::with_one_thread();
    keeps_every_rule("tokio-1", || Managed::new(tokio.clone()));
}

#[test]
fn the_manager_on_async_std_keeps_every_rule() {
    keeps_every_rule("async-std", || Managed::new(OnAsyncStd));
}

#[test]
fn the_manager_on_smol_keeps_every_rule() {
    keeps_every_rule("smol", || Managed::new(OnSmol));
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
