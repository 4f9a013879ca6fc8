//! An event loop of one's own over mio, and sixteen clients that run one each and ask a seventeenth
//! peer for answers. Ctrl-C closes early.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use mio::{Events, Interest, Poll, Token, Waker, net::UdpSocket};
use quicpool::machine::{
    Action, Config, Datagram, Event, Identity, Incarnation, Manager, Message, PeerAddr, Reason,
    Transmit,
};

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);

/// Datagrams of one size that the machine builds at a time: enough to spare most of its calls.
const SEGMENTS: usize = 16;

/// Datagrams taken in before the machine may answer them.
const DATAGRAMS_PER_TURN: usize = 64;

/// Receive errors in a row after which the socket counts as broken: peers cause single ones (ICMP).
const RECEIVE_ERRORS_MAX: u32 = 32;

/// A machine and its socket.
pub struct EventLoop {
    /// The machine, for what is to be done before the loop runs.
    pub manager: Manager,
    /// Datagrams that the system refused to send.
    pub refused: u64,
    /// How a datagram is sent: a test may put something else in its place.
    pub send_to: fn(&UdpSocket, &[u8], SocketAddr) -> io::Result<usize>,
    socket: UdpSocket,
    local: SocketAddr,
    poll: Poll,
    packets: Vec<u8>,
    /// A transmit in `packets` that the socket had no room for, and how many of its datagrams went.
    waiting: Option<(Transmit, usize)>,
    inbound: Vec<u8>,
    receive_errors: u32,
}

