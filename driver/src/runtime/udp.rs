//! A UDP socket of the operating system: many datagrams a call in both directions.

use std::{
    array, io,
    io::IoSliceMut,
    net::{self, IpAddr, SocketAddr},
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use quicpool_core::{Datagram, EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use tracing::debug;

use super::{
    Socket, SocketError,
    system::{Direction, Watched},
};

/// The size of each of the two buffers that the operating system is asked to hold for us.
///
/// With the usual 208 KiB, 64 handshakes that begin at once lose packets and wait a second for
/// their repetition.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Bursts of one receive call. More save few calls, and cost memory for each socket.
const BURSTS: usize = 8;

/// The kernel merges what comes from one sender up to this size (GRO); no datagram is longer.
const BURST_BYTES: usize = 64 * 1024;

/// A UDP socket that a runtime watches, with its buffers.
#[derive(Debug)]
pub struct UdpSocket<W> {
    watched: W,
    state: UdpSocketState,
    local: SocketAddr,
    buffer: Vec<u8>,
    bursts: [RecvMeta; BURSTS],
}

/// Binds a non-blocking socket.
pub(super) fn bind(addr: SocketAddr) -> io::Result<net::UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        // One socket for both versions, where the system can.
        let _ = socket.set_only_v6(false);
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    // The system gives what it allows; less is slower and not wrong.
    let enlarged = socket
        .set_recv_buffer_size(SOCKET_BUFFER_BYTES)
        .and_then(|()| socket.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    debug!(?enlarged, "asked for larger socket buffers");
    Ok(socket.into())
}

impl<W: Watched> UdpSocket<W> {
    /// A bound, non-blocking socket that `watch` hands to the runtime.
    pub(super) fn new(
        socket: net::UdpSocket,
        watch: impl FnOnce(net::UdpSocket) -> io::Result<W>,
    ) -> Result<Self, SocketError> {
        let local = socket.local_addr().map_err(SocketError::Unusable)?;
        let state =
            UdpSocketState::new(UdpSockRef::from(&socket)).map_err(SocketError::Unusable)?;
        Ok(Self {
            watched: watch(socket).map_err(SocketError::Runtime)?,
            state,
            local,
            // Zeroed by the operating system, page by page as they are first used.
            buffer: vec![0; BURSTS * BURST_BYTES],
            bursts: [RecvMeta::default(); BURSTS],
        })
    }

    fn try_receive(&mut self) -> io::Result<usize> {
        let Self {
            watched,
            state,
            buffer,
            bursts,
            ..
        } = self;
        let mut parts = buffer.chunks_exact_mut(BURST_BYTES);
        let mut parts: [_; BURSTS] =
            array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
        watched.try_io(Direction::Read, |socket| {
            state.recv(socket, &mut parts, bursts)
        })
    }

    /// The datagrams of a burst that was received, which may be empty ones.
    ///
    /// Their bytes are copied, in one piece for the whole burst: a datagram that is kept for long
    /// then holds up no more memory than its own sender has sent with it.
    fn datagrams(&self, burst: usize) -> impl Iterator<Item = Datagram> + use<W> {
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

    /// A local address as the socket wants it: one of IPv6 has mapped addresses for IPv4.
    fn source(&self, ip: IpAddr) -> IpAddr {
        match (self.local, ip) {
            (SocketAddr::V6(_), IpAddr::V4(v4)) => v4.to_ipv6_mapped().into(),
            (SocketAddr::V4(_) | SocketAddr::V6(_), _) => ip,
        }
    }
}

impl<W: Watched> Socket for UdpSocket<W> {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        transmit: &Transmit,
        bytes: &[u8],
    ) -> Poll<io::Result<()>> {
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
            let sent = self.watched.try_io(Direction::Write, |socket| {
                self.state.try_send(socket, &transmit)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
            ready!(self.watched.poll_ready(cx, Direction::Write))?;
        }
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnMut(Datagram),
    ) -> Poll<io::Result<usize>> {
        let bursts = loop {
            match self.try_receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => break other?,
            }
            ready!(self.watched.poll_ready(cx, Direction::Read))?;
        };
        let datagrams = (0..bursts).flat_map(|burst| self.datagrams(burst));
        Poll::Ready(Ok(datagrams.map(take).count()))
    }
}
