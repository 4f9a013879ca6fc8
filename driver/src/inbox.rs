//! Messages on their way from the event loop to the application.

use std::{
    collections::BTreeSet,
    mem,
    sync::atomic::{AtomicBool, Ordering},
};

use event_listener::{Event, EventListener};
use parking_lot::Mutex;
use quicpool_core::{Message, PeerId, driver::TakenMessages};

use crate::mailboxes::{Mailboxes, Ordinal};

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
    /// What was taken since the event loop collected, in order.
    taken: Vec<TakenMessages>,
    /// Whether the next message that is taken may be the successor of the last one in `taken`: none was handed out
    /// between them.
    may_follow: bool,
    taken_bytes: usize,
    /// Messages that are held, of peers that were not forgotten since.
    held: BTreeSet<(PeerId, Ordinal)>,
    next_ordinal: Ordinal,
    bell: Bell,
    state: State,
}

/// When taking wakes the event loop. It looks by itself soon after it has handed out messages, and
/// in every turn that it has for another reason: most of the time it needs no wake-up.
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
    /// Something. If `wake`, the event loop is to be woken.
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

/// A message that was handed out, and is not taken.
#[derive(Debug)]
pub(crate) struct OnHold {
    pub(crate) message: Message,
    ordinal: Ordinal,
    /// Whether it was handed out before.
    pub(crate) is_again: bool,
}

impl OnHold {
    fn name(&self) -> (PeerId, Ordinal) {
        (self.message.from, self.ordinal)
    }
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

    /// Bytes of memory for messages that wait, beside their own bytes.
    pub(crate) fn memory(&self) -> usize {
        self.queue.lock().messages.memory()
    }

    /// Moves messages in, and wakes callers that wait.
    pub(crate) fn push(&self, messages: &mut Vec<Message>) {
        let count = messages.len();
        let mut queue = self.queue.lock();
        match queue.state {
            State::Open | State::Held => queue.messages.extend(messages),
            State::Ended => messages.clear(),
        }
        drop(queue);
        // Beyond callers that were woken before and have not looked yet: each of them takes one
        // message, and may be long in coming back.
        self.arrived.notify_additional(count);
    }

    /// Takes the next message.
    pub(crate) fn pop(&self) -> Popped<Message> {
        let mut queue = self.queue.lock();
        let Some(message) = queue.take() else {
            return queue.nothing();
        };
        let wake = self.report(&mut queue);
        Popped::Taken {
            value: message,
            wake,
        }
    }

    /// Takes up to `max` messages. Returns how many it appended to `out`.
    pub(crate) fn pop_many(&self, max: usize, out: &mut Vec<Message>) -> Popped<usize> {
        let mut queue = self.queue.lock();
        let mut count = 0;
        while count < max
            && let Some(message) = queue.take()
        {
            out.push(message);
            count += 1;
        }
        if count == 0 {
            return queue.nothing();
        }
        let wake = self.report(&mut queue);
        Popped::Taken { value: count, wake }
    }

    /// Hands out the next message without taking it.
    pub(crate) fn pop_held(&self) -> Popped<OnHold> {
        let mut queue = self.queue.lock();
        match queue.hold() {
            Some(value) => Popped::Taken {
                value,
                wake: Wake::No,
            },
            None => queue.nothing(),
        }
    }

    /// Takes a message that was held, unless its peer was forgotten.
    pub(crate) fn done(&self, held: &OnHold) -> Wake {
        let mut queue = self.queue.lock();
        if !queue.held.remove(&held.name()) {
            return Wake::No;
        }
        queue.may_follow = false;
        queue.count(&held.message);
        queue.may_follow = false;
        self.report(&mut queue)
    }

    /// Puts a message back that was held, unless its peer was forgotten.
    pub(crate) fn put_back(&self, held: OnHold) {
        let mut queue = self.queue.lock();
        if queue.held.remove(&held.name()) && queue.state != State::Ended {
            queue.messages.put_back(held.ordinal, held.message);
            drop(queue);
            self.arrived.notify_additional(1);
        }
    }

