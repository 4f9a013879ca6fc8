//! The seam for async runtimes: a clock, a timer, a task, and when a UDP socket is ready.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

pub use quinn_udp::UdpSockRef;

/// What the event loop needs from an async runtime.
///
/// An adapter is thin: protocol is decided in the core, scheduling in this crate. `quicpool-tokio`
/// is one, and shows how little is asked for.
pub trait Runtime: Send + Sync + 'static {
    /// A UDP socket that this runtime watches.
    type Socket: Socket;
    /// A timer of this runtime.
    type Timer: Timer;

    /// The present moment, on the clock that timers run by.
    fn now(&self) -> Instant;

    /// A timer that is not set.
    fn timer(&self) -> Self::Timer;

    /// Begins to watch a bound, non-blocking socket.
    ///
    /// # Errors
    ///
    /// Fails if the caller is outside of the runtime, or if the socket cannot be registered.
    fn watch(&self, socket: std::net::UdpSocket) -> io::Result<Self::Socket>;

    /// Runs a task until it ends.
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);
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
pub trait Socket: Send + Sync + Unpin + 'static {
    /// Whether an operation in this direction may succeed.
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

/// A timer that can be set again and again.
pub trait Timer: Send + 'static {
    /// Lets the timer elapse at this moment, instead of the one it was set to before.
    fn set(self: Pin<&mut Self>, at: Instant);

    /// Whether the timer has elapsed. If it is pending, the task of `cx` is woken when it does; a
    /// timer that was never set stays pending.
    fn poll_elapsed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
}
