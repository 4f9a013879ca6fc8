//! Datagrams on their way from the event loop to the application.

use std::collections::VecDeque;

use event_listener::{Event, EventListener};
use parking_lot::Mutex;
use quicpool_core::{Message, PeerId};

use crate::inbox::{Popped, Wake};

/// Datagrams of all peers that are handed out before the application takes them. What is beyond it
/// waits in the machine, where each peer has a queue of its own: one that floods crowds out itself.
const WAITING_MAX: usize = 256;

/// The one queue that `recv_datagram` pops from.
#[derive(Debug, Default)]
pub(crate) struct DatagramInbox {
    queue: Mutex<Queue>,
    arrived: Event,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Message>,
    loop_waits: LoopWaits,
    state: State,
}

/// Whether the event loop has more than there was room for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum LoopWaits {
    #[default]
    No,
    Yes,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Ended,
}

impl DatagramInbox {
    /// How many there is room for. If there is none, the event loop is woken when there is.
    pub(crate) fn room(&self) -> usize {
        let mut queue = self.queue.lock();
        let room = match queue.state {
            State::Open => WAITING_MAX - queue.waiting.len().min(WAITING_MAX),
            State::Ended => 0,
        };
        if room == 0 {
            queue.loop_waits = LoopWaits::Yes;
        }
        room
    }

    /// Moves datagrams to the end of the queue, and wakes callers that wait.
    pub(crate) fn push(&self, datagrams: &mut Vec<Message>) {
        let count = datagrams.len();
        let mut queue = self.queue.lock();
        match queue.state {
            State::Open => queue.waiting.extend(datagrams.drain(..)),
            State::Ended => datagrams.clear(),
        }
        drop(queue);
        self.arrived.notify_additional(count);
    }

    /// Takes the oldest datagram.
    pub(crate) fn pop(&self) -> Popped<Message> {
        let mut queue = self.queue.lock();
        let Some(value) = queue.waiting.pop_front() else {
            return match queue.state {
                State::Open => Popped::Empty,
                State::Ended => Popped::Ended,
            };
        };
        let is_low = queue.waiting.len() <= WAITING_MAX / 2;
        let wake = match queue.loop_waits {
            LoopWaits::Yes if is_low => {
                queue.loop_waits = LoopWaits::No;
                Wake::Yes
            }
            LoopWaits::Yes | LoopWaits::No => Wake::No,
        };
        Popped::Taken { value, wake }
    }

    /// Returns what wakes once there are datagrams. To be asked for before the last look.
    pub(crate) fn listen(&self) -> EventListener {
        self.arrived.listen()
    }

    /// Drops what is queued of one peer, and returns how many they were.
    pub(crate) fn forget(&self, peer: PeerId) -> u64 {
        let mut queue = self.queue.lock();
        let before = queue.waiting.len();
        queue.waiting.retain(|datagram| datagram.from != peer);
        (before - queue.waiting.len()) as u64
    }

    /// Drops what is queued and lets every call end.
    pub(crate) fn end(&self) {
        let mut queue = self.queue.lock();
        queue.state = State::Ended;
        queue.waiting = VecDeque::new();
        drop(queue);
        self.arrived.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerId = PeerId::from_bytes([1; 32]);
    const B: PeerId = PeerId::from_bytes([2; 32]);

    fn push(inbox: &DatagramInbox, from: PeerId, count: usize) {
        let payload = bytes::Bytes::new();
        inbox.push(&mut vec![Message::new(from, payload); count]);
    }

    fn pop(inbox: &DatagramInbox) -> Option<(PeerId, Wake)> {
        match inbox.pop() {
            Popped::Taken { value, wake } => Some((value.from, wake)),
            Popped::Empty | Popped::Ended => None,
        }
    }

    #[test]
    fn a_loop_that_found_no_room_is_woken_once_half_is_taken() {
        let inbox = DatagramInbox::default();
        assert_eq!(inbox.room(), WAITING_MAX);
        push(&inbox, A, WAITING_MAX);
        assert_eq!(inbox.room(), 0);
        for _ in 1..WAITING_MAX / 2 {
            assert_eq!(pop(&inbox), Some((A, Wake::No)));
        }
        assert_eq!(pop(&inbox), Some((A, Wake::Yes)));
        assert_eq!(pop(&inbox), Some((A, Wake::No)), "once");
        assert_eq!(inbox.room(), WAITING_MAX / 2 + 1);
    }

    #[test]
    fn a_loop_that_has_no_more_is_not_woken() {
        let inbox = DatagramInbox::default();
        push(&inbox, A, 10);
        while let Some((_, wake)) = pop(&inbox) {
            assert_eq!(wake, Wake::No);
        }
    }

    #[test]
    fn a_forgotten_peer_leaves_nothing_behind() {
        let inbox = DatagramInbox::default();
        push(&inbox, A, 2);
        push(&inbox, B, 1);
        assert_eq!(inbox.forget(A), 2);
        assert_eq!(pop(&inbox), Some((B, Wake::No)));
        assert_eq!(pop(&inbox), None);
    }

    #[test]
    fn an_ended_queue_hands_out_nothing() {
        let inbox = DatagramInbox::default();
        push(&inbox, A, 1);
        inbox.end();
        assert!(matches!(inbox.pop(), Popped::Ended));
        push(&inbox, A, 1);
        assert!(matches!(inbox.pop(), Popped::Ended));
    }
}
