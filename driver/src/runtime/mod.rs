//! The seam for runtimes: a clock, entropy, timers, tasks, and a socket that carries datagrams.
//!
//! Nothing in it is of an operating system, so a [`Runtime`] may as well be a simulation, or a
//! wrapper around another one that injects faults. The event loop and the handle take time,
//! randomness and the network from it and from nowhere else.
//!
//! A runtime over the sockets of the operating system implements `SystemRuntime` instead (feature
//! `system`), which asks for much less: `quicpool-tokio` and `quicpool-async-std` are examples.

#[cfg(feature = "system")]
mod system;
#[cfg(feature = "system")]
mod udp;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::{Instant, SystemTime},
};

use quicpool_core::{Datagram, Transmit};

#[cfg(feature = "system")]
#[cfg_attr(docsrs, doc(cfg(feature = "system")))]
pub use self::{
    system::{Direction, SystemRuntime, UdpSockRef, Watched},
    udp::UdpSocket,
};

/// The task of an event loop, as [`Runtime::spawn`] gets it.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Everything that the event loop needs from outside.
///
/// An adapter is thin: protocol is decided in the core, scheduling in this crate.
pub trait Runtime: Send + Sync + 'static {
    /// A bound socket.
    type Socket: Socket;
    /// A timer that runs by [`now`](Self::now).
    type Timer: Timer;

    /// The present moment. Never goes back.
    fn now(&self) -> Instant;

    /// The time of day, by which two runs of one process are ordered.
    fn wall_clock(&self) -> SystemTime;

    /// Fills `bytes` with unpredictable randomness: keys are made of it.
    ///
    /// # Errors
    ///
    /// Fails if the source of randomness does.
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()>;

    /// Binds a socket. Port 0 means any free port.
    ///
    /// # Errors
    ///
    /// See [`SocketError`].
    fn bind(&self, addr: SocketAddr) -> Result<Self::Socket, SocketError>;

    /// A timer that is not set.
    ///
    /// # Errors
    ///
    /// Fails if the runtime has no timers, or if the caller is outside of the runtime.
    fn timer(&self) -> io::Result<Self::Timer>;

    /// Runs a task until it ends. A runtime that stops drops it.
    fn spawn(&self, task: Task);
}

/// Why a runtime has no socket for an address.
#[derive(Debug)]
pub enum SocketError {
    /// The address cannot be bound: the port is taken, or the address belongs to another machine.
    /// Another address may be.
    Address(io::Error),
    /// The socket lacks something that QUIC needs.
    Unusable(io::Error),
    /// The runtime has no sockets, or the caller is outside of the runtime.
    Runtime(io::Error),
}

/// A bound socket. One task uses it; dropping it frees its port.
pub trait Socket: Send + 'static {
    /// The address that the socket is bound to.
    fn local_addr(&self) -> SocketAddr;

    /// The number of datagrams that one transmit may carry at this moment, at least 1. It may fall
    /// to 1 when a send has failed.
    fn segments_max(&self) -> usize {
        1
    }

    /// Sends the datagrams of a transmit, whose bytes are the first [`Transmit::size`] of `bytes`.
    ///
    /// If it is pending, nothing was sent, and the task of `cx` is woken once it is worth another
    /// try.
    ///
    /// # Errors
    ///
    /// Fails with the error of the system, [`WouldBlock`](io::ErrorKind::WouldBlock) excepted. What was to be
    /// sent is lost; the event loop decides whether the socket can go on.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &Transmit,
        bytes: &[u8],
    ) -> Poll<io::Result<()>>;

    /// Receives some datagrams, passes each to `take`, and returns how many there were.
    ///
    /// If it is pending, there were none, and the task of `cx` is woken once there are. An address
    /// may be an IPv4 address mapped into IPv6: the core has one name for both.
    ///
    /// # Errors
    ///
    /// Fails with the error of the system, [`WouldBlock`](io::ErrorKind::WouldBlock) excepted. The event loop
    /// decides whether the socket can go on.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnMut(Datagram),
    ) -> Poll<io::Result<usize>>;
}

/// A timer that can be set again and again.
pub trait Timer: Send + 'static {
    /// Lets the timer elapse at this moment, instead of the one it was set to before.
    fn set(self: Pin<&mut Self>, at: Instant);

    /// Polls whether the timer has elapsed. If it is pending, the task of `cx` is woken when it
    /// does; a timer that was never set stays pending.
    fn poll_elapsed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
}
