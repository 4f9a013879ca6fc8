//! One process: a machine, the application above it, and the contract between them.

use std::{
    any::Any,
    collections::BTreeSet,
    mem,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use quicpool_core::{
    Action, Config, Datagram, DeadlineReason, EcnCodepoint, Event, Incarnation, Manager, Message,
    PeerAddr, PeerId, Transmit,
};

use super::{
    credentials::{Making, NewProcess},
    machine::{self, Machine, MakeMachine, NewMachine, Turned, Verbs},
    process::{Pace, Socket},
};
use crate::{
    clock::Clock,
    dice::{Dice, Domain},
    trace::Reception,
};

/// Messages taken by one call, as a driver would bound them.
const RECEIVE_MAX: usize = 256;
/// Calls into a machine at one instant. One that needs more has deadlines that never move.
const CALLS_AT_ONE_INSTANT_MAX: usize = 100_000;
/// A datagram that has left a machine.
pub struct Departure {
    /// The receiver.
    pub destination: SocketAddr,
    /// Its congestion mark.
    pub ecn: Option<EcnCodepoint>,
    /// Its bytes.
    pub payload: BytesMut,
}

/// How the application reads messages that wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// It takes them as they come.
    Eager,
    /// It takes this many more, and then none.
    UpTo(usize),
}

impl Reader {
    /// Whether an event goes to the history: a reader that takes messages uses `Readable` itself.
    fn leaves(self, event: &Event) -> bool {
        let is_readable = matches!(
            event,
            Event::Readable { .. } | Event::DatagramsReadable { .. }
        );
        // What a path carries is asked for, and not waited for.
        let is_limit = matches!(event, Event::DatagramLimit { .. });
        !is_limit && (self.room() == 0 || !is_readable)
    }

    /// How many messages it takes in one go.
    fn room(self) -> usize {
        match self {
            Self::Eager => RECEIVE_MAX,
            Self::UpTo(messages) => messages.min(RECEIVE_MAX),
        }
    }

    fn took(&mut self, messages: usize) {
        if let Self::UpTo(rest) = self {
            *rest -= messages;
        }
    }
}

/// A process that may be up or down.
pub(super) struct Node {
    pub(super) peer: PeerAddr,
    number: u64,
    config: Config,
    credentials: Making,
    make_machine: MakeMachine,
    machine: Option<Box<dyn Machine>>,
    /// How often the process has been started.
    starts: u64,
    /// How far its wall clock is ahead of the time of the run.
    clock_ahead: Duration,
    pace: Pace,
    socket: Socket,
    reader: Reader,
    /// Peers with messages that the reader has not taken.
    readable: BTreeSet<PeerId>,
    /// Peers with datagrams that it has not taken.
    datagrams_readable: BTreeSet<PeerId>,
    history: Vec<(Duration, Event)>,
    /// Events of `history` that have been taken.
    told: usize,
    received: Vec<Message>,
    datagrams: Vec<Message>,
    /// The buffer into which the machine writes packets.
    buf: Vec<u8>,
}

impl Node {
    pub(super) fn new(number: u64, peer: PeerAddr, config: Config, credentials: Making) -> Self {
        Self {
            peer,
            number,
            config,
            credentials,
            make_machine: machine::manager,
            machine: None,
            starts: 0,
            clock_ahead: Duration::ZERO,
            pace: Pace::Running,
            socket: Socket::Free,
            reader: Reader::Eager,
            readable: BTreeSet::new(),
            datagrams_readable: BTreeSet::new(),
            history: Vec::new(),
            told: 0,
            received: Vec::new(),
            datagrams: Vec::new(),
            buf: Vec::new(),
        }
    }

    /// A node that has not been started, like this one but for its place.
    pub(super) fn twin(&self, number: u64, addr: SocketAddr) -> Self {
        let peer = PeerAddr { addr, ..self.peer };
        Self::new(number, peer, self.config.clone(), self.credentials.clone())
    }

