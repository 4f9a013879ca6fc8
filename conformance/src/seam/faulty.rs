//! A runtime with faults: another one, whose socket and timers misbehave on demand.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime},
};

use quicpool_core::{Datagram, Transmit};
use quicpool_driver::runtime::{Runtime, Socket, SocketError, Task, Timer};

/// The code of Linux for an input or output error: what a network card without segmentation
/// offload gives.
const EIO: i32 = 5;

/// A runtime that works as another one does, until [`Faults`] are asked for.
#[derive(Debug, Clone, Default)]
pub struct FaultyRuntime<R> {
    runtime: R,
    faults: Faults,
}

/// The faults of a [`FaultyRuntime`]: a handle to ask for more at any time, on any thread.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    sends: VecDeque<Fault>,
    receives: VecDeque<Fault>,
    broken: Option<i32>,
    bug: bool,
    no_segments: bool,
    no_room: bool,
    /// How often the socket was asked for datagrams.
    receives_polled: u64,
    timing: Timing,
    /// The loop's task, as the socket was last polled by it.
    task: Option<Waker>,
}

/// The fault of one operation of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this code of the operating system.
    Error(i32),
    /// It would block, and is worth another try at once.
    Blocked,
    /// A send carries the first datagram of its transmit alone, and reports success. A receive is
    /// as without a fault.
    Short,
}

/// The rest of an operation that meets a fault.
enum Met {
    /// It ends at once.
    Ended(Poll<io::Error>),
    /// It sends one datagram.
    Shortened,
}

/// When timers elapse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Timing {
    /// In time.
    #[default]
    Exact,
    /// So much later than they were set to.
    Late(Duration),
    /// So much earlier than they were set to.
    Early(Duration),
}

impl Faults {
    /// Lets the next sends meet these faults, one each.
    pub fn on_send(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().sends.extend(faults);
    }

    /// Lets the next receives meet these faults, one each.
    pub fn on_receive(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().receives.extend(faults);
    }

    /// Lets every operation of the socket fail from this moment on.
    pub fn break_socket(&self, code: i32) {
        self.state().broken = Some(code);
    }

    /// Lets the next operation of the socket panic, as a bug would.
    pub fn panic(&self) {
        self.state().bug = true;
    }

    /// Leaves no room for sends until [`free_sends`](Self::free_sends): they are pending.
    pub fn block_sends(&self) {
        self.state().no_room = true;
    }

    /// Has room for sends again, and wakes the event loop.
    pub fn free_sends(&self) {
        self.state().no_room = false;
        self.wake_for_nothing();
    }

    /// Returns how often the event loop has asked for datagrams: at least once in each turn.
    pub fn receives_polled(&self) -> u64 {
        self.state().receives_polled
    }

    /// Refuses transmits of more than one datagram, as a network card without segmentation offload
    /// does: the first fails, and [`Socket::segments_max`] is 1 from there on.
    pub fn refuse_segments(&self) {
        self.state().no_segments = true;
    }

    /// Lets timers elapse early or late. Counts for those that are set later.
    pub fn set_timing(&self, timing: Timing) {
        self.state().timing = timing;
    }

    /// Wakes the event loop without a reason.
    pub fn wake_for_nothing(&self) {
        let task = self.state().task.clone();
        if let Some(task) = task {
            task.wake();
        }
    }

    /// Faults of single operations that have not happened.
    pub fn left(&self) -> usize {
        let state = self.state();
        state.sends.len() + state.receives.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A fault may be a panic, which is no reason for another one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that an operation meets, if any.
    fn next(&self, cx: &Context<'_>, of: fn(&mut State) -> &mut VecDeque<Fault>) -> Option<Met> {
        let mut state = self.state();
        state.task = Some(cx.waker().clone());
        if state.bug {
            drop(state);
            panic!("a bug, made for a test");
        }
        let broken = state.broken.map(Fault::Error);
        match broken.or_else(|| of(&mut state).pop_front())? {
            Fault::Error(code) => {
                let error = io::Error::from_raw_os_error(code);
                Some(Met::Ended(Poll::Ready(error)))
            }
            Fault::Blocked => {
                cx.waker().wake_by_ref();
                Some(Met::Ended(Poll::Pending))
            }
            Fault::Short => Some(Met::Shortened),
        }
    }
}

impl<R> FaultyRuntime<R> {
    /// The runtime `runtime`, without faults for now.
    pub fn new(runtime: R) -> Self {
        let faults = Faults::default();
        Self { runtime, faults }
    }

