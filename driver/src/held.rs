//! A message that the application has received, and is not done with.

use std::{fmt, ops::Deref, sync::Arc};

use quicpool_core::{Message, MessageKey};

use crate::{
    inbox::{OnHold, Wake},
    shared::Shared,
};

/// A message that was received and is not taken: until [`done`](Self::done), its sender keeps it.
///
/// Dropped without `done`, as by a panic or a `?`, it is the next message of its peer again, for any task that
/// receives, and [`is_again`](Self::is_again). That holds also when the session has ended meanwhile, by either end;
/// then `done` reaches no sender, which holds the message to be undelivered, and only [`forget`](crate::Peer::forget) drops it. See [`recv_held`](crate::ConnectionManager::recv_held).
#[must_use = "it comes again unless it is `done`"]
pub struct Held {
    /// `None` once it is done.
    held: Option<OnHold>,
    key: MessageKey,
    shared: Arc<Shared>,
}

impl Held {
    pub(crate) fn new(held: OnHold, shared: Arc<Shared>) -> Self {
        let key = held.message.key();
        let key = key.expect("invariant: the machine gives each message a key");
        Self {
            held: Some(held),
            key,
            shared,
        }
    }

    /// Returns the name of the message, to be stored with what the message has caused: the same when it comes again.
    #[must_use]
    pub const fn key(&self) -> MessageKey {
        self.key
    }

    /// Returns whether this process has received the message before, and dropped it without `done`.
    #[must_use]
    pub fn is_again(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.is_again)
    }

    /// Takes the message: its sender learns of it once all messages of that peer before it are taken, too.
    ///
    /// In any order. It never waits, and has no effect once the manager has ended or the peer was forgotten; a
    /// manager that ends in this moment may not pass it on. The sender then holds the message to be undelivered, or
    /// sends it to the next process, with the same key.
    pub fn done(mut self) {
        if let Some(held) = self.held.take() {
            match self.shared.inbox.done(&held) {
                Wake::No => {}
                Wake::Yes => self.shared.bell.ring(),
            }
        }
    }
}

impl Deref for Held {
    type Target = Message;

    fn deref(&self) -> &Message {
        let held = self.held.as_ref();
        &held
            .expect("invariant: only `done` and drop take it")
            .message
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.shared.inbox.put_back(held);
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("message", &**self)
            .field("is_again", &self.is_again())
            .finish_non_exhaustive()
    }
}
