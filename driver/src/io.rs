//! The UDP socket: many datagrams a call in both directions.

use std::{
    array, io,
    io::IoSliceMut,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
};

use bytes::BytesMut;
use quicpool_core::{Datagram, EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSocketState};

use crate::runtime::{Direction, Socket};

/// Bursts of one receive call. More save few calls, and cost memory for each socket.
const BURSTS: usize = 8;

/// The kernel merges what comes from one sender up to this size (GRO); no datagram is longer.
const BURST_BYTES: usize = 64 * 1024;

/// A watched socket with its buffers.
#[derive(Debug)]
pub(crate) struct UdpIo<S> {
    socket: S,
    state: UdpSocketState,
    local: SocketAddr,
    buffer: Vec<u8>,
    bursts: [RecvMeta; BURSTS],
}

/// The outcome of an operation that did not fail for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome<T> {
    /// It is done.
    Done(T),
    /// It would block; the task is woken when that has changed.
    Blocked,
    /// It failed for a reason that will pass or that concerns one destination only.
    Passing,
}

impl<S: Socket> UdpIo<S> {
    pub(crate) fn new(socket: S, state: UdpSocketState, local: SocketAddr) -> Self {
        Self {
            socket,
            state,
            local,
            // Zeroed by the operating system, page by page as they are first used.
            buffer: vec![0; BURSTS * BURST_BYTES],
            bursts: [RecvMeta::default(); BURSTS],
        }
    }

    /// Datagrams that one transmit may carry; one if the socket has turned out not to split them.
    pub(crate) fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Receives a few bursts of datagrams, and says how many.
    pub(crate) fn receive(&mut self, cx: &mut Context<'_>) -> io::Result<Outcome<usize>> {
        loop {
            match self.try_receive() {
                Ok(count) => return Ok(Outcome::Done(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if passes(&error) => return Ok(Outcome::Passing),
                Err(error) => return Err(error),
            }
            match self.socket.poll_ready(cx, Direction::Read) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(Outcome::Blocked),
            }
        }
    }

    fn try_receive(&mut self) -> io::Result<usize> {
        let Self {
            socket,
            state,
            buffer,
            bursts,
            ..
        } = self;
        let mut parts = buffer.chunks_exact_mut(BURST_BYTES);
        let mut parts: [_; BURSTS] =
            array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        socket.try_io(Direction::Read, |socket| {
            state.recv(socket, &mut parts, bursts)
        })
    }

    /// The datagrams of a burst that was received, which may be empty ones.
    ///
    /// Their bytes are copied, in one piece for the whole burst: a datagram that is kept for long
    /// then holds up no more memory than its own sender has sent with it.
    pub(crate) fn datagrams(&self, burst: usize) -> impl Iterator<Item = Datagram> + use<S> {
        let meta = self.bursts[burst];
        let bytes = &self.buffer[burst * BURST_BYTES..][..meta.len];
        let mut rest = Some(BytesMut::from(bytes));
        let stride = meta.stride.max(1);
        std::iter::from_fn(move || {
            let mut payload = rest.take()?;
            if payload.len() > stride {
                rest = Some(payload.split_off(stride));
            }
            Some(Datagram {
                remote: meta.addr,
                local_ip: meta.dst_ip,
                ecn: meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
                payload,
            })
        })
    }

    /// Sends the datagrams of a transmit.
    pub(crate) fn send(
        &self,
        cx: &mut Context<'_>,
        transmit: &Transmit,
        bytes: &[u8],
    ) -> io::Result<Outcome<()>> {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination_from(self.local),
            ecn: transmit
                .ecn
                .and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &bytes[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip.map(|ip| self.source(ip)),
        };
        loop {
            let sent = self.socket.try_io(Direction::Write, |socket| {
                self.state.try_send(socket, &transmit)
            });
            match sent {
                Ok(()) => return Ok(Outcome::Done(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if concerns_destination(&error) => return Ok(Outcome::Passing),
                Err(error) => return Err(error),
            }
            match self.socket.poll_ready(cx, Direction::Write) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(Outcome::Blocked),
            }
        }
    }

    /// A local address as the socket wants it: one of IPv6 has mapped addresses for IPv4.
    fn source(&self, ip: IpAddr) -> IpAddr {
        match (self.local, ip) {
            (SocketAddr::V6(_), IpAddr::V4(v4)) => v4.to_ipv6_mapped().into(),
            (SocketAddr::V4(_) | SocketAddr::V6(_), _) => ip,
        }
    }
}

/// Whether an error says nothing about the socket: others caused it (ICMP), or it will pass.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::PermissionDenied
            | Kind::AddrNotAvailable
            | Kind::TimedOut
            | Kind::Interrupted
            | Kind::OutOfMemory
    ) || passing_code(error.raw_os_error())
}

/// Whether an error of a send concerns what was sent or its destination, and not the socket.
fn concerns_destination(error: &io::Error) -> bool {
    passes(error)
        || error.kind() == io::ErrorKind::InvalidInput
        || destination_code(error.raw_os_error())
}

#[cfg(unix)]
fn passing_code(code: Option<i32>) -> bool {
    matches!(
        code,
        Some(libc::ENOBUFS | libc::ENOMEM | libc::EMSGSIZE | libc::EPROTO | libc::EHOSTDOWN)
    )
}

#[cfg(unix)]
fn destination_code(code: Option<i32>) -> bool {
    // EIO is what a network card without segmentation offload gives; quinn-udp stops asking it.
    matches!(
        code,
        Some(libc::EAFNOSUPPORT | libc::EINVAL | libc::EIO | libc::EDESTADDRREQ | libc::ENOTSUP)
    )
}

#[cfg(not(unix))]
fn passing_code(_: Option<i32>) -> bool {
    false
}

/// Elsewhere the codes are not known one by one, and a socket that has failed fails to receive too.
#[cfg(not(unix))]
fn destination_code(_: Option<i32>) -> bool {
    true
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn failure_18_errors_caused_by_others_pass() {
        for code in [
            libc::ECONNREFUSED,
            libc::ECONNRESET,
            libc::EHOSTUNREACH,
            libc::ENETUNREACH,
            libc::ENETDOWN,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EPERM,
            libc::EACCES,
            libc::EMSGSIZE,
            libc::EADDRNOTAVAIL,
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert!(passes(&error), "{error}");
            assert!(concerns_destination(&error), "{error}");
        }
    }

    #[test]
    fn a_destination_that_cannot_be_is_not_the_sockets_fault() {
        for code in [libc::EAFNOSUPPORT, libc::EINVAL, libc::EIO] {
            let error = io::Error::from_raw_os_error(code);
            assert!(concerns_destination(&error), "{error}");
        }
    }

    #[test]
    fn failure_25_a_broken_socket_does_not_pass() {
        for code in [libc::EBADF, libc::ENOTSOCK, libc::EFAULT, libc::ENOTCONN] {
            let error = io::Error::from_raw_os_error(code);
            assert!(!passes(&error), "{error}");
            assert!(!concerns_destination(&error), "{error}");
        }
    }
}
