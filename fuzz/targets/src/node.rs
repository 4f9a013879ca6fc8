//! A machine, driven as the contract of `quicpool_core` asks for, and what must hold after each turn.

use std::{net::SocketAddr, sync::Arc, time::Duration, time::Instant};

use quicpool_core::{
    Accept, Action, Config, Datagram, Event, Flush, Incarnation, Manager, Message, MessageKey,
    OnPeerRestart, PeerId, Sealing,
};
use quicpool_sim::{Checksum, ms, secs};

use crate::input::Input;

/// Polls in a row after which a drain counts as one that never ends.
const POLLS_MAX: usize = 100_000;

/// What everything that machines of these configurations hold may take.
const MEMORY_MAX: usize = 64 << 20;

/// One end of the network: its process may be gone, and is started again by `start`.
pub(crate) struct Node {
    pub(crate) id: PeerId,
    pub(crate) addr: SocketAddr,
    pub(crate) manager: Option<Manager>,
    config: Config,
    /// Processes that have been started.
    started: u8,
    /// Whether messages are read as soon as they wait.
    pub(crate) reads: bool,
    /// Whether messages are held when they are read.
    pub(crate) holds: bool,
    held: Vec<MessageKey>,
    /// Messages that were read since the last call of `take_read`.
    read: Vec<Message>,
    buf: Vec<u8>,
}

/// A datagram under way.
pub(crate) struct Flight {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

impl Node {
    pub(crate) fn new(number: u8, config: Config) -> Self {
        Self {
            id: PeerId::from_bytes([number; 32]),
            addr: SocketAddr::from(([192, 0, 2, number], 4433)),
            manager: None,
            config,
            started: 0,
            reads: true,
            holds: false,
            held: Vec::new(),
            read: Vec::new(),
            buf: Vec::new(),
        }
    }

    /// Starts a process. One that runs is gone, as by a crash.
    pub(crate) fn start(&mut self, now: Instant) {
        self.started = self.started.wrapping_add(1);
        self.held.clear();
        let incarnation = Incarnation {
            started_ms: 1_780_000_000_000 + u64::from(self.started),
            random: self.started.into(),
        };
        let seed = u64::from(self.started) << 8 | u64::from(self.id.as_bytes()[0]);
        let credentials = Arc::new(Checksum::new(self.id, seed));
        let seed = [self.started; 32];
        let manager = Manager::new(self.config.clone(), credentials, incarnation, seed, now);
        self.manager = Some(manager.expect("every configuration that is drawn is valid"));
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, payload: &[u8]) {
        if let Some(manager) = &mut self.manager {
            manager.handle_datagram(now, Datagram::new(from, payload));
        }
    }

    /// Lets a deadline pass, drains everything, and checks what must hold then. Packets go to `out`.
    pub(crate) fn turn(&mut self, now: Instant, out: &mut Vec<Flight>) {
        let Some(manager) = &mut self.manager else {
            return;
        };
        manager.handle_timeout(now);
        if !self.drain(now, out) {
            self.manager = None;
            return;
        }
        let Some(manager) = &self.manager else { return };
        // The contract: after `handle_timeout(t)` and a full drain it is later than `t`.
        if let Some(deadline) = manager.poll_timeout() {
            assert!(deadline.at > now, "due at once again: {deadline:?}");
        }
        let (metrics, occupancy) = (manager.metrics(now), manager.occupancy());
        assert!(metrics.memory_usage <= MEMORY_MAX, "{metrics:?}");
        assert_eq!(occupancy.actions, 0);
        assert!(occupancy.slots <= self.config.connections_max);
    }

    /// Polls until there is nothing to do. Returns whether the machine goes on.
    fn drain(&mut self, now: Instant, out: &mut Vec<Flight>) -> bool {
        let mut goes_on = true;
        for _ in 0..POLLS_MAX {
            let Some(manager) = &mut self.manager else {
                return false;
            };
            match manager.poll_action(now, &mut self.buf) {
                None => return goes_on,
                Some(Action::Notify(event)) => {
                    goes_on &= !matches!(event, Event::Closed { .. });
                    self.notify(now, &event);
                }
                Some(Action::Transmit(transmit)) => {
                    for payload in transmit.datagrams(&self.buf) {
                        out.push(Flight {
                            from: self.addr,
                            to: transmit.destination,
                            payload: payload.to_vec(),
                        });
                    }
                }
            }
        }
        panic!("a drain without an end");
    }

    fn notify(&mut self, now: Instant, event: &Event) {
        if let Event::StatusChanged { reason, .. } = event {
            let text = reason.to_string();
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        if let Event::Readable { peer } | Event::DatagramsReadable { peer } = event
            && self.reads
        {
            self.read(now, *peer);
        }
    }

    /// Reads what waits.
    pub(crate) fn read(&mut self, now: Instant, peer: PeerId) {
        let Some(manager) = &mut self.manager else {
            return;
        };
        // An error if the peer is not known.
        let before = self.read.len();
        let _ = match self.holds {
            true => manager.receive_held(now, peer, usize::MAX, &mut self.read),
            false => manager.receive(now, peer, usize::MAX, &mut self.read),
        };
        if self.holds {
            let keys = self.read[before..].iter().filter_map(Message::key);
            self.held.extend(keys);
        }
        let _ = manager.receive_datagrams(now, peer, usize::MAX, &mut Vec::new());
    }

    /// Is done with one of the messages that are held.
    pub(crate) fn finish_one(&mut self, now: Instant, which: usize) {
        let which = which.checked_rem(self.held.len());
        if let (Some(which), Some(manager)) = (which, &mut self.manager) {
            let key = self.held.remove(which);
            let _ = manager.done(now, key);
        }
    }

    pub(crate) fn take_read(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.read)
    }

    /// When it wants to be called.
    pub(crate) fn due(&self) -> Option<Instant> {
        let deadline = self.manager.as_ref().and_then(Manager::poll_timeout);
        deadline.map(|deadline| deadline.at)
    }
}

/// Draws a small configuration: limits are reached with few bytes, and delays pass soon.
pub(crate) fn config(input: &mut Input<'_>) -> Config {
    let mut config = Config::default();
    config.memory_max = 16 << 20;
    config.batch_delay_max = input.choose([ms(50), Duration::ZERO, ms(1), secs(2)]);
    config.batch_messages_max = input.choose([128, 1, 3]);
    config.message_bytes_max = input.choose([64 << 10, 1_000]);
    config.outbox_bytes_max = input.choose([512 << 10, 128 << 10]);
    config.inbox_bytes_max = input.choose([64 << 10, 1 << 10]);
    config.session_timeout = input.choose([secs(300), secs(20)]);
    config.pool_ttl = input.choose([secs(300), secs(1)]);
    config.connections_max = input.choose([8, 1]);
    config.backoff.max = secs(10);
    let flags = input.number();
    if flags & 1 != 0 {
        config.flush = Flush::Fixed;
    }
    if flags & 2 != 0 {
        config.sealing = Sealing::Off;
    }
    if flags & 4 != 0 {
        config.on_peer_restart = OnPeerRestart::Resend;
    }
    if flags & 8 != 0 {
        config.accept = Accept::Known;
    }
    config
}
