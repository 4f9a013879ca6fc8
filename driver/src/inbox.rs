//! Messages on their way from the event loop to the application.

use std::{
    collections::VecDeque,
    mem,
    sync::atomic::{AtomicBool, Ordering},
};

use event_listener::{Event, EventListener};
use parking_lot::Mutex;
use quicpool_core::{Message, PeerId};

/// The one queue that `recv` pops from.
///
/// It needs no limit of its own: what is in it has been read and not taken, and the core bounds
/// that for each peer and in all.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    arrived: Event,
    /// Whether the application has taken anything that the event loop has not collected. Outside
    /// of the lock, for the event loop to look at each turn.
    taken: AtomicBool,
    /// Bytes after which taking is worth a wake-up.
    report_bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    /// How many messages of which peer were taken since the event loop collected, in order.
    taken: Vec<(PeerId, usize)>,
    taken_bytes: usize,
    report: Report,
    state: State,
}

/// What the event loop was told about taken messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Report {
    /// There are none.
    #[default]
    Nothing,
    /// There are some; they may be collected together with later ones.
    Some,
    /// Enough to be collected at once: there is nothing left to take, or much was taken.
    Due,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Ended,
}

/// What a look into the queue has brought.
#[derive(Debug)]
pub(crate) enum Popped<T> {
    /// Something. If `wake`, the event loop should be told.
    Taken {
        /// What was taken.
        value: T,
        /// Whether to wake the event loop.
        wake: Wake,
    },
    /// Nothing yet.
    Empty,
    /// Nothing any more.
    Ended,
}

/// Whether the event loop has something to do that it does not know of.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    No,
    Yes,
}

impl Inbox {
    /// An empty queue; each peer may have `inbox_bytes_max` in it.
    pub(crate) fn new(inbox_bytes_max: usize) -> Self {
        /// Often enough that the other end's window stays open, rarely enough that a wake-up
        /// costs nothing beside the messages.
        const REPORT_BYTES: usize = 256 * 1024;
        Self {
            queue: Mutex::default(),
            arrived: Event::new(),
            taken: AtomicBool::new(false),
            report_bytes: REPORT_BYTES.min(inbox_bytes_max / 4),
        }
    }

    /// Moves messages to the end of the queue, and wakes those who wait.
    pub(crate) fn push(&self, messages: &mut Vec<Message>) {
        let count = messages.len();
        let mut queue = self.queue.lock();
        match queue.state {
            State::Open => queue.messages.extend(messages.drain(..)),
            State::Ended => messages.clear(),
        }
        drop(queue);
        // Beyond those who were woken before and have not looked yet: each of them takes one
        // message, and may be long in coming back.
        self.arrived.notify_additional(count);
    }

    /// Takes the oldest message.
    pub(crate) fn pop(&self) -> Popped<Message> {
        let mut queue = self.queue.lock();
        let Some(message) = queue.messages.pop_front() else {
            return queue.nothing();
        };
        queue.count(&message);
        let wake = self.report(&mut queue);
        Popped::Taken {
            value: message,
            wake,
        }
    }

    /// Takes up to `max` messages, and says how many it appended to `out`.
    pub(crate) fn pop_many(&self, max: usize, out: &mut Vec<Message>) -> Popped<usize> {
        let mut queue = self.queue.lock();
        let count = queue.messages.len().min(max);
        if count == 0 {
            return queue.nothing();
        }
        for _ in 0..count {
            let message = queue.messages.pop_front();
            out.extend(message.inspect(|message| queue.count(message)));
        }
        let wake = self.report(&mut queue);
        Popped::Taken { value: count, wake }
    }

    /// What wakes once there are messages. To be asked for before the last look.
    pub(crate) fn listen(&self) -> EventListener {
        self.arrived.listen()
    }

    /// What is known to be taken.
    pub(crate) fn reported(&self) -> Report {
        if !self.taken.load(Ordering::Acquire) {
            return Report::Nothing;
        }
        self.queue.lock().report
    }

    /// Exchanges the counts of what was taken for the empty buffer `taken`.
    pub(crate) fn collect(&self, taken: &mut Vec<(PeerId, usize)>) {
        debug_assert!(taken.is_empty());
        let mut queue = self.queue.lock();
        mem::swap(&mut queue.taken, taken);
        queue.taken_bytes = 0;
        queue.report = Report::Nothing;
        self.taken.store(false, Ordering::Release);
    }

    /// Drops what is queued of a peer, and what is known to be taken of it: the machine has
    /// forgotten both.
    pub(crate) fn forget(&self, peer: PeerId) {
        let mut queue = self.queue.lock();
        queue.messages.retain(|message| message.from != peer);
        queue.taken.retain(|(from, _)| *from != peer);
    }