impl EventLoop {
    /// Binds a socket, and makes a machine for this run of the process.
    pub fn bind(at: SocketAddr, identity: &Identity, config: Config) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut socket = UdpSocket::bind(at)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut socket, SOCKET, both)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let run = Incarnation::new(SystemTime::now(), &seed);
        let manager = Manager::new(config, identity.credentials(), run, seed, Instant::now());
        let mut manager = manager.map_err(io::Error::other)?;
        manager.driver().set_segments_max(SEGMENTS);
        Ok(Self {
            manager,
            refused: 0,
            send_to: UdpSocket::send_to,
            local: socket.local_addr()?,
            socket,
            poll,
            packets: Vec::new(),
            waiting: None,
            inbound: vec![0; 65_536],
            receive_errors: 0,
        })
    }

    /// Where others reach it.
    pub fn peer_addr(&self) -> PeerAddr {
        PeerAddr::new(self.manager.local_id(), self.local)
    }

    /// Lets other threads have the application called at once.
    pub fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), WAKER)
    }

    /// Runs until the machine has closed, and returns how many messages were not delivered.
    ///
    /// Each turn calls `app` with what has happened since the last one. It may send, connect and
    /// close, and returns when it wants to be called again at the latest.
    pub fn run(
        &mut self,
        mut app: impl FnMut(Instant, &mut Manager, &[Event], &[Message]) -> Option<Instant>,
    ) -> io::Result<u64> {
        let (mut ready, mut closed) = (Events::with_capacity(2), None);
        let (mut events, mut messages) = (Vec::new(), Vec::new());
        loop {
            let all_came = self.receive()?;
            let now = Instant::now();
            self.manager.handle_timeout(now);
            let wake = app(now, &mut self.manager, &events, &messages);
            events.clear();
            messages.clear();
            loop {
                let action = match self.send_waiting() {
                    true => self.manager.poll_action(now, &mut self.packets),
                    // Events come whether the socket has room or not.
                    false => self.manager.driver().poll_event(now).map(Action::Notify),
                };
                match action {
                    Some(Action::Transmit(transmit)) => self.waiting = Some((transmit, 0)),
                    Some(Action::Notify(Event::Closed { undelivered, .. })) => {
                        closed = Some(undelivered);
                    }
                    Some(Action::Notify(Event::Readable { peer })) => {
                        // An error if the application has forgotten the peer meanwhile.
                        let _ = self.manager.receive(now, peer, usize::MAX, &mut messages);
                    }
                    Some(Action::Notify(event)) => events.push(event),
                    None => break,
                }
            }
            if let (Some(undelivered), None) = (closed, &self.waiting) {
                return Ok(undelivered);
            }
            let wait = if !all_came || !events.is_empty() || !messages.is_empty() {
                Some(Duration::ZERO)
            } else {
                // A machine whose transmit waits is due at once, and could only go on waiting.
                let due = self
                    .manager
                    .poll_timeout()
                    .filter(|_| self.waiting.is_none());
                let due = due.map(|due| due.at).into_iter().chain(wake).min();
                due.map(|due| due.saturating_duration_since(Instant::now()))
            };
            match self.poll.poll(&mut ready, wait) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }

    /// Takes in datagrams; false if there may be more.
    fn receive(&mut self) -> io::Result<bool> {
        for _ in 0..DATAGRAMS_PER_TURN {
            match self.socket.recv_from(&mut self.inbound) {
                Ok((len, remote)) => {
                    let datagram = Datagram::new(remote, &self.inbound[..len]);
                    self.manager.handle_datagram(Instant::now(), datagram);
                    self.receive_errors = 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(_) if self.receive_errors < RECEIVE_ERRORS_MAX => self.receive_errors += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Sends the transmit that waits, if one does; false if the socket has no room for all of it.
    fn send_waiting(&mut self) -> bool {
        let Some((transmit, sent)) = &mut self.waiting else {
            return true;
        };
        let to = transmit.destination_from(self.local);
        for datagram in transmit.datagrams(&self.packets).skip(*sent) {
            match (self.send_to)(&self.socket, datagram, to) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // It concerns this destination: it has no route, or no port, or a firewall. A
                // socket that is broken fails to receive, too.
                Err(_) => self.refused += 1,
                Ok(_) => {}
            }
            *sent += 1;
        }
        self.waiting = None;
        true
    }
}

const CLIENTS: usize = 16;
const QUESTIONS: usize = 50_000;
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How soon Ctrl-C has an effect on clients, which have no waker.
const LOOK_AT_CTRL_C: Duration = Duration::from_millis(100);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> io::Result<()> {
    let mut server = EventLoop::bind(ANY_PORT, &Identity::generate(), Config::default())?;
    let (addr, waker) = (server.peer_addr(), server.waker()?);
    let interrupt = move || {
        INTERRUPTED.store(true, Ordering::Relaxed);
        waker
            .wake()
            .expect("the server's poll lives as long as this");
    };
    ctrlc::set_handler(interrupt).map_err(io::Error::other)?;
    println!("{CLIENTS} peers ask for {QUESTIONS} answers each; Ctrl-C ends them early");
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| thread::spawn(move || ask(addr)))
        .collect();
    let (mut echoes, mut answered) = (BTreeMap::<_, Vec<_>>::new(), 0);
    let undelivered = server.run(|now, manager, _, messages| {
        for Message { from, payload, .. } in messages {
            echoes.entry(*from).or_default().push(payload.clone());
        }
        for (peer, echoes) in &mut echoes {
            // What does not fit into the outbox goes when the peer has taken some.
            let sent = manager.send_many(now, *peer, echoes).unwrap_or_default();
            answered += echoes.drain(..sent).len();
        }
        if answered == CLIENTS * QUESTIONS || INTERRUPTED.load(Ordering::Relaxed) {
            manager.close(now); // again and again is once
        }
        None
    })?;
    for client in clients {
        let echoes = client.join().expect("a client panicked")?;
        println!("{echoes} of {QUESTIONS} answered");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{answered} answers to {CLIENTS} peers in {seconds:.3} s, {undelivered} undelivered");
    Ok(())
}

/// Asks the server, and returns how many of its answers came back as they should.
fn ask(server: PeerAddr) -> io::Result<usize> {
    let mut client = EventLoop::bind(ANY_PORT, &Identity::generate(), Config::default())?;
    let (now, manager) = (Instant::now(), &mut client.manager);
    manager.add_address(now, server).map_err(io::Error::other)?;
    let questions: Vec<_> = (0..QUESTIONS).map(usize::to_be_bytes).collect();
    let sent = manager.send_many(now, server.id, &questions);
    assert_eq!(sent, Ok(QUESTIONS), "an empty outbox has room for them");
    let mut echoes = 0;
    client.run(|now, manager, events, messages| {
        for Message { payload, .. } in messages {
            assert_eq!(
                payload[..],
                questions[echoes],
                "lost, doubled or out of order"
            );
            echoes += 1;
        }
        if echoes == QUESTIONS {
            manager.close(now);
        } else if events.iter().any(is_goodbye) || INTERRUPTED.load(Ordering::Relaxed) {
            manager.abort(now); // nothing more will be answered
        }
        Some(now + LOOK_AT_CTRL_C)
    })?;
    Ok(echoes)
}

fn is_goodbye(event: &Event) -> bool {
    matches!(
        event,
        Event::StatusChanged {
            reason: Reason::Goodbye,
            ..
        }
    )
}
