//! The receiving half of the handle.

use quicpool_core::Message;

use crate::{
    ConnectionManager,
    error::Closed,
    held::Held,
    inbox::{Popped, Wake},
};

impl ConnectionManager {
    /// Waits for the next message of any peer, and acknowledges it to its sender as taken. Messages of one peer
    /// come in order, and peers take turns of 64 KiB: a peer that floods us does not hold up the others.
    ///
    /// Behind a message that is [held](Self::recv_held), the sender learns of it together with that one.
    ///
    /// Cancel safe: a message is taken only if it is returned. Several tasks may receive at once.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the manager has ended. What was not received by then is not handed out, and was not
    /// acknowledged as taken.
    pub async fn recv(&self) -> Result<Message, Closed> {
        let shared = self.shared();
        loop {
            if let Some(outcome) = self.popped(shared.inbox.pop()) {
                return outcome;
            }
            let arrived = shared.inbox.listen();
            if let Some(outcome) = self.popped(shared.inbox.pop()) {
                return outcome;
            }
            arrived.await;
        }
    }

    /// Waits for messages, takes up to `max` of them at once, and returns how many it appended to `out`: at
    /// least one, unless `max` is zero.
    ///
    /// Cancel safe, as [`recv`](Self::recv) is.
    ///
    /// # Errors
    ///
    /// As `recv`.
    pub async fn recv_many(&self, out: &mut Vec<Message>, max: usize) -> Result<usize, Closed> {
        if max == 0 {
            return Ok(0);
        }
        let shared = self.shared();
        loop {
            if let Some(outcome) = self.popped(shared.inbox.pop_many(max, out)) {
                return outcome;
            }
            let arrived = shared.inbox.listen();
            if let Some(outcome) = self.popped(shared.inbox.pop_many(max, out)) {
                return outcome;
            }
            arrived.await;
        }
    }

    /// Waits for the next message of any peer, and does not take it: the sender keeps it until
    /// [`done`](Held::done) is called.
    ///
    /// For an application that must survive its own crashes. One that stores the [key](Held::key) of each message
    /// together with what the message has caused, calls `done` after that, and skips keys that it has stored, acts on
    /// each message exactly once, also over its own restarts: as long as the sender lives, has
    /// [`OnPeerRestart::Resend`](quicpool_core::OnPeerRestart::Resend), and `session_timeout` has not passed meanwhile.
    ///
    /// A message that is never done holds its room in the inbox, and so do all of its peer that come after it: when the
    /// peer's `inbox_bytes_max` is used up, of which each counts its bytes and at least 112, that peer waits, and the
    /// others do not. [`recv`](Self::recv) and
    /// `recv_held` can be mixed. [`close`](Self::close) does not wait for `done`: to their senders, held messages are
    /// undelivered then.
    ///
    /// Cancel safe, as `recv` is: what was not returned is not held.
    ///
    /// ```no_run
    /// # use std::{collections::HashSet, error::Error};
    /// # use quicpool_driver::ConnectionManager;
    /// use quicpool_core::MessageKey;
    ///
    /// # struct Store { seen: HashSet<MessageKey> }
    /// # impl Store { fn apply(&mut self, key: MessageKey, payload: &[u8]) -> std::io::Result<()> { Ok(()) } }
    /// async fn run(manager: ConnectionManager, mut store: Store) -> Result<(), Box<dyn Error>> {
    ///     loop {
    ///         let held = manager.recv_held().await?;
    ///         if !store.seen.contains(&held.key()) {
    ///             store.apply(held.key(), &held.payload)?; // both in one transaction
    ///         }
    ///         held.done();
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As `recv`.
    pub async fn recv_held(&self) -> Result<Held, Closed> {
        let shared = self.shared();
        let hold = || {
            let outcome = self.popped(shared.inbox.pop_held());
            outcome.map(|held| held.map(|held| Held::new(held, shared.clone())))
        };
        loop {
            if let Some(outcome) = hold() {
                return outcome;
            }
            let arrived = shared.inbox.listen();
            if let Some(outcome) = hold() {
                return outcome;
            }
            arrived.await;
        }
    }

    /// Waits for the next datagram of any peer: see [`Peer::send_datagram`](crate::Peer::send_datagram).
    ///
    /// Without calls of it datagrams are lost, the oldest of each peer first, and nothing else.
    ///
    /// Cancel safe: a datagram is taken only if it is returned. Several tasks may receive at once.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the manager has ended. What was not received by then is dropped.
    pub async fn recv_datagram(&self) -> Result<Message, Closed> {
        let datagrams = &self.shared().datagrams;
        loop {
            if let Some(outcome) = self.popped(datagrams.pop()) {
                return outcome;
            }
            let arrived = datagrams.listen();
            if let Some(outcome) = self.popped(datagrams.pop()) {
                return outcome;
            }
            arrived.await;
        }
    }

    fn popped<T>(&self, popped: Popped<T>) -> Option<Result<T, Closed>> {
        match popped {
            Popped::Taken { value, wake } => {
                match wake {
                    Wake::No => {}
                    Wake::Yes => self.shared().bell.ring(),
                }
                Some(Ok(value))
            }
            Popped::Empty => None,
            Popped::Ended => Some(Err(self.shared().closed())),
        }
    }
}
