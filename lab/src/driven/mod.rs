//! Nodes that run as processes do in production: the driver's event loop and handle around the machine,
//! and an application that calls the handle.
//!
//! Nothing of the driver is copied. Its event loop is polled when it was woken, and so are the tasks of
//! the application: a message goes through staging, lent capacity and switchboard, and comes back
//! through the inbox of the handle. The order in which tasks run that are awake at one instant is drawn
//! from the seed.

mod calls;
mod outside;
mod reading;
mod task;

use std::{
    collections::BTreeMap,
    pin::Pin,
    time::{Duration, Instant},
};

use quicpool_core::{Action, Datagram, Deadline, Event, Manager, Message, PeerError, PeerId};
use quicpool_driver::{
    Closed, ConnectionManager, Events, EventsError, Peer, Rejected, lab::EventLoop as DriverLoop,
};

use self::{
    calls::{Call, Ran},
    outside::Outside,
    reading::Reader,
    task::{Alarm, Task},
};
use crate::machine::{EventLoop, Machine, NewMachine, Turned, Verbs};

/// Turns of the event loop at one instant. One that takes more spins.
const TURNS_MAX: usize = 100_000;

/// Room with which no caller waits, in bytes: more than the longest message of a world.
const ROOM_MAX: usize = 8_192;

/// A process with the driver's event loop.
pub(crate) struct Driven {
    outside: Outside,
    event_loop: DriverLoop<Outside>,
    alarm: Alarm,
    /// Whether the event loop has ended.
    has_ended: bool,
    /// None once the application has dropped its last handle.
    handle: Option<ConnectionManager>,
    events: Events,
    news: Vec<Event>,
    /// Calls that were not answered when they were made, in the order in which they were.
    calls: Vec<Call>,
    /// Messages that were accepted for each peer.
    accepted: BTreeMap<PeerId, u64>,
    reader: Reader,
    /// Takes datagrams, one at a time.
    datagrams: Option<Task<Result<Message, Closed>>>,
    dice: u64,
}

impl Driven {
    /// How long a message that the application has taken may wait until the machine knows.
    pub(crate) const TAKEN_DELAY_MAX: Duration = Duration::from_millis(2);

    /// Makes a process in place of a bare machine.
    ///
    /// # Panics
    ///
    /// If the configuration is not valid.
    pub(crate) fn make(new: NewMachine) -> Box<dyn Machine> {
        let NewMachine {
            config,
            credentials,
            incarnation,
            addr,
            seed,
            now,
            ..
        } = new;
        let started = Duration::from_millis(incarnation.started_ms);
        let outside = Outside::new(now, started, seed);
        let bound = ConnectionManager::bind_unspawned(outside.clone(), addr, credentials, config);
        let (handle, event_loop) = bound.expect("the configuration of a node is valid");
        let (_, events) = handle.subscribe();
        let [a, b, c, d, e, f, g, h, habit, ..] = seed;
        Box::new(Self {
            outside,
            event_loop,
            alarm: Alarm::new(),
            has_ended: false,
            handle: Some(handle),
            events,
            news: Vec::new(),
            calls: Vec::new(),
            accepted: BTreeMap::new(),
            reader: Reader::new(habit),
            datagrams: None,
            dice: u64::from_le_bytes([a, b, c, d, e, f, g, h]) | 1,
        })
    }

