//! A `ConnectionManager` on any runtime, as a program that the conformance kit can check.

use std::{
    future::{self, Future, poll_fn},
    pin::pin,
    task::Poll,
    thread,
    time::Duration,
};

use quicpool::{
    Config, ConnectionManager, Identity, Message, PeerAddr, PeerId, TokioRuntime,
    runtime::{Runtime, Timer},
};
use quicpool_async_std::{AsyncStdRuntime, SmolRuntime};
use quicpool_conformance::wire::{self, Failure, Program, Settings};
use tokio::runtime::{Builder, Handle};

/// An async runtime that a thread outside of it can wait in. It runs its tasks meanwhile, too.
pub(crate) trait Blocking {
    type Runtime: Runtime;

    fn runtime(&self) -> Self::Runtime;
    fn block_on<F: Future>(&self, future: F) -> F::Output;
}

/// A runtime of tokio, which a thread of its own drives until the process ends.
#[derive(Debug, Clone)]
pub(crate) struct OnTokio(Handle);

impl OnTokio {
    pub(crate) fn with_threads() -> Self {
        Self::driven(Builder::new_multi_thread())
    }

    pub(crate) fn with_one_thread() -> Self {
        Self::driven(Builder::new_current_thread())
    }

    fn driven(mut builder: Builder) -> Self {
        let runtime = builder.enable_all().build().expect("there are threads");
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(future::pending::<()>()));
        Self(handle)
    }
}

impl Blocking for OnTokio {
    type Runtime = TokioRuntime;

    fn runtime(&self) -> TokioRuntime {
        TokioRuntime
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}

/// The executor of async-std.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnAsyncStd;

impl Blocking for OnAsyncStd {
    type Runtime = AsyncStdRuntime;

    fn runtime(&self) -> AsyncStdRuntime {
        AsyncStdRuntime
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        async_std::task::block_on(future)
    }
}

/// The global executor of smol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnSmol;

impl Blocking for OnSmol {
    type Runtime = SmolRuntime;

    fn runtime(&self) -> SmolRuntime {
        SmolRuntime
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(future)
    }
}

/// A manager on a runtime.
pub(crate) struct Managed<B> {
    blocking: B,
    seed: Option<[u8; Identity::SEED_LEN]>,
    manager: Option<ConnectionManager>,
}

impl<B: Blocking> Managed<B> {
    pub(crate) const fn new(blocking: B) -> Self {
        Self {
            blocking,
            seed: None,
            manager: None,
        }
    }

    fn manager(&self) -> Result<&ConnectionManager, Failure> {
        let stopped = || Failure::Wrong("it does not run".to_owned());
        self.manager.as_ref().ok_or_else(stopped)
    }

    /// The next message, unless there is none until `patience` ends.
    async fn next(&self, patience: Duration) -> Result<Option<Message>, Failure> {
        let mut received = pin!(self.manager()?.recv());
        let runtime = self.blocking.runtime();
        let mut timer = pin!(Runtime::timer(&runtime).map_err(Failure::wrong)?);
        timer.as_mut().set(Runtime::now(&runtime) + patience);
        poll_fn(|cx| match received.as_mut().poll(cx) {
            Poll::Ready(message) => Poll::Ready(message.map(Some).map_err(Failure::wrong)),
            Poll::Pending => timer.as_mut().poll_elapsed(cx).map(|()| Ok(None)),
        })
        .await
    }
}

impl<B: Blocking> Program for Managed<B> {
    fn start(&mut self, settings: &Settings) -> Result<PeerAddr, Failure> {
        if settings.identity == wire::Identity::Fresh {
            self.seed = None;
        }
        let seed = self
            .seed
            .get_or_insert_with(|| *Identity::generate().seed());
        let identity = Identity::from_seed(seed);
        let mut config = Config::default();
        config.liveness_timeout = settings.liveness_timeout;
        config.message_bytes_max = settings.message_bytes_max;
        let runtime = self.blocking.runtime();
        let bound = ConnectionManager::bind(runtime, "127.0.0.1:0", identity, config);
        let manager = self.blocking.block_on(bound).map_err(Failure::wrong)?;
        Ok(self.manager.insert(manager).peer_addr())
    }

    fn send(&mut self, to: PeerAddr, message: &[u8]) -> Result<(), Failure> {
        let peer = self.manager()?.peer(to).map_err(Failure::wrong)?;
        self.blocking
            .block_on(peer.send(message))
            .map(drop)
            .map_err(Failure::wrong)
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<(PeerId, Vec<u8>)>, Failure> {
        let message = self.blocking.block_on(self.next(patience))?;
        Ok(message.map(|message| (message.from, message.payload.to_vec())))
    }

    fn stop(&mut self) -> Result<(), Failure> {
        let closed = self.blocking.block_on(self.manager()?.close());
        self.manager = None;
        closed.map_err(Failure::wrong)
    }
}