    /// The handle to its faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }
}

impl<R: Runtime> Runtime for FaultyRuntime<R> {
    type Socket = FaultySocket<R::Socket>;
    type Timer = FaultyTimer<R::Timer>;

    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn wall_clock(&self) -> SystemTime {
        self.runtime.wall_clock()
    }

    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.runtime.fill_random(bytes)
    }

    fn bind(&self, addr: SocketAddr) -> Result<Self::Socket, SocketError> {
        Ok(FaultySocket {
            socket: self.runtime.bind(addr)?,
            faults: self.faults.clone(),
        })
    }

    fn timer(&self) -> io::Result<Self::Timer> {
        Ok(FaultyTimer {
            timer: Box::pin(self.runtime.timer()?),
            faults: self.faults.clone(),
        })
    }

    fn spawn(&self, task: Task) {
        self.runtime.spawn(task);
    }
}

/// A socket of a [`FaultyRuntime`].
#[derive(Debug)]
pub struct FaultySocket<S> {
    socket: S,
    faults: Faults,
}

impl<S: Socket> FaultySocket<S> {
    /// Sends the first datagram of a transmit.
    fn send_first(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &Transmit,
        bytes: &[u8],
    ) -> Poll<io::Result<()>> {
        let first = transmit.segment_size.unwrap_or(transmit.size);
        let transmit = Transmit {
            size: first.min(transmit.size),
            segment_size: None,
            ..transmit.clone()
        };
        self.socket.poll_send(cx, &transmit, bytes)
    }
}

impl<S: Socket> Socket for FaultySocket<S> {
    fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    fn segments_max(&self) -> usize {
        if self.faults.state().no_segments {
            1
        } else {
            self.socket.segments_max()
        }
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &Transmit,
        bytes: &[u8],
    ) -> Poll<io::Result<()>> {
        if self.faults.state().no_room {
            return Poll::Pending;
        }
        match self.faults.next(cx, |state| &mut state.sends) {
            Some(Met::Ended(end)) => return end.map(Err),
            Some(Met::Shortened) => return self.send_first(cx, transmit, bytes),
            None => {}
        }
        if transmit.segment_size.is_some() && self.faults.state().no_segments {
            return Poll::Ready(Err(io::Error::from_raw_os_error(EIO)));
        }
        self.socket.poll_send(cx, transmit, bytes)
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnMut(Datagram),
    ) -> Poll<io::Result<usize>> {
        self.faults.state().receives_polled += 1;
        match self.faults.next(cx, |state| &mut state.receives) {
            Some(Met::Ended(end)) => end.map(Err),
            Some(Met::Shortened) | None => self.socket.poll_receive(cx, take),
        }
    }
}

/// A timer of a [`FaultyRuntime`].
#[derive(Debug)]
pub struct FaultyTimer<T> {
    timer: Pin<Box<T>>,
    faults: Faults,
}

impl<T: Timer> Timer for FaultyTimer<T> {
    fn set(mut self: Pin<&mut Self>, at: Instant) {
        let at = match self.faults.state().timing {
            Timing::Exact => at,
            Timing::Late(late) => at + late,
            Timing::Early(early) => at.checked_sub(early).unwrap_or(at),
        };
        self.timer.as_mut().set(at);
    }

    fn poll_elapsed(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll_elapsed(cx)
    }
}
