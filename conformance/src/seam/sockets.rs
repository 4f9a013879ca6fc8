//! Checks of sockets.

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, UdpSocket},
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use quicpool_core::{Datagram, Transmit};
use quicpool_driver::runtime::{Runtime, Socket, SocketError};

use super::{
    Checked, Objection, broken, ensure,
    wait::{sleep, within},
};

/// Longer than anything here takes, even on a busy machine. Only a rule that is broken waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Time for a task to fall asleep.
const A_MOMENT: Duration = Duration::from_millis(10);

/// The longest datagram that UDP over IPv4 carries.
const DATAGRAM_BYTES_MAX: usize = 65_507;

/// A socket of the runtime, and one of the standard library that sends to it.
pub(super) struct Line<S> {
    socket: S,
    other: UdpSocket,
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn bind<R: Runtime>(runtime: &R) -> Result<R::Socket, Objection> {
    let socket = runtime.bind(loopback());
    socket.or_else(|error| broken(format!("loopback cannot be bound: {error:?}")))
}

fn plain() -> Result<UdpSocket, Objection> {
    let socket = UdpSocket::bind(loopback());
    socket.or_else(|error| broken(format!("loopback cannot be bound: {error}")))
}

impl<S: Socket> Line<S> {
    pub(super) fn new<R: Runtime<Socket = S>>(runtime: &R) -> Result<Self, Objection> {
        let (socket, other) = (bind(runtime)?, plain()?);
        let timeout = other.set_read_timeout(Some(PATIENCE));
        timeout.or_else(|error| broken(error.to_string()))?;
        Ok(Self { socket, other })
    }

    fn send(&self, payload: &[u8]) -> Checked {
        let sent = self.other.send_to(payload, self.socket.local_addr());
        sent.map(drop).or_else(|error| broken(error.to_string()))
    }

    /// Sends a datagram from another thread, once the task that calls this has fallen asleep.
    pub(super) fn send_soon(&self, payload: Vec<u8>) {
        let other = self.other.try_clone().expect("a socket can be cloned");
        let to = self.socket.local_addr();
        thread::spawn(move || {
            thread::sleep(A_MOMENT);
            // A send that fails shows as a datagram that does not arrive.
            let _ = other.send_to(&payload, to);
        });
    }

    /// Waits for a datagram that has to be this one.
    pub(super) async fn expect(&mut self, payload: &[u8]) -> Checked {
        let Some(received) = within(PATIENCE, receive(&mut self.socket)).await else {
            return broken(format!(
                "a datagram of {} bytes woke no task",
                payload.len()
            ));
        };
        let datagrams = received.or_else(|error| broken(error.to_string()))?;
        let sizes: Vec<_> = datagrams.iter().map(|one| one.payload.len()).collect();
        let [datagram] = &datagrams[..] else {
            return broken(format!(
                "one datagram of {} bytes came as {sizes:?}",
                payload.len()
            ));
        };
        ensure(datagram.payload == payload, || {
            format!(
                "a datagram of {} bytes has changed on the way",
                payload.len()
            )
        })?;
        let from = self.other.local_addr().ok();
        ensure(from == Some(datagram.remote), || {
            format!("a datagram of {from:?} came from {}", datagram.remote)
        })
    }
}

async fn receive(socket: &mut impl Socket) -> io::Result<Vec<Datagram>> {
    poll_fn(|cx| {
        let mut datagrams = Vec::new();
        let polled = socket.poll_receive(cx, |datagram| datagrams.push(datagram));
        polled.map_ok(|count| {
            assert_eq!(count, datagrams.len(), "the count is that of the datagrams");
            datagrams
        })
    })
    .await
}

async fn send(
    socket: &mut impl Socket,
    to: SocketAddr,
    bytes: &[u8],
    segment_size: Option<usize>,
) -> io::Result<()> {
    let transmit = Transmit {
        destination: to,
        ecn: None,
        size: bytes.len(),
        segment_size,
        src_ip: None,
    };
    // The buffer may be longer than the transmit.
    let buffer = [bytes, b"not to be sent"].concat();
    poll_fn(|cx| socket.poll_send(cx, &transmit, &buffer)).await
}

/// Bytes that differ from place to place.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place % 251) as u8).collect()
}

pub(super) async fn a_bound_port_is_taken<R: Runtime>(runtime: R) -> Checked {
    let socket = bind(&runtime)?;
    let addr = socket.local_addr();
    ensure(addr.ip() == loopback().ip() && addr.port() != 0, || {
        format!("it says that it is bound to {addr}")
    })?;
    match runtime.bind(addr) {
        Err(SocketError::Address(_)) => Ok(()),
        Err(other) => broken(format!(
            "a port that is taken is not the address's fault: {other:?}"
        )),
        Ok(_) => broken("two sockets have one port"),
    }
}

pub(super) async fn a_dropped_socket_frees_its_port<R: Runtime>(runtime: R) -> Checked {
    let mut socket = bind(&runtime)?;
    let addr = socket.local_addr();
    // As an event loop leaves it: something waits for datagrams.
    poll_once(&mut socket, Waker::noop());
    drop(socket);
    match runtime.bind(addr) {
        Ok(_) => Ok(()),
        Err(error) => broken(format!("its port is still taken: {error:?}")),
    }
}

pub(super) async fn a_datagram_wakes<R: Runtime>(runtime: R) -> Checked {
    let mut line = Line::new(&runtime)?;
    for round in 0..20 {
        line.send_soon(vec![round]);
        line.expect(&[round]).await?;
    }
    Ok(())
}

