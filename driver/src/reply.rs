//! The answer of the event loop to one caller.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// A promise of one answer, and the future that waits for it.
pub(crate) fn channel<T>() -> (Responder<T>, Reply<T>) {
    let slot = Arc::new(Mutex::new(Slot::Empty));
    (Responder(Arc::clone(&slot)), Reply(slot))
}

/// The end that answers. Dropped without an answer, it ends the wait for one.
#[derive(Debug)]
pub(crate) struct Responder<T>(Arc<Mutex<Slot<T>>>);

/// The end that waits: `None` means that the event loop has ended without an answer.
#[derive(Debug)]
pub(crate) struct Reply<T>(Arc<Mutex<Slot<T>>>);

#[derive(Debug)]
enum Slot<T> {
    Empty,
    Waiting(Waker),
    Answered(T),
    Over,
    /// The other end waits no longer.
    Left,
}

/// What is left of an answer when a caller stops waiting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leftover<T> {
    /// Nothing: it has read its answer, or there will be none.
    Nothing,
    /// There is no answer yet.
    Unanswered,
    /// An answer that it has not read.
    Unread(T),
}

impl<T> Responder<T> {
    /// Answers. The answer is dropped if the other end has stopped waiting.
    pub(crate) fn answer(self, answer: T) {
        // What was left is dropped with it.
        let _ = self.try_answer(answer);
    }

    /// Answers, or returns the answer if the other end has [left](Reply::leave).
    pub(crate) fn try_answer(self, answer: T) -> Result<(), T> {
        settle(&self.0, Slot::Answered(answer)).map_or(Ok(()), Err)
    }
}

impl<T> Drop for Responder<T> {
    fn drop(&mut self) {
        if !matches!(*self.0.lock(), Slot::Answered(_)) {
            let _ = settle(&self.0, Slot::Over);
        }
    }
}

/// Leaves the end of the waiting in the slot. Returns an answer that comes too late.
fn settle<T>(slot: &Mutex<Slot<T>>, state: Slot<T>) -> Option<T> {
    let mut slot = slot.lock();
    let before = mem::replace(&mut *slot, Slot::Left);
    if matches!(before, Slot::Left) {
        return match state {
            Slot::Answered(answer) => Some(answer),
            Slot::Empty | Slot::Waiting(_) | Slot::Over | Slot::Left => None,
        };
    }
    *slot = state;
    drop(slot);
    if let Slot::Waiting(waker) = before {
        waker.wake();
    }
    None
}

impl<T> Reply<T> {
    /// Stops waiting: an answer from here on goes back to the other end.
    pub(crate) fn leave(&self) -> Leftover<T> {
        match mem::replace(&mut *self.0.lock(), Slot::Left) {
            Slot::Answered(answer) => Leftover::Unread(answer),
            Slot::Empty | Slot::Waiting(_) => Leftover::Unanswered,
            Slot::Over | Slot::Left => Leftover::Nothing,
        }
    }
}

impl<T> Future for Reply<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.0.lock();
        match mem::replace(&mut *slot, Slot::Over) {
            Slot::Answered(answer) => Poll::Ready(Some(answer)),
            Slot::Over | Slot::Left => Poll::Ready(None),
            Slot::Empty | Slot::Waiting(_) => {
                *slot = Slot::Waiting(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<T>(reply: &mut Reply<T>) -> Poll<Option<T>> {
        Pin::new(reply).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_answer_arrives_once() {
        let (responder, mut reply) = channel();
        assert_eq!(poll(&mut reply), Poll::Pending);
        responder.answer(7);
        assert_eq!(poll(&mut reply), Poll::Ready(Some(7)));
    }

    #[test]
    fn a_dropped_responder_ends_the_waiting() {
        let (responder, mut reply) = channel::<u8>();
        assert_eq!(poll(&mut reply), Poll::Pending);
        drop(responder);
        assert_eq!(poll(&mut reply), Poll::Ready(None));
    }

    #[test]
    fn an_answer_that_is_not_read_is_not_lost() {
        let (responder, reply) = channel();
        assert_eq!(reply.leave(), Leftover::Unanswered);
        assert_eq!(responder.try_answer(7), Err(7));
        let (responder, reply) = channel();
        responder.answer(7);
        assert_eq!(reply.leave(), Leftover::Unread(7));
        let (responder, mut reply) = channel();
        responder.answer(7);
        assert_eq!(poll(&mut reply), Poll::Ready(Some(7)));
        assert_eq!(reply.leave(), Leftover::Nothing);
    }

    #[test]
    fn nobody_need_wait_for_an_answer() {
        let (responder, reply) = channel();
        drop(reply);
        responder.answer(7);
    }
}
