//! The kit's end of a connection: a machine in a thread of its own, behind a path.

use std::{
    collections::BTreeSet,
    io,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use quicpool_core::{
    Action, Config, Datagram, Event, Identity, Incarnation, Manager, Message, PeerAddr, PeerId,
};

use super::{Failure, Settings, path::Path};

/// How soon an order is carried out.
const TURN: Duration = Duration::from_millis(2);

/// Of a machine that does not read so little fits into its inbox that its sender notices soon.
const INBOX_BYTES_MAX: usize = 64 * 1024;

/// A machine of the kit.
pub(super) struct End {
    pub(super) addr: PeerAddr,
    identity: Arc<Identity>,
    settings: Settings,
    orders: mpsc::Sender<Order>,
    /// Calls the thread, which waits for a datagram, by an empty one.
    bell: UdpSocket,
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

/// Something to do in the thread of a machine.
type Order = Box<dyn FnOnce(Instant, &mut Machine) + Send>;

/// Events and messages of an end, and a bell that rings when there is more.
#[derive(Debug, Default)]
struct Watch {
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// Events and messages of an end.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) messages: Vec<Message>,
    pub(super) events: Vec<Event>,
    /// The messages that were not delivered, once the machine has ended.
    pub(super) closed: Option<u64>,
    over: bool,
}

impl Seen {
    /// The messages of a peer, in the order in which they came.
    pub(super) fn of(&self, peer: PeerId) -> Vec<Vec<u8>> {
        let of_peer = self.messages.iter().filter(|message| message.from == peer);
        of_peer.map(|message| message.payload.to_vec()).collect()
    }
}

/// Deviations of a machine from the rules. The kit's own have none; programs that are broken on
/// purpose, to see the rules find it, do.
pub(super) trait Habit: Send {
    /// A datagram has come.
    fn received(&mut self, _from: SocketAddr, _bytes: &[u8]) -> Life {
        Life::GoesOn
    }

    /// Something has happened.
    fn notified(&mut self, _now: Instant, _manager: &mut Manager, _event: &Event) {}

    /// The system has refused to send.
    fn refused(&mut self, _error: &io::Error) -> Life {
        Life::GoesOn
    }
}

/// Whether a machine lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    GoesOn,
    Ends,
}

/// Does nothing wrong.
#[derive(Debug)]
pub(super) struct Calm;

impl Habit for Calm {}

/// Whether an end takes the messages that have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Goes,
    Stalls,
}

/// The machine in the thread of an end.
pub(super) struct Machine {
    pub(super) manager: Manager,
    pub(super) path: Path,
    pub(super) reading: Reading,
    life: Life,
    unread: BTreeSet<PeerId>,
    watch: Arc<Watch>,
    habit: Box<dyn Habit>,
}

impl End {
    /// An end with a fresh identity on a free port.
    pub(super) fn fresh(settings: &Settings, seed: u64) -> Result<Self, Failure> {
        let identity = Arc::new(Identity::generate());
        Self::bind(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            identity,
            settings,
            seed,
            Box::new(Calm),
        )
    }

    /// An end with this identity at this address.
    pub(super) fn bind(
        at: SocketAddr,
        identity: Arc<Identity>,
        settings: &Settings,
        seed: u64,
        habit: Box<dyn Habit>,
    ) -> Result<Self, Failure> {
        let socket = UdpSocket::bind(at).map_err(Failure::wrong)?;
        let local = socket.local_addr().map_err(Failure::wrong)?;
        let bell = UdpSocket::bind("127.0.0.1:0").map_err(Failure::wrong)?;
        bell.connect(local).map_err(Failure::wrong)?;
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(Failure::wrong)?;
        let run = Incarnation::new(SystemTime::now(), &secret);
        let credentials = identity.credentials();
        let manager = Manager::new(config(settings), credentials, run, secret, Instant::now());
        let manager = manager.map_err(Failure::wrong)?;
        let watch = Arc::new(Watch::default());
        let addr = PeerAddr::new(identity.peer_id(), local);
        let machine = Machine {
            manager,
            path: Path::new(socket, seed),
            reading: Reading::Goes,
            life: Life::GoesOn,
            unread: BTreeSet::new(),
            watch: Arc::clone(&watch),
            habit,
        };
        let (orders, received) = mpsc::channel();
        let thread = thread::spawn(move || machine.run(&received));
        Ok(Self {
            addr,
            identity,
            settings: settings.clone(),
            orders,
            bell,
            watch,
            thread: Some(thread),
        })
    }

