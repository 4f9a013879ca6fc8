//! The event loops of the examples, as one trait and as programs that the conformance kit can check.
#![allow(dead_code, unreachable_pub, reason = "each program uses a part")]

#[path = "../../examples/event_loop_mio.rs"]
pub(crate) mod event_loop_mio;
#[path = "../../examples/event_loop_std.rs"]
pub(crate) mod event_loop_std;

use std::{
    collections::VecDeque,
    io,
    marker::PhantomData,
    net::SocketAddr,
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use quicpool::{
    Config, Event, Identity, Message, PeerAddr, PeerId,
    machine::{Manager, SendError},
};
use quicpool_conformance::wire::{self, Failure, Program, Settings};

/// How soon a loop looks at its orders.
const TURN: Duration = Duration::from_millis(1);

/// What the two event loops have in common.
pub(crate) trait Loop: Send + Sized + 'static {
    fn bind(at: SocketAddr, identity: &Identity, config: Config) -> io::Result<Self>;
    fn peer_addr(&self) -> PeerAddr;
    fn manager(&mut self) -> &mut Manager;
    fn refused(&self) -> u64;
    fn run<A>(&mut self, app: A) -> io::Result<u64>
    where
        A: FnMut(Instant, &mut Manager, &[Event], &[Message]) -> Option<Instant>;
}

macro_rules! is_a_loop {
    ($event_loop:ty) => {
        impl Loop for $event_loop {
            fn bind(at: SocketAddr, identity: &Identity, config: Config) -> io::Result<Self> {
                Self::bind(at, identity, config)
            }

            fn peer_addr(&self) -> PeerAddr {
                self.peer_addr()
            }

            fn manager(&mut self) -> &mut Manager {
                &mut self.manager
            }

            fn refused(&self) -> u64 {
                self.refused
            }

            fn run<A>(&mut self, app: A) -> io::Result<u64>
            where
                A: FnMut(Instant, &mut Manager, &[Event], &[Message]) -> Option<Instant>,
            {
                self.run(app)
            }
        }
    };
}

is_a_loop!(event_loop_std::EventLoop);
is_a_loop!(event_loop_mio::EventLoop);

/// An event loop in a thread of its own, as a program under test.
pub(crate) struct LoopProgram<L> {
    seed: Option<[u8; Identity::SEED_LEN]>,
    running: Option<Running>,
    event_loop: PhantomData<L>,
}

struct Running {
    orders: mpsc::Sender<Order>,
    messages: mpsc::Receiver<Message>,
    thread: JoinHandle<io::Result<u64>>,
}

/// Something for the application of a loop to do.
enum Order {
    Send(PeerAddr, Vec<u8>),
    Close,
    Abort,
}

impl<L> LoopProgram<L> {
    pub(crate) const fn new() -> Self {
        Self {
            seed: None,
            running: None,
            event_loop: PhantomData,
        }
    }

    fn running(&self) -> Result<&Running, Failure> {
        let stopped = || Failure::Wrong("it does not run".to_owned());
        self.running.as_ref().ok_or_else(stopped)
    }

    /// Ends the loop, and returns how many messages were not delivered.
    fn end(&mut self, order: Order) -> Option<io::Result<u64>> {
        let running = self.running.take()?;
        // One that has failed hears nothing.
        let _ = running.orders.send(order);
        running.thread.join().ok()
    }
}

impl<L> Drop for LoopProgram<L> {
    fn drop(&mut self) {
        self.end(Order::Abort);
    }
}

impl<L: Loop> Program for LoopProgram<L> {
    fn start(&mut self, settings: &Settings) -> Result<PeerAddr, Failure> {
        let identity = identity(&mut self.seed, settings);
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let node = L::bind(at, &identity, config(settings)).map_err(Failure::wrong)?;
        let addr = node.peer_addr();
        let (orders, ordered) = mpsc::channel();
        let (arrived, messages) = mpsc::channel();
        let thread = thread::spawn(move || apply(node, &ordered, &arrived));
        self.running = Some(Running {
            orders,
            messages,
            thread,
        });
        Ok(addr)
    }

    fn send(&mut self, to: PeerAddr, message: &[u8]) -> Result<(), Failure> {
        let order = Order::Send(to, message.to_vec());
        self.running()?.orders.send(order).map_err(Failure::wrong)
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<(PeerId, Vec<u8>)>, Failure> {
        match self.running()?.messages.recv_timeout(patience) {
            Ok(message) => Ok(Some((message.from, message.payload.to_vec()))),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                let ended = self.end(Order::Abort);
                Err(Failure::Wrong(format!("the loop has ended: {ended:?}")))
            }
        }
    }

    fn stop(&mut self) -> Result<(), Failure> {
        match self.end(Order::Close) {
            Some(Ok(0)) => Ok(()),
            Some(Ok(count)) => Err(Failure::Wrong(format!("{count} messages are undelivered"))),
            Some(Err(error)) => Err(Failure::wrong(error)),
            None => Err(Failure::Wrong("it does not run".to_owned())),
        }
    }
}

/// Runs a loop that does as it is ordered, and passes on what it receives.
fn apply<L: Loop>(
    mut node: L,
    orders: &mpsc::Receiver<Order>,
    arrived: &mpsc::Sender<Message>,
) -> io::Result<u64> {
    let mut waiting: VecDeque<(PeerAddr, Vec<u8>)> = VecDeque::new();
    let mut closing = false;
    node.run(|now, manager, _, messages| {
        for message in messages {
            // Without a receiver the program is about to be dropped.
            let _ = arrived.send(message.clone());
        }
        for order in orders.try_iter() {
            match order {
                Order::Send(to, message) => waiting.push_back((to, message)),
                Order::Close => closing = true,
                Order::Abort => manager.abort(now),
            }
        }
        send_waiting(now, manager, &mut waiting);
        if closing && waiting.is_empty() {
            manager.close(now);
        }
        Some(now + TURN)
    })
}

/// Sends what there is room for. The kit gives no peer more than its outbox holds.
fn send_waiting(now: Instant, manager: &mut Manager, waiting: &mut VecDeque<(PeerAddr, Vec<u8>)>) {
    while let Some((to, message)) = waiting.front() {
        let sent = manager
            .add_address(now, *to)
            .map_err(SendError::from)
            .and_then(|()| manager.send(now, to.id, message));
        if sent == Err(SendError::Full) {
            return;
        }
        waiting.pop_front();
    }
}

/// The identity that a program is to start with, kept in `seed`.
pub(crate) fn identity(
    seed: &mut Option<[u8; Identity::SEED_LEN]>,
    settings: &Settings,
) -> Identity {
    if settings.identity == wire::Identity::Fresh {
        *seed = None;
    }
    Identity::from_seed(seed.get_or_insert_with(|| *Identity::generate().seed()))
}

/// The configuration that a program is to start with.
pub(crate) fn config(settings: &Settings) -> Config {
    let mut config = Config::default();
    config.liveness_timeout = settings.liveness_timeout;
    config.message_bytes_max = settings.message_bytes_max;
    config
}
