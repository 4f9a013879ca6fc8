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

    /// Leaves the call, and what it holds.
    pub(super) fn stop(&mut self) {
        match self {
            Self::Taking { call, .. } => *call = None,
            Self::Holding(holding) => *holding = Holding::default(),
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
        let wants_more = self.entries.len() < max || self.entries.iter().any(Entry::is_dropped);
        // It looks for more first, most of the time: so that there is an order to draw.
        if wants_more && (count == 0 || !dice.is_multiple_of(4)) && self.receive(handle) {
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
    fn receive(&mut self, handle: &ConnectionManager) -> bool {
        let call = self.call.get_or_insert_with(|| {
            let handle = handle.clone();
            Task::new(async move { handle.recv_held().await })
        });
        let is_awake = call.is_awake();
        if let Some(received) = call.run() {
            self.call = None;
            if let Ok(held) = received {
                self.add(held);
            }
        }
        is_awake
    }

    fn add(&mut self, held: Held) {
        let key = held.key();
        let mut entries = self.entries.iter_mut();
        let dropped = entries.find(|entry| entry.key == key && entry.is_dropped());
        assert_eq!(held.is_again(), dropped.is_some(), "{key}");
        if let Some(entry) = dropped {
            assert_eq!(entry.message, *held, "{key} comes again with other bytes");
            entry.state = State::Held(held);
        } else {
            self.entries.push(Entry {
                key,
                message: held.clone(),
                state: State::Held(held),
                drops: 0,
            });
        }
    }

    /// Hands on the messages of each peer that are done with all before them.
    fn report(&mut self, out: &mut Vec<Message>) {
        let mut behind: BTreeSet<PeerId> = BTreeSet::new();
        self.entries.retain(|entry| {
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
