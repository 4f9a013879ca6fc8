//! Checks of timers.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use quicpool_driver::runtime::{Runtime, Timer};

use super::{
    Checked, Objection, broken, ensure,
    sockets::PATIENCE,
    wait::{sleep, within},
};

/// How much later than asked a timer may elapse on a busy machine.
const LATE_MAX: Duration = Duration::from_millis(500);

/// Long enough to see that a timer does not elapse.
const A_WHILE: Duration = Duration::from_millis(50);

/// A timer that is not set.
pub(super) fn new<R: Runtime>(runtime: &R) -> Result<R::Timer, Objection> {
    let timer = runtime.timer();
    timer.or_else(|error| broken(format!("there is no timer: {error}")))
}

async fn elapsed<T: Timer>(timer: &mut Pin<Box<T>>) {
    poll_fn(|cx| timer.as_mut().poll_elapsed(cx)).await;
}

pub(super) async fn an_unset_timer_waits<R: Runtime>(runtime: R) -> Checked {
    let mut timer = Box::pin(new(&runtime)?);
    let early = within(A_WHILE, elapsed(&mut timer)).await;
    ensure(early.is_none(), || "it elapsed".into())
}

pub(super) async fn a_timer_wakes_in_time<R: Runtime>(runtime: R) -> Checked {
    let mut timer = Box::pin(new(&runtime)?);
    for millis in [0, 1, 2, 5, 10, 30, 70] {
        let due = runtime.now() + Duration::from_millis(millis);
        timer.as_mut().set(due);
        if within(PATIENCE, elapsed(&mut timer)).await.is_none() {
            return broken(format!("it does not wake its task after {millis} ms"));
        }
        let now = runtime.now();
        ensure(now >= due, || format!("{:?} too early", due - now))?;
        ensure(now <= due + LATE_MAX, || {
            format!("{:?} too late", now - due)
        })?;
    }
    Ok(())
}

pub(super) async fn a_time_that_has_passed_elapses_at_once<R: Runtime>(runtime: R) -> Checked {
    let mut timer = Box::pin(new(&runtime)?);
    let began = runtime.now();
    sleep(Duration::from_millis(5)).await;
    for at in [began, runtime.now()] {
        timer.as_mut().set(at);
        if within(LATE_MAX, elapsed(&mut timer)).await.is_none() {
            return broken("it waits");
        }
    }
    Ok(())
}

pub(super) async fn a_timer_can_be_moved<R: Runtime>(runtime: R) -> Checked {
    let mut timer = Box::pin(new(&runtime)?);
    let now = runtime.now();
    timer.as_mut().set(now + Duration::from_secs(3_600));
    let early = within(A_WHILE, elapsed(&mut timer)).await;
    ensure(early.is_none(), || "it elapsed an hour early".into())?;

    timer.as_mut().set(now + 2 * A_WHILE);
    if within(PATIENCE, elapsed(&mut timer)).await.is_none() {
        return broken("it does not elapse sooner");
    }

    let now = runtime.now();
    timer.as_mut().set(now + A_WHILE);
    poll_once(&mut timer, Waker::noop());
    let later = now + 4 * A_WHILE;
    timer.as_mut().set(later);
    if within(PATIENCE, elapsed(&mut timer)).await.is_none() {
        return broken("it does not elapse later");
    }
    ensure(runtime.now() >= later, || {
        "it elapsed at the time it was set to before".into()
    })
}

pub(super) async fn a_timer_can_be_used_again<R: Runtime>(runtime: R) -> Checked {
    let mut timer = Box::pin(new(&runtime)?);
    for round in 0..100 {
        timer
            .as_mut()
            .set(runtime.now() + Duration::from_micros(500));
        if within(PATIENCE, elapsed(&mut timer)).await.is_none() {
            return broken(format!("it does not elapse in round {round}"));
        }
    }
    Ok(())
}

pub(super) async fn the_last_task_to_poll_a_timer_is_woken<R: Runtime>(runtime: R) -> Checked {
    let mut timer = Box::pin(new(&runtime)?);
    timer.as_mut().set(runtime.now() + A_WHILE);
    // Another task, which is not waiting any more.
    poll_once(&mut timer, Waker::noop());
    if within(PATIENCE, elapsed(&mut timer)).await.is_none() {
        return broken("it woke the task that polled it before");
    }
    Ok(())
}

pub(super) async fn thousands_of_timers_elapse<R: Runtime>(runtime: R) -> Checked {
    const TIMERS: usize = 3_000;
    /// Over how many milliseconds they are spread.
    const SPREAD: u64 = 200;
    let (elapsed_count, early) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let runtime = Arc::new(runtime);
    for nth in 0..TIMERS {
        let mut timer = Box::pin(new(&*runtime)?);
        // In no order.
        let millis = (nth as u64).wrapping_mul(7_919) % SPREAD;
        let due = runtime.now() + Duration::from_millis(millis);
        timer.as_mut().set(due);
        let (runtime_, elapsed_count, early) = (
            Arc::clone(&runtime),
            Arc::clone(&elapsed_count),
            Arc::clone(&early),
        );
        runtime.spawn(Box::pin(async move {
            elapsed(&mut timer).await;
            if runtime_.now() < due {
                early.fetch_add(1, Ordering::AcqRel);
            }
            elapsed_count.fetch_add(1, Ordering::AcqRel);
        }));
    }
    let all = async {
        while elapsed_count.load(Ordering::Acquire) < TIMERS {
            sleep(Duration::from_millis(5)).await;
        }
    };
    if within(PATIENCE, all).await.is_none() {
        let count = elapsed_count.load(Ordering::Acquire);
        return broken(format!("of {TIMERS}, {count} have elapsed"));
    }
    let early = early.load(Ordering::Acquire);
    ensure(early == 0, || format!("{early} elapsed early"))
}

/// Polls as a task does that will not wait.
fn poll_once<T: Timer>(timer: &mut Pin<Box<T>>, waker: &Waker) {
    let polled = timer.as_mut().poll_elapsed(&mut Context::from_waker(waker));
    debug_assert!(polled.is_pending(), "its time has not come");
}
