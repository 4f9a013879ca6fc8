//! The handle to the whole manager.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
use quicpool_core::Identity;
use quicpool_core::{
    Config, ConnectionStatus, Credentials, MessageNumber, NetworkMetrics, PeerAddr, PeerError,
    PeerId, PeerMetrics,
};

use crate::{
    bind,
    error::{
        BindError, CloseError, CloseReason, CloseReport, Closed, ConnectError, FlushError,
        Rejected, SendError, TrySendError,
    },
    events::{Events, Hub},
    metrics::SocketMetrics,
    order::Order,
    peer::{Peer, PeerRef},
    runtime::Runtime,
    shared::{Demand, End, Shared},
    staging::PeerShared,
};

/// Keeps this process connected to many peers over one UDP socket.
///
/// A cheap clone, to be used from any number of threads and tasks. It is not tied to the runtime it
/// was bound in: only [`bind`](Self::bind) is.
///
/// Dropping the last clone ends it without flushing: peers are told, queued messages are lost, and
/// a warning says how many they were. [`Peer`]s do not keep it running. [`close`](Self::close) is
/// the way to end it without loss.
///
/// ```no_run
/// use quicpool_core::{Config, Identity, PeerAddr};
/// use quicpool_driver::{ConnectionManager, Error, runtime::Runtime};
///
/// async fn greet(runtime: impl Runtime, bob: PeerAddr) -> Result<(), Error> {
///     let identity = Identity::generate();
///     let manager = ConnectionManager::bind(runtime, "0.0.0.0:0", identity, Config::default()).await?;
///     manager.peer(bob)?.send("hello").await?;
///     let reply = manager.recv().await?;
///     println!("{} says {:?}", reply.from, reply.payload);
///     manager.close().await?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct ConnectionManager {
    handle: Arc<Handle>,
}

/// What all clones hold, and the event loop does not: its drop is that of the last clone.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.shared.has_ended() {
            self.shared.demand(Demand::Abort);
        }
    }
}

impl ConnectionManager {
    /// Binds a UDP socket and begins to run on it, with the keys of an [`Identity`].
    ///
    /// `addr` may have port 0, for any free one, and an unspecified IP, for all interfaces;
    /// `"[::]:4433"` serves both versions of IP. A host name is resolved by the operating system,
    /// which blocks the calling thread. Must be called in the context of the runtime.
    ///
    /// Cancel safe: it never waits.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    #[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
    pub async fn bind(
        runtime: impl Runtime,
        addr: impl ToSocketAddrs,
        identity: Identity,
        config: Config,
    ) -> Result<Self, BindError> {
        Self::bind_with(runtime, addr, identity.credentials(), config).await
    }