    /// Does something in the thread of the machine, and returns what came of it.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(Instant, &mut Machine) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answers) = mpsc::channel();
        let order: Order = Box::new(move |now: Instant, machine: &mut Machine| {
            // Without a receiver the caller has panicked.
            let _ = answer.send(what(now, machine));
        });
        let gone = || Failure::Wrong("the machine has ended".to_owned());
        self.orders.send(order).map_err(|_| gone())?;
        // It is heard without, a little later.
        let _ = self.bell.send(&[]);
        answers.recv().map_err(|_| gone())
    }

    /// Queues messages; what is not accepted at once is once there is room.
    pub(super) fn send(
        &self,
        to: PeerId,
        messages: &[Vec<u8>],
        patience: Duration,
    ) -> Result<(), Failure> {
        let until = Instant::now() + patience;
        let mut rest = messages.to_vec();
        while !rest.is_empty() {
            let part = rest.clone();
            let sent = self.ask(move |now, machine| machine.manager.send_many(now, to, &part))?;
            match sent {
                Ok(count) => drop(rest.drain(..count)),
                Err(_) if Instant::now() < until => thread::sleep(TURN),
                Err(error) => return Err(Failure::wrong(error)),
            }
        }
        Ok(())
    }

    /// Lets the machine know where a peer is.
    pub(super) fn introduce(&self, peer: PeerAddr) -> Result<(), Failure> {
        self.ask(move |now, machine| machine.manager.add_address(now, peer))?
            .map_err(Failure::wrong)
    }

    /// Waits until what was seen is as wanted; false if it is not until `patience` ends.
    pub(super) fn wait(&self, patience: Duration, wanted: impl Fn(&Seen) -> bool) -> bool {
        let until = Instant::now() + patience;
        let mut seen = self.seen();
        while !wanted(&seen) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || seen.over {
                return wanted(&seen);
            }
            let woken = self.watch.changed.wait_timeout(seen, left);
            seen = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.watch.seen()
    }

    /// Ends the machine without a word, as a crash does.
    pub(super) fn crash(&mut self) {
        let _ = self.ask(|_, machine| machine.life = Life::Ends);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// A machine of a new process with the same identity at the same address.
    pub(super) fn again(&self, seed: u64) -> Result<Self, Failure> {
        let identity = Arc::clone(&self.identity);
        Self::bind(
            self.addr.addr,
            identity,
            &self.settings,
            seed,
            Box::new(Calm),
        )
    }

    /// The identity, for another end that is to have it.
    #[cfg(test)]
    pub(super) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.crash();
    }
}

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, what: impl FnOnce(&mut Seen)) {
        what(&mut self.seen());
        self.changed.notify_all();
    }
}

impl Machine {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        while self.life == Life::GoesOn && self.turn(orders).is_ok() {}
        self.watch.see(|seen| seen.over = true);
    }

    fn turn(&mut self, orders: &mpsc::Receiver<Order>) -> io::Result<()> {
        let now = Instant::now();
        for order in orders.try_iter() {
            order(now, self);
        }
        while let Some((remote, bytes)) = self.path.receive(now) {
            if self.habit.received(remote, &bytes) == Life::Ends {
                self.life = Life::Ends;
            }
            self.manager
                .handle_datagram(now, Datagram::new(remote, &bytes));
        }
        self.manager.handle_timeout(now);
        self.drain(now);
        self.read(now);
        if let Err(error) = self.path.flush(now)
            && self.habit.refused(&error) == Life::Ends
        {
            self.life = Life::Ends;
        }
        let due = self.manager.poll_timeout().map_or(now + TURN, |due| due.at);
        self.path.wait(due.min(now + TURN))
    }

    fn drain(&mut self, now: Instant) {
        let mut packets = Vec::new();
        while let Some(action) = self.manager.poll_action(now, &mut packets) {
            match action {
                Action::Notify(event) => self.note(now, event),
                Action::Transmit(transmit) => {
                    for bytes in transmit.datagrams(&packets) {
                        self.path.send(now, transmit.destination, bytes);
                    }
                }
            }
        }
    }

    fn note(&mut self, now: Instant, event: Event) {
        self.habit.notified(now, &mut self.manager, &event);
        if let Event::Readable { peer } = &event {
            self.unread.insert(*peer);
        }
        self.watch.see(|seen| {
            if let Event::Closed { undelivered, .. } = &event {
                seen.closed = Some(*undelivered);
            }
            seen.events.push(event);
        });
    }

    fn read(&mut self, now: Instant) {
        if self.reading == Reading::Stalls {
            return;
        }
        let mut messages = Vec::new();
        for peer in std::mem::take(&mut self.unread) {
            // An error if the peer has been forgotten meanwhile.
            let _ = self.manager.receive(now, peer, usize::MAX, &mut messages);
        }
        if !messages.is_empty() {
            self.watch.see(|seen| seen.messages.append(&mut messages));
        }
    }
}

fn config(settings: &Settings) -> Config {
    let mut config = Config::default();
    config.liveness_timeout = settings.liveness_timeout;
    config.message_bytes_max = settings.message_bytes_max;
    config.inbox_bytes_max = INBOX_BYTES_MAX;
    config
}
