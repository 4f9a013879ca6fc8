//! Replaces the operating system for a process in a simulated node: time, a socket, a timer.

use std::{
    collections::VecDeque,
    io, mem,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use quicpool_core::{Datagram, Transmit};
use quicpool_driver::runtime::{Runtime, Socket, SocketError, Task, Timer};

/// The [`Runtime`] of one process. Cloned, it is the same one.
#[derive(Clone)]
pub(super) struct Outside(Arc<Mutex<State>>);

struct State {
    now: Instant,
    /// The time of day at which the process has started.
    started: Duration,
    /// The process's randomness, which is asked for once.
    seed: [u8; 32],
    /// Datagrams in the receive buffer of the socket.
    arrived: VecDeque<Datagram>,
    reader: Option<Waker>,
    sent: Vec<(Transmit, Vec<u8>)>,
    segments_max: usize,
    /// Until then the socket takes nothing.
    blocked_until: Option<Instant>,
    writer: Option<Waker>,
    /// When the timer elapses, if a task waits for it.
    timer: Option<(Instant, Waker)>,
}

impl Outside {
    pub(super) fn new(now: Instant, started: Duration, seed: [u8; 32]) -> Self {
        Self(Arc::new(Mutex::new(State {
            now,
            started,
            seed,
            arrived: VecDeque::new(),
            reader: None,
            sent: Vec::new(),
            segments_max: [1, 3, 10][usize::from(seed[0]) % 3],
            blocked_until: None,
            writer: None,
            timer: None,
        })))
    }

    /// Moves the clock, and wakes what has waited for this time.
    pub(super) fn pass(&self, now: Instant) {
        let mut state = self.state();
        state.now = now;
        let timer = state.timer.take_if(|(at, _)| *at <= now);
        let is_free = state.blocked_until.is_none_or(|until| until <= now);
        let writer = state.writer.take_if(|_| is_free);
        drop(state);
        let wakers = timer.map(|(_, waker)| waker).into_iter().chain(writer);
        wakers.for_each(Waker::wake);
    }

    pub(super) fn deliver(&self, datagram: Datagram) {
        let mut state = self.state();
        state.arrived.push_back(datagram);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    pub(super) fn block_socket(&self, until: Instant) {
        self.state().blocked_until = Some(until);
    }

    /// Takes what was sent, with its bytes.
    pub(super) fn take_sent(&self) -> Vec<(Transmit, Vec<u8>)> {
        mem::take(&mut self.state().sent)
    }

    /// When something happens to the process without a datagram.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        let timer = state.timer.as_ref().map(|(at, _)| *at);
        let writable = state.blocked_until.filter(|_| state.writer.is_some());
        timer.into_iter().chain(writable).min()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("one thread holds it at a time")
    }
}

impl Runtime for Outside {
    type Socket = SimulatedSocket;
    type Timer = SimulatedTimer;

    fn now(&self) -> Instant {
        self.state().now
    }

    fn wall_clock(&self) -> SystemTime {
        UNIX_EPOCH + self.state().started
    }

    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        bytes.copy_from_slice(&self.state().seed);
        Ok(())
    }

    fn bind(&self, addr: SocketAddr) -> Result<SimulatedSocket, SocketError> {
        let outside = self.clone();
        Ok(SimulatedSocket { outside, addr })
    }

    fn timer(&self) -> io::Result<SimulatedTimer> {
        let outside = self.clone();
        Ok(SimulatedTimer { outside, at: None })
    }

    fn spawn(&self, _: Task) {
        unreachable!("the event loop is polled by its node");
    }
}

pub(super) struct SimulatedSocket {
    outside: Outside,
    addr: SocketAddr,
}

impl Socket for SimulatedSocket {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn segments_max(&self) -> usize {
        self.outside.state().segments_max
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &Transmit,
        bytes: &[u8],
    ) -> Poll<io::Result<()>> {
        let mut state = self.outside.state();
        if state.blocked_until.is_some_and(|until| until > state.now) {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes = bytes[..transmit.size].to_vec();
        state.sent.push((transmit.clone(), bytes));
        Poll::Ready(Ok(()))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnMut(Datagram),
    ) -> Poll<io::Result<usize>> {
        let mut state = self.outside.state();
        let arrived = mem::take(&mut state.arrived);
        if arrived.is_empty() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        Poll::Ready(Ok(arrived.into_iter().map(take).count()))
    }
}

pub(super) struct SimulatedTimer {
    outside: Outside,
    at: Option<Instant>,
}

impl Timer for SimulatedTimer {
    fn set(mut self: Pin<&mut Self>, at: Instant) {
        self.at = Some(at);
    }

    fn poll_elapsed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.outside.state();
        match self.at {
            Some(at) if at <= state.now => {
                state.timer = None;
                Poll::Ready(())
            }
            at => {
                state.timer = at.map(|at| (at, cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}
