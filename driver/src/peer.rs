//! The handle to one peer.

use std::{fmt, sync::Arc, time::Instant};

use quicpool_core::{
    Cancelled, ConnectionStatus, Explanation, Health, MessageNumber, PeerAddr, PeerId, PeerMetrics,
};

use crate::{
    error::{
        Closed, ConfirmError, ConnectError, FlushError, Rejected, SendDatagramError, SendError,
    },
    order::Order,
    reply::{self, Leftover, Reply, Responder},
    shared::Shared,
    staging::{PeerShared, Refused, Urgency},
};

/// A peer to send to: a cheap clone to keep, like the sender of a channel.
///
/// [`ConnectionManager::peer`](crate::ConnectionManager::peer) makes one, and sending through it
/// looks nothing up. Clones may be used from many threads at once; the messages of one thread stay
/// in order. Dropping it does nothing: the peer stays known.
///
/// ```no_run
/// # async fn example(manager: quicpool_driver::ConnectionManager, bob: quicpool_core::PeerAddr)
/// # -> Result<(), quicpool_driver::Error> {
/// let bob = manager.peer(bob)?;
/// for line in ["one", "two", "three"] {
///     bob.send(line).await?;
/// }
/// bob.flush().await?; // bob's application has taken all three
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Peer {
    pub(crate) peer: Arc<PeerShared>,
    pub(crate) shared: Arc<Shared>,
}

/// The peer that [`ConnectionManager::peer`](crate::ConnectionManager::peer) is asked for: a [`PeerAddr`], or
/// the [`PeerId`] of a peer whose address is known or that will dial us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRef {
    pub(crate) id: PeerId,
    pub(crate) addr: Option<PeerAddr>,
}

impl From<PeerId> for PeerRef {
    fn from(id: PeerId) -> Self {
        Self { id, addr: None }
    }
}

impl From<PeerAddr> for PeerRef {
    fn from(peer: PeerAddr) -> Self {
        Self {
            id: peer.id,
            addr: Some(peer),
        }
    }
}

impl Peer {
    /// The peer's id.
    pub fn id(&self) -> PeerId {
        self.peer.id
    }

    /// The state of the connection to it; `None` if the machine does not know it. Never waits.
    ///
    /// Once the manager has ended, no peer is connected, and every call that needs it returns
    /// [`Closed`] with the cause.
    pub fn status(&self) -> Option<ConnectionStatus> {
        self.peer.mirror.status()
    }

    /// How well it can be reached; `None` while it is not connected. Never waits.
    ///
    /// [`HealthChanged`](quicpool_core::Event::HealthChanged) reports when and why it changes.
    pub fn health(&self) -> Option<Health> {
        self.peer.mirror.health()
    }

    /// Sends a message: dials if there is no connection, and waits while the outbox is full.
    ///
    /// A message that was accepted is delivered exactly once and in order, however many connections
    /// that takes, or it is reported by an [`Undelivered`](quicpool_core::Event::Undelivered) event.
    /// The message is copied; with room in the outbox nothing waits.
    ///
    /// Cancel safe: a future dropped before it is ready has sent nothing.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. The message was not accepted then.
    pub async fn send(&self, message: impl AsRef<[u8]>) -> Result<MessageNumber, SendError> {
        self.send_with(message.as_ref(), Urgency::Batched).await
    }

