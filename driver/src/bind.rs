//! From an address and a configuration to a running event loop.

use std::{io, net::ToSocketAddrs, sync::Arc};

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
    let runtime = Arc::new(runtime);
    let (shared, event_loop) = assemble(&runtime, addr, credentials, config)?;
    runtime.spawn(Box::pin(event_loop));
    let PeerAddr { id, addr } = shared.local;
    info!(%id, %addr, "bound");
    Ok(shared)
}

/// Binds a socket and makes the event loop, which does nothing until it is polled.
pub(crate) fn assemble<R: Runtime>(
    runtime: &Arc<R>,
    addr: impl ToSocketAddrs,
    credentials: Arc<dyn Credentials>,
    config: Config,
) -> Result<(Arc<Shared>, EventLoop<R>), BindError> {
    config.check()?;
    let socket = bind_first(&**runtime, addr)?;
    let timer = runtime.timer().map_err(BindError::Runtime)?;

    let (id, addr) = (credentials.local_id(), socket.local_addr());
    let clock = Clock::of(runtime);
    let shared = Arc::new(Shared::new(PeerAddr::new(id, addr), &config, clock));
    let seed = seed(&**runtime)?;
    let incarnation = Incarnation::new(runtime.wall_clock(), &seed);
    let core = Manager::new(config, credentials, incarnation, *seed, runtime.now())?;
    let event_loop = EventLoop::new(
        Arc::clone(runtime),
        socket,
        timer,
        core,
        Arc::clone(&shared),
    );
    Ok((shared, event_loop))
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

/// The seed of a machine.
fn seed(runtime: &impl Runtime) -> Result<Zeroizing<[u8; 32]>, BindError> {
    let mut bytes = Zeroizing::new([0; 32]);
    runtime
        .fill_random(&mut *bytes)
        .map_err(BindError::Entropy)?;
    Ok(bytes)
}