    /// The same node with other machines in it.
    pub(super) fn running(self, make_machine: MakeMachine) -> Self {
        Self {
            make_machine,
            ..self
        }
    }

    pub(super) fn set_wall_clock(&mut self, ahead: Duration) {
        self.clock_ahead = ahead;
    }

    /// Starts a new process, in place of the one that runs, if one does.
    pub(super) fn start(&mut self, dice: Dice, clock: &Clock) {
        let (node, start) = (self.number, self.starts);
        self.starts += 1;
        let wall_clock = clock.wall_clock(self.clock_ahead);
        let incarnation = Incarnation {
            started_ms: wall_clock.now().as_millis() as u64,
            random: dice.roll(Domain::Incarnation, node, start),
        };
        let credentials = (self.credentials)(&NewProcess {
            seed: dice.roll(Domain::Sessions, node, start),
            wall_clock,
        });
        let seed = dice.bytes(Domain::MachineSeed, node, start);
        let machine = (self.make_machine)(NewMachine {
            config: self.config.clone(),
            credentials,
            incarnation,
            addr: self.peer.addr,
            seed,
            now: clock.instant(),
        });
        self.crash();
        self.machine = Some(machine);
    }

    /// Ends the process without a word.
    pub(super) fn crash(&mut self) {
        self.machine = None;
        self.readable.clear();
        self.datagrams_readable.clear();
        self.pace = Pace::Running;
        self.socket = Socket::Free;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.pace.is_paused()
    }

    pub(super) fn pause(&mut self) {
        if self.machine.is_some() {
            self.pace.pause();
        }
    }

    /// Lets the process go on: it finds what has come meanwhile, and deadlines that have passed.
    pub(super) fn resume(&mut self, clock: &Clock) {
        for datagram in self.pace.resume() {
            self.handle_datagram(clock, datagram);
        }
    }

    pub(super) fn block_socket(&mut self, clock: &Clock, until: Duration) {
        self.socket = Socket::BlockedUntil(until);
        if let Some(event_loop) = self.machine.as_mut().and_then(|m| m.event_loop()) {
            event_loop.block_socket(clock.instant() + until.saturating_sub(clock.now()));
        }
    }

    /// How often the process has been started.
    pub(super) fn starts(&self) -> u64 {
        self.starts
    }

    /// Whether the process cannot act, or cannot be heard.
    pub(super) fn is_held_up(&self, clock: &Clock) -> bool {
        self.is_paused() || self.socket.blocked_until(clock.now()).is_some()
    }

    pub(super) fn machine(&self) -> Option<&Manager> {
        self.machine.as_deref()?.manager()
    }

    pub(super) fn verbs(&mut self) -> Option<&mut dyn Verbs> {
        self.machine.as_mut()?.verbs()
    }

    pub(super) fn machine_mut(&mut self) -> Option<&mut Manager> {
        self.machine_as_mut()
    }

    pub(super) fn machine_as<M: Machine>(&self) -> Option<&M> {
        let machine: &dyn Any = self.machine.as_deref()?;
        machine.downcast_ref()
    }

    pub(super) fn machine_as_mut<M: Machine>(&mut self) -> Option<&mut M> {
        let machine: &mut dyn Any = self.machine.as_deref_mut()?;
        machine.downcast_mut()
    }

    pub(super) fn read_up_to(&mut self, messages: usize) {
        self.reader = Reader::UpTo(messages);
    }

    pub(super) fn resume_reader(&mut self) {
        self.reader = Reader::Eager;
    }

    pub(super) fn history(&self) -> &[(Duration, Event)] {
        &self.history
    }

    /// Whether there are events that have not been taken.
    pub(super) fn has_news(&self) -> bool {
        self.told < self.history.len()
    }

    pub(super) fn take_events(&mut self) -> Vec<Event> {
        let news = &self.history[self.told..];
        self.told = self.history.len();
        news.iter().map(|(_, event)| event.clone()).collect()
    }

