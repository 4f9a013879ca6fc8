//! Calls of an application, and those that wait for their answers.

use std::{fmt, time::Instant};

use quicpool_core::{
    Cancelled, Event, Losses, MessageNumber, PeerAddr, PeerError, PeerId, SendDatagramError,
    SendError,
};
use quicpool_driver::{self as driver, ConfirmError, ConnectError, FlushError, Peer, Rejected};

use super::{Driven, refusal, task::Task};
use crate::machine::Verbs;

/// A call that is not answered, and returns what the application has learned by it.
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) peer: Option<PeerId>,
    state: State,
    task: Task<Option<Event>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// Its caller reads no answer, and drops the call once there is one.
    Left,
}

/// The result of running a call.
pub(super) enum Ran {
    Waits,
    Returned(Option<Event>),
    Dropped,
}

/// The answer that a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Flush(u64),
    Room,
    Close,
    /// The end of a session or another change of the peer.
    Order,
}

impl Call {
    pub(super) fn is_awake(&self) -> bool {
        self.task.is_awake()
    }

    pub(super) fn run(&mut self) -> Ran {
        match self.state {
            State::Left if self.is_awake() => Ran::Dropped,
            State::Left => Ran::Waits,
            State::Waiting => self.task.run().map_or(Ran::Waits, Ran::Returned),
        }
    }

    /// Whether it is an answer that its caller waits for.
    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Waiting
    }

    /// Whether it waits until an outbox has room.
    pub(super) fn is_for_room(&self) -> bool {
        self.kind == Kind::Room
    }

    fn is_flush_to(&self, to: PeerId) -> bool {
        matches!(self.kind, Kind::Flush(_)) && self.peer == Some(to)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {:?}", self.kind, self.peer)
    }
}

impl Driven {
    fn wait(&mut self, kind: Kind, peer: Option<PeerId>, task: Task<Option<Event>>) {
        let state = State::Waiting;
        self.calls.push(Call {
            kind,
            peer,
            state,
            task,
        });
    }

    /// Drops the flushes to a peer whose callers have left.
    fn drop_left(&mut self, peer: PeerId) {
        self.calls
            .retain(|call| call.is_open() || !call.is_flush_to(peer));
    }

    /// Counts a message that was accepted, and returns its number.
    fn count(&mut self, peer: PeerId) -> u64 {
        let accepted = self.accepted.entry(peer).or_default();
        *accepted += 1;
        *accepted - 1
    }

    /// Returns the handle to a peer if there is room for a message of this length: calls that would wait
    /// for it do not then, as those of a bare machine.
    fn with_room(&self, peer: PeerId, len: usize) -> Result<Peer, SendError> {
        let handle = self.peer(peer)?;
        let has_room = Task::new({
            let handle = handle.clone();
            async move { handle.writable(len).await }
        })
        .run();
        has_room.ok_or(SendError::Full)?.map_err(unsent)?;
        Ok(handle)
    }

    /// Lets the event loop act on a call, and keeps the call if it is not answered then.
    fn ask<T: 'static>(
        &mut self,
        now: Instant,
        (kind, peer): (Kind, PeerId),
        call: impl AsyncFnOnce(Peer) -> T + 'static,
    ) -> Result<Option<T>, PeerError> {
        let handle = self.peer(peer)?;
        let mut task = Task::new(async move { call(handle).await });
        let mut answer = task.run();
        if answer.is_none() {
            self.settle(now);
            answer = task.run();
        }
        if answer.is_none() {
            self.wait(kind, Some(peer), task.map(|_| None));
        }
        Ok(answer)
    }

    /// Gives an order that is answered when it was carried out.
    fn order(
        &mut self,
        now: Instant,
        peer: PeerId,
        call: impl AsyncFnOnce(Peer) -> Result<(), Rejected> + 'static,
    ) -> Result<(), PeerError> {
        let answer = self.ask(now, (Kind::Order, peer), call)?;
        answer.unwrap_or(Ok(())).map_err(refusal)
    }
}

impl Verbs for Driven {
    fn add_address(&mut self, _: Instant, peer: PeerAddr) -> Result<(), PeerError> {
        self.handle()?.add_address(peer).map_err(refusal)
    }

    fn connect(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        let call = async |peer: Peer| peer.connect().await;
        match self.ask(now, (Kind::Connect, peer), call)? {
            Some(Err(ConnectError::Peer(error))) => Err(error),
            Some(Err(ConnectError::Closed(_))) => Err(PeerError::Closed),
            // A dial that has failed was accepted.
            Some(Ok(()) | Err(_)) | None => Ok(()),
        }
    }

    fn send(&mut self, _: Instant, peer: PeerId, message: &[u8]) -> Result<(), SendError> {
        let handle = self.handle()?;
        let number = handle.try_send(peer, message).map_err(unsent)?;
        assert_eq!(number.get(), self.count(peer), "the number of a message");
        Ok(())
    }

    fn send_confirmed(
        &mut self,
        _: Instant,
        peer: PeerId,
        message: &[u8],
        token: u64,
    ) -> Result<(), SendError> {
        self.drop_left(peer);
        let handle = self.with_room(peer, message.len())?;
        let message = message.to_vec();
        let mut task = Task::new(async move { handle.send_confirmed(message).await });
        if let Some(answer) = task.run() {
            return match answer {
                Err(ConfirmError::Send(error)) => Err(unsent(error)),
                other => panic!("a message is confirmed before it has left: {other:?}"),
            };
        }
        let number = self.count(peer);
        let task = task.map(move |answer| {
            let result = match answer {
                Ok(()) => Ok(()),
                Err(ConfirmError::Undelivered(why)) => Err(Losses::new(number..number + 1, why)),
                Err(_) => return None,
            };
            Some(Event::Flushed {
                peer,
                token,
                result,
            })
        });
        self.wait(Kind::Flush(token), Some(peer), task);
        Ok(())
    }

