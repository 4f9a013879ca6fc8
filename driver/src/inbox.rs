//! Messages on their way from the event loop to the application.

use std::{
    mem,
    sync::atomic::{AtomicBool, Ordering},
};

use event_listener::{Event, EventListener};
use parking_lot::Mutex;
use quicpool_core::{Message, PeerId};

use crate::mailboxes::Mailboxes;

/// What `recv` takes from: of peers with messages, each in its turn.
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
    messages: Mailboxes,
    /// How many messages of which peer were taken since the event loop collected, in order.
    taken: Vec<(PeerId, usize)>,
    taken_bytes: usize,
    bell: Bell,
    state: State,
}

/// When taking wakes the event loop. It looks by itself soon after it has handed out messages, and
/// in every turn that it has for another reason: most of the time nobody has to wake it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Bell {
    /// When much was taken.
    #[default]
    WhenMuch,
    /// When anything is taken: the loop has looked in vain, and does not look again.
    WhenAny,
    /// The loop is on its way.
    Rung,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// Nothing is handed out for the time of a turn.
    Held,
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

    /// Moves messages in, and wakes those who wait.
    pub(crate) fn push(&self, messages: &mut Vec<Message>) {
        let count = messages.len();
        let mut queue = self.queue.lock();
        match queue.state {
            State::Open | State::Held => queue.messages.extend(messages),
            State::Ended => messages.clear(),
        }
        drop(queue);
        // Beyond those who were woken before and have not looked yet: each of them takes one
        // message, and may be long in coming back.
        self.arrived.notify_additional(count);
    }

    /// Takes the next message.
    pub(crate) fn pop(&self) -> Popped<Message> {
        let mut queue = self.queue.lock();
        let Some(message) = queue.pop() else {
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
        let mut count = 0;
        while count < max
            && let Some(message) = queue.pop()
        {
            queue.count(&message);
            out.push(message);
            count += 1;
        }
        if count == 0 {
            return queue.nothing();
        }
        let wake = self.report(&mut queue);
        Popped::Taken { value: count, wake }
    }

    /// What wakes once there are messages. To be asked for before the last look.
    pub(crate) fn listen(&self) -> EventListener {
        self.arrived.listen()
    }

    /// Whether anything was taken since the last [`collect`](Self::collect).
    pub(crate) fn has_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// Exchanges the counts of what was taken for the empty buffer `taken`. Says whether anything
    /// is left to be taken.
    pub(crate) fn collect(&self, taken: &mut Vec<(PeerId, usize)>) -> Left {
        self.hand_over(&mut self.queue.lock(), taken)
    }

    fn hand_over(&self, queue: &mut Queue, taken: &mut Vec<(PeerId, usize)>) -> Left {
        debug_assert!(taken.is_empty());
        mem::swap(&mut queue.taken, taken);
        queue.taken_bytes = 0;
        queue.bell = Bell::WhenMuch;
        self.taken.store(false, Ordering::Release);
        if queue.messages.is_empty() {
            Left::Nothing
        } else {
            Left::Some
        }
    }

    /// Wakes the event loop as soon as anything is taken. False if something was, just before.
    pub(crate) fn wake_when_taken(&self) -> bool {
        let mut queue = self.queue.lock();
        let untouched = queue.taken.is_empty();
        if untouched && !queue.messages.is_empty() {
            queue.bell = Bell::WhenAny;
        }
        untouched
    }

    /// Like [`collect`](Self::collect), and hands out nothing until [`release`](Self::release): all
    /// that was ever taken is known to the event loop meanwhile.
    pub(crate) fn hold(&self, taken: &mut Vec<(PeerId, usize)>) -> Left {
        let mut queue = self.queue.lock();
        if queue.state == State::Open {
            queue.state = State::Held;
        }
        self.hand_over(&mut queue, taken)
    }

    /// Hands out messages again.
    pub(crate) fn release(&self) {
        let mut queue = self.queue.lock();
        if queue.state == State::Held {
            queue.state = State::Open;
        }
        let is_empty = queue.messages.is_empty();
        drop(queue);
        if !is_empty {
            self.arrived.notify(usize::MAX);
        }
    }

    /// Drops what is queued of one peer, and exchanges the counts of what was taken of all for the
    /// empty buffer `taken`: what the application takes later is of another session.
    pub(crate) fn forget(&self, peer: PeerId, taken: &mut Vec<(PeerId, usize)>) -> Left {
        // With the lock held throughout, nothing of the peer is taken and not counted.
        let mut queue = self.queue.lock();
        queue.messages.clear(peer);
        self.hand_over(&mut queue, taken)
    }

    /// Drops what is queued and lets every call end.
    pub(crate) fn end(&self) {
        let mut queue = self.queue.lock();
        queue.state = State::Ended;
        queue.messages = Mailboxes::default();
        drop(queue);
        self.arrived.notify(usize::MAX);
    }

    fn report(&self, queue: &mut Queue) -> Wake {
        self.taken.store(true, Ordering::Release);
        let wake = match queue.bell {
            Bell::WhenMuch => queue.taken_bytes >= self.report_bytes,
            Bell::WhenAny => true,
            Bell::Rung => false,
        };
        if !wake {
            return Wake::No;
        }
        queue.bell = Bell::Rung;
        Wake::Yes
    }
}

