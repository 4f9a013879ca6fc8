//! Runtimes over the sockets, the clock and the entropy of the operating system.

use std::{
    io,
    net::{self, SocketAddr},
    task::{Context, Poll},
    time::{Instant, SystemTime},
};

pub use quinn_udp::UdpSockRef;

use super::{Runtime, SocketError, Task, Timer, UdpSocket, udp};

/// What a runtime over the operating system has to provide; the rest of [`Runtime`] is the same for all of
/// them, and comes with it.
pub trait SystemRuntime: Send + Sync + 'static {
    /// A UDP socket that this runtime watches.
    type Watched: Watched;
    /// A timer of this runtime.
    type Timer: Timer;

    /// The present moment, on the clock that timers run by: the monotonic clock of the system
    /// unless the runtime has one of its own.
    fn now(&self) -> Instant {
        monotonic_clock()
    }

    /// Begins to watch a bound, non-blocking socket.
    ///
    /// # Errors
    ///
    /// Fails if the runtime has no I/O, if the caller is outside of it, or if the socket cannot be
    /// registered.
    fn watch(&self, socket: net::UdpSocket) -> io::Result<Self::Watched>;

    /// A timer that is not set.
    ///
    /// # Errors
    ///
    /// As [`Runtime::timer`].
    fn timer(&self) -> io::Result<Self::Timer>;

    /// Runs a task until it ends.
    fn spawn(&self, task: Task);
}

/// A direction of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Receiving.
    Read,
    /// Sending.
    Write,
}

/// A UDP socket that a runtime watches. Only one task uses it.
pub trait Watched: Send + 'static {
    /// Polls whether an operation in this direction may succeed.
    ///
    /// If it is pending, the task of `cx` is woken once that has changed.
    ///
    /// # Errors
    ///
    /// Fails if the runtime no longer watches the socket. The event loop ends then.
    fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>>;

    /// Tries an operation, and remembers that the socket is not ready if it would block.
    ///
    /// # Errors
    ///
    /// Passes on the error of `operation`; [`WouldBlock`](io::ErrorKind::WouldBlock) also if the
    /// socket is known not to be ready, without trying.
    fn try_io<T>(
        &self,
        direction: Direction,
        operation: impl FnOnce(UdpSockRef<'_>) -> io::Result<T>,
    ) -> io::Result<T>;
}

impl<R: SystemRuntime> Runtime for R {
    type Socket = UdpSocket<R::Watched>;
    type Timer = R::Timer;

    fn now(&self) -> Instant {
        SystemRuntime::now(self)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's time of day"
    )]
    fn wall_clock(&self) -> SystemTime {
        SystemTime::now()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that draws randomness from the system"
    )]
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::from)
    }

    fn bind(&self, addr: SocketAddr) -> Result<UdpSocket<R::Watched>, SocketError> {
        let socket = udp::bind(addr).map_err(SocketError::Address)?;
        UdpSocket::new(socket, |socket| self.watch(socket))
    }

    fn timer(&self) -> io::Result<R::Timer> {
        SystemRuntime::timer(self)
    }

    fn spawn(&self, task: Task) {
        SystemRuntime::spawn(self, task);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system's monotonic clock"
)]
fn monotonic_clock() -> Instant {
    Instant::now()
}