    fn send_until(
        &mut self,
        _: Instant,
        peer: PeerId,
        message: &[u8],
        until: Instant,
    ) -> Result<(), SendError> {
        let sent = self.peer(peer)?.try_send_until(message, until);
        let number = sent.map_err(unsent)?;
        assert_eq!(number.get(), self.count(peer), "the number of a message");
        Ok(())
    }

    /// All calls are made before the event loop acts on one, as by threads that are faster.
    fn cancel(
        &mut self,
        now: Instant,
        peer: PeerId,
        numbers: &[MessageNumber],
    ) -> Result<Vec<Cancelled>, PeerError> {
        let handle = self.peer(peer)?;
        let numbers = numbers.iter();
        let calls = numbers.map(|number| {
            let (handle, number) = (handle.clone(), *number);
            let mut task = Task::new(async move { handle.cancel(number).await });
            let answer = task.run();
            (task, answer)
        });
        let calls: Vec<_> = calls.collect();
        self.settle(now);
        let answers = calls.into_iter().map(|(mut task, answer)| {
            let answer = answer.or_else(|| task.run());
            let answer = answer.expect("an event loop that sleeps has carried out its orders");
            answer.map_err(refusal)
        });
        answers.collect()
    }

    fn want_room(&mut self, _: Instant, peer: PeerId, len: usize) {
        // A peer that cannot be sent to has no room to wait for.
        if let Ok(handle) = self.peer(peer) {
            let task = Task::new(async move {
                let outcome = handle.writable(len).await;
                outcome.is_ok().then_some(Event::Writable { peer })
            });
            self.wait(Kind::Room, Some(peer), task);
        }
    }

    fn send_datagram(
        &mut self,
        _: Instant,
        peer: PeerId,
        payload: &[u8],
    ) -> Result<(), SendDatagramError> {
        let handle = self.peer(peer)?;
        handle.send_datagram(payload).map_err(unsent_datagram)
    }

    fn flush(&mut self, now: Instant, peer: PeerId, token: u64) -> Result<(), PeerError> {
        self.drop_left(peer);
        let handle = self.peer(peer)?;
        let mut task = Task::new(async move {
            let result = match handle.flush().await {
                Ok(()) => Ok(()),
                Err(FlushError::Undelivered(losses)) => Err(losses),
                Err(_) => return None,
            };
            Some(Event::Flushed {
                peer,
                token,
                result,
            })
        });
        match task.run() {
            Some(event) => self.news.extend(event),
            None => self.wait(Kind::Flush(token), Some(peer), task),
        }
        self.settle(now);
        Ok(())
    }

    /// Drops the call, or leaves it until its answer is there and drops that unread.
    ///
    /// A loss that is returned unread is reported again, though another flush may have reported it: none is
    /// left while there is another.
    fn cancel_flush(&mut self, _: Instant, peer: PeerId, token: u64) {
        let flushes = self.calls.iter().filter(|call| call.is_flush_to(peer));
        let is_only_one = flushes.count() == 1;
        if is_only_one && self.toss() {
            let mut calls = self.calls.iter_mut();
            let call = calls.find(|call| call.kind == Kind::Flush(token));
            call.into_iter().for_each(|call| call.state = State::Left);
        } else {
            self.calls.retain(|call| call.kind != Kind::Flush(token));
        }
    }

    fn disconnect(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        self.order(now, peer, async |peer| peer.disconnect().await)
    }

    fn forget(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        self.order(now, peer, async |peer| peer.forget().await)
    }

    fn block(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        self.order(now, peer, async |peer| peer.block().await)
    }

    fn unblock(&mut self, now: Instant, peer: PeerId) -> Result<(), PeerError> {
        self.order(now, peer, async |peer| peer.unblock().await)
    }

    fn close(&mut self, _: Instant) {
        let Some(handle) = self.handle.clone() else {
            return;
        };
        let task = Task::new(async move {
            // The last event has the same report.
            let _ = handle.close().await;
            None
        });
        self.wait(Kind::Close, None, task);
    }

    /// Ends the application, and with it the last handle.
    fn abort(&mut self, _: Instant) {
        self.calls.clear();
        self.reader.pause();
        self.datagrams = None;
        self.handle = None;
    }
}

fn unsent(error: driver::SendError) -> SendError {
    match error {
        driver::SendError::Full => SendError::Full,
        driver::SendError::TooLarge { size, max } => SendError::TooLarge { size, max },
        driver::SendError::Peer(error) => SendError::Peer(error),
        driver::SendError::Closed(_) => SendError::Peer(PeerError::Closed),
        other => panic!("the driver refuses in a new way: {other}"),
    }
}

fn unsent_datagram(error: driver::SendDatagramError) -> SendDatagramError {
    match error {
        driver::SendDatagramError::NotConnected(peer) => SendDatagramError::NotConnected(peer),
        driver::SendDatagramError::TooLarge { size, max } => {
            SendDatagramError::TooLarge { size, max }
        }
        driver::SendDatagramError::Unsupported(peer) => SendDatagramError::Unsupported(peer),
        driver::SendDatagramError::Peer(error) => SendDatagramError::Peer(error),
        driver::SendDatagramError::Closed(_) => SendDatagramError::Peer(PeerError::Closed),
        other => panic!("the driver refuses in a new way: {other}"),
    }
}