/// Whether messages are left to be taken.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    Some,
}

impl Queue {
    fn pop(&mut self) -> Option<Message> {
        match self.state {
            State::Open | State::Ended => self.messages.pop(),
            State::Held => None,
        }
    }

    fn count(&mut self, message: &Message) {
        self.taken_bytes += message.payload.len();
        match self.taken.last_mut() {
            Some((peer, count)) if *peer == message.from => *count += 1,
            _ => self.taken.push((message.from, 1)),
        }
    }

    fn nothing<T>(&self) -> Popped<T> {
        match self.state {
            State::Open | State::Held => Popped::Empty,
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
    fn taking_a_few_wakes_nobody() {
        let inbox = Inbox::new(1 << 20);
        inbox.push(&mut messages(&[A, A, B, B], 1));
        assert!(!inbox.has_taken());
        assert_eq!(pop(&inbox), (A, Wake::No));
        assert_eq!(pop(&inbox), (A, Wake::No));
        assert_eq!(pop(&inbox), (B, Wake::No));
        assert!(inbox.has_taken());
        let mut taken = Vec::new();
        assert_eq!(inbox.collect(&mut taken), Left::Some);
        assert_eq!(taken, [(A, 2), (B, 1)]);
        assert!(!inbox.has_taken());
        assert_eq!(pop(&inbox), (B, Wake::No));
        taken.clear();
        assert_eq!(inbox.collect(&mut taken), Left::Nothing);
    }

    #[test]
    fn a_loop_that_looked_in_vain_is_woken_once() {
        let inbox = Inbox::new(1 << 20);
        inbox.push(&mut messages(&[A, A, A], 1));
        assert!(inbox.wake_when_taken());
        assert_eq!(pop(&inbox), (A, Wake::Yes));
        assert_eq!(pop(&inbox), (A, Wake::No), "the loop is on its way");
        assert!(!inbox.wake_when_taken(), "it has to collect first");
    }

    #[test]
    fn much_that_was_taken_wakes_the_loop() {
        let inbox = Inbox::new(4 * 100);
        inbox.push(&mut messages(&[A; 9], 50));
        assert_eq!(pop(&inbox), (A, Wake::No));
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
            Popped::Taken { value: 1, .. }
        ));
        assert_eq!(out.len(), 3);
    }

    #[test]
    fn a_forgotten_peer_leaves_nothing_behind() {
        let inbox = Inbox::new(1 << 20);
        inbox.push(&mut messages(&[A, B, A], 1));
        assert_eq!(pop(&inbox).0, A);
        let mut taken = Vec::new();
        assert_eq!(inbox.forget(A, &mut taken), Left::Some);
        assert_eq!(taken, [(A, 1)]);
        assert_eq!(pop(&inbox).0, B);
        assert!(matches!(inbox.pop(), Popped::Empty));
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
    fn a_queue_that_is_held_keeps_its_messages() {
        let inbox = Inbox::new(1 << 20);
        inbox.push(&mut messages(&[A, B], 1));
        assert_eq!(pop(&inbox).0, A);
        let mut taken = Vec::new();
        assert_eq!(inbox.hold(&mut taken), Left::Some);
        assert_eq!(taken, [(A, 1)]);
        assert!(matches!(inbox.pop(), Popped::Empty));
        inbox.push(&mut messages(&[A], 1));
        let mut waiting = inbox.listen();
        inbox.release();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut waiting).poll(&mut cx).is_ready());
        assert_eq!(
            (pop(&inbox).0, pop(&inbox).0),
            (A, B),
            "peers take turns of bytes"
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