    /// What wakes once there are messages. To be asked for before the last look.
    pub(crate) fn listen(&self) -> EventListener {
        self.arrived.listen()
    }

    /// Whether anything was taken since the last [`collect`](Self::collect).
    pub(crate) fn has_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// Exchanges what was taken for the empty buffer `taken`. Returns whether anything
    /// is left to be taken.
    pub(crate) fn collect(&self, taken: &mut Vec<TakenMessages>) -> Left {
        self.hand_over(&mut self.queue.lock(), taken)
    }

    fn hand_over(&self, queue: &mut Queue, taken: &mut Vec<TakenMessages>) -> Left {
        debug_assert!(taken.is_empty());
        mem::swap(&mut queue.taken, taken);
        queue.taken_bytes = 0;
        queue.bell = Bell::WhenMuch;
        self.taken.store(false, Ordering::Release);
        match queue.may_be_taken() {
            true => Left::Some,
            false => Left::Nothing,
        }
    }

    /// Wakes the event loop as soon as anything is taken. False if something was, just before.
    pub(crate) fn wake_when_taken(&self) -> bool {
        let mut queue = self.queue.lock();
        let untouched = queue.taken.is_empty();
        if untouched && queue.may_be_taken() {
            queue.bell = Bell::WhenAny;
        }
        untouched
    }

    /// Like [`collect`](Self::collect), and hands out nothing until [`release`](Self::release): all
    /// that was ever taken is known to the event loop meanwhile.
    pub(crate) fn hold(&self, taken: &mut Vec<TakenMessages>) -> Left {
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

    /// Drops what is queued of one peer, and exchanges what was taken of all for the empty buffer
    /// `taken`: what the application takes later is of another session.
    pub(crate) fn forget(&self, peer: PeerId, taken: &mut Vec<TakenMessages>) -> Left {
        // With the lock held throughout, nothing of the peer is taken and not counted.
        let mut queue = self.queue.lock();
        queue.messages.clear(peer);
        queue.held.retain(|(of, _)| *of != peer);
        self.hand_over(&mut queue, taken)
    }

    /// Drops what is queued and lets every call end.
    pub(crate) fn end(&self) {
        let mut queue = self.queue.lock();
        queue.state = State::Ended;
        queue.messages = Mailboxes::default();
        queue.held = BTreeSet::new();
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
    fn pop(&mut self) -> Option<(Message, Option<Ordinal>)> {
        match self.state {
            State::Open | State::Ended => self.messages.pop(),
            State::Held => None,
        }
    }

    fn take(&mut self) -> Option<Message> {
        let (message, earlier) = self.pop()?;
        self.may_follow &= earlier.is_none();
        self.count(&message);
        self.may_follow = earlier.is_none();
        Some(message)
    }

    fn hold(&mut self) -> Option<OnHold> {
        let (message, earlier) = self.pop()?;
        self.may_follow = false;
        let ordinal = earlier.unwrap_or_else(|| {
            self.next_ordinal += 1;
            self.next_ordinal
        });
        let held = OnHold {
            message,
            ordinal,
            is_again: earlier.is_some(),
        };
        self.held.insert(held.name());
        Some(held)
    }

    /// Whether anything is left that the application may take.
    fn may_be_taken(&self) -> bool {
        !self.messages.is_empty() || !self.held.is_empty()
    }

    fn count(&mut self, message: &Message) {
        self.taken_bytes += message.payload.len();
        let key = message.key();
        let key = key.expect("invariant: the machine gives each message a key");
        let last = self.taken.last_mut().filter(|_| self.may_follow);
        if !last.is_some_and(|last| last.add(key)) {
            self.taken.push(TakenMessages::new(key));
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
mod tests;
