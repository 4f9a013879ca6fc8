//! Runs quicpool on [async-std](https://docs.rs/async-std) or on [smol](https://docs.rs/smol): on
//! their executors, with sockets and timers of [async-io](https://docs.rs/async-io), which both are
//! built on.
//!
//! `AsyncStdRuntime` (feature `async-std`, the default) or `SmolRuntime` (feature `smol`) is given
//! to `ConnectionManager::bind`, and nothing else of this crate is needed. async-io has a thread of
//! its own, so `bind` may be called anywhere. For another executor over async-io, such as a
//! `smol::Executor` of your own, there is [`AsyncIo`].
//!
//! async-std is no longer developed: see
//! [RUSTSEC-2025-0052](https://rustsec.org/advisories/RUSTSEC-2025-0052). It works, and what is
//! built on it can use quicpool; new programs are better off with smol or tokio. It stands in this
//! crate, behind a feature, so that no other user of quicpool depends on it.
#![cfg_attr(docsrs, feature(doc_cfg))]

use std::{
    future::Future,
    io, net,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use async_io::Async;
use quicpool_driver::runtime::{Direction, SystemRuntime, Task, Timer, UdpSockRef, Watched};

/// The executor of async-std.
#[cfg(feature = "async-std")]
#[cfg_attr(docsrs, doc(cfg(feature = "async-std")))]
#[derive(Debug, Clone, Copy, Default)]
pub struct AsyncStdRuntime;

/// The global executor of smol. `SMOL_THREADS` in the environment sets its number of threads, which
/// is 1 otherwise.
#[cfg(feature = "smol")]
#[cfg_attr(docsrs, doc(cfg(feature = "smol")))]
#[derive(Debug, Clone, Copy, Default)]
pub struct SmolRuntime;

/// Any executor, by a function that spawns a task on it.
///
/// ```
/// use quicpool_async_std::AsyncIo;
/// use quicpool_driver::runtime::{SystemRuntime, Task};
///
/// let (queue, tasks) = std::sync::mpsc::channel();
/// let runtime = AsyncIo(move |task: Task| queue.send(task).expect("the executor runs"));
/// runtime.spawn(Box::pin(async { println!("on an executor of one's own") }));
/// async_io::block_on(tasks.recv().expect("a task was spawned"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct AsyncIo<S>(
    /// Runs a task until it ends.
    pub S,
);

/// The runtimes of this crate differ in how they spawn.
macro_rules! over_async_io {
    ($runtime:ty $(, for [$($generic:tt)*])?; $spawn:expr) => {
        impl $(<$($generic)*>)? SystemRuntime for $runtime {
            type Watched = AsyncIoSocket;
            type Timer = AsyncIoTimer;

            fn watch(&self, socket: net::UdpSocket) -> io::Result<AsyncIoSocket> {
                Async::new_nonblocking(socket).map(AsyncIoSocket)
            }

            fn timer(&self) -> io::Result<AsyncIoTimer> {
                Ok(AsyncIoTimer(async_io::Timer::never()))
            }

            fn spawn(&self, task: Task) {
                $spawn(self, task);
            }
        }
    };
}

#[cfg(feature = "async-std")]
over_async_io!(AsyncStdRuntime; |_: &Self, task| async_std::task::spawn(task));
#[cfg(feature = "smol")]
over_async_io!(SmolRuntime; |_: &Self, task| smol::spawn(task).detach());
over_async_io!(AsyncIo<S>, for [S: Fn(Task) + Send + Sync + 'static]; |this: &Self, task| (this.0)(task));

/// A UDP socket that async-io watches.
#[derive(Debug)]
pub struct AsyncIoSocket(Async<net::UdpSocket>);

impl Watched for AsyncIoSocket {
    fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        match direction {
            Direction::Read => self.0.poll_readable(cx),
            Direction::Write => self.0.poll_writable(cx),
        }
    }

    fn try_io<T>(
        &self,
        _: Direction,
        operation: impl FnOnce(UdpSockRef<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        // Readiness is not remembered: async-io asks the system anew each time it is polled.
        operation(UdpSockRef::from(self.0.get_ref()))
    }
}

/// A timer of async-io.
#[derive(Debug)]
pub struct AsyncIoTimer(async_io::Timer);

impl Timer for AsyncIoTimer {
    fn set(mut self: Pin<&mut Self>, at: Instant) {
        self.0.set_at(at);
    }

    fn poll_elapsed(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}
