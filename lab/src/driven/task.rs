//! Tasks that run only when they were woken: a wake-up that is lost leaves them asleep.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// A future, and whether it was woken since it was last polled.
pub(super) struct Task<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    alarm: Alarm,
}

/// Whether a task was woken.
pub(super) struct Alarm {
    flag: Arc<Flag>,
    waker: Waker,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Alarm {
    /// The alarm of a task that has not run yet, and so is awake.
    pub(super) fn new() -> Self {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Arc::clone(&flag).into();
        Self { flag, waker }
    }

    pub(super) fn is_awake(&self) -> bool {
        self.flag.0.load(Ordering::Acquire)
    }

    /// Polls a future if its task is awake.
    pub(super) fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Option<F::Output> {
        if !self.flag.0.swap(false, Ordering::AcqRel) {
            return None;
        }
        match future.poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

impl<T> Task<T> {
    pub(super) fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self {
            future: Box::pin(future),
            alarm: Alarm::new(),
        }
    }

    pub(super) fn is_awake(&self) -> bool {
        self.alarm.is_awake()
    }

    /// Runs the task if it is awake. It must not run again once it has returned something.
    pub(super) fn run(&mut self) -> Option<T> {
        self.alarm.poll(self.future.as_mut())
    }

    /// The task with something done to what it returns.
    pub(super) fn map<U>(self, then: impl FnOnce(T) -> U + 'static) -> Task<U>
    where
        T: 'static,
    {
        let future = self.future;
        Task::new(async move { then(future.await) })
    }
}
