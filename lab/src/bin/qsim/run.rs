//! Worlds on all cores.

use std::{
    ops::{ControlFlow, Range},
    panic::catch_unwind,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};
use quicpool_lab::swarm::{Outcome, Scenario};

use crate::{Options, failure::Failed, interrupt, report::Report, stdout::remark};

/// Plays the worlds that the options ask for.
pub(crate) fn run(options: &Options) -> Report {
    interrupt::watch();
    let bar = progress_bar(options.seeds.end - options.seeds.start);
    let report = Mutex::new(Report::new(options.crypto));
    let began = Instant::now();
    on_all_cores(&options.seeds, options.jobs, |seed| {
        let over = options
            .budget
            .is_some_and(|budget| began.elapsed() >= budget);
        if over || options.fail_fast && lock(&report).has_failures() {
            return ControlFlow::Break(());
        }
        work(seed, options, &report, &bar);
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.finish(began.elapsed(), interrupt::has_come());
    report
}

/// Calls a function with each seed, on as many threads, until one asks to stop or Ctrl-C comes.
pub(crate) fn on_all_cores(
    seeds: &Range<u64>,
    jobs: Option<u16>,
    play: impl Fn(u64) -> ControlFlow<()> + Sync,
) {
    let next = AtomicU64::new(seeds.start);
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        while !interrupt::has_come()
            && let Some(seed) = take(&next, seeds.end)
            && play(seed).is_continue()
        {}
    };
    thread::scope(|scope| {
        for _ in 0..jobs.map_or_else(cores, usize::from) {
            scope.spawn(work);
        }
    });
}

fn progress_bar(seeds: u64) -> ProgressBar {
    let bar = ProgressBar::new(seeds);
    let style = "{bar:40} {pos} of {len} worlds, {per_sec}, {msg}";
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}

fn work(seed: u64, options: &Options, report: &Mutex<Report>, bar: &ProgressBar) {
    let mut scenario = Scenario::draw(seed).crypto(options.crypto);
    if options.strangers {
        scenario = scenario.with_strangers();
    }
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

/// The next seed, if there is one. The counter stays at the end, which may be the last number.
fn take(next: &AtomicU64, end: u64) -> Option<u64> {
    let following = |seed| (seed < end).then(|| seed + 1);
    let taken = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, following);
    taken.ok()
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The result of a world.
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
