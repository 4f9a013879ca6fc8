//! The task of an application that receives messages.

use std::collections::BTreeSet;

use quicpool_core::{Message, MessageKey, PeerId};
use quicpool_driver::{Closed, ConnectionManager, Held};

use super::task::Task;

/// How often an application drops a message that it holds before it is done with it.
const DROPS_MAX: u8 = 2;

/// Receives messages as its habit is.
pub(super) enum Reader {
    /// Takes what it receives.
    Taking { many: bool, call: Option<Call> },
    /// Holds what it receives, is done with it in any order, and drops some of it before.
    Holding(Holding),
}

/// A call that receives at most so many messages.
pub(super) struct Call {
    max: usize,
    task: Task<Result<Vec<Message>, Closed>>,
}

#[derive(Default)]
pub(super) struct Holding {
    call: Option<Task<Result<Held, Closed>>>,
    /// In the order in which they were received first.
    entries: Vec<Entry>,
}

struct Entry {
    key: MessageKey,
    message: Message,
    state: State,
    /// Whether there is room for it. One that comes in the place of another that was dropped goes back at once.
    is_wanted: bool,
    drops: u8,
}

enum State {
    Held(Held),
    Dropped,
    Done,
}

impl Reader {
    /// Draws a habit.
    pub(super) fn new(habit: u8) -> Self {
        match habit % 3 {
            2 => Self::Holding(Holding::default()),
            many => Self::Taking {
                many: many == 1,
                call: None,
            },
        }
    }

    /// Leaves the call.
    pub(super) fn pause(&mut self) {
        match self {
            Self::Taking { call, .. } => *call = None,
            Self::Holding(holding) => holding.call = None,
        }
    }

    /// Receives up to `max` messages if it was woken. Returns whether it did anything.
    pub(super) fn run(
        &mut self,
        handle: &ConnectionManager,
        max: usize,
        dice: u64,
        out: &mut Vec<Message>,
    ) -> bool {
        match self {
            Self::Holding(holding) => holding.run(handle, max, dice, out),
            Self::Taking { many, call } => {
                if call.as_ref().is_some_and(|call| call.max != max) {
                    *call = None;
                }
                let many = *many;
                let handle = || handle.clone();
                let receiving = call.get_or_insert_with(|| Call::new(handle(), many, max));
                let is_awake = receiving.task.is_awake();
                if let Some(received) = receiving.task.run() {
                    *call = None;
                    // One that has ended has nothing to receive.
                    out.extend(received.unwrap_or_default());
                }
                is_awake
            }
        }
    }
}

impl Call {
    fn new(handle: ConnectionManager, many: bool, max: usize) -> Self {
        let task = Task::new(async move {
            let mut messages = Vec::new();
            match many {
                false => messages.push(handle.recv().await?),
                true => {
                    handle.recv_many(&mut messages, max).await?;
                }
            }
            Ok(messages)
        });
        Self { max, task }
    }
}

impl Holding {
    /// Receives a message, or is done with one, or drops one. What it returns is taken, and so is all before it.
    fn run(
        &mut self,
        handle: &ConnectionManager,
        max: usize,
        dice: u64,
        out: &mut Vec<Message>,
    ) -> bool {
        let held = |entry: &&mut Entry| matches!(entry.state, State::Held(_));
        let count = self.entries.iter_mut().filter(|it| held(it)).count();
        let wants_more = self.has_room(max) || self.entries.iter().any(Entry::is_dropped);
        // It looks for more first, most of the time: so that there is an order to draw.
        if wants_more && (count == 0 || !dice.is_multiple_of(4)) && self.receive(handle, max) {
            return true;
        }
        let place = (dice >> 8) as usize % count.max(1);
        let Some(entry) = self.entries.iter_mut().filter(held).nth(place) else {
            return false;
        };
        entry.end(entry.drops < DROPS_MAX && (dice >> 4).is_multiple_of(4));
        self.report(out);
        true
    }

    /// Returns whether the call was awake.
    fn receive(&mut self, handle: &ConnectionManager, max: usize) -> bool {
        let call = self.call.get_or_insert_with(|| {
            let handle = handle.clone();
            Task::new(async move { handle.recv_held().await })
        });
        let is_awake = call.is_awake();
        if let Some(received) = call.run() {
            self.call = None;
            if let Ok(held) = received {
                self.add(held, max);
            }
        }
        is_awake
    }

    fn has_room(&self, max: usize) -> bool {
        self.entries.iter().filter(|entry| entry.is_wanted).count() < max
    }

    fn add(&mut self, held: Held, max: usize) {
        let has_room = self.has_room(max);
        let key = held.key();
        let mut entries = self.entries.iter();
        let dropped = entries.position(|entry| entry.key == key && entry.is_dropped());
        assert_eq!(held.is_again(), dropped.is_some(), "{key}");
        let place = dropped.unwrap_or(self.entries.len());
        if dropped.is_none() {
            self.entries.push(Entry {
                key,
                message: held.clone(),
                state: State::Dropped,
                is_wanted: false,
                drops: 0,
            });
        }
        let entry = &mut self.entries[place];
        assert_eq!(entry.message, *held, "{key} comes again with other bytes");
        entry.is_wanted |= has_room;
        if entry.is_wanted {
            entry.state = State::Held(held);
        }
    }

    /// Hands on the messages of each peer that are done with all before them.
    fn report(&mut self, out: &mut Vec<Message>) {
        let mut behind: BTreeSet<PeerId> = BTreeSet::new();
        self.entries.retain(|entry| {
            if !entry.is_wanted {
                // It comes before all of its peer that were not handed out yet, or was forgotten with it.
                return true;
            }
            let is_taken =
                matches!(entry.state, State::Done) && !behind.contains(&entry.message.from);
            match is_taken {
                true => out.push(entry.message.clone()),
                false => {
                    behind.insert(entry.message.from);
                }
            }
            !is_taken
        });
    }
}

impl Entry {
    const fn is_dropped(&self) -> bool {
        matches!(self.state, State::Dropped)
    }

    /// Lets go of the message.
    fn end(&mut self, drops: bool) {
        let next = match drops {
            true => State::Dropped,
            false => State::Done,
        };
        if let State::Held(held) = std::mem::replace(&mut self.state, next) {
            match drops {
                true => {
                    self.drops += 1;
                    drop(held);
                }
                false => held.done(),
            }
        }
    }
}
