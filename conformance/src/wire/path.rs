//! The path between the kit's end and the program: a socket whose datagrams are lost, copied, delayed
//! or held back, in both directions.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use super::dice::Dice;

/// Datagrams that are remembered, to be damaged and sent again.
const REMEMBERED_MAX: usize = 32;

/// The longest datagram of UDP.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// The shortest wait for a datagram: the standard library takes zero for an error.
const WAIT_MIN: Duration = Duration::from_micros(1);

/// Faults of datagrams, in both directions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// Of a hundred datagrams so many are lost.
    pub(super) loss: u64,
    /// Of a hundred datagrams so many arrive twice.
    pub(super) duplication: u64,
    /// The longest delay, drawn anew for each: what is sent later may arrive earlier.
    pub(super) delay_max: Duration,
}

#[derive(Debug)]
pub(super) struct Path {
    socket: UdpSocket,
    faults: Faults,
    /// Every datagram until then is lost.
    silent_until: Option<Instant>,
    dice: Dice,
    out: Queue,
    inbound: Queue,
    remembered: VecDeque<Vec<u8>>,
    buffer: Vec<u8>,
}

/// Datagrams by the time at which they go on.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<(Instant, u64), (SocketAddr, Vec<u8>)>,
    count: u64,
}

impl Queue {
    fn push(&mut self, at: Instant, remote: SocketAddr, bytes: Vec<u8>) {
        self.count += 1;
        self.waiting.insert((at, self.count), (remote, bytes));
    }

    fn pop_due(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn due(&self) -> Option<Instant> {
        self.waiting.keys().next().map(|(at, _)| *at)
    }
}

impl Path {
    pub(super) fn new(socket: UdpSocket, seed: u64) -> Self {
        Self {
            socket,
            faults: Faults::default(),
            silent_until: None,
            dice: Dice::new(seed),
            out: Queue::default(),
            inbound: Queue::default(),
            remembered: VecDeque::new(),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
        }
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    pub(super) fn silence(&mut self, until: Instant) {
        self.silent_until = Some(until);
    }

    /// The datagrams that were sent last.
    pub(super) fn remembered(&self) -> Vec<Vec<u8>> {
        self.remembered.iter().cloned().collect()
    }

    /// Takes a datagram of the machine.
    pub(super) fn send(&mut self, now: Instant, to: SocketAddr, bytes: &[u8]) {
        if self.remembered.len() == REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back(bytes.to_vec());
        for at in self.arrivals(now) {
            self.out.push(at, to, bytes.to_vec());
        }
    }

    /// Sends a datagram past all faults.
    pub(super) fn throw(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<usize> {
        self.socket.send_to(bytes, to)
    }

    /// Sends what is due, and returns an error of the system if there was one.
    pub(super) fn flush(&mut self, now: Instant) -> io::Result<()> {
        let mut outcome = Ok(());
        while let Some((to, bytes)) = self.out.pop_due(now) {
            outcome = self.socket.send_to(&bytes, to).map(drop).and(outcome);
        }
        outcome
    }

    /// Waits until a datagram arrives or something is due.
    pub(super) fn wait(&mut self, until: Instant) -> io::Result<()> {
        let dues = [self.out.due(), self.inbound.due(), Some(until)];
        let due = dues.into_iter().flatten().min().unwrap_or(until);
        let wait = due.saturating_duration_since(Instant::now()).max(WAIT_MIN);
        self.socket.set_read_timeout(Some(wait))?;
        // An error is that of an earlier send (ICMP), or there is nothing. An empty datagram is a call.
        if let Ok((len @ 1.., remote)) = self.socket.recv_from(&mut self.buffer) {
            let now = Instant::now();
            for at in self.arrivals(now) {
                let bytes = self.buffer[..len].to_vec();
                self.inbound.push(at, remote, bytes);
            }
        }
        Ok(())
    }

    /// The next datagram that has arrived.
    pub(super) fn receive(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        self.inbound.pop_due(now)
    }

    /// When the copies of one datagram arrive.
    fn arrivals(&mut self, now: Instant) -> Vec<Instant> {
        if self.silent_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let Faults {
            loss,
            duplication,
            delay_max,
        } = self.faults;
        let copies = match (self.dice.percent(loss), self.dice.percent(duplication)) {
            (true, _) => 0,
            (false, true) => 2,
            (false, false) => 1,
        };
        let delay_max = u64::try_from(delay_max.as_micros()).unwrap_or(u64::MAX - 1);
        let mut arrival = |_| now + Duration::from_micros(self.dice.below(delay_max + 1));
        (0..copies).map(&mut arrival).collect()
    }
}
