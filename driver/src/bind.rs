//! From an address and a configuration to a running event loop.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs, UdpSocket},
    sync::Arc,
    time::SystemTime,
};

use quicpool_core::{Config, Credentials, Incarnation, Manager, PeerAddr};
use quinn_udp::{UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use tracing::{debug, info};
use zeroize::Zeroizing;

use crate::{error::BindError, event_loop::EventLoop, io::UdpIo, runtime::Runtime, shared::Shared};

/// What we ask the operating system to hold for us in each direction.
///
/// With the usual 208 KiB, 64 handshakes that begin at once lose packets and wait a second for
/// their repetition.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Binds a socket and begins to run the machine on it.
pub(crate) fn bind<R: Runtime>(
    runtime: R,
    addr: impl ToSocketAddrs,
    credentials: Arc<dyn Credentials>,
    config: Config,
) -> Result<Arc<Shared>, BindError> {
    config.check()?;
    let socket = bind_first(addr)?;
    let addr = socket.local_addr().map_err(BindError::Socket)?;
    let state = UdpSocketState::new(UdpSockRef::from(&socket)).map_err(BindError::Socket)?;
    let socket = runtime.watch(socket).map_err(BindError::Runtime)?;

    let id = credentials.local_id();
    let shared = Arc::new(Shared::new(PeerAddr::new(id, addr), &config));
    let seed = random()?;
    let incarnation = Incarnation::new(SystemTime::now(), &seed);
    let core = Manager::new(config, credentials, incarnation, *seed, runtime.now())?;
    let io = UdpIo::new(socket, state, addr);
    let runtime = Arc::new(runtime);
    let task = EventLoop::new(Arc::clone(&runtime), io, core, Arc::clone(&shared));
    runtime.spawn(Box::pin(task));
    info!(%id, %addr, "bound");
    Ok(shared)
}

/// Binds the first of the addresses that can be bound.
fn bind_first(addr: impl ToSocketAddrs) -> Result<UdpSocket, BindError> {
    let mut failure = BindError::Address(io::Error::other("it resolves to nothing"));
    for addr in addr.to_socket_addrs().map_err(BindError::Address)? {
        match bind_socket(addr) {
            Ok(socket) => return Ok(socket),
            Err(source) => failure = BindError::Bind { addr, source },
        }
    }
    Err(failure)
}

fn bind_socket(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
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

fn random<const LEN: usize>() -> Result<Zeroizing<[u8; LEN]>, BindError> {
    let mut bytes = Zeroizing::new([0; LEN]);
    getrandom::fill(&mut *bytes).map_err(|error| BindError::Entropy(error.into()))?;
    Ok(bytes)
}
