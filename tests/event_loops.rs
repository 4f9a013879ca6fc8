//! The event loops of the examples `event_loop_std` and `event_loop_mio` where the system is no help:
//! sends that it refuses, a socket without room, addresses of two families.

#[path = "support/loops.rs"]
mod loops;

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use loops::{Loop, event_loop_mio, event_loop_std};
use quicpool::{Config, Identity, PeerAddr};

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const MESSAGES: usize = 2_000;

/// Time between turns of a sender: a socket that only seems to have no room never becomes writable.
const TURN: Duration = Duration::from_millis(1);

/// The system refuses to send there: the socket did not ask for broadcast.
const REFUSED: &str = "255.255.255.255:4433";

fn bind<L: Loop>(at: &str) -> L {
    let at = at.parse().expect("an address");
    L::bind(at, &Identity::generate(), Config::default()).expect("a free port")
}

/// Sends numbers from one loop to another, and returns how many sends the system refused.
fn exchange<L: Loop>(mut from: L, mut to: L, at: SocketAddr) -> u64 {
    let receiver = PeerAddr::new(to.peer_addr().id, at);
    let reading = thread::spawn(move || {
        let (until, mut count) = (Instant::now() + PATIENCE, 0);
        let undelivered = to.run(|now, manager, _, messages| {
            assert!(now < until, "it takes too long: {count}");
            for message in messages {
                assert_eq!(message.payload[..], usize::to_be_bytes(count));
                count += 1;
            }
            if count == MESSAGES {
                manager.close(now);
            }
            Some(until)
        });
        assert_eq!(undelivered.expect("the socket works"), 0);
    });
    let numbers: Vec<_> = (0..MESSAGES).map(usize::to_be_bytes).collect();
    let (now, until) = (Instant::now(), Instant::now() + PATIENCE);
    from.manager().add_address(now, receiver).expect("a peer");
    let (mut sent, mut dialled) = (0, false);
    let undelivered = from.run(|now, manager, _, _| {
        assert!(now < until, "it takes too long: {sent}");
        if !dialled {
            dialled = true;
            let id = Identity::generate().peer_id();
            let refused = PeerAddr::new(id, REFUSED.parse().expect("an address"));
            manager.add_address(now, refused).expect("a peer");
            manager.connect(now, id).expect("it has an address");
        }
        sent += manager
            .send_many(now, receiver.id, &numbers[sent..])
            .unwrap_or_default();
        if sent == MESSAGES {
            manager.close(now);
        }
        Some(now + TURN)
    });
    assert_eq!(undelivered.expect("the socket works"), 0);
    reading.join().expect("all came");
    from.refused()
}

fn a_refused_send_ends_no_loop<L: Loop>() {
    let (from, to) = (bind::<L>("0.0.0.0:0"), bind::<L>("127.0.0.1:0"));
    let at = to.peer_addr().addr;
    assert!(exchange(from, to, at) > 0, "the system refuses broadcasts");
}

fn one_socket_speaks_both_versions<L: Loop>() {
    let (from, to) = (bind::<L>("[::]:0"), bind::<L>("[::]:0"));
    let port = to.peer_addr().addr.port();
    exchange(from, to, SocketAddr::from(([127, 0, 0, 1], port)));
}

#[test]
fn a_refused_send_ends_no_loop_over_std() {
    a_refused_send_ends_no_loop::<event_loop_std::EventLoop>();
}

#[test]
fn a_refused_send_ends_no_loop_over_mio() {
    a_refused_send_ends_no_loop::<event_loop_mio::EventLoop>();
}

#[test]
fn one_socket_of_std_speaks_both_versions() {
    one_socket_speaks_both_versions::<event_loop_std::EventLoop>();
}

#[test]
fn one_socket_of_mio_speaks_both_versions() {
    one_socket_speaks_both_versions::<event_loop_mio::EventLoop>();
}

/// Calls of [`send_seldom`].
static SENDS: AtomicUsize = AtomicUsize::new(0);

/// A socket that has room for every third datagram, as it seems.
fn send_seldom(socket: &mio::net::UdpSocket, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
    match SENDS.fetch_add(1, Ordering::Relaxed) % 3 {
        0 => socket.send_to(bytes, to),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[test]
fn what_would_block_is_kept_and_sent_first() {
    let mut from = bind::<event_loop_mio::EventLoop>("127.0.0.1:0");
    from.send_to = send_seldom;
    let to = bind::<event_loop_mio::EventLoop>("127.0.0.1:0");
    let at = to.peer_addr().addr;
    let start = Instant::now();
    exchange(from, to, at);
    let sends = SENDS.load(Ordering::Relaxed);
    assert!(sends > 60, "only {sends} datagrams");
    // Nothing was lost: a lost handshake packet alone takes a second to be repeated.
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}
