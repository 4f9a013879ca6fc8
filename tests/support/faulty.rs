//! A runtime whose sockets fail when they are told to.

use std::{
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Instant,
};

use quicpool::{
    TokioRuntime,
    runtime::{Direction, Runtime, Socket, UdpSockRef},
};

/// Tokio, with faults.
#[derive(Debug, Clone, Default)]
pub(crate) struct FaultyRuntime {
    faults: Arc<Mutex<Faults>>,
}

#[derive(Debug, Default)]
struct Faults {
    read: VecDeque<i32>,
    write: VecDeque<i32>,
    broken: Option<i32>,
    bug: bool,
}

impl FaultyRuntime {
    /// The next operations in this direction fail with these codes of the operating system.
    pub(crate) fn fail(&self, direction: Direction, codes: impl IntoIterator<Item = i32>) {
        let mut faults = self.faults.lock().expect("no test panics here");
        match direction {
            Direction::Read => faults.read.extend(codes),
            Direction::Write => faults.write.extend(codes),
        }
    }

    /// Every operation fails from this moment on.
    pub(crate) fn break_socket(&self, code: i32) {
        self.faults.lock().expect("no test panics here").broken = Some(code);
    }

    /// The next operation panics, as a bug would.
    pub(crate) fn panic(&self) {
        self.faults.lock().expect("no test panics here").bug = true;
    }

    /// Faults that have not happened.
    pub(crate) fn left(&self) -> usize {
        let faults = self.faults.lock().expect("no test panics here");
        faults.read.len() + faults.write.len()
    }
}

impl Runtime for FaultyRuntime {
    type Socket = FaultySocket;
    type Timer = <TokioRuntime as Runtime>::Timer;

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }

    fn timer(&self) -> Self::Timer {
        TokioRuntime.timer()
    }

    fn watch(&self, socket: std::net::UdpSocket) -> io::Result<FaultySocket> {
        Ok(FaultySocket {
            socket: TokioRuntime.watch(socket)?,
            faults: Arc::clone(&self.faults),
        })
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        TokioRuntime.spawn(task);
    }
}

/// A socket that fails when it is told to.
pub(crate) struct FaultySocket {
    socket: <TokioRuntime as Runtime>::Socket,
    faults: Arc<Mutex<Faults>>,
}

impl FaultySocket {
    fn fault(&self, direction: Direction) -> Option<io::Error> {
        let mut faults = self.faults.lock().expect("no test panics here");
        if faults.bug {
            drop(faults);
            panic!("a bug, made for a test");
        }
        let code = faults.broken.or_else(|| match direction {
            Direction::Read => faults.read.pop_front(),
            Direction::Write => faults.write.pop_front(),
        });
        code.map(io::Error::from_raw_os_error)
    }
}

impl Socket for FaultySocket {
    fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        self.socket.poll_ready(cx, direction)
    }

    fn try_io<T>(
        &self,
        direction: Direction,
        operation: impl FnOnce(UdpSockRef<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        match self.fault(direction) {
            Some(error) => Err(error),
            None => self.socket.try_io(direction, operation),
        }
    }
}
