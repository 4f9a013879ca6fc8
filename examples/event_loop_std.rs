//! An event loop of one's own over `std::net::UdpSocket`, and eight peers that each run one: every
//! peer sends numbers to every other, checks what it receives, and closes. Ctrl-C closes early.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    net::{SocketAddr, ToSocketAddrs, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use quicpool::machine::{
    Action, Config, Datagram, Event, Identity, Incarnation, Manager, Message, PeerAddr,
};

/// Receive errors in a row after which the socket counts as broken: peers cause single ones (ICMP).
const RECEIVE_ERRORS_MAX: u32 = 32;

/// The shortest wait for a datagram: the standard library takes zero for an error.
const WAIT_MIN: Duration = Duration::from_micros(1);

/// A machine and its socket.
pub struct EventLoop {
    /// The machine, for what is to be done before the loop runs.
    pub manager: Manager,
    /// Datagrams that the system refused to send.
    pub refused: u64,
    socket: UdpSocket,
    local: SocketAddr,
}

impl EventLoop {
    /// Binds a socket, and makes a machine for this run of the process.
    pub fn bind(at: impl ToSocketAddrs, identity: &Identity, config: Config) -> io::Result<Self> {
        let socket = UdpSocket::bind(at)?;
        let local = socket.local_addr()?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        let run = Incarnation::new(SystemTime::now(), &seed);
        let manager = Manager::new(config, identity.credentials(), run, seed, Instant::now());
        Ok(Self {
            manager: manager.map_err(io::Error::other)?,
            refused: 0,
            socket,
            local,
        })
    }

    /// Where others reach it.
    pub fn peer_addr(&self) -> PeerAddr {
        PeerAddr::new(self.manager.local_id(), self.local)
    }

    /// Runs until the machine has closed, and returns how many messages were not delivered.
    ///
    /// Each turn calls `app` with what has happened since the last one. It may send, connect and
    /// close, and returns when it wants to be called again at the latest.
    pub fn run(
        &mut self,
        mut app: impl FnMut(Instant, &mut Manager, &[Event], &[Message]) -> Option<Instant>,
    ) -> io::Result<u64> {
        let (mut packets, mut inbound, mut errors) = (Vec::new(), vec![0; 65_536], 0);
        let (mut events, mut messages) = (Vec::new(), Vec::new());
        loop {
            let now = Instant::now();
            self.manager.handle_timeout(now);
            let wake = app(now, &mut self.manager, &events, &messages);
            events.clear();
            messages.clear();
            while let Some(action) = self.manager.poll_action(now, &mut packets) {
                match action {
                    Action::Notify(Event::Readable { peer }) => {
                        // An error if the application has forgotten the peer meanwhile.
                        let _ = self.manager.receive(now, peer, usize::MAX, &mut messages);
                    }
                    Action::Notify(event) => events.push(event),
                    Action::Transmit(transmit) => {
                        let to = transmit.destination_from(self.local);
                        for datagram in transmit.datagrams(&packets) {
                            // An error concerns this destination: it has no route, or no port, or a
                            // firewall. A socket that is broken fails to receive, too.
                            self.refused += u64::from(self.socket.send_to(datagram, to).is_err());
                        }
                    }
                }
            }
            if let Some(Event::Closed { undelivered, .. }) = events.last() {
                return Ok(*undelivered);
            }
            if !events.is_empty() || !messages.is_empty() {
                continue; // for the application
            }
            let due = self.manager.poll_timeout().map(|deadline| deadline.at);
            let due = due.into_iter().chain(wake).min();
            let wait = due.map(|due| due.saturating_duration_since(now).max(WAIT_MIN));
            self.socket.set_read_timeout(wait)?;
            match self.socket.recv_from(&mut inbound) {
                Ok((len, remote)) => {
                    let datagram = Datagram::new(remote, &inbound[..len]);
                    self.manager.handle_datagram(Instant::now(), datagram);
                    errors = 0;
                }
                Err(error) if is_timeout(&error) => {}
                Err(_) if errors < RECEIVE_ERRORS_MAX => errors += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether nothing has come in time; a signal counts as such.
fn is_timeout(error: &io::Error) -> bool {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

const PEERS: usize = 8;
const MESSAGES: usize = 5_000;

/// How soon Ctrl-C has an effect.
const LOOK_AT_CTRL_C: Duration = Duration::from_millis(100);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> io::Result<()> {
    let interrupt = || INTERRUPTED.store(true, Ordering::Relaxed);
    ctrlc::set_handler(interrupt).map_err(io::Error::other)?;
    let bind = |_| EventLoop::bind("127.0.0.1:0", &Identity::generate(), Config::default());
    let loops = (0..PEERS).map(bind).collect::<io::Result<Vec<_>>>()?;
    let all: Vec<_> = loops.iter().map(EventLoop::peer_addr).collect();
    println!("{PEERS} peers send {MESSAGES} messages to each other; Ctrl-C ends them early");
    let start = Instant::now();
    thread::scope(|scope| {
        let exchange = |node| scope.spawn(|| exchange(node, &all));
        let threads: Vec<_> = loops.into_iter().map(exchange).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a peer panicked"))
    })?;
    println!("{PEERS} peers in {:.3} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Sends numbers to every other peer, and checks that theirs come in order.
fn exchange(mut node: EventLoop, all: &[PeerAddr]) -> io::Result<()> {
    let own = node.peer_addr();
    let numbers: Vec<_> = (0..MESSAGES).map(usize::to_be_bytes).collect();
    // What was sent to each, and received of it.
    let mut counts = BTreeMap::new();
    for peer in all.iter().filter(|peer| **peer != own) {
        let added = node.manager.add_address(Instant::now(), *peer);
        added.map_err(io::Error::other)?;
        counts.insert(peer.id, (0, 0));
    }
    let undelivered = node.run(|now, manager, _, messages| {
        for Message { from, payload, .. } in messages {
            let (_, received) = counts.get_mut(from).expect("a message of a stranger");
            assert_eq!(
                payload[..],
                numbers[*received],
                "lost, doubled or out of order"
            );
            *received += 1;
        }
        for (peer, (sent, _)) in &mut counts {
            // What does not fit into the outbox goes when the peer has taken some.
            let accepted = manager.send_many(now, *peer, &numbers[*sent..]);
            *sent += accepted.unwrap_or_default();
        }
        let done = counts
            .values()
            .all(|counts| *counts == (MESSAGES, MESSAGES));
        if done || INTERRUPTED.load(Ordering::Relaxed) {
            manager.close(now); // again and again is once
        }
        Some(now + LOOK_AT_CTRL_C)
    })?;
    let received: usize = counts.values().map(|(_, received)| received).sum();
    println!(
        "{}: {received} received, {undelivered} undelivered",
        own.addr
    );
    Ok(())
}