    /// Like `bind`, with [`Credentials`] of another kind than an `Identity`'s.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub async fn bind_with(
        runtime: impl Runtime,
        addr: impl ToSocketAddrs,
        credentials: Arc<dyn Credentials>,
        config: Config,
    ) -> Result<Self, BindError> {
        let shared = bind::bind(runtime, addr, credentials, config)?;
        let handle = Arc::new(Handle { shared });
        Ok(Self { handle })
    }

    /// Our own identity, as others name us.
    pub fn id(&self) -> PeerId {
        self.shared().local.id
    }

    /// The address that the socket is bound to. With an unspecified IP it is not one to dial.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared().local.addr
    }

    /// Our identity and the address that the socket is bound to: what a peer that can reach this
    /// address needs to know.
    pub fn peer_addr(&self) -> PeerAddr {
        self.shared().local
    }

    /// A handle to a peer, which becomes known if it is not: by its [`PeerAddr`], or by its
    /// [`PeerId`] alone if its address is known or it will dial us.
    ///
    /// Keep the handle: that saves the look-up. Nothing is dialled yet. A peer that is known may connect
    /// with [`Accept::Known`](quicpool_core::Accept::Known), counts for `peers_max`, and stays known until
    /// it is [forgotten](Self::forget). To answer strangers without that, use [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// [`PeerError::OwnId`] and [`PeerError::Closed`]. What only the machine knows, that the peer is
    /// blocked or that there are too many, is an error of the first call that needs it.
    pub fn peer(&self, peer: impl Into<PeerRef>) -> Result<Peer, PeerError> {
        let PeerRef { id, addr } = peer.into();
        let peer = self.handle_to(id)?;
        let order = match addr {
            Some(PeerAddr { addr, .. }) => Order::AddAddress(addr),
            None => Order::Add,
        };
        self.post_known(&peer, order)?;
        Ok(peer)
    }

    /// Adds an address to a peer, which becomes known if it is not. Addresses are tried in the
    /// order in which they were added.
    ///
    /// # Errors
    ///
    /// As [`peer`](Self::peer).
    pub fn add_address(&self, peer: PeerAddr) -> Result<(), PeerError> {
        self.peer(peer).map(drop)
    }

    /// Removes an address of a peer. Connections stay as they are.
    ///
    /// # Errors
    ///
    /// As [`peer`](Self::peer).
    pub fn remove_address(&self, peer: PeerAddr) -> Result<(), PeerError> {
        let handle = self.handle_to(peer.id)?;
        self.post_known(&handle, Order::RemoveAddress(peer.addr))
    }

    /// Sends a message to a peer that is known: see [`Peer::send`]. Cancel safe as that is.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send(
        &self,
        peer: PeerId,
        message: impl AsRef<[u8]>,
    ) -> Result<MessageNumber, SendError> {
        self.known(peer)?.send(message).await
    }

    /// Sends a message that lets its batch leave at once: see [`Peer::send_express`].
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send_express(
        &self,
        peer: PeerId,
        message: impl AsRef<[u8]>,
    ) -> Result<MessageNumber, SendError> {
        self.known(peer)?.send_express(message).await
    }

    /// Sends a message if there is room for it: see [`Peer::try_send`].
    ///
    /// # Errors
    ///
    /// See [`TrySendError`].
    pub fn try_send(
        &self,
        peer: PeerId,
        message: impl AsRef<[u8]>,
    ) -> Result<MessageNumber, TrySendError> {
        self.known(peer)?.try_send(message)
    }

    /// Connects to a peer that is known: see [`Peer::connect`]. Cancel safe as that is.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(&self, peer: PeerId) -> Result<(), ConnectError> {
        self.known(peer)?.connect().await
    }

    /// Waits until a peer has taken everything sent to it before: see [`Peer::flush`]. Cancel safe
    /// as that is.
    ///
    /// # Errors
    ///
    /// See [`FlushError`].
    pub async fn flush(&self, peer: PeerId) -> Result<(), FlushError> {
        self.known(peer)?.flush().await
    }

    /// The state of the connection to a peer; `None` if the peer is not known. Never waits.
    pub fn status(&self, peer: PeerId) -> Option<ConnectionStatus> {
        self.shared().known_peer(peer).map(|peer| peer.status())
    }

    /// The state of every known peer, in no order, and everything that happens from there on.
    ///
    /// The two fit together: no event before the snapshot follows it, and none is missing.
    pub fn subscribe(&self) -> (Vec<(PeerId, ConnectionStatus)>, Events) {
        let shared = self.shared();
        Hub::subscribe(shared, || {
            let peers = shared.all_peers();
            peers.iter().map(|peer| (peer.id, peer.status())).collect()
        })
    }

    /// Everything in numbers. Never waits for the event loop: while it works, the numbers are up to
    /// 50 ms old; while nothing happens, they are those after the last thing that happened.
    pub fn metrics(&self) -> NetworkMetrics {
        self.shared().metrics.read()
    }

    /// One peer in numbers: see [`Peer::metrics`]; `None` if it is not known. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the manager has ended.
    pub async fn peer_metrics(&self, peer: PeerId) -> Result<Option<PeerMetrics>, Closed> {
        match self.shared().known_peer(peer) {
            Some(peer) => self.with(peer).metrics().await,
            None => Ok(None),
        }
    }

    /// What the socket has done, in numbers, as of this moment.
    pub fn socket_metrics(&self) -> SocketMetrics {
        self.shared().socket.read()
    }

    /// Ends the session with a peer: see [`Peer::disconnect`]. Nothing happens if the peer is not
    /// known. Cancel safe: it ends all the same.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the manager has ended.
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), Closed> {
        match self.shared().known_peer(peer) {
            Some(peer) => self.with(peer).disconnect().await,
            None => Ok(()),
        }
    }

    /// Ends the session with a peer, and forgets it with its addresses and with its messages that
    /// were not received: it has been told that they were not delivered. Nothing happens if it is
    /// not known. Cancel safe: it is forgotten all the same.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the manager has ended.
    pub async fn forget(&self, peer: PeerId) -> Result<(), Closed> {
        match self.shared().known_peer(peer) {
            Some(peer) => self.with(peer).ask(Order::Forget).await,
            None => Ok(()),
        }
    }

    /// Ends the session with a peer, and refuses it from this moment on, whether it is known or
    /// not. Cancel safe: it is blocked all the same.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the manager has ended.
    pub async fn block(&self, peer: PeerId) -> Result<(), Closed> {
        self.with(self.shared().peer(peer)).ask(Order::Block).await
    }

    /// Accepts a peer again that was blocked. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the manager has ended.
    pub async fn unblock(&self, peer: PeerId) -> Result<(), Closed> {
        self.with(self.shared().peer(peer))
            .ask(Order::Unblock)
            .await
    }

    /// Ends without loss: accepts no message any more, waits until the peers have taken what was
    /// sent, tells them, and frees the port. It takes `close_timeout` at most.
    ///
    /// Messages go on to be received while it waits, which the peers may need for their own close.
    /// What [`recv`](Self::recv) has returned is acknowledged.
    /// It may be called more than once and from several tasks: all of them get the same answer.
    ///
    /// It flushes all peers: see [`Peer::flush`]. It is an error if any message was lost and no flush
    /// has said so.
    ///
    /// Cancel safe: it goes on closing as long as one clone of the handle lives.
    ///
    /// # Errors
    ///
    /// [`CloseError::Undelivered`] names what was lost: not taken within `close_timeout`, or reported
    /// before. It has ended all the same. [`CloseError::Closed`] if it has ended in another way: its
    /// socket has failed, it was abandoned.
    pub async fn close(&self) -> Result<(), CloseError> {
        if !self.shared().has_ended() {
            self.shared().demand(Demand::Close);
        }
        let End { reason, losses, .. } = self.shared().ended().await;
        match reason {
            CloseReason::Closed if losses.is_empty() => Ok(()),
            CloseReason::Closed => Err(CloseError::Undelivered(CloseReport {
                losses: losses.clone(),
            })),
            CloseReason::Dropped
            | CloseReason::Abandoned
            | CloseReason::Socket(_)
            | CloseReason::RuntimeStopped
            | CloseReason::Panicked => Err(self.shared().closed().into()),
        }
    }

    /// Ends at once and without a word, as a crash of the process would: what is queued is lost,
    /// and the peers find out by themselves. The port is free once it returns.
    ///
    /// For tests of what a crash does to others. Use [`close`](Self::close) for everything else.
    ///
    /// Cancel safe: it ends all the same.
    pub async fn abandon(&self) {
        if !self.shared().has_ended() {
            self.shared().demand(Demand::Abandon);
        }
        self.shared().ended().await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// A handle to any peer but ourselves.
    fn handle_to(&self, id: PeerId) -> Result<Peer, PeerError> {
        if id == self.id() {
            return Err(PeerError::OwnId(id));
        }
        Ok(self.with(self.shared().peer(id)))
    }

    /// A handle to a peer that is known already.
    fn known(&self, id: PeerId) -> Result<Peer, Rejected> {
        if self.shared().has_ended() {
            return Err(Rejected::Closed(self.shared().closed()));
        }
        if id == self.id() {
            return Err(Rejected::Peer(PeerError::OwnId(id)));
        }
        let known = self.shared().known_peer(id);
        known
            .map(|peer| self.with(peer))
            .ok_or(Rejected::Peer(PeerError::NoAddress(id)))
    }

    fn with(&self, peer: Arc<PeerShared>) -> Peer {
        Peer {
            peer,
            shared: Arc::clone(self.shared()),
        }
    }

    fn post_known(&self, peer: &Peer, order: Order) -> Result<(), PeerError> {
        self.shared()
            .post(&peer.peer, order)
            .map_err(|_| PeerError::Closed)
    }
}

impl fmt::Debug for ConnectionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionManager")
            .field("peer_addr", &self.peer_addr())
            .finish_non_exhaustive()
    }
}
