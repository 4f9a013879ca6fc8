//! A runtime without an operating system: tasks, timers and a network in virtual time, all from a
//! seed.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    io, mem,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use quicpool_core::{Datagram, Transmit};
use quicpool_driver::runtime::{Runtime, Socket, SocketError, Task, Timer};

/// How long a datagram is on its way at least; it takes up to twice as long.
const LATENCY: Duration = Duration::from_millis(10);

/// One datagram of so many is lost.
const LOSS: u64 = 20;

/// A world of one thread. Cloned, it is the same world.
#[derive(Clone)]
pub(crate) struct World(Arc<Mutex<State>>);

struct State {
    began: Instant,
    now: Instant,
    dice: u64,
    tasks: Vec<Option<Running>>,
    sockets: BTreeMap<SocketAddr, Mailbox>,
    next_port: u16,
    /// What happens when; what happens at one time, in the order in which it was planned.
    agenda: BTreeMap<(Instant, u64), Happening>,
    planned: u64,
    trail: DefaultHasher,
}

struct Running {
    task: Task,
    awake: Arc<Awake>,
}

#[derive(Default)]
struct Awake(AtomicBool);

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

enum Happening {
    Arrival { to: SocketAddr, datagram: Datagram },
    Elapsed(Waker),
}

#[derive(Default)]
struct Mailbox {
    datagrams: VecDeque<Datagram>,
    waker: Option<Waker>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State {
            began: now,
            now,
            dice: seed,
            tasks: Vec::new(),
            sockets: BTreeMap::new(),
            next_port: 1_000,
            agenda: BTreeMap::new(),
            planned: 0,
            trail: DefaultHasher::new(),
        })))
    }

    /// Virtual time since the world began.
    pub(crate) fn elapsed(&self) -> Duration {
        let state = self.state();
        state.now - state.began
    }

    /// A number that stands for every datagram so far, with its time, its way and its bytes.
    pub(crate) fn trail(&self) -> u64 {
        self.state().trail.finish()
    }

    /// Waits in virtual time.
    pub(crate) async fn sleep(&self, time: Duration) {
        let mut timer = Box::pin(self.timer().expect("there are timers"));
        timer.as_mut().set(self.now() + time);
        std::future::poll_fn(|cx| timer.as_mut().poll_elapsed(cx)).await;
    }

    /// Runs all tasks until this one is done, or until nothing can happen any more.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        main: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let outcome = Arc::new(Mutex::new(None));
        let place = Arc::clone(&outcome);
        self.spawn(Box::pin(async move {
            *place.lock().unwrap() = Some(main.await);
        }));
        loop {
            while self.run_once() {}
            if let Some(outcome) = outcome.lock().unwrap().take() {
                return Some(outcome);
            }
            if !self.advance() {
                return None;
            }
        }
    }

    /// Polls every task that is awake. False if none was.
    fn run_once(&self) -> bool {
        let mut any = false;
        let count = self.state().tasks.len();
        for index in 0..count {
            // Taken out, so that it finds the world free.
            let Some(mut running) = self.state().tasks[index].take() else {
                continue;
            };
            let awake = running.awake.0.swap(false, Ordering::AcqRel);
            let waker = Waker::from(Arc::clone(&running.awake));
            let mut cx = Context::from_waker(&waker);
            let done = awake && running.task.as_mut().poll(&mut cx).is_ready();
            any |= awake;
            if !done {
                self.state().tasks[index] = Some(running);
            }
        }
        any
    }

    /// Moves on to the next time at which something happens. False if nothing will.
    fn advance(&self) -> bool {
        let mut state = self.state();
        let Some(((at, _), happening)) = state.agenda.pop_first() else {
            return false;
        };
        state.now = at;
        let waker = match happening {
            Happening::Elapsed(waker) => Some(waker),
            Happening::Arrival { to, datagram } => {
                let mailbox = state.sockets.get_mut(&to);
                mailbox.and_then(|mailbox| {
                    mailbox.datagrams.push_back(datagram);
                    mailbox.waker.take()
                })
            }
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// A number from the seed (splitmix64).
    fn draw(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.dice ^ (self.dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn plan(&mut self, at: Instant, happening: Happening) -> (Instant, u64) {
        let key = (at.max(self.now), self.planned);
        self.planned += 1;
        self.agenda.insert(key, happening);
        key
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let sent_at = self.now - self.began;
        (sent_at, from, to, payload).hash(&mut self.trail);
        if self.draw().is_multiple_of(LOSS) {
            return;
        }
        let delay = LATENCY.as_nanos() as u64;
        let delay = Duration::from_nanos(delay + self.draw() % delay);
        let datagram = Datagram {
            remote: from,
            local_ip: None,
            ecn: None,
            payload: payload.into(),
        };
        let at = self.now + delay;
        self.plan(at, Happening::Arrival { to, datagram });
    }
}

impl Runtime for World {
    type Socket = VirtualSocket;
    type Timer = VirtualTimer;

    fn now(&self) -> Instant {
        self.state().now
    }

    fn wall_clock(&self) -> SystemTime {
        UNIX_EPOCH + self.elapsed()
    }

    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        bytes.fill_with(|| state.draw() as u8);
        Ok(())
    }

    fn bind(&self, mut addr: SocketAddr) -> Result<VirtualSocket, SocketError> {
        let mut state = self.state();
        if addr.port() == 0 {
            addr.set_port(state.next_port);
            state.next_port += 1;
        }
        if state.sockets.contains_key(&addr) {
            return Err(SocketError::Address(io::ErrorKind::AddrInUse.into()));
        }
        state.sockets.insert(addr, Mailbox::default());
        drop(state);
        let world = self.clone();
        Ok(VirtualSocket { world, addr })
    }

    fn timer(&self) -> io::Result<VirtualTimer> {
        Ok(VirtualTimer {
            world: self.clone(),
            at: None,
            planned: None,
        })
    }

    fn spawn(&self, task: Task) {
        let awake = Arc::new(Awake(AtomicBool::new(true)));
        self.state().tasks.push(Some(Running { task, awake }));
    }
}

pub(crate) struct VirtualSocket {
    world: World,
    addr: SocketAddr,
}

impl Drop for VirtualSocket {
    fn drop(&mut self) {
        self.world.state().sockets.remove(&self.addr);
    }
}

impl Socket for VirtualSocket {
    fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    fn segments_max(&self) -> usize {
        10
    }

    fn poll_send(
        &mut self,
        _: &mut Context<'_>,
        transmit: &Transmit,
        bytes: &[u8],
    ) -> Poll<io::Result<()>> {
        let mut state = self.world.state();
        let bytes = &bytes[..transmit.size];
        for payload in bytes.chunks(transmit.segment_size.unwrap_or(transmit.size).max(1)) {
            state.send(self.addr, transmit.destination, payload);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnMut(Datagram),
    ) -> Poll<io::Result<usize>> {
        let mut state = self.world.state();
        let mailbox = state.sockets.get_mut(&self.addr).expect("it is bound");
        let datagrams = mem::take(&mut mailbox.datagrams);
        if datagrams.is_empty() {
            mailbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        Poll::Ready(Ok(datagrams.into_iter().map(take).count()))
    }
}

pub(crate) struct VirtualTimer {
    world: World,
    at: Option<Instant>,
    planned: Option<(Instant, u64)>,
}

impl VirtualTimer {
    fn call_off(&mut self) {
        if let Some(planned) = self.planned.take() {
            self.world.state().agenda.remove(&planned);
        }
    }
}

impl Drop for VirtualTimer {
    fn drop(&mut self) {
        self.call_off();
    }
}

impl Timer for VirtualTimer {
    fn set(mut self: Pin<&mut Self>, at: Instant) {
        self.at = Some(at);
    }

    fn poll_elapsed(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.call_off();
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        let mut state = self.world.state();
        if state.now >= at {
            return Poll::Ready(());
        }
        let planned = state.plan(at, Happening::Elapsed(cx.waker().clone()));
        drop(state);
        self.planned = Some(planned);
        Poll::Pending
    }
}
