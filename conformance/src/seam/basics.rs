//! Clock, randomness, tasks.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use quicpool_driver::runtime::{Runtime, Timer};

use super::{
    Checked, broken, ensure,
    sockets::{Line, PATIENCE},
    wait::{sleep, within, yield_once},
};

/// Tasks that never wait, in the checks of starvation: more than the threads of any test machine
/// that this runs on are likely to be idle.
const BUSY_TASKS: usize = 16;

pub(super) async fn the_clock_goes_forward<R: Runtime>(runtime: R) -> Checked {
    let began = runtime.now();
    let mut last = began;
    for _ in 0..1_000 {
        let now = runtime.now();
        ensure(now >= last, || "the clock went back".into())?;
        last = now;
    }
    let mut timer = Box::pin(super::timers::new(&runtime)?);
    timer.as_mut().set(began + Duration::from_millis(20));
    let elapsed = poll_fn(|cx| timer.as_mut().poll_elapsed(cx));
    if within(PATIENCE, elapsed).await.is_none() {
        return broken("a timer set by the clock does not elapse");
    }
    ensure(runtime.now() >= began + Duration::from_millis(20), || {
        "a timer elapsed, and the clock says that it is not time".into()
    })
}

pub(super) async fn randomness_differs<R: Runtime>(runtime: R) -> Checked {
    let draw = || {
        let mut bytes = [0; 64];
        let filled = runtime.fill_random(&mut bytes);
        filled
            .map(|()| bytes)
            .or_else(|error| broken(error.to_string()))
    };
    let (one, two) = (draw()?, draw()?);
    ensure(one != two, || "two draws are equal".into())?;
    // Of 64 random bytes, four zeros in a row at a given place come once in four thousand million.
    let tail_is_filled = one[60..] != [0; 4] || two[60..] != [0; 4];
    ensure(tail_is_filled, || "the end is not filled".into())
}

pub(super) async fn tasks_run<R: Runtime>(runtime: R) -> Checked {
    const TASKS: usize = 100;
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..TASKS {
        let done = Arc::clone(&done);
        runtime.spawn(Box::pin(async move {
            yield_once().await;
            // Woken by another thread.
            sleep(Duration::from_millis(1)).await;
            done.fetch_add(1, Ordering::AcqRel);
        }));
    }
    let all = async {
        while done.load(Ordering::Acquire) < TASKS {
            sleep(Duration::from_millis(1)).await;
        }
    };
    if within(PATIENCE, all).await.is_none() {
        let done = done.load(Ordering::Acquire);
        return broken(format!("of {TASKS} tasks, {done} came to their end"));
    }
    Ok(())
}

pub(super) async fn busy_tasks_starve_nobody<R: Runtime>(runtime: R) -> Checked {
    let _busy = Busy::spawn(&runtime);
    let mut timer = Box::pin(super::timers::new(&runtime)?);
    for _ in 0..5 {
        timer.as_mut().set(runtime.now() + Duration::from_millis(5));
        let elapsed = poll_fn(|cx| timer.as_mut().poll_elapsed(cx));
        if within(PATIENCE, elapsed).await.is_none() {
            return broken("a timer does not elapse beside busy tasks");
        }
    }
    let mut line = Line::new(&runtime)?;
    for number in 0..5 {
        line.send_soon(vec![number]);
        line.expect(&[number]).await?;
    }
    Ok(())
}

/// Tasks that are always ready, until it is dropped.
pub(super) struct Busy(Arc<AtomicBool>);

impl Busy {
    pub(super) fn spawn(runtime: &impl Runtime) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..BUSY_TASKS {
            let over = Arc::clone(&over);
            runtime.spawn(Box::pin(async move {
                while !over.load(Ordering::Acquire) {
                    yield_once().await;
                }
            }));
        }
        Self(over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