pub(super) async fn the_last_task_to_poll_a_socket_is_woken<R: Runtime>(runtime: R) -> Checked {
    let mut line = Line::new(&runtime)?;
    // Another task, which is not waiting any more.
    poll_once(&mut line.socket, Waker::noop());
    line.send_soon(vec![1]);
    line.expect(&[1]).await
}

pub(super) async fn datagrams_stay_whole<R: Runtime>(runtime: R) -> Checked {
    let mut line = Line::new(&runtime)?;
    let to = line
        .other
        .local_addr()
        .or_else(|error| broken(error.to_string()))?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX + 1];
    for len in [
        0,
        1,
        2,
        1_199,
        1_200,
        1_452,
        9_000,
        65_000,
        DATAGRAM_BYTES_MAX,
    ] {
        let payload = bytes(len);
        line.send(&payload)?;
        line.expect(&payload).await?;

        let Some(sent) = within(PATIENCE, send(&mut line.socket, to, &payload, None)).await else {
            return broken(format!("a send of {len} bytes never ends"));
        };
        sent.or_else(|error| broken(format!("{len} bytes cannot be sent: {error}")))?;
        let received = line.other.recv_from(&mut buffer);
        let (count, _) = received.or_else(|error| broken(format!("{len} bytes: {error}")))?;
        ensure(buffer[..count] == payload, || {
            format!("{len} bytes arrived as {count}, or changed")
        })?;
    }
    Ok(())
}

pub(super) async fn segments_arrive_one_by_one<R: Runtime>(runtime: R) -> Checked {
    const SEGMENT: usize = 1_200;
    const LAST: usize = 700;
    let mut line = Line::new(&runtime)?;
    let segments = line.socket.segments_max().min(8);
    if segments < 2 {
        let why = "the socket sends one datagram a call, and says so";
        return Err(Objection::NotApplicable(why.into()));
    }
    let to = line
        .other
        .local_addr()
        .or_else(|error| broken(error.to_string()))?;
    let burst = bytes((segments - 1) * SEGMENT + LAST);
    let sending = send(&mut line.socket, to, &burst, Some(SEGMENT));
    let sent = within(PATIENCE, sending).await;
    match sent {
        Some(Ok(())) => {}
        Some(Err(error)) => return broken(format!("{segments} segments: {error}")),
        None => return broken("a send of several segments never ends"),
    }
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    for expected in burst.chunks(SEGMENT) {
        let received = line.other.recv_from(&mut buffer);
        let (count, _) =
            received.or_else(|error| broken(format!("a segment is missing: {error}")))?;
        ensure(buffer[..count] == *expected, || {
            format!(
                "a segment of {} bytes arrived as {count}, or changed",
                expected.len()
            )
        })?;
    }
    // And the other way: a burst that arrives is cut into its datagrams.
    for expected in burst.chunks(SEGMENT) {
        line.send(expected)?;
    }
    let mut rest = burst.chunks(SEGMENT).peekable();
    while rest.peek().is_some() {
        let Some(received) = within(PATIENCE, receive(&mut line.socket)).await else {
            return broken("a burst of datagrams arrives in part");
        };
        for datagram in received.or_else(|error| broken(error.to_string()))? {
            let whole = rest
                .next()
                .is_some_and(|expected| datagram.payload == expected);
            ensure(whole, || {
                "a burst of datagrams is cut in other places".into()
            })?;
        }
    }
    Ok(())
}

pub(super) async fn a_closed_port_ends_nothing<R: Runtime>(runtime: R) -> Checked {
    let mut line = Line::new(&runtime)?;
    let closed = plain()?
        .local_addr()
        .or_else(|error| broken(error.to_string()))?;
    for _ in 0..5 {
        // The system may report the refusal or not; it must go on.
        if within(PATIENCE, send(&mut line.socket, closed, b"refused", None))
            .await
            .is_none()
        {
            return broken("a send to a closed port never ends");
        }
        sleep(Duration::from_millis(2)).await;
    }
    line.send(b"through")?;
    // Refusals may come first.
    for _ in 0..10 {
        match within(PATIENCE, receive(&mut line.socket)).await {
            Some(Ok(datagrams)) => {
                let through = datagrams.iter().any(|one| one.payload == b"through"[..]);
                return ensure(through, || "another datagram came".into());
            }
            Some(Err(_)) => {}
            None => return broken("nothing is received after a refusal"),
        }
    }
    broken("the refusals of one destination never end")
}

pub(super) async fn a_receive_given_up_loses_nothing<R: Runtime>(runtime: R) -> Checked {
    let mut line = Line::new(&runtime)?;
    for round in 0..20 {
        // The datagram comes after the receive is given up, or before the next one begins.
        let pause = A_MOMENT / 2 * u32::from(round % 5);
        line.send_soon(vec![round]);
        {
            let mut receiving = pin!(receive(&mut line.socket));
            let polled = poll_fn(|cx| Poll::Ready(receiving.as_mut().poll(cx))).await;
            ensure(polled.is_pending(), || "something came too early".into())?;
            sleep(pause).await;
        }
        line.expect(&[round]).await?;
    }
    Ok(())
}

fn poll_once(socket: &mut impl Socket, waker: &Waker) {
    let polled = socket.poll_receive(&mut Context::from_waker(waker), drop);
    debug_assert!(polled.is_pending(), "nothing was sent");
}