    /// Drops what is queued and lets every call end.
    pub(crate) fn end(&self) {
        let mut queue = self.queue.lock();
        queue.state = State::Ended;
        queue.messages = VecDeque::new();
        drop(queue);
        self.arrived.notify(usize::MAX);
    }

    fn report(&self, queue: &mut Queue) -> Wake {
        let report = if queue.messages.is_empty() || queue.taken_bytes >= self.report_bytes {
            Report::Due
        } else {
            Report::Some
        };
        if report <= queue.report {
            return Wake::No;
        }
        queue.report = report;
        self.taken.store(true, Ordering::Release);
        Wake::Yes
    }
}

impl Queue {
    fn count(&mut self, message: &Message) {
        self.taken_bytes += message.payload.len();
        match self.taken.last_mut() {
            Some((peer, count)) if *peer == message.from => *count += 1,
            _ => self.taken.push((message.from, 1)),
        }
    }

    fn nothing<T>(&self) -> Popped<T> {
        match self.state {
            State::Open => Popped::Empty,
            State::Ended => Popped::Ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Waker},
    };

    use super::*;

    const A: PeerId = PeerId::from_bytes([1; 32]);
    const B: PeerId = PeerId::from_bytes([2; 32]);

    fn messages(from: &[PeerId], len: usize) -> Vec<Message> {
        from.iter()
            .map(|&from| Message {
                from,
                payload: vec![0; len].into(),
            })
            .collect()
    }

    fn pop(inbox: &Inbox) -> (PeerId, Wake) {
        match inbox.pop() {
            Popped::Taken { value, wake } => (value.from, wake),
            other @ (Popped::Empty | Popped::Ended) => panic!("{other:?}"),
        }
    }

    #[test]
    fn taking_wakes_the_loop_first_and_last() {
        let inbox = Inbox::new(1 << 20);
        inbox.push(&mut messages(&[A, A, B, A], 1));
        assert_eq!(inbox.reported(), Report::Nothing);
        assert_eq!(pop(&inbox), (A, Wake::Yes));
        assert_eq!(inbox.reported(), Report::Some);
        assert_eq!(pop(&inbox), (A, Wake::No));
        assert_eq!(pop(&inbox), (B, Wake::No));
        assert_eq!(pop(&inbox), (A, Wake::Yes));
        assert_eq!(inbox.reported(), Report::Due);
        let mut taken = Vec::new();
        inbox.collect(&mut taken);
        assert_eq!(taken, [(A, 2), (B, 1), (A, 1)]);
        assert_eq!(inbox.reported(), Report::Nothing);
    }

    #[test]
    fn much_that_was_taken_wakes_the_loop() {
        let inbox = Inbox::new(4 * 100);
        inbox.push(&mut messages(&[A; 9], 50));
        assert_eq!(pop(&inbox), (A, Wake::Yes));
        assert_eq!(pop(&inbox), (A, Wake::Yes), "100 bytes are a quarter");
        assert_eq!(pop(&inbox), (A, Wake::No), "the loop is on its way");
    }

    #[test]
    fn many_are_taken_at_once() {
        let inbox = Inbox::new(1 << 20);
        let mut out = Vec::new();
        assert!(matches!(inbox.pop_many(9, &mut out), Popped::Empty));
        inbox.push(&mut messages(&[A, B, B], 1));
        assert!(matches!(
            inbox.pop_many(2, &mut out),
            Popped::Taken { value: 2, .. }
        ));
        assert!(matches!(
            inbox.pop_many(9, &mut out),
            Popped::Taken {
                value: 1,
                wake: Wake::Yes
            }
        ));
        assert_eq!(out.len(), 3);
    }

    #[test]
    fn each_message_wakes_somebody_else() {
        let inbox = Inbox::new(1 << 20);
        let mut waiting: Vec<_> = (0..3).map(|_| inbox.listen()).collect();
        inbox.push(&mut messages(&[A], 1));
        inbox.push(&mut messages(&[B], 1));
        let awake = |listener: &mut EventListener| {
            let mut cx = Context::from_waker(Waker::noop());
            Pin::new(listener).poll(&mut cx).is_ready()
        };
        assert_eq!(
            waiting.iter_mut().map(awake).collect::<Vec<_>>(),
            [true, true, false]
        );
    }

    #[test]
    fn an_ended_queue_hands_out_nothing() {
        let inbox = Inbox::new(1 << 20);
        inbox.push(&mut messages(&[A], 1));
        inbox.end();
        assert!(matches!(inbox.pop(), Popped::Ended));
        inbox.push(&mut messages(&[A], 1));
        assert!(matches!(inbox.pop(), Popped::Ended));
    }
}
