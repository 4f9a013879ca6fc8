//! Keeps the dials that wait for a slot or for the dial rate, the user's first.

use std::{collections::VecDeque, time::Instant};

use super::Priority;
use crate::peer::PeerKey;

/// Dials that wait.
#[derive(Debug, Default)]
pub(super) struct DialQueue {
    foreground: VecDeque<Entry>,
    background: VecDeque<Entry>,
    /// Tickets handed out so far.
    tickets: u64,
}

/// A place in the queue; void once the peer's ticket is another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) key: PeerKey,
    pub(crate) ticket: u64,
    pub(crate) since: Instant,
    pub(crate) priority: Priority,
}

impl DialQueue {
    pub(super) fn len(&self) -> usize {
        self.foreground.len() + self.background.len()
    }

    /// Counts the entries before the one with this ticket, void ones included.
    pub(super) fn ahead_of(&self, ticket: u64) -> usize {
        let mut entries = self.foreground.iter().chain(&self.background);
        entries
            .position(|entry| entry.ticket == ticket)
            .unwrap_or(self.len())
    }

    /// Appends a dial, and returns its ticket.
    pub(super) fn push(&mut self, now: Instant, key: PeerKey, priority: Priority) -> u64 {
        self.tickets += 1;
        let entry = Entry {
            key,
            ticket: self.tickets,
            since: now,
            priority,
        };
        self.of(priority).push_back(entry);
        self.tickets
    }

    /// The priority of the first dial.
    pub(super) fn first_priority(&self) -> Priority {
        match self.foreground.is_empty() {
            true => Priority::Background,
            false => Priority::Foreground,
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let foreground = self.foreground.pop_front();
        foreground.or_else(|| self.background.pop_front())
    }

    /// Puts an entry back in front of the others of its priority.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.of(entry.priority).push_front(entry);
    }

    fn of(&mut self, priority: Priority) -> &mut VecDeque<Entry> {
        match priority {
            Priority::Foreground => &mut self.foreground,
            Priority::Background => &mut self.background,
        }
    }
}
