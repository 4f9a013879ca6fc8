//! A file on its way between two processes, and a path between them that goes silent ten times.
//!
//! Starts `pipe listen` and `pipe send`, with a path of this program between them. At 5, 15, ... 95 %
//! of the bytes nothing passes it for a while, either way; three times for longer than the ends wait.
//! Exits with 0 only if the bytes came out as they went in, and the long cuts took new connections.

mod ends;
mod path;
mod report;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use ends::Ends;
use path::Path;
use report::{Cut, Summary};

/// How many cuts there are: at 5 % of the bytes, and at each 10 % that follow.
const CUTS: u64 = 10;

/// Which of them are long: neither the first nor the last, and not one after the other.
const LONG: [u64; 3] = [1, 4, 7];

/// How often we look how far it has come.
const TICK: Duration = Duration::from_millis(2);

/// Without a byte for so long, something is wrong.
const STALL: Duration = Duration::from_secs(90);

/// What a shell expects of a program that was interrupted.
const INTERRUPTED: u8 = 130;

#[derive(Parser)]
#[command(about = "Moves bytes by `pipe` over a path that goes silent ten times")]
struct Args {
    /// Mebibytes to move
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    mib: u64,
    /// Seconds that a cut lasts
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = seconds)]
    cut: Duration,
    /// Seconds that three of the ten cuts last: longer than the liveness timeout
    #[arg(long, default_value = "7", value_name = "SECONDS", value_parser = seconds)]
    long_cut: Duration,
    /// Seconds of silence after which a connection counts as dead
    #[arg(long, default_value = "5", value_name = "SECONDS", value_parser = seconds)]
    liveness_timeout: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cuts: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;

    let bytes = args.mib * 1024 * 1024;
    let listener = Ends::listen(args.liveness_timeout)?;
    let path = Path::to(listener.addr())?;
    let mut ends = listener.send(path.addr(), bytes, args.liveness_timeout)?;
    let mut experiment = Experiment {
        ends: &mut ends,
        path: &path,
        interrupted: &interrupted,
    };
    let mut cuts = Vec::new();
    let mut out = io::stdout();
    for nth in 0..CUTS {
        let percent = 100 / CUTS * nth + 100 / CUTS / 2;
        let lasts = match LONG.contains(&nth) {
            true => args.long_cut,
            false => args.cut,
        };
        let Some(cut) = experiment.cut(percent, bytes * percent / 100, lasts)? else {
            return Ok(ExitCode::from(INTERRUPTED));
        };
        writeln!(out, "{cut}")?;
        cuts.push(cut);
    }
    if experiment.until(|ends| ends.have_ended())?.is_none() {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let summary = Summary::new(&cuts, ends.finish()?, path.counts(), LONG.len());
    writeln!(out, "{summary}")?;
    Ok(summary.exit_code())
}

/// Two ends, and the path between them.
struct Experiment<'a> {
    ends: &'a mut Ends,
    path: &'a Path,
    interrupted: &'a AtomicBool,
}

impl Experiment<'_> {
    /// Cuts the path when so many bytes have come out, and waits until some more have. Nothing if it
    /// was interrupted.
    fn cut(
        &mut self,
        percent: u64,
        at: u64,
        lasts: Duration,
    ) -> Result<Option<Cut>, Box<dyn Error>> {
        if self.until(|ends| ends.bytes_out() >= at)?.is_none() {
            return Ok(None);
        }
        let began = Instant::now();
        self.path.cut();
        if self.until(|_| began.elapsed() >= lasts)?.is_none() {
            return Ok(None);
        }
        let before = self.ends.bytes_out();
        let healed = Instant::now();
        self.path.heal();
        // The last bytes may have come out before the cut.
        let flows = |ends: &mut Ends| ends.bytes_out() > before || ends.have_ended();
        if self.until(flows)?.is_none() {
            return Ok(None);
        }
        let flows = healed.elapsed();
        let happened = self.ends.happened();
        Ok(Some(Cut::new(percent, began, healed, flows, happened)))
    }

    /// Waits. Nothing if it was interrupted.
    fn until(&mut self, done: impl Fn(&mut Ends) -> bool) -> Result<Option<()>, Box<dyn Error>> {
        let mut last = (self.ends.bytes_out(), Instant::now());
        while !done(self.ends) {
            if self.interrupted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let bytes = self.ends.bytes_out();
            if bytes != last.0 {
                last = (bytes, Instant::now());
            } else if last.1.elapsed() > STALL {
                return Err(format!("no byte for {STALL:?}, {bytes} have come out").into());
            }
            self.ends.check()?;
            thread::sleep(TICK);
        }
        Ok(Some(()))
    }
}
