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
        Rejected, SendError,
    },
    event_loop::EventLoop,
    events::{Events, Hub},
    metrics::SocketMetrics,
    order::Order,
    peer::{Peer, PeerRef},
    reply,
    runtime::Runtime,
    shared::{Demand, End, Shared},
    staging::PeerShared,
};

/// Keeps this process connected to many peers over one UDP socket.
///
/// A cheap clone, to be used from any number of threads and tasks. It is not tied to the runtime it
/// was bound in: only [`bind`](Self::bind) is.
///
/// Dropping the last clone ends it without flushing: goodbyes are sent, queued messages are lost, and a warning
/// counts them. [`Peer`]s do not keep it running. [`close`](Self::close) is the way to end it without loss.
///
/// # Peers that are not known
///
/// A peer is known once an address was added for it, it was blocked, or it has dialled us, until it is
/// forgotten. Of a peer that is not known views return `None`, and calls that act on it
/// [`PeerError::UnknownPeer`], through its handle as well as by its id. A [`Peer`] of a peer that is not known can be
/// kept until it is.
///
/// # Ways to end
///
/// | way | what ends | queued messages | the other end | a new connection |
/// |---|---|---|---|---|
/// | `disconnect` | the session with a peer, at both ends | `Undelivered` with `Disconnected` | `Disconnected` by `Goodbye`; what it had queued is `Undelivered` | with the next `send` or `connect` of either end |
/// | `forget` | as `disconnect`, and all that is known of the peer | as `disconnect` | as `disconnect` | once an address is added, or when it dials us |
/// | `block` | as `disconnect`, until `unblock` | as `disconnect` | as `disconnect`; its dials fail by `NotAccepted` | after `unblock`, as after `disconnect` |
/// | `close` | the manager, after `close_timeout` at the latest | delivered until then, the others `Undelivered` with `Closed` | as `disconnect` | with a new manager |
/// | `abort`; drop of the last handle | the manager, at once | `Undelivered` with `Closed` | as `disconnect` | with a new manager |
/// | `abandon`; drop of the machine | the manager, at once, as by a crash | lost without an event | `Unresponsive` after `liveness_timeout` | with a new manager, for the peers a `PeerRestarted` |
///
/// Messages of the peer that have arrived can be received after `disconnect` and `block`; `forget` drops them. A peer that is blocked stays blocked when it is forgotten.
/// The handle has [`abandon`](Self::abandon) and is dropped; `abort` is a call of the machine.
///
/// # Example
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

    /// Like [`bind_with`](Self::bind_with), and leaves it to the caller to poll the event loop.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    #[doc(hidden)]
    pub fn bind_unspawned<R: Runtime>(
        runtime: R,
        addr: impl ToSocketAddrs,
        credentials: Arc<dyn Credentials>,
        config: Config,
    ) -> Result<(Self, EventLoop<R>), BindError> {
        let (shared, event_loop) = bind::assemble(&Arc::new(runtime), addr, credentials, config)?;
        let handle = Arc::new(Handle { shared });
        Ok((Self { handle }, event_loop))
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
    /// [`PeerError::OwnId`], and [`Rejected::Closed`] if the manager has ended. What only the machine
    /// knows, that the peer is blocked or that there are too many, is an error of the first call that
    /// needs it.
    pub fn peer(&self, peer: impl Into<PeerRef>) -> Result<Peer, Rejected> {
        let PeerRef { id, addr } = peer.into();
        let peer = self.handle_to(id)?;
        let order = match addr {
            Some(PeerAddr { addr, .. }) => Order::AddAddress(addr),
            None => Order::Add,
        };
        self.shared().post(&peer.peer, order)?;
        Ok(peer)
    }

    /// Adds an address to a peer, which becomes known if it is not. Addresses are tried in the
    /// order in which they were added.
    ///
    /// # Errors
    ///
    /// As [`peer`](Self::peer).
    pub fn add_address(&self, peer: PeerAddr) -> Result<(), Rejected> {
        self.peer(peer).map(drop)
    }

    /// Removes an address of a peer. Connections stay as they are.
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub fn remove_address(&self, peer: PeerAddr) -> Result<(), Rejected> {
        let known = self.known(peer.id)?;
        let order = Order::RemoveAddress(peer.addr);
        Ok(self.shared().post(&known.peer, order)?)
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
    /// See [`SendError`].
    pub fn try_send(
        &self,
        peer: PeerId,
        message: impl AsRef<[u8]>,
    ) -> Result<MessageNumber, SendError> {
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
        self.shared().known_peer(peer)?.mirror.status()
    }

    /// The state of every known peer, in no order, and everything that happens from there on.
    ///
    /// The two fit together: no event before the snapshot follows it, and none is missing.
    pub fn subscribe(&self) -> (Vec<(PeerId, ConnectionStatus)>, Events) {
        let shared = self.shared();
        Hub::subscribe(shared, || {
            let peers = shared.all_peers();
            let known = peers.iter();
            let known = known.filter_map(|peer| Some((peer.id, peer.mirror.status()?)));
            known.collect()
        })
    }

    /// Returns all numbers of the machine as of this moment, as [`peer_metrics`](Self::peer_metrics) does of
    /// one peer.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the manager has ended.
    pub async fn metrics(&self) -> Result<NetworkMetrics, Closed> {
        let (responder, reply) = reply::channel();
        self.shared().metrics.push(responder);
        self.shared().bell.ring();
        reply.await.ok_or_else(|| self.shared().closed())
    }

    /// Returns the numbers of one peer as of this moment; `None` if it is not known.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the manager has ended.
    pub async fn peer_metrics(&self, peer: PeerId) -> Result<Option<PeerMetrics>, Closed> {
        match self.known(peer) {
            Ok(peer) => peer.metrics().await,
            Err(Rejected::Peer(_)) => Ok(None),
            Err(Rejected::Closed(closed)) => Err(closed),
        }
    }

    /// Returns the numbers of the socket as of this moment. Never waits: the machine does not know them.
    pub fn socket_metrics(&self) -> SocketMetrics {
        self.shared().socket.read()
    }

    /// Ends the session with a peer: see [`Peer::disconnect`]. Cancel safe as that is.
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), Rejected> {
        self.known(peer)?.disconnect().await
    }

    /// Ends the session with a peer and forgets it: see [`Peer::forget`]. Cancel safe as that is.
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub async fn forget(&self, peer: PeerId) -> Result<(), Rejected> {
        self.known(peer)?.forget().await
    }

    /// Ends the session with a peer and refuses it, whether it is known or not: see [`Peer::block`].
    /// Cancel safe as that is.
    ///
    /// # Errors
    ///
    /// See [`Rejected`]; never [`PeerError::UnknownPeer`].
    pub async fn block(&self, peer: PeerId) -> Result<(), Rejected> {
        self.handle_to(peer)?.block().await
    }

    /// Accepts a peer again that was blocked: see [`Peer::unblock`]. Cancel safe as that is.
    ///
    /// # Errors
    ///
    /// See [`Rejected`].
    pub async fn unblock(&self, peer: PeerId) -> Result<(), Rejected> {
        self.known(peer)?.unblock().await
    }

    /// Ends without loss: accepts no message any more, waits until the peers have taken what was sent, sends
    /// goodbyes, and frees the port. It takes `close_timeout` at most.
    ///
    /// Messages go on to be received while it waits, which the peers may need for their own close.
    /// What [`recv`](Self::recv) has returned is acknowledged.
    /// It may be called more than once and from several tasks: all of them get the same answer.
    ///
    /// It flushes all peers: see [`Peer::flush`]. It is an error if any message was lost and no flush
    /// has reported them.
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

    /// Ends at once and without a goodbye, as a crash of the process would: what is queued is lost, and the
    /// peers find out by themselves. The port is free once it returns.
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

    /// A handle to any peer but ourselves, which becomes known to the handle if it is not.
    fn handle_to(&self, id: PeerId) -> Result<Peer, Rejected> {
        self.check(id)?;
        Ok(self.with(self.shared().peer(id)))
    }

    /// A handle to a peer that is known already.
    fn known(&self, id: PeerId) -> Result<Peer, Rejected> {
        self.check(id)?;
        let known = self.shared().known_peer(id);
        let unknown = Rejected::Peer(PeerError::UnknownPeer(id));
        known.map(|peer| self.with(peer)).ok_or(unknown)
    }

    /// Whether there may be a handle to a peer: we have not ended, and are another one.
    fn check(&self, id: PeerId) -> Result<(), Rejected> {
        if self.shared().has_ended() {
            return Err(Rejected::Closed(self.shared().closed()));
        }
        match id == self.id() {
            true => Err(Rejected::Peer(PeerError::OwnId(id))),
            false => Ok(()),
        }
    }

    fn with(&self, peer: Arc<PeerShared>) -> Peer {
        Peer {
            peer,
            shared: Arc::clone(self.shared()),
        }
    }
}

impl fmt::Debug for ConnectionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionManager")
            .field("peer_addr", &self.peer_addr())
            .finish_non_exhaustive()
    }
}