    /// Like [`send`](Self::send), and lets the message leave at once with what was sent before,
    /// instead of waiting for company.
    ///
    /// With [`Flush::Adaptive`](quicpool_core::Flush::Adaptive), the default, a message that finds
    /// the connection idle leaves at once anyway.
    ///
    /// Cancel safe, as `send` is.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn send_express(
        &self,
        message: impl AsRef<[u8]>,
    ) -> Result<MessageNumber, SendError> {
        self.send_with(message.as_ref(), Urgency::Express).await
    }

    /// Like [`send`](Self::send), for a message that is worth nothing after `until`: if it was not written
    /// on any connection by then, the peer never sees it, and an
    /// [`Undelivered`](quicpool_core::Event::Undelivered) event reports it as
    /// [`Expired`](quicpool_core::Undeliverable::Expired), as the next [`flush`](Self::flush) does. One that
    /// was written goes on.
    ///
    /// ```no_run
    /// # use std::time::{Duration, Instant};
    /// # async fn example(bob: quicpool_driver::Peer) -> Result<(), quicpool_driver::Error> {
    /// let until = Instant::now() + Duration::from_millis(200);
    /// bob.send_until("heartbeat", until).await?; // not sent later, when bob is back
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe, as `send` is.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub async fn send_until(
        &self,
        message: impl AsRef<[u8]>,
        until: Instant,
    ) -> Result<MessageNumber, SendError> {
        let message = message.as_ref();
        self.with_room(|| self.stage_until(message, until)).await
    }

    /// Takes a message back that was never written on any connection: the peer never sees it, its room is free
    /// at once, and nothing reports it. To a [`flush`](Self::flush) it is no loss.
    ///
    /// ```no_run
    /// # use quicpool_core::Cancelled;
    /// # use quicpool_driver::Peer;
    /// # async fn example(bob: Peer) -> Result<(), quicpool_driver::Error> {
    /// let number = bob.send("draft").await?;
    /// match bob.cancel(number).await? {
    ///     Cancelled::Withdrawn => println!("bob never sees it"),
    ///     Cancelled::TooLate => println!("it is on its way"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: the message is taken back all the same.
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub async fn cancel(&self, number: MessageNumber) -> Result<Cancelled, Rejected> {
        self.ask(|responder| Order::Cancel(number, responder))
            .await?
    }

    /// Sends a message if the outbox has room for it. Never waits.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] if there is no room; for the others see [`SendError`]. The message was not
    /// accepted then.
    pub fn try_send(&self, message: impl AsRef<[u8]>) -> Result<MessageNumber, SendError> {
        let message = message.as_ref();
        self.sent(self.shared.stage(&self.peer, message, Urgency::Batched))
    }

    /// Like [`send_until`](Self::send_until), if the outbox has room. Never waits.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    pub fn try_send_until(
        &self,
        message: impl AsRef<[u8]>,
        until: Instant,
    ) -> Result<MessageNumber, SendError> {
        self.sent(self.stage_until(message.as_ref(), until))
    }

    fn stage_until(&self, message: &[u8], until: Instant) -> Result<MessageNumber, Refused> {
        let order = Order::ExpireNext(until);
        self.shared.stage_after(&self.peer, order, message)
    }

    /// Waits until the outbox has room for a message of `len` bytes.
    ///
    /// The room is not reserved: another task may be faster. Together with
    /// [`try_send`](Self::try_send), a sender decides what to send once it can.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// Those that [`send`](Self::send) would have.
    pub async fn writable(&self, len: usize) -> Result<(), SendError> {
        self.with_room(|| self.shared.has_room(&self.peer, len))
            .await
    }

    /// Sends a message, and waits until the peer's application has taken it.
    ///
    /// Unlike a [`flush`](Self::flush) it is about this message alone, whatever becomes of those
    /// before it, but for one that the peer's application [holds](crate::Held): it counts as taken with that one. It lets the message gather with others into a batch. Many of them may wait at
    /// once.
    ///
    /// Cancel safe in this sense: a future dropped while the outbox is full has sent nothing; one
    /// dropped later has sent the message, and it is delivered all the same.
    ///
    /// # Errors
    ///
    /// [`ConfirmError::Send`] if the message was not accepted; for the others see [`ConfirmError`].
    pub async fn send_confirmed(&self, message: impl AsRef<[u8]>) -> Result<(), ConfirmError> {
        let message = message.as_ref();
        let attempt = || {
            let (responder, pending) = self.new_flush();
            let order = Order::ConfirmNext(pending.token, responder);
            self.shared.stage_after(&self.peer, order, message)?;
            Ok(pending)
        };
        let pending = self.with_room(attempt).await?;
        match pending.answer().await {
            Ok(()) => Ok(()),
            Err(FlushError::Undelivered(losses)) => Err(ConfirmError::Undelivered(losses.reason())),
            Err(FlushError::Closed(closed)) => Err(closed.into()),
            Err(FlushError::Peer(error)) => Err(SendError::Peer(error).into()),
        }
    }

    /// Sends a datagram, if the peer is connected: at most once, in no order, and perhaps in vain. It
    /// is for what is worthless when it is late. Never waits.
    ///
    /// Datagrams stand outside of the session. They start no dial, are not sent again, do not keep a connection
    /// from expiring, and go after acknowledgements. Beyond
    /// [`datagram_queue_bytes_max`](quicpool_core::Config::datagram_queue_bytes_max) the oldest make room;
    /// [`UnreliableCounters`](quicpool_core::UnreliableCounters) count all that is dropped at this end.
    /// [`recv_datagram`](crate::ConnectionManager::recv_datagram) receives them.
    ///
    /// ```no_run
    /// # use quicpool_driver::{Peer, SendDatagramError};
    /// fn tell_position(bob: &Peer, position: [u8; 12]) -> Result<(), SendDatagramError> {
    ///     match bob.send_datagram(position) {
    ///         // The next one will tell him where we are.
    ///         Err(SendDatagramError::NotConnected(_)) => Ok(()),
    ///         other => other,
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`SendDatagramError`]. The datagram was not accepted then.
    pub fn send_datagram(&self, payload: impl AsRef<[u8]>) -> Result<(), SendDatagramError> {
        self.shared.stage_datagram(&self.peer, payload.as_ref())
    }

    /// The longest datagram that can be sent at this moment, in bytes; `None` if the peer is not
    /// connected, or if either end has no datagrams. Never waits.
    ///
    /// It is a little over a kilobyte at first, and grows when the path proves to carry longer packets.
    pub fn datagram_bytes_max(&self) -> Option<usize> {
        self.peer.datagram_max()
    }

    async fn send_with(
        &self,
        message: &[u8],
        urgency: Urgency,
    ) -> Result<MessageNumber, SendError> {
        let attempt = || self.shared.stage(&self.peer, message, urgency);
        match attempt() {
            // Waiting takes a larger state than trying; most messages never need it.
            Err(Refused::Full) => self.with_room(attempt).await,
            other => self.sent(other),
        }
    }

    /// Tries until it is no longer for want of room that it fails.
    async fn with_room<T>(&self, attempt: impl Fn() -> Result<T, Refused>) -> Result<T, SendError> {
        loop {
            match attempt() {
                Err(Refused::Full) => {}
                other => return self.sent(other),
            }
            // Asked for before the last look, so that room that comes in between is not missed.
            let room = self.peer.listen();
            match attempt() {
                Err(Refused::Full) => room.await,
                other => return self.sent(other),
            }
        }
    }

    fn sent<T>(&self, outcome: Result<T, Refused>) -> Result<T, SendError> {
        match outcome {
            Ok(sent) => Ok(sent),
            Err(Refused::Full) => Err(SendError::Full),
            Err(Refused::TooLarge { size, max }) => Err(SendError::TooLarge { size, max }),
            Err(Refused::Peer(error)) => Err(self.shared.rejected(error).into()),
        }
    }

    /// Connects, or joins a dial that is under way. Returns at once if it is connected.
    ///
    /// There is no need to: `send` dials by itself.
    ///
    /// Cancel safe: the dial goes on.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`]. After a failed dial others follow, with backoff, until one succeeds or the session
    /// ends, as by [`disconnect`](Self::disconnect). Calls made meanwhile wait for the next.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        let connected = self.status() == Some(ConnectionStatus::Connected);
        let (responder, reply) = reply::channel();
        self.shared.post(&self.peer, Order::Connect(responder))?;
        if connected && !self.peer.is_crowded() {
            // The order only counts the hit; its answer is known.
            return Ok(());
        }
        reply.await.ok_or_else(|| self.shared.closed())?
    }

    /// Lets everything that was sent before leave at once, and waits until the peer's application
    /// has taken it.
    ///
    /// A flush covers what was accepted before it. It is `Ok` once all of that is taken, and an error
    /// if any of it was lost and no flush that ended before has reported it: each loss fails all flushes
    /// that wait for it, or else the next one, and none after. A message whose loss
    /// [`send_confirmed`](Self::send_confirmed) has returned is not a loss to a flush. A peer that is
    /// [forgotten](crate::ConnectionManager::forget), or was never added and whose session has expired,
    /// is forgotten with its losses.
    ///
    /// ```no_run
    /// # use quicpool_driver::{FlushError, Peer};
    /// # async fn example(bob: Peer, orders: Vec<String>) -> Result<(), quicpool_driver::Error> {
    /// let mut sent = Vec::new();
    /// for order in &orders {
    ///     sent.push(bob.send(order).await?);
    /// }
    /// match bob.flush().await {
    ///     Err(FlushError::Undelivered(losses)) => {
    ///         let is_lost = |number| losses.ranges().iter().any(|range| range.contains(&number));
    ///         for (order, number) in orders.iter().zip(sent) {
    ///             if is_lost(number.get()) {
    ///                 println!("perhaps bob does not know of {order}");
    ///             }
    ///         }
    ///     }
    ///     other => other?, // bob's application has taken all
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: the messages leave all the same, and a loss that was not returned is left for the
    /// next flush, also if another one that waited for it has returned it.
    ///
    /// # Errors
    ///
    /// See [`FlushError`].
    pub async fn flush(&self) -> Result<(), FlushError> {
        let (responder, pending) = self.new_flush();
        let order = Order::Flush(pending.token, responder);
        self.shared.post(&self.peer, order)?;
        pending.answer().await
    }

    fn new_flush(&self) -> (Responder<Result<(), FlushError>>, PendingFlush<'_>) {
        let (responder, reply) = reply::channel();
        let pending = PendingFlush {
            peer: self,
            token: self.shared.new_token(),
            reply,
        };
        (responder, pending)
    }

    /// Ends the session in both directions: closes the connection, calls off a dial, and reports what is queued
    /// as undelivered, at both ends. Neither end redials until the next `send` or `connect`.
    ///
    /// Once it returns, the session has ended at this end. Cancel safe: it ends all the same.
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub async fn disconnect(&self) -> Result<(), Rejected> {
        self.ask(Order::Disconnect).await?
    }

    /// Ends the session, and forgets the peer with its addresses and with its messages that were not
    /// received: they were not acknowledged. It is known again once an address is added
    /// or it dials us; the handle stays good.
    ///
    /// Cancel safe: it is forgotten all the same.
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub async fn forget(&self) -> Result<(), Rejected> {
        self.ask(Order::Forget).await?
    }

    /// Ends the session, and refuses the peer from this moment on, whether the machine knows it or not.
    ///
    /// ```no_run
    /// # async fn example(manager: quicpool_driver::ConnectionManager, mallory: quicpool_core::PeerId)
    /// # -> Result<(), quicpool_driver::Error> {
    /// let mallory = manager.peer(mallory)?;
    /// mallory.block().await?;
    /// // Nothing is sent to it or received of it, and its dials are refused, until
    /// mallory.unblock().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancel safe: it is blocked all the same.
    ///
    /// # Errors
    ///
    /// [`Rejected::Closed`] if the manager has ended.
    pub async fn block(&self) -> Result<(), Rejected> {
        self.ask(Order::Block).await?
    }

    /// Accepts the peer again if it was blocked.
    ///
    /// Cancel safe: it is accepted all the same.
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub async fn unblock(&self) -> Result<(), Rejected> {
        self.ask(Order::Unblock).await?
    }

    /// Keeps the peer's slot from being taken away for another peer, as when all slots of `connections_max` are
    /// taken and another peer needs one.
    ///
    /// Cancel safe: it is protected all the same.
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub async fn protect(&self) -> Result<(), Rejected> {
        self.ask(Order::Protect).await?
    }

    /// Lets the peer's slot be taken away for another peer again, as it is from the start.
    ///
    /// Cancel safe: it is protected no longer, all the same.
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub async fn unprotect(&self) -> Result<(), Rejected> {
        self.ask(Order::Unprotect).await?
    }

    /// Explains the state of the peer: why it is not connected, when the next dial is due, what is queued. It
    /// displays as sentences. `None` if the machine does not know the peer (any more).
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the manager has ended.
    pub async fn explain(&self) -> Result<Option<Explanation>, Closed> {
        self.ask(Order::Explain).await
    }

    /// Returns the peer's numbers as of this moment; `None` if the machine does not know it.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the manager has ended.
    pub async fn metrics(&self) -> Result<Option<PeerMetrics>, Closed> {
        self.ask(Order::Metrics).await
    }

    /// Passes an order on, and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        order: impl FnOnce(Responder<T>) -> Order,
    ) -> Result<T, Closed> {
        let (responder, reply) = reply::channel();
        self.shared.post(&self.peer, order(responder))?;
        reply.await.ok_or_else(|| self.shared.closed())
    }
}

/// A flush, or a message that is to be confirmed. Dropped before its answer is read, it reports no
/// loss.
struct PendingFlush<'a> {
    peer: &'a Peer,
    token: u64,
    reply: Reply<Result<(), FlushError>>,
}

impl PendingFlush<'_> {
    async fn answer(mut self) -> Result<(), FlushError> {
        let answer = (&mut self.reply).await;
        answer.ok_or_else(|| self.peer.shared.closed())?
    }
}

impl Drop for PendingFlush<'_> {
    fn drop(&mut self) {
        let order = match self.reply.leave() {
            Leftover::Unanswered => Order::CancelFlush(self.token),
            Leftover::Unread(Err(FlushError::Undelivered(losses))) => Order::ReturnLosses(losses),
            Leftover::Nothing | Leftover::Unread(Ok(()) | Err(_)) => return,
        };
        // A manager that has ended flushes no more.
        let _ = self.peer.shared.post(&self.peer.peer, order);
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
