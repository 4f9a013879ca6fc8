//! Worlds on all cores.

use std::{
    panic::catch_unwind,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};
use quicpool_sim::swarm::{Outcome, Scenario};

use crate::{Options, failure::Failed, interrupt, report::Report, stdout::remark};

/// Plays the worlds that the options ask for.
pub(crate) fn run(options: &Options) -> Report {
    interrupt::watch();
    let bar = progress_bar(options.seeds.end - options.seeds.start);
    let next = AtomicU64::new(options.seeds.start);
    let report = Mutex::new(Report::new(options.crypto));
    let began = Instant::now();
    let jobs = options.jobs.map_or_else(cores, usize::from);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| work(options, began, &next, &report, &bar));
        }
    });
    bar.finish_and_clear();
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.finish(began.elapsed(), interrupt::has_come());
    report
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn progress_bar(seeds: u64) -> ProgressBar {
    let bar = ProgressBar::new(seeds);
    let style = "{bar:40} {pos} of {len} worlds, {per_sec}, {msg}";
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}

fn work(
    options: &Options,
    began: Instant,
    next: &AtomicU64,
    report: &Mutex<Report>,
    bar: &ProgressBar,
) {
    loop {
        let over = options
            .budget
            .is_some_and(|budget| began.elapsed() >= budget);
        let enough = options.fail_fast && lock(report).has_failures();
        if over || enough || interrupt::has_come() {
            return;
        }
        let Some(seed) = take(next, options.seeds.end) else {
            return;
        };
        let scenario = Scenario::draw(seed).crypto(options.crypto);
        let mut played = play(&scenario, options.check_twice);
        if let Played {
            failed: Some(failed),
            ..
        } = &mut played
            && let Err(error) = failed.save(&options.out, &scenario)
        {
            bar.suspend(|| remark(format_args!("qsim: {}: {error}", options.out.display())));
        }
        let mut report = lock(report);
        report.add(seed, played);
        bar.set_message(report.progress());
        bar.inc(1);
    }
}

/// The next seed, if there is one. The counter stays at the end, which may be the last number.
fn take(next: &AtomicU64, end: u64) -> Option<u64> {
    let following = |seed| (seed < end).then(|| seed + 1);
    let taken = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, following);
    taken.ok()
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a world has come to.
pub(crate) struct Played {
    /// Nothing, if it was not played to its end.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) failed: Option<Failed>,
}

fn play(scenario: &Scenario, twice: bool) -> Played {
    let played = catch_unwind(|| match twice {
        false => Ok(scenario.run()),
        true => scenario.run_twice(),
    });
    match played {
        Ok(Ok(outcome)) => Played {
            failed: Failed::of(&outcome),
            outcome: Some(outcome),
        },
        Ok(Err(divergence)) => Played {
            failed: Some(Failed::diverged(&divergence)),
            outcome: None,
        },
        Err(payload) => Played {
            failed: Some(Failed::panicked(&*payload)),
            outcome: None,
        },
    }
}
