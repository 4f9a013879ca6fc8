//! Does one fixed piece of work, named on the command line, for its instructions to be counted.
//!
//! `.ci/counts` runs each work under `valgrind --tool=callgrind` and compares the counts with those in
//! `counts.json`. One thread, a fixed seed, fixed amounts and simulated time: the same program executes
//! the same instructions. What is counted is what runs inside [`counted::counted`]; set-up is not.
//!
//! `counts --list` prints the names of the works, one per line, each with what it is counted per and how
//! many times it is done. Without valgrind a work runs as fast as it can and prints nothing.

mod acknowledgement;
mod counted;
mod handshake;
mod idle;
mod messages;
mod try_send;
mod wire;

use std::process::ExitCode;

use quicpool_core::Sealing;

/// A work, what it is counted per, how many times it is done, and what does it.
struct Work {
    name: &'static str,
    unit: &'static str,
    times: u64,
    run: fn(),
}

const WORKS: [Work; 8] = [
    Work {
        name: "messages-64b-sealed",
        unit: "message",
        times: messages::SMALL.count,
        run: || messages::run(messages::SMALL, Sealing::On),
    },
    Work {
        name: "messages-64b-plain",
        unit: "message",
        times: messages::SMALL.count,
        run: || messages::run(messages::SMALL, Sealing::Off),
    },
    Work {
        name: "messages-16kib-sealed",
        unit: "message",
        times: messages::LARGE.count,
        run: || messages::run(messages::LARGE, Sealing::On),
    },
    Work {
        name: "messages-16kib-plain",
        unit: "message",
        times: messages::LARGE.count,
        run: || messages::run(messages::LARGE, Sealing::Off),
    },
    Work {
        name: "handshake",
        unit: "handshake",
        times: handshake::TIMES,
        run: handshake::run,
    },
    Work {
        name: "acknowledgement",
        unit: "acknowledgement",
        times: acknowledgement::TIMES,
        run: acknowledgement::run,
    },
    Work {
        name: "drain-10000-idle",
        unit: "message",
        times: idle::TIMES,
        run: idle::run,
    },
    Work {
        name: "try-send",
        unit: "message",
        times: try_send::TIMES,
        run: try_send::run,
    },
];

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    if name == "--list" {
        for work in WORKS {
            println!("{} {} {}", work.name, work.unit, work.times);
        }
        return ExitCode::SUCCESS;
    }
    let Some(work) = WORKS.iter().find(|work| work.name == name) else {
        let names = WORKS.map(|work| work.name).join(", ");
        eprintln!("counts: no work is called {name:?}; works: --list, {names}");
        return ExitCode::FAILURE;
    };
    (work.run)();
    ExitCode::SUCCESS
}
