//! How the handle wakes the event loop.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::Waker,
};

use parking_lot::Mutex;

/// Wakes one task. Rings between two answers wake it once.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Doorbell {
    /// Wakes the task, unless it is on its way already.
    ///
    /// What the caller wrote before is seen by the task after it has answered.
    pub(crate) fn ring(&self) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        // Cloned, so that a waker that runs the task at once finds the lock free.
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The task is awake, looks at what there is, and wants to be woken for whatever comes later.
    pub(crate) fn answer(&self, task: &Waker) {
        let mut waker = self.waker.lock();
        if !waker.as_ref().is_some_and(|known| known.will_wake(task)) {
            *waker = Some(task.clone());
        }
        drop(waker);
        // The waker is stored first: a ring that finds `rung` unset finds the waker.
        self.rung.swap(false, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn rings_between_two_answers_wake_once() {
        let counter = Arc::new(Counter::default());
        let bell = Doorbell::default();
        bell.answer(&Arc::clone(&counter).into());
        bell.ring();
        bell.ring();
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        bell.answer(&Arc::clone(&counter).into());
        bell.ring();
        assert_eq!(counter.0.load(Ordering::Relaxed), 2);
    }
}