    /// Returns the calls that are not answered.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.is_open())
    }

    fn handle(&self) -> Result<&ConnectionManager, PeerError> {
        self.handle.as_ref().ok_or(PeerError::Closed)
    }

    fn peer(&self, peer: PeerId) -> Result<Peer, PeerError> {
        self.handle()?.peer(peer).map_err(refusal)
    }

    // Turns

    /// Polls the event loop once if it is awake. Returns whether it was.
    fn turn(&mut self) -> bool {
        if self.has_ended || !self.alarm.is_awake() {
            return false;
        }
        self.has_ended = self.alarm.poll(Pin::new(&mut self.event_loop)).is_some();
        while let Some(Ok(event)) = self.next_event() {
            self.news.push(event);
        }
        true
    }

    fn next_event(&mut self) -> Option<Result<Event, Closed>> {
        match self.events.try_next()? {
            Ok(event) => Some(Ok(event)),
            Err(EventsError::Closed(closed)) => Some(Err(closed)),
            Err(error) => panic!("events are read at once, and yet {error}"),
        }
    }

    /// Polls the event loop until it sleeps.
    fn settle(&mut self, now: Instant) {
        self.outside.pass(now);
        for _ in 0..TURNS_MAX {
            if !self.turn() {
                return;
            }
        }
        panic!("livelock: the event loop does not sleep");
    }

    /// Runs the tasks of the application that are awake. Returns whether any was.
    fn apply(&mut self, messages_max: usize, out: &mut Turned) -> bool {
        let mut any = false;
        let news = &mut self.news;
        self.calls.retain_mut(|call| {
            any |= call.is_awake();
            match call.run() {
                Ran::Waits => true,
                Ran::Dropped => false,
                Ran::Returned(event) => {
                    news.extend(event);
                    false
                }
            }
        });
        any |= self.receive_datagram(messages_max, out);
        any |= self.receive(messages_max - out.messages.len(), out);
        any
    }

    fn receive(&mut self, max: usize, out: &mut Turned) -> bool {
        let dice = self.draw();
        let Some(handle) = self.handle.as_ref().filter(|_| max > 0 && !self.has_ended) else {
            self.reader.pause();
            return false;
        };
        self.reader.run(handle, max, dice, &mut out.messages)
    }

    /// An application that takes no messages takes no datagrams.
    fn receive_datagram(&mut self, messages_max: usize, out: &mut Turned) -> bool {
        let is_reading = messages_max > 0 && !self.has_ended;
        let Some(handle) = self.handle.as_ref().filter(|_| is_reading) else {
            self.datagrams = None;
            return false;
        };
        let task = self.datagrams.get_or_insert_with(|| {
            let handle = handle.clone();
            Task::new(async move { handle.recv_datagram().await })
        });
        let is_awake = task.is_awake();
        if let Some(received) = task.run() {
            self.datagrams = None;
            out.datagrams.extend(received);
        }
        is_awake
    }

    /// Holds the event loop to its word: a caller that waits for room is woken once there is some.
    fn check_room(&self) {
        let machine = self.event_loop.machine();
        for call in self.calls.iter().filter(|call| call.is_for_room()) {
            let room = call.peer.and_then(|peer| machine.room(peer));
            assert!(
                room.is_none_or(|room| room < ROOM_MAX),
                "{call:?} waits, and there are {room:?} bytes"
            );
        }
    }

    /// Draws which of two tasks runs first.
    fn toss(&mut self) -> bool {
        self.draw() >> 63 == 0
    }

    /// Draws a number (xorshift64).
    fn draw(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }
}

impl EventLoop for Driven {
    fn block_socket(&mut self, until: Instant) {
        self.outside.block_socket(until);
    }

    fn run(&mut self, now: Instant, messages_max: usize, out: &mut Turned) {
        self.outside.pass(now);
        for _ in 0..TURNS_MAX {
            let any = match self.toss() {
                true => self.turn() || self.apply(messages_max, out),
                false => self.apply(messages_max, out) || self.turn(),
            };
            if !any {
                self.check_room();
                out.events.append(&mut self.news);
                out.transmits = self.outside.take_sent();
                return;
            }
        }
        panic!("livelock: the event loop and the application do not sleep");
    }
}

impl Machine for Driven {
    fn handle_datagram(&mut self, _: Instant, datagram: Datagram) {
        self.outside.deliver(datagram);
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_timeout(&self) -> Option<Deadline> {
        None
    }

    fn poll_action(&mut self, _: Instant, _: &mut Vec<u8>) -> Option<Action> {
        None
    }

    fn manager(&self) -> Option<&Manager> {
        Some(self.event_loop.machine())
    }

    fn verbs(&mut self) -> Option<&mut dyn Verbs> {
        Some(self)
    }

    fn event_loop(&mut self) -> Option<&mut dyn EventLoop> {
        Some(self)
    }

    fn loop_deadline(&self) -> Option<Instant> {
        match self.has_ended {
            true => None,
            false => self.outside.deadline(),
        }
    }
}

fn refusal(rejected: Rejected) -> PeerError {
    match rejected {
        Rejected::Peer(error) => error,
        Rejected::Closed(_) => PeerError::Closed,
        other => panic!("the driver refuses in a new way: {other}"),
    }
}
