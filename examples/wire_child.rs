//! A program under test of the conformance kit as a child process: it reads commands and writes
//! answers, a line each. `conformance/src/wire/command.rs` describes them.

#[path = "../tests/support/loops.rs"]
mod loops;

use std::io;

use loops::{LoopProgram, event_loop_mio::EventLoop};
use quicpool_conformance::wire::Command;

fn main() -> io::Result<()> {
    let mut program = LoopProgram::<EventLoop>::new();
    Command::serve(&mut program, io::stdin().lock(), io::stdout().lock())
}
