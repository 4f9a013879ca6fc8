//! Runs quicpool on [tokio](https://docs.rs/tokio), on either of its schedulers.
//!
//! [`TokioRuntime`] is given to `ConnectionManager::bind`, and nothing else of this crate is
//! needed. `bind` must be called inside a tokio runtime with its I/O and time drivers enabled; the
//! handle that it returns may be used anywhere.
//!
//! A task that blocks its thread right after a call of the handle holds up the whole manager until
//! it is done, even if other threads are idle: tokio keeps a task that was just woken for the
//! thread that woke it. Long work belongs on `tokio::task::spawn_blocking`.
//!
//! The manager runs as one task of the runtime, and ends with it.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use quicpool_driver::runtime::{Direction, Runtime, Socket, Timer, UdpSockRef};
use tokio::{io::Interest, net::UdpSocket, runtime::Handle, time::Sleep};

/// The tokio runtime that `bind` is called in.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioRuntime;

impl Runtime for TokioRuntime {
    type Socket = TokioSocket;
    type Timer = TokioTimer;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer { sleep: None }
    }

    fn watch(&self, socket: std::net::UdpSocket) -> io::Result<TokioSocket> {
        // Outside of a runtime tokio would panic.
        Handle::try_current().map_err(io::Error::other)?;
        UdpSocket::from_std(socket).map(TokioSocket)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(task);
    }
}

/// A UDP socket that tokio watches.
#[derive(Debug)]
pub struct TokioSocket(UdpSocket);

impl Socket for TokioSocket {
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
    // Boxed once when it is first set: tokio's own timer must not move.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer for TokioTimer {
    fn set(mut self: Pin<&mut Self>, at: Instant) {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at.into()),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at.into()))),
        }
    }

    fn poll_elapsed(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
