//! Waiting without the timers that are to be checked.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    thread,
    time::Duration,
};

/// Waits for a future, for `limit` at most. `None` once the time is up, even if the future would be
/// ready: a wake-up that was lost must not be made good by this one.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let alarm = Alarm::set(limit);
    poll_fn(|cx| {
        if alarm.is_up(cx.waker()) {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Lets time pass.
pub(super) async fn sleep(time: Duration) {
    within(time, std::future::pending::<()>()).await;
}

/// Lets the runtime's other tasks run.
pub(super) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Wakes a task once its time is up, from a thread of its own. Dropped before, its thread ends.
struct Alarm(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    dropped: Condvar,
}

#[derive(Default)]
struct State {
    up: bool,
    dropped: bool,
    task: Option<Waker>,
}

impl Alarm {
    fn set(time: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            let state = of_thread.lock();
            let waited = of_thread
                .dropped
                .wait_timeout_while(state, time, |state| !state.dropped);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.up = true;
            let task = state.task.take();
            drop(state);
            if let Some(task) = task {
                task.wake();
            }
        });
        Self(shared)
    }

    fn is_up(&self, task: &Waker) -> bool {
        let mut state = self.0.lock();
        state.task = Some(task.clone());
        state.up
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.dropped = true;
        state.task = None;
        drop(state);
        self.0.dropped.notify_one();
    }
}
