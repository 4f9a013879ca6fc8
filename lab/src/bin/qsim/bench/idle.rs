//! Idle connections, each stack in a process of its own: only so does the resident set show what
//! they hold.

use std::{
    env, fs, io,
    process::{Command, Stdio},
    time::Duration,
};

use quicpool_lab::bench::{self, Subject};
use serde_json::{Value, json};

use super::clock::CpuClock;

/// Ten thousand connections.
const SIDE: u16 = 100;
/// How long they idle: several keep-alives.
const TIME: Duration = Duration::from_secs(30);
/// The unit of `statm`, which is the page of nearly every Linux.
const PAGE_BYTES: f64 = 4_096.0;

/// What idle connections cost.
pub(crate) struct Idle {
    /// How much faster than real time they run.
    pub(crate) times_real: f64,
    /// What both ends of a connection hold together, in KiB, its two links included; `None` where
    /// the system does not report it.
    pub(crate) kib_per_pair: Option<f64>,
}

impl Idle {
    /// As a process of its own finds it.
    pub(crate) fn of_child(subject: Subject) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["bench", "--idle", subject.stack.name()]);
        command.args(["--crypto", &subject.crypto.to_string()]);
        let output = command.stderr(Stdio::inherit()).output()?;
        let found: Value = serde_json::from_slice(&output.stdout)?;
        let times_real = found["times_real"].as_f64();
        Ok(Self {
            times_real: times_real.ok_or(io::ErrorKind::InvalidData)?,
            kib_per_pair: found["kib_per_pair"].as_f64(),
        })
    }
}

/// Measures in this process.
pub(crate) fn measure(subject: Subject) -> Value {
    let before = resident();
    let mut idle = bench::Idle::new(subject, SIDE);
    let after = resident();
    let clock = CpuClock::start();
    idle.advance(TIME);
    let times_real = TIME.as_secs_f64() / clock.elapsed().as_secs_f64();
    let pairs = idle.connections() as f64;
    let grown = before.zip(after).map(|(before, after)| after - before);
    let kib_per_pair = grown.map(|pages| pages * PAGE_BYTES / 1_024.0 / pairs);
    json!({ "times_real": times_real, "kib_per_pair": kib_per_pair })
}

/// Pages in memory (Linux).
fn resident() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}