    pub(super) fn take_received(&mut self) -> Vec<Message> {
        mem::take(&mut self.received)
    }

    pub(super) fn take_datagrams(&mut self) -> Vec<Message> {
        mem::take(&mut self.datagrams)
    }

    /// Messages that the reader has taken, and `take_received` has not.
    pub(super) fn waiting_messages(&self) -> &[Message] {
        &self.received
    }

    /// Whether no process has been started yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.starts == 0
    }

    /// Takes a datagram, if there is a process and room.
    pub(super) fn handle_datagram(&mut self, clock: &Clock, datagram: Datagram) -> Reception {
        if let Pace::Paused(queue) = &mut self.pace {
            return match queue.push(datagram) {
                true => Reception::Waits,
                false => Reception::NoRoom,
            };
        }
        let Some(machine) = &mut self.machine else {
            return Reception::NobodyHome;
        };
        machine.handle_datagram(clock.instant(), datagram);
        Reception::Taken
    }

    /// When the machine is to be called next.
    pub(super) fn deadline(&self, clock: &Clock) -> Option<Duration> {
        if self.pace.is_paused() {
            return None;
        }
        let machine = self.machine.as_ref()?;
        if let Some(at) = machine.loop_deadline() {
            return Some(clock.since_start(at));
        }
        let deadline = machine.poll_timeout()?;
        match self.socket.blocked_until(clock.now()) {
            // What cannot be sent would have a driver spin; it waits for the socket.
            Some(until) if deadline.reason == DeadlineReason::Undrained => Some(until),
            Some(_) | None => Some(clock.since_start(deadline.at)),
        }
    }

    /// Does all that the machine has to do at this instant: drains it, reads what has arrived,
    /// and calls it at deadlines that have come.
    pub(super) fn settle(&mut self, clock: &Clock) -> Vec<Departure> {
        let now = clock.instant();
        let mut departures = Vec::new();
        if self.pace.is_paused() {
            return departures;
        }
        if self.has_loop() {
            self.turn(clock, &mut departures);
            return departures;
        }
        self.pass_deadline(clock);
        for _ in 0..CALLS_AT_ONE_INSTANT_MAX {
            self.drain(clock, &mut departures);
            if self.read(now) {
                continue;
            }
            if self.deadline(clock).is_none_or(|at| at > clock.now()) {
                return departures;
            }
            self.fire(clock, &mut departures);
        }
        let deadline = self.machine.as_ref().and_then(|m| m.poll_timeout());
        panic!(
            "livelock: n{} has work without end, {deadline:?}",
            self.number
        );
    }

    fn has_loop(&mut self) -> bool {
        let machine = self.machine.as_mut();
        machine.is_some_and(|machine| machine.event_loop().is_some())
    }

    /// Lets the event loop and the application run until both sleep.
    fn turn(&mut self, clock: &Clock, departures: &mut Vec<Departure>) {
        let Some(machine) = &mut self.machine else {
            return;
        };
        for _ in 0..CALLS_AT_ONE_INSTANT_MAX {
            let Some(event_loop) = machine.event_loop() else {
                return;
            };
            let mut turned = Turned::default();
            event_loop.run(clock.instant(), self.reader.room(), &mut turned);
            let taken = turned.messages.len();
            self.reader.took(taken);
            self.received.append(&mut turned.messages);
            self.datagrams.append(&mut turned.datagrams);
            let events = turned.events.into_iter();
            self.history
                .extend(events.map(|event| (clock.now(), event)));
            for (transmit, bytes) in &turned.transmits {
                departures.extend(split(transmit, bytes));
            }
            let due = machine.loop_deadline();
            if taken == 0 && due.is_none_or(|at| at > clock.instant()) {
                return;
            }
        }
        panic!("livelock: n{} has a loop that does not sleep", self.number);
    }

    /// A driver that has taken in what there is passes a deadline that has come, and only then lets
    /// the machine act. It may have slept past it: a machine whose packets cannot leave is due at
    /// once, and so hides when it is otherwise.
    fn pass_deadline(&mut self, clock: &Clock) {
        let now = clock.instant();
        if let Some(machine) = &mut self.machine
            && machine.poll_timeout().is_some_and(|due| due.at <= now)
        {
            machine.handle_timeout(now);
        }
    }

    /// Calls the machine at its deadline, and holds it to its word: it has nothing more to do.
    fn fire(&mut self, clock: &Clock, departures: &mut Vec<Departure>) {
        let Some(machine) = &mut self.machine else {
            return;
        };
        machine.handle_timeout(clock.instant());
        self.drain(clock, departures);
        let deadline = self.deadline(clock);
        assert!(
            deadline.is_none_or(|at| at > clock.now()),
            "n{}: after handle_timeout and a drain the deadline is due still: {deadline:?}",
            self.number
        );
    }

    /// Takes all actions, and holds the machine to its word: events come before packets.
    fn drain(&mut self, clock: &Clock, departures: &mut Vec<Departure>) {
        let Some(machine) = &mut self.machine else {
            return;
        };
        let is_blocked = self.socket.blocked_until(clock.now()).is_some();
        let mut packets = 0;
        for _ in 0..CALLS_AT_ONE_INSTANT_MAX {
            let action = match is_blocked {
                true => machine.poll_event(clock.instant()).map(Action::Notify),
                false => machine.poll_action(clock.instant(), &mut self.buf),
            };
            match action {
                None => return,
                Some(Action::Notify(event)) => {
                    assert_eq!(packets, 0, "n{}: packets before {event:?}", self.number);
                    if let Event::Readable { peer } = event {
                        self.readable.insert(peer);
                    }
                    if let Event::DatagramsReadable { peer } = event {
                        self.datagrams_readable.insert(peer);
                    }
                    if self.reader.leaves(&event) {
                        self.history.push((clock.now(), event));
                    }
                }
                Some(Action::Transmit(transmit)) => {
                    packets += 1;
                    departures.extend(split(&transmit, &self.buf));
                }
            }
        }
        panic!("livelock: n{} has actions without end", self.number);
    }

    /// Takes what has arrived, and returns whether anything had.
    fn read(&mut self, now: Instant) -> bool {
        let is_news = !self.readable.is_empty() || !self.datagrams_readable.is_empty();
        if self.reader.room() == 0 || !is_news {
            return false;
        }
        let Some(machine) = &mut self.machine else {
            return false;
        };
        while let Some(peer) = self.datagrams_readable.pop_first() {
            machine.receive_datagrams(now, peer, &mut self.datagrams);
        }
        while let Some(peer) = self.readable.pop_first() {
            loop {
                let room = self.reader.room();
                if room == 0 {
                    self.readable.insert(peer);
                    return true;
                }
                match machine.receive(now, peer, room, &mut self.received) {
                    0 => break,
                    taken => self.reader.took(taken),
                }
            }
        }
        true
    }
}

/// Cuts what the machine has written into datagrams (GSO).
fn split<'a>(transmit: &Transmit, buf: &'a [u8]) -> impl Iterator<Item = Departure> + use<'a> {
    let &Transmit {
        destination, ecn, ..
    } = transmit;
    assert!(transmit.size > 0, "a transmit without bytes");
    transmit.datagrams(buf).map(move |segment| Departure {
        destination,
        ecn,
        payload: BytesMut::from(segment),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transmit_is_cut_into_segments_and_a_rest() {
        let transmit = Transmit {
            destination: SocketAddr::from(([10, 0, 0, 1], 1)),
            ecn: None,
            size: 7,
            segment_size: Some(3),
            src_ip: None,
        };
        let lens = |transmit: &Transmit| {
            let segments = split(transmit, &[0; 9]);
            segments
                .map(|segment| segment.payload.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(lens(&transmit), [3, 3, 1]);
        let segment_size = None;
        assert_eq!(
            lens(&Transmit {
                segment_size,
                ..transmit
            }),
            [7]
        );
    }
}
