//! Faults of a process and its socket, in which the network has no part.

use std::{collections::VecDeque, mem, time::Duration};

use quicpool_core::Datagram;

/// Limit of the bytes that wait for a paused process: the receive buffer that Linux gives a socket.
const RECEIVE_QUEUE_BYTES_MAX: usize = 212_992;

/// Whether a process makes progress.
#[derive(Debug, Default)]
pub(super) enum Pace {
    /// It does.
    #[default]
    Running,
    /// It does not, and datagrams wait.
    Paused(ReceiveQueue),
}

/// Whether a socket takes what is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Socket {
    /// It does.
    #[default]
    Free,
    /// It would block.
    BlockedUntil(Duration),
}

impl Pace {
    pub(super) fn is_paused(&self) -> bool {
        matches!(self, Self::Paused(_))
    }

    pub(super) fn pause(&mut self) {
        if !self.is_paused() {
            *self = Self::Paused(ReceiveQueue::default());
        }
    }

    /// Goes on; gives what has waited, in the order in which it came.
    pub(super) fn resume(&mut self) -> VecDeque<Datagram> {
        match mem::take(self) {
            Self::Running => VecDeque::new(),
            Self::Paused(queue) => queue.datagrams,
        }
    }
}

impl Socket {
    /// Until when it blocks, if it does at this time.
    pub(super) fn blocked_until(self, now: Duration) -> Option<Duration> {
        match self {
            Self::BlockedUntil(until) if until > now => Some(until),
            Self::Free | Self::BlockedUntil(_) => None,
        }
    }
}

/// The datagrams that a socket holds for its process.
#[derive(Debug, Default)]
pub(super) struct ReceiveQueue {
    datagrams: VecDeque<Datagram>,
    bytes: usize,
}

impl ReceiveQueue {
    /// Takes a datagram if there is room, and returns whether there was.
    pub(super) fn push(&mut self, datagram: Datagram) -> bool {
        let bytes = self.bytes + datagram.payload.len();
        if bytes > RECEIVE_QUEUE_BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        self.datagrams.push_back(datagram);
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn what_waits_comes_in_order_and_is_bounded() {
        let mut pace = Pace::default();
        pace.pause();
        let Pace::Paused(queue) = &mut pace else {
            panic!("it is not paused");
        };
        let taken = (0..=u8::MAX).filter(|n| queue.push(datagram(*n)));
        let taken: Vec<u8> = taken.collect();
        assert_eq!(taken.len(), RECEIVE_QUEUE_BYTES_MAX / 1_000);
        let resumed: Vec<u8> = pace.resume().iter().map(|d| d.payload[0]).collect();
        assert_eq!(resumed, taken);
        assert!(!pace.is_paused());
    }

    #[test]
    fn a_socket_blocks_until_its_time_is_over() {
        let socket = Socket::BlockedUntil(Duration::from_secs(2));
        let until = |at| socket.blocked_until(Duration::from_secs(at));
        assert_eq!(until(1), Some(Duration::from_secs(2)));
        assert_eq!(until(2), None);
    }

    fn datagram(n: u8) -> Datagram {
        Datagram {
            remote: ([10, 0, 0, 1], 1).into(),
            local_ip: None,
            ecn: None,
            payload: BytesMut::from(&[n; 1_000][..]),
        }
    }
}
