//! Runs quicpool on [tokio](https://docs.rs/tokio), on either of its schedulers.
//!
//! [`TokioRuntime`] is given to `ConnectionManager::bind`, and nothing else of this crate is
//! needed. `bind` must be called inside a tokio runtime with its I/O and time drivers enabled; the
//! handle that it returns may be used anywhere. Without a runtime, or without one of its drivers,
//! `bind` fails with `BindError::Runtime`, after tokio's own panic message where a driver is missing
//! (with `panic = "abort"` that panic ends the process: tokio offers no way to ask before).
//!
//! A task that blocks its thread right after a call of the handle holds up the whole manager until
//! it is done, even if other threads are idle: tokio keeps a task that was just woken for the
//! thread that woke it. Long work belongs on `tokio::task::spawn_blocking`.
//!
//! The manager runs as one task of the runtime, and ends with it.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use quicpool_driver::runtime::{Direction, SystemRuntime, Task, Timer, UdpSockRef, Watched};
use tokio::{io::Interest, net::UdpSocket, runtime::Handle, time::Sleep};

/// The tokio runtime that `bind` is called in.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioRuntime;

impl SystemRuntime for TokioRuntime {
    type Watched = TokioSocket;
    type Timer = TokioTimer;

    fn now(&self) -> Instant {
        // Not the system's: tokio's may be paused in a test.
        tokio::time::Instant::now().into_std()
    }

    fn watch(&self, socket: std::net::UdpSocket) -> io::Result<TokioSocket> {
        enabled("enable_io", || UdpSocket::from_std(socket))?.map(TokioSocket)
    }

    fn timer(&self) -> io::Result<TokioTimer> {
        let sleep = enabled("enable_time", || {
            Box::pin(tokio::time::sleep(Duration::ZERO))
        })?;
        Ok(TokioTimer {
            sleep,
            is_set: false,
        })
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }
}

/// Does what needs a part of the current runtime. tokio panics where it was not enabled, and has no
/// way to ask before.
fn enabled<T>(part: &str, make: impl FnOnce() -> T) -> io::Result<T> {
    Handle::try_current().map_err(io::Error::other)?;
    // Nothing is shared with `make`, and tokio has changed nothing before it panics.
    panic::catch_unwind(AssertUnwindSafe(make)).map_err(|_| {
        io::Error::other(format!(
            "the tokio runtime lacks a driver: build it with `enable_all` or `{part}`"
        ))
    })
}

/// A UDP socket that tokio watches.
#[derive(Debug)]
pub struct TokioSocket(UdpSocket);

impl Watched for TokioSocket {
    fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        match direction {
            Direction::Read => self.0.poll_recv_ready(cx),
            Direction::Write => self.0.poll_send_ready(cx),
        }
    }

    fn try_io<T>(
        &self,
        direction: Direction,
        operation: impl FnOnce(UdpSockRef<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let interest = match direction {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
        };
        self.0
            .try_io(interest, || operation(UdpSockRef::from(&self.0)))
    }
}

/// A timer of tokio, which is exact to a millisecond.
#[derive(Debug)]
pub struct TokioTimer {
    // Boxed: tokio's own timer must not move.
    sleep: Pin<Box<Sleep>>,
    is_set: bool,
}

impl Timer for TokioTimer {
    fn set(mut self: Pin<&mut Self>, at: Instant) {
        self.sleep.as_mut().reset(at.into());
        self.is_set = true;
    }

    fn poll_elapsed(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.is_set {
            true => self.sleep.as_mut().poll(cx),
            false => Poll::Pending,
        }
    }
}
