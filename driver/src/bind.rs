//! From an address and a configuration to a running event loop.

use std::{io, net::ToSocketAddrs, sync::Arc, time::UNIX_EPOCH};

use quicpool_core::{Config, Credentials, Incarnation, Manager, PeerAddr};
use tracing::info;
use zeroize::Zeroizing;

use crate::{
    clock::Clock,
    error::BindError,
    event_loop::EventLoop,
    runtime::{Runtime, Socket, SocketError},
    shared::Shared,
};

/// Binds a socket and begins to run the machine on it.
pub(crate) fn bind<R: Runtime>(
    runtime: R,
    addr: impl ToSocketAddrs,
    credentials: Arc<dyn Credentials>,
    config: Config,
) -> Result<Arc<Shared>, BindError> {
    config.check()?;
    let runtime = Arc::new(runtime);
    let socket = bind_first(&*runtime, addr)?;
    let timer = runtime.timer().map_err(BindError::Runtime)?;

    let (id, addr) = (credentials.local_id(), socket.local_addr());
    let clock = Clock::of(&runtime);
    let shared = Arc::new(Shared::new(PeerAddr::new(id, addr), &config, clock));
    let (seed, incarnation) = (random(&*runtime)?, incarnation(&*runtime)?);
    let core = Manager::new(config, credentials, incarnation, *seed, runtime.now())?;
    let task = EventLoop::new(
        Arc::clone(&runtime),
        socket,
        timer,
        core,
        Arc::clone(&shared),
    );
    runtime.spawn(Box::pin(task));
    info!(%id, %addr, "bound");
    Ok(shared)
}

/// Binds the first of the addresses that can be bound.
fn bind_first<R: Runtime>(runtime: &R, addr: impl ToSocketAddrs) -> Result<R::Socket, BindError> {
    let mut failure = BindError::Address(io::Error::other("it resolves to nothing"));
    for addr in addr.to_socket_addrs().map_err(BindError::Address)? {
        match runtime.bind(addr) {
            Ok(socket) => return Ok(socket),
            Err(SocketError::Address(source)) => failure = BindError::Bind { addr, source },
            Err(SocketError::Unusable(error)) => return Err(BindError::Socket(error)),
            Err(SocketError::Runtime(error)) => return Err(BindError::Runtime(error)),
        }
    }
    Err(failure)
}

/// Which run of the process this is. A clock before 1970 counts as 1970: the order of two runs is
/// only asked for when both are alive.
fn incarnation(runtime: &impl Runtime) -> Result<Incarnation, BindError> {
    let started = runtime
        .wall_clock()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(Incarnation {
        started_ms: u64::try_from(started.as_millis()).unwrap_or(u64::MAX),
        random: u64::from_le_bytes(*random(runtime)?),
    })
}

fn random<const LEN: usize>(runtime: &impl Runtime) -> Result<Zeroizing<[u8; LEN]>, BindError> {
    let mut bytes = Zeroizing::new([0; LEN]);
    runtime
        .fill_random(&mut *bytes)
        .map_err(BindError::Entropy)?;
    Ok(bytes)
}
